"""Temporary directories inside the store, on its file system, that a sweep can tell from garbage.

A name tells its process; what dead processes left is removed by `sweep`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..linux import process, safefs
from .durable import make_directory


class Scratch:
    def __init__(self, root: str) -> None:
        self._path = f"{root}/tmp"  # noqa: S108 - not the world-writable one

    @contextmanager
    def directory(self) -> Iterator[str]:
        """A fresh directory, removed at the end unless it was renamed away."""
        make_directory(self._path)
        pid = os.getpid()
        name = f"{pid}.{process.start_time(pid)}.{os.urandom(6).hex()}"
        os.mkdir(f"{self._path}/{name}", 0o700)
        try:
            yield f"{self._path}/{name}"
        finally:
            self._remove(name)

    def sweep(self) -> int:
        """Remove what no living process owns; how many directories that were."""
        try:
            names = os.listdir(self._path)
        except FileNotFoundError:
            return 0
        dead = [name for name in names if not _alive(name)]
        for name in dead:
            self._remove(name)
        return len(dead)

    def _remove(self, name: str) -> None:
        parent = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            safefs.remove_tree(parent, name)
        finally:
            os.close(parent)


def _alive(name: str) -> bool:
    pid, _, rest = name.partition(".")
    start = rest.partition(".")[0]
    return pid.isdecimal() and start.isdecimal() and process.same_process(int(pid), int(start))
