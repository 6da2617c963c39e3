"""Namespaces: make, join, and clone3 as a fork that returns a pidfd.

Callers are single-threaded (ARCHITECTURE section 3): with a second thread the kernel refuses user
and mount namespaces.
"""

import os
from struct import pack

from ..typed import Literal
from .libc import (
    address,
    after_fork_child,
    after_fork_parent,
    before_fork,
    buffer,
    syscall,
    syscall_once_gil,
)

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x8000
_CLONE_PIDFD = 0x1000
_CLONE_INTO_CGROUP = 0x200000000
_SIGCHLD = 17
_CLONE_ARGS_SIZE = 88

Kind = Literal["mount", "cgroup", "uts", "ipc", "user", "pid", "network", "time"]
FLAGS: dict[str, int] = {  # OCI's names
    "mount": CLONE_NEWNS, "cgroup": CLONE_NEWCGROUP, "uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC,
    "user": CLONE_NEWUSER, "pid": CLONE_NEWPID, "network": CLONE_NEWNET, "time": CLONE_NEWTIME,
}  # fmt: skip
PROC_NAMES: dict[str, str] = {  # the names below /proc/PID/ns
    "mount": "mnt", "cgroup": "cgroup", "uts": "uts", "ipc": "ipc", "user": "user", "pid": "pid",
    "network": "net", "time": "time",
}  # fmt: skip


def unshare(flags: int) -> None:
    syscall("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace(s) behind a namespace file's or a process's descriptor."""
    syscall("setns", fd, flags)


def clone3(flags: int = 0, *, cgroup_fd: int | None = None) -> tuple[int, int]:
    """fork(2) into new namespaces: (pid, pidfd) in the parent, (0, -1) in the child.

    The C library knows nothing of this fork, so the interpreter's own fork hooks are called here;
    the GIL is held throughout. Never pass CLONE_VM, CLONE_VFORK or CLONE_THREAD.
    """
    pidfd = buffer(4)
    flags |= _CLONE_PIDFD
    if cgroup_fd is not None:
        flags |= _CLONE_INTO_CGROUP
    signal = 0 if flags & CLONE_PARENT else _SIGCHLD  # a sibling has the signal of its maker
    arguments = pack("=11Q", flags, address(pidfd), 0, 0, signal, 0, 0, 0, 0, 0, cgroup_fd or 0)
    before_fork()
    pid, code = syscall_once_gil("clone3", arguments, _CLONE_ARGS_SIZE)
    if pid == 0:
        after_fork_child()
        return 0, -1
    after_fork_parent()
    if pid < 0:
        raise OSError(code, f"clone3: {os.strerror(code)}")
    return pid, int.from_bytes(bytes(pidfd), "little")


def sethostname(name: str) -> None:
    raw = name.encode()
    syscall("sethostname", raw, len(raw))


def setdomainname(name: str) -> None:
    raw = name.encode()
    syscall("setdomainname", raw, len(raw))
