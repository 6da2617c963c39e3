"""Waiting for a directory or file to change (inotify(7)), for `logs --follow`, events and OOM."""

import os

from .libc import syscall

MODIFY, MOVED_FROM, MOVED_TO, CREATE = 0x2, 0x40, 0x80, 0x100


def watch(directory: str) -> int:
    """An fd that becomes readable when a file in `directory`, or this file itself, is written, made
    or renamed."""
    fd = syscall("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mask = MODIFY | MOVED_FROM | MOVED_TO | CREATE
        syscall("inotify_add_watch", fd, os.fsencode(directory), mask)
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
