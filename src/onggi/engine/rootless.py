"""Entering the user namespace of an unprivileged user: the engine then runs in it as root.

One namespace for each run directory, since what runs in one cannot be joined from another. A small
process holds it; RUN/namespace says which. When the holder was killed, whatever still runs in the
namespace leads back to it.

    command ──flock RUN/namespace──> holder lives? ── no ──> a container lives? ── no ──> make one
       setns(user), unshare(mount), execve of ourselves: from here on all is as for root
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Forbidden, Unavailable
from ..linux import idmap, namespace, process, tools, userns
from ..typed import NoReturn
from . import subids
from .tier import check_owner

TITLE = "onggi: keeps the user namespace"


def enter(root: str, run: str) -> None:
    """Become root of the user's namespace. Raises Unavailable with the reason when the kernel or
    its administrator does not let us, Forbidden when the directories are another user's."""
    for path in (root, run):
        os.makedirs(path, 0o700, exist_ok=True)
        check_owner(path)
        if os.lstat(path).st_uid not in (0, os.geteuid()):
            raise Forbidden(f"{path} is another user's link: who owns it says where it leads")
    with _locked(f"{run}/namespace") as record:
        fd = _held(record)
        if fd is None:
            fd = _survivors(root, run)
            _record(record, _hold(fd) if fd is not None else _make())
            fd = fd if fd is not None else _held(record)
    if fd is None:
        raise Unavailable("the process that keeps the user namespace has died at once")
    userns.join(fd)
    os.close(fd)


@contextmanager
def _locked(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _record(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{pid} {process.start_time(pid) or 0}\n".encode(), 0)


def _held(record: int) -> int | None:
    """The namespace of the recorded holder."""
    words = os.pread(record, 64, 0).split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return _namespace_of(int(words[0]), int(words[1]))


def _namespace_of(pid: int, start: int) -> int | None:
    """The user namespace of that very process, when it is one that we made."""
    pidfd = process.open_process(pid, start)
    if pidfd is None:
        return None
    try:
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(pidfd)
    ours = os.stat("/proc/self/ns/user").st_ino
    if os.fstat(fd).st_ino != ours and userns.owner(fd) == os.geteuid():
        return fd
    os.close(fd)
    return None


def _survivors(root: str, run: str) -> int | None:
    """The namespace of a container that outlived the holder."""
    if not os.path.exists(f"{root}/onggi.db"):
        return None
    from ..store.store import Store

    store = Store(root, run)
    try:
        states = [container.state for container in store.containers.list(all=True, purpose=None)]
    finally:
        store.close()
    for state in states:
        for pid, start in (
            (state.monitor_pid, state.monitor_start),
            (state.pid, state.pid_start),
        ):
            fd = _namespace_of(pid, start)
            if fd is not None:
                return fd
    return None


def _make() -> int:
    """A new namespace with as many ids as there are; the pid of its holder."""
    try:
        pid, pidfd, write = _clone(namespace.CLONE_NEWUSER, -1)
    except OSError as error:
        raise Unavailable(f"user namespaces are not allowed: {error.strerror}") from error
    try:
        idmap.write_maps(pid, *maps())
        if not _tell(write):
            raise Unavailable("the user namespace has no rights: the administrator limits it")
    except BaseException as error:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        if isinstance(error, OSError):
            raise Unavailable(f"the user namespace takes no ids: {error.strerror}") from error
        raise
    finally:
        os.close(write)
        os.close(pidfd)
    return pid


def _hold(fd: int) -> int:
    """A new holder of a namespace that lives."""
    pid, pidfd, write = _clone(0, fd)
    try:
        _tell(write)
    finally:
        os.close(write)
        os.close(pidfd)
    return pid


def _tell(channel: int) -> bool:
    """Let the holder go on; whether it has the rights of a root."""
    os.write(channel, b"+")
    import _socket

    answer = _socket.socket(fileno=os.dup(channel))
    try:
        return answer.recv(1) == b"+"
    finally:
        answer.close()


def _clone(flags: int, join: int) -> tuple[int, int, int]:
    """The holder: its pid, a pidfd, a channel. It waits for a byte, answers one, and then does
    nothing for ever."""
    import _socket

    kind = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC
    mine, theirs = _socket.socketpair(_socket.AF_UNIX, kind)
    pid, pidfd = namespace.clone3(flags)
    if pid == 0:
        _be_holder(theirs.detach(), join)
    theirs.close()
    return pid, pidfd, mine.detach()


def _be_holder(channel: int, join: int) -> None:
    """Never returns."""
    try:
        if join >= 0:
            namespace.setns(join, namespace.CLONE_NEWUSER)
        os.setsid()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        process.close_range(3, channel - 1)
        process.close_range(channel + 1)
        if os.read(channel, 1):
            namespace.unshare(namespace.CLONE_NEWNS)  # what a restricted namespace may not
            os.write(channel, b"+")
            os.close(channel)
            hold(TITLE)
    finally:
        os._exit(1)


def hold(title: str) -> NoReturn:
    """Do nothing until a signal ends us: in 0.1 MB, where a program can be executed from memory."""
    from ..linux import pause

    process.set_title(title)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        fd = os.memfd_create("onggi")
        os.write(fd, pause.program())
        os.execve(fd, [title], {})  # noqa: S606 - a program of ours
    except OSError:
        pass
    while True:
        signal.pause()


def maps() -> tuple[subids.Map, subids.Map]:
    """What our namespace maps: every id of ours for a root without rights, subordinate ids where
    there are some and the tools to map them, else our one id."""
    if os.geteuid() == 0:
        own = (userns.own_map(kind) for kind in ("uid", "gid"))
        every_uid, every_gid = (tuple((i, i, n) for i, _, n in rows) for rows in own)
        return every_uid, every_gid
    uids, gids = subordinate(os.geteuid())
    if not (uids and gids and have_tools()):
        uids = gids = ()
    return subids.mapping(os.geteuid(), uids), subids.mapping(os.getegid(), gids)


def subordinate(number: int) -> tuple[subids.Ranges, subids.Ranges]:
    """What /etc/subuid and /etc/subgid give to that user."""
    user = user_name(number)
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.append(subids.ranges(file.read(), user, number))
        except FileNotFoundError:
            found.append(())
    return found[0], found[1]


def have_tools() -> bool:
    try:
        return bool(tools.find("newuidmap") and tools.find("newgidmap"))
    except Unavailable:
        return False


def user_name(number: int) -> str:
    """ "" for a number without an account."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""
