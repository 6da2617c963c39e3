"""A second process in a running container."""

import errno
import os
from typing import Any

import pytest

from onggi.errors import CommandNotFound, Conflict, InvalidInput, OnggiError
from onggi.runtime import cloning, plan
from onggi.runtime.join import join

pytestmark = pytest.mark.root
Box = Any


def test_shares_every_namespace_and_the_control_group(box: Box) -> None:
    first = box.start("sleep", "60")
    script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done"
    result = box.enter(first, "sh", "-c", script).finish()
    names = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    assert result.out.split() == [os.readlink(f"/proc/{first.pid}/ns/{name}") for name in names]
    second = box.enter(first, "sleep", "60")
    assert set(box.cgroup.pids()) == {first.pid, second.pid}


def test_has_the_same_sandbox(box: Box) -> None:
    first = box.start("sleep", "60")
    script = "grep -E '^(Cap|NoNew)' /proc/self/status; id -G; echo $HOME; umask"
    inside = box.enter(first, "sh", "-c", script).finish().out
    assert "CapBnd:\t00000000a80425fb" in inside
    assert "CapInh:\t0000000000000000" in inside
    assert inside.splitlines()[-3:] == ["0 10", "/root", "0022"]


def test_only_three_descriptors_and_no_python(box: Box) -> None:
    first = box.start("sleep", "60")
    listing = box.enter(first, "sh", "-c", "ls /proc/self/fd; ps").finish().out
    assert listing.split()[:4] == ["0", "1", "2", "3"]  # 3 is ls's own
    assert "python" not in listing


def test_user_directory_and_input(box: Box) -> None:
    first = box.start("sleep", "60")
    result = box.enter(first, "sh", "-c", "id -u; pwd; cat", user="1000", cwd="/etc", stdin="pipe")
    assert result.finish(b"typed").out == "1000\n/etc\ntyped"


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        (("nope",), {}, CommandNotFound),
        (("true",), {"cwd": "/nowhere"}, OnggiError),
        (("true",), {"cwd": "/proc/self/fd/3"}, OnggiError),
        (("true",), {"user": "nobody-here"}, InvalidInput),
    ],
)
def test_refusals(
    box: Box, args: tuple[str, ...], options: dict[str, Any], error: type[OnggiError]
) -> None:
    first = box.start("sleep", "60")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(error) as caught:
        box.enter(first, *args, **options)
    own_words = "unable to find user nobody-here: no matching entries in passwd file"
    prefix = own_words if error is InvalidInput else "OCI runtime exec failed: exec failed: "
    assert caught.value.message.startswith(prefix)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.sec("A15")
def test_a_container_that_is_gone(box: Box) -> None:
    first = box.start("true")
    started = first.started
    first.finish()
    wanted = plan.ProcessPlan(args=("true",))
    for start in (started.pid_start, started.pid_start + 1):
        with pytest.raises(Conflict, match="not running"):
            join(plan.JoinPlan(started.pid, start, wanted))
    mine = plan.JoinPlan(os.getpid(), 1, wanted)  # the number is alive, but another process
    with pytest.raises(Conflict, match="not running"):
        join(mine)


def test_the_parent_stays_in_its_own_pid_namespace(box: Box) -> None:
    before = os.readlink("/proc/self/ns/pid_for_children")
    first = box.start("sleep", "60")
    box.enter(first, "true").finish()
    assert os.readlink("/proc/self/ns/pid_for_children") == before


def test_the_parent_comes_back_also_when_it_could_not_fork(box: Box) -> None:
    """A health check of a container that just died must not take later forks with it."""
    before = os.readlink("/proc/self/ns/pid_for_children")
    first = box.start("sleep", "60")

    def make() -> tuple[int, int]:
        assert os.readlink("/proc/self/ns/pid_for_children") != before
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with pytest.raises(OSError, match="memory"):
        cloning.in_pid_namespace(first.started.pidfd, make)
    assert os.readlink("/proc/self/ns/pid_for_children") == before


@pytest.mark.sec("A8")
def test_the_joining_process_cannot_be_looked_into(box: Box) -> None:
    """The container's root tries to read the memory map of each new process in it."""
    script = """
        trap 'exit 0' TERM; echo up
        while :; do for p in /proc/[0-9]*; do
            case $p in /proc/1|/proc/$$|/proc/self) continue;; esac
            case $(cat $p/cmdline 2>/dev/null) in *python*)
                if cat $p/maps 2>/dev/null | grep -q python; then echo LEAK; fi
                if readlink $p/exe 2>/dev/null | grep -q python; then echo LEAK; fi;;
            esac
        done; done"""
    first = box.start("sh", "-c", script)
    first.read_until("up\n")
    for _ in range(40):
        box.enter(first, "true").finish()
    box.cgroup.kill_all()
    assert "LEAK" not in first.finish().out
