"""The program that holds a pod's namespaces."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.linux import namespace, pause

pytestmark = pytest.mark.root
MOST_PRIVATE_KB = 64


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """It, as process 1 of a pid namespace."""
    program = tmp_path / "pause"
    program.write_bytes(pause.program())
    program.chmod(0o755)
    read, write = os.pipe()  # closed by its execve
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWPID)
    if pid == 0:
        os.execv(program, ["pause"])
    os.close(write)
    assert os.read(read, 1) == b""
    yield pid
    os.close(read)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)


def wait_until_asleep(pid: int) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["State"].startswith("S") and int(fields["SigIgn"], 16) & 1 << signal.SIGCHLD - 1:
            return fields
        assert time.monotonic() < deadline, status


def test_it_costs_nearly_nothing(holder: int) -> None:
    wait_until_asleep(holder)
    rows = Path(f"/proc/{holder}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(rest.split()[0]) for name, _, rest in (row.partition(":") for row in rows)}
    assert sizes["Private_Dirty"] + sizes["Private_Clean"] < MOST_PRIVATE_KB
    assert all("w" not in line.split()[1] or "x" not in line.split()[1]
               for line in Path(f"/proc/{holder}/maps").read_text().splitlines())  # fmt: skip


def test_it_leaves_no_zombies(holder: int) -> None:
    """What is orphaned in its namespace is its child, and gone when it ends."""
    wait_until_asleep(holder)
    ready, told = os.pipe()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    theirs = os.open(f"/proc/{holder}/ns/pid", os.O_RDONLY)
    namespace.setns(theirs, namespace.CLONE_NEWPID)
    parent = os.fork()
    if parent == 0:
        try:
            os.fork()  # its parent ends, so that it is the holder's child
        finally:
            os._exit(0)
    namespace.setns(own, namespace.CLONE_NEWPID)
    os.close(told)
    os.waitpid(parent, 0)
    assert os.read(ready, 1) == b""  # both have ended
    deadline = time.monotonic() + 60
    while children := Path(f"/proc/{holder}/task/{holder}/children").read_text().split():
        assert time.monotonic() < deadline, children
    for fd in (ready, own, theirs):
        os.close(fd)


def test_it_hears_nothing_but_kill(holder: int) -> None:
    wait_until_asleep(holder)
    os.kill(holder, signal.SIGTERM)
    assert wait_until_asleep(holder)["State"].startswith("S")


def test_a_machine_without_code_is_named() -> None:
    with pytest.raises(OSError, match="no program to hold a pod's namespaces on sparc"):
        pause.program("sparc")
    assert pause.program("aarch64") != pause.program("x86_64")
