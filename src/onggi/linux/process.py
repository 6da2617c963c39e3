"""Processes by pidfd, never by a bare number: a pid can be reused between look and act.

Owns pidfds, process identity (pid plus start time), prctl, and the descriptor sweep before exec.
"""

import errno
import os
import select
from struct import pack

from .libc import address, buffer, syscall

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 3, 4, 8
PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 15, 36, 38
_CLOSE_RANGE_CLOEXEC = 4
_IOPRIO_WHO_PROCESS = 1
_KEYCTL_JOIN_SESSION_KEYRING = 1


def pidfd_open(pid: int) -> int:
    return syscall("pidfd_open", pid, 0)


def pidfd_send_signal(pidfd: int, signal_number: int) -> None:
    """Raises ProcessLookupError when the process is gone."""
    syscall("pidfd_send_signal", pidfd, signal_number, None, 0)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A copy of another process's descriptor."""
    return syscall("pidfd_getfd", pidfd, number, 0)


def pidfd_alive(pidfd: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    return not wait_readable(pidfd, 0)


def pidfd_wait(pidfd: int, timeout_s: float | None = None) -> bool:
    """Wait for the end of a process; False when `timeout_s` passed first. Reaps nothing."""
    return wait_readable(pidfd, timeout_s)


def wait_readable(fd: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which the process started (field 22 of stat); None when gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def same_process(pid: int, start: int) -> bool:
    """Whether `pid` is still the running process that started at `start`. A zombie is not."""
    fields = _stat(pid) if pid > 0 else []
    return bool(fields) and int(fields[19]) == start and fields[0] not in (b"Z", b"X")


def _stat(pid: int | str) -> list[bytes]:
    """The fields after the command name: [0] is the state, [19] the start time."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return os.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return []
    finally:
        os.close(fd)


def neighbours(pid: int) -> list[int]:
    """The processes in the pid namespace of that one, itself included; [] when it is gone."""
    try:
        wanted = os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == wanted:
                found.append(int(name))
        except OSError:
            continue  # it has ended, or is not ours to look at
    return found


def children(pid: int) -> list[int]:
    """Its own, the oldest first; [] when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    """All below it."""
    below = children(pid)
    return [found for child in below for found in (child, *descendants(child))]


def open_root(pid: int, start: int) -> int | None:
    """The root directory as that very process sees it (O_PATH); None when it has ended."""
    pidfd = open_process(pid, start)
    if pidfd is None:
        return None
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        root = os.open(f"/proc/{pid}/root", flags)
        if pidfd_alive(pidfd):
            return root
        os.close(root)
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(pidfd)
    return None


def open_process(pid: int, start: int) -> int | None:
    """A pidfd of exactly the process that started at `start`, else None. The pidfd is opened first:
    while we hold it the number cannot come to mean another process unseen."""
    if pid <= 0:
        return None
    try:
        pidfd = pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise
    if same_process(pid, start):
        return pidfd
    os.close(pidfd)
    return None


def boot_id() -> str:
    """The kernel's name of this boot, which no process outlives."""
    if not _boot_id:
        fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _boot_id.append(os.read(fd, 64).decode("ascii").strip())
        finally:
            os.close(fd)
    return _boot_id[0]


_boot_id: list[str] = []


def set_subreaper(on: bool = True) -> None:
    syscall("prctl", PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def set_dumpable(on: bool) -> None:
    """Off: nobody without CAP_SYS_PTRACE may trace us or open our /proc/self/{exe,fd,mem}."""
    syscall("prctl", PR_SET_DUMPABLE, int(on), 0, 0, 0)


def set_no_new_privileges() -> None:
    syscall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_parent_death_signal(signal_number: int) -> None:
    syscall("prctl", PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def set_keep_capabilities(on: bool) -> None:
    """Whether the permitted capabilities survive leaving uid 0."""
    syscall("prctl", PR_SET_KEEPCAPS, int(on), 0, 0, 0)


def set_title(title: str) -> None:
    """What ps shows of us, written over our own arguments: those of a forked process are its
    parent's. Reads /proc/self, so call it while that is the host's."""
    raw = title.encode()
    syscall("prctl", PR_SET_NAME, raw[:15] + b"\0", 0, 0, 0)
    start, end = (int(field) for field in _stat("self")[45:47])
    line = buffer(raw[: end - start - 1].ljust(end - start, b"\0"))
    here, there = (pack("=QQ", at, end - start) for at in (address(line), start))
    syscall("process_vm_writev", os.getpid(), here, 1, there, 1, 0)


def set_scheduler(
    policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2) on ourselves; the last three are nanoseconds of SCHED_DEADLINE."""
    size = 48
    attributes = pack("=IIQiIQQQ", size, policy, flags, nice, priority, runtime, deadline, period)
    syscall("sched_setattr", 0, attributes, 0)


def set_io_priority(io_class: int, level: int) -> None:
    syscall("ioprio_set", _IOPRIO_WHO_PROCESS, 0, io_class << 13 | level)


def set_personality(domain: int) -> None:
    syscall("personality", domain)


def close_range_cloexec(first: int) -> None:
    """Mark every descriptor from `first` on close-on-exec."""
    syscall("close_range", first, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every descriptor from `first` to `last`."""
    if first <= last:
        syscall("close_range", first, last, 0)


def join_new_session_keyring() -> None:
    """An empty session keyring; a kernel or sandbox without keyrings is no error."""
    try:
        syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT, errno.EACCES):
            raise
