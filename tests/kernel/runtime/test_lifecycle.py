"""Starting, failing and giving up: at every moment either a container or nothing."""

import os
import signal
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from onggi.errors import InvalidInput
from onggi.linux import process
from onggi.runtime import init

pytestmark = pytest.mark.root
Box = Any
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001


def forbid(*numbers: int) -> bytes:
    """A filter that refuses these system calls of this machine and allows the rest."""
    code = [(0x20, 0, 0, 0)]
    code += [(0x15, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    code += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, ERRNO_EPERM)]
    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def test_a_created_container_waits(box: Box, tmp_path: Path) -> None:
    created = box.create(box.ask("sh", "-c", "echo ran; sleep 60"))
    assert process.same_process(created.pid, created.pid_start)
    assert not process.wait_readable(created.streams.stdout_fd, 0.05)
    started = created.start()
    assert os.read(started.stdout_fd, 10) == b"ran\n"


def test_abort_leaves_nothing(box: Box) -> None:
    before, others = set(os.listdir("/proc/self/fd")), box.children()
    for start in (False, True):
        created = box.create(box.ask("sleep", "60"))
        if start:
            created.start()
        created.abort()
        created.abort()
        assert box.children() == others
        assert set(os.listdir("/proc/self/fd")) == before


def test_failures_leave_nothing(box: Box) -> None:
    before, others = set(os.listdir("/proc/self/fd")), box.children()

    def fail(pid: int) -> None:
        raise InvalidInput("no network today")

    with pytest.raises(InvalidInput, match="no network today"):
        init.spawn(box.ask("true"), prepare=fail)
    with pytest.raises(InvalidInput):
        init.spawn(box.ask("true", user="nobody-here"))
    with pytest.raises(Exception, match="cannot be mounted"):
        init.spawn(box.ask("true", sysctls=(("kernel.core_pattern", "|/x"),), mounts=[
            init.rootfs.PlanMount("/proc/x", "bind", "/etc", ())]))  # fmt: skip
    assert box.children() == others
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_childs_reason_wins(box: Box) -> None:
    """The parent's step fails because the child died: the error tells why the child died."""

    def prepare(pid: int) -> None:
        pidfd = process.pidfd_open(pid)
        try:
            assert process.pidfd_wait(pidfd, 60)
        finally:
            os.close(pidfd)
        raise ProcessLookupError(3, "no such process")

    hostile = (("kernel.core_pattern", "|/x"),)
    with pytest.raises(InvalidInput, match="belongs to the whole host"):
        init.spawn(box.ask("true", sysctls=hostile), prepare=prepare)


@pytest.mark.parametrize("after", ["spawn", "go"])
def test_the_child_ends_with_its_parent(box: Box, after: str) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)

            def tell(child: int) -> None:
                os.write(write, b"%d %d" % (child, process.start_time(child) or 0))
                if after == "spawn":
                    os.kill(os.getpid(), signal.SIGKILL)

            init.spawn(box.ask("sleep", "60"), prepare=tell)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.close(write)
    os.waitpid(pid, 0)
    child, start = map(int, os.read(read, 100).split())
    os.close(read)
    pidfd = process.open_process(child, start)
    if pidfd is not None:
        assert process.pidfd_wait(pidfd, 60)
        os.close(pidfd)


def test_network_is_prepared_before_the_command(box: Box) -> None:
    seen = []

    def prepare(pid: int) -> None:
        seen.append(os.readlink(f"/proc/{pid}/ns/net"))

    created = init.spawn(box.ask("sh", "-c", "readlink /proc/self/ns/net"), prepare=prepare)
    box._undo.callback(created.abort)
    started = created.start()
    assert os.read(started.stdout_fd, 100).decode().strip() == seen[0]


def test_a_reaper_as_process_one(box: Box) -> None:
    script = (
        "sh -c 'sleep 0.05 & exit 0'; "
        "while pidof sleep || cat /proc/[0-9]*/stat 2>&1 | grep ' Z '; do :; done >/dev/null; "
        "exit 5"
    )
    result = box.sh(script, init=True)
    assert (result.code, result.out) == (5, "")
    assert box.sh("kill -9 $$", init=True).code == 137
    assert box.sh("echo $$", init=True).out == "2\n"
    assert box.sh("cat /proc/1/comm; cat /proc/1/cmdline", init=True).out.strip("\0") == (
        "onggi-init\nonggi-init"
    )


def test_the_reaper_passes_signals_on(box: Box) -> None:
    script = "trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done"
    running = box.start("sh", "-c", script, init=True)
    running.read_until("up\n")
    process.pidfd_send_signal(running.started.pidfd, signal.SIGTERM)
    assert running.finish().code == 42


def test_the_reaper_has_no_more_rights_than_the_command(box: Box) -> None:
    program = forbid(39)  # getpid
    script = (
        "grep -E '^(Cap(Prm|Eff)|Seccomp):' /proc/1/status; ls /proc/1/fd; readlink /proc/1/exe"
    )
    result = box.sh(script, init=True, seccomp_program=program)
    assert result.out.split()[1::2][:2] == ["00000000a80425fb"] * 2
    assert "Seccomp:\t2" in result.out
    assert result.code == 1  # /proc/1/exe cannot be read
    assert "python" not in result.out


def test_a_command_that_cannot_be_found_with_a_reaper(box: Box) -> None:
    others = box.children()
    with pytest.raises(Exception, match="executable file not found"):
        box.run("nope", init=True)
    assert box.children() == others


CAPSET, SETUID, SETGROUPS, PRCTL, SETSID, DUP2 = 126, 117, 116, 157, 112, 33
x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 numbers")


@x86_64
@pytest.mark.parametrize("user", ["", "1000"])
def test_a_filter_may_forbid_what_set_up_needs(box: Box, user: str) -> None:
    """Loaded without no_new_privs, and still nothing but execve runs under it."""
    program = forbid(CAPSET, SETUID, SETGROUPS, PRCTL, SETSID, DUP2, 119, 105, 106, 272, 161, 293)
    script = "grep -E '^(Cap(Prm|Eff|Bnd)|Seccomp|NoNewPrivs):' /proc/self/status"
    out = box.sh(script, user=user, seccomp_program=program).out
    status = dict(line.split(":\t") for line in out.splitlines())
    full = "00000000a80425fb"
    assert status["CapBnd"] == full  # SYS_ADMIN, which loads the filter, is gone
    assert status["CapPrm"] == status["CapEff"] == ("0" * 16 if user else full)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "0")


@x86_64
def test_a_filter_in_an_exec(box: Box) -> None:
    first = box.start("sleep", "60")
    program = forbid(CAPSET, SETUID, SETGROUPS, PRCTL)
    out = box.enter(first, "grep", "-E", "^(CapPrm|Seccomp):", "/proc/self/status",
                    seccomp_program=program).finish().out  # fmt: skip
    assert out.split() == ["CapPrm:", "00000000a80425fb", "Seccomp:", "2"]


@pytest.mark.sec("A9")
def test_trojans_in_the_image_are_never_run(box: Box, tmp_path: Path) -> None:
    """Python modules, NSS libraries and helpers of the image that would tell if the engine ran
    them: the token is only in our own environment."""
    import sys

    evil = tmp_path / "evil"
    sink = tmp_path / "sink"
    trap = f"import os; open({str(sink)!r}, 'a').write('trojan'); open('/trojan', 'w').close()\n"
    names = ("pwd", "grp", "traceback", "linecache", "socket", "encodings/idna", "encodings/ascii")
    for base in {path for path in sys.path if path.startswith("/") and "/work" not in path}:
        for name in names:
            path = evil / base.lstrip("/") / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trap)
    (evil / "etc").mkdir(exist_ok=True)
    (evil / "etc/nsswitch.conf").write_text("passwd: evil files\n")
    for name in ("mount", "nsenter", "ps", "tar"):
        tool = evil / "usr/bin" / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/sh\ntouch /trojan\necho trojan >> {sink}\n")
        tool.chmod(0o755)
    box.layers = (evil,)
    running = box.start("sleep", "60")
    box.enter(running, "true", user="root").finish()
    for user in ("root", "nobody-here"):
        try:
            box.run("sh", "-c", "ls /trojan", user=user)
        except InvalidInput:
            continue
    assert not sink.exists()
    assert not (box.upper / "trojan").exists()
