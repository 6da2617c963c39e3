"""Layers that have come in part: kept by name, so that the next try goes on where one stopped.

One process at a time adds to a layer; another waits for it. What nobody has touched for a day is
garbage (`gc`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..spec.digest import Digest
from .durable import make_directory, write_all

DIRECTORY = "partial"
KEEP_S = 86400.0
_PIECE = 1 << 20


class Partial:
    """The first bytes of a layer's tar."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self.size_bytes = os.fstat(fd).st_size

    def append(self, data: bytes) -> None:
        """Raises Unavailable when the disk is full."""
        write_all(self._fd, data)
        self.size_bytes += len(data)

    def pieces(self) -> Iterator[bytes]:
        """All of it, from the first byte."""
        offset = 0
        while piece := os.pread(self._fd, _PIECE, offset):
            offset += len(piece)
            yield piece

    def restart(self) -> None:
        """What came is worth nothing."""
        os.ftruncate(self._fd, 0)
        self.size_bytes = 0

    def remove(self) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass


@contextmanager
def partial(root: str, diff_id: Digest) -> Iterator[Partial]:
    """Ours alone while the block lasts."""
    directory = make_directory(f"{root}/{DIRECTORY}")
    path = f"{directory}/{diff_id.algorithm}-{diff_id.hex}"
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(fd)):
                yield Partial(fd, path)
                return
        finally:
            os.close(fd)  # removed while we waited: make it anew
