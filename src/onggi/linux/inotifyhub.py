"""One inotify instance for all the watches of a program with threads: 200 streams need 200 watches,
a user may have 128 instances. A thread of its own reads it and wakes who watches."""

import os
import select
import struct
import threading

from . import inotify
from .libc import syscall

_EVENT = struct.Struct("iIII")


class Hub:
    """`start` it, then `inotify.share` it. Its thread lives as long as the program."""

    def __init__(self) -> None:
        self._fd = inotify.instance()
        self._lock = threading.Lock()
        self._watchers: dict[int, set[int]] = {}  # by number of the watch
        self._numbers: dict[int, int] = {}  # by watcher

    def start(self) -> None:
        threading.Thread(target=self._run, name="inotify", daemon=True).start()

    def watch(self, path: str) -> int:
        watcher = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with self._lock:
                number = inotify.add(self._fd, path)
                self._watchers.setdefault(number, set()).add(watcher)
                self._numbers[watcher] = number
        except OSError:
            os.close(watcher)
            raise
        return watcher

    def release(self, fd: int) -> bool:
        """False when it is none of ours."""
        with self._lock:
            number = self._numbers.pop(fd, None)
            if number is None:
                return False
            watchers = self._watchers[number]
            watchers.discard(fd)
            if not watchers:
                del self._watchers[number]
                self._forget(number)
            os.close(fd)
        return True

    def _forget(self, number: int) -> None:
        try:
            syscall("inotify_rm_watch", self._fd, number)
        except OSError:
            pass  # the directory has gone, and its watch with it

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            poll.poll()
            try:
                self._tell(os.read(self._fd, 1 << 16))
            except BlockingIOError:
                continue

    def _tell(self, data: bytes) -> None:
        """Wake the watchers of what changed; all of them when the kernel's queue overflowed."""
        numbers = set()
        at = 0
        while at < len(data):
            number, _mask, _cookie, size = _EVENT.unpack_from(data, at)
            numbers.add(number)
            at += _EVENT.size + size
        with self._lock:
            for number in self._watchers.keys() if -1 in numbers else numbers:
                for watcher in self._watchers.get(number, ()):
                    os.eventfd_write(watcher, 1)
