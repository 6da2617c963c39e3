"""Waiting for a directory or file to change (inotify(7)), for `logs --follow`, events and OOM."""

import os

from ..typed import Protocol
from .libc import syscall

MODIFY, MOVED_FROM, MOVED_TO, CREATE = 0x2, 0x40, 0x80, 0x100
MASK = MODIFY | MOVED_FROM | MOVED_TO | CREATE


class Shared(Protocol):
    """Many watches of one program over one instance (inotifyhub)."""

    def watch(self, path: str) -> int: ...

    def release(self, fd: int) -> bool: ...


_shared: Shared | None = None


def share(hub: Shared) -> None:
    """From now on watches are the hub's: a user may have 128 instances of inotify."""
    global _shared
    _shared = hub


def watch(path: str) -> int:
    """An fd that becomes readable when a file in the directory `path`, or this file itself, is
    written, made or renamed; to be given back to `release`."""
    if _shared is not None:
        return _shared.watch(path)
    fd = instance()
    try:
        add(fd, path)
    except OSError:
        os.close(fd)
        raise
    return fd


def drain(fd: int) -> None:
    """Throw away what has been announced so far."""
    while True:
        try:
            os.read(fd, 1 << 16)
        except BlockingIOError:
            return


def release(fd: int) -> None:
    if _shared is None or not _shared.release(fd):
        os.close(fd)


def instance() -> int:
    return syscall("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)


def add(fd: int, path: str) -> int:
    """The number of the watch; the same for the same file."""
    return syscall("inotify_add_watch", fd, os.fsencode(path), MASK)
