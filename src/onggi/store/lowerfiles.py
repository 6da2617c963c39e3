"""Files of the layers below, for hard links that name them: found in a mount of those layers."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..linux import mount, safefs
from ..spec.mount import LayerMount, RootFilesystem
from .layertree import LowerFile, ResolveLower
from .tarindex import FIFO, REGULAR, SYMLINK

_KINDS = {stat.S_IFREG: REGULAR, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO}


@contextmanager
def resolver(lowers: Sequence[LayerMount]) -> Iterator[ResolveLower]:
    """Looks up paths in the union of `lowers`, bottom first; no path leaves it."""
    if not lowers:
        yield lambda path: None
        return
    root = mount.mount_overlay(RootFilesystem(tuple(lowers), "", ""), read_only=True)
    try:
        yield lambda path: _find(root, path)
    finally:
        os.close(root)


def _find(root: int, path: bytes) -> LowerFile | None:
    try:
        fd = safefs.open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(fd)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        link = os.readlink(b"", dir_fd=fd) if kind == SYMLINK else b""
    finally:
        os.close(fd)
    return LowerFile(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind == REGULAR else 0,
        xattrs=_attributes(root, path) if kind == REGULAR else (),
        link=link,
        read=lambda offset, size: _read(root, path, offset, size),
    )


def _attributes(root: int, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
    fd = safefs.open_beneath(root, path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        names = sorted(os.fsencode(name) for name in os.listxattr(fd))
        kept = [n for n in names if n.startswith(b"user.") or n == b"security.capability"]
        return tuple((name, os.getxattr(fd, name)) for name in kept)
    finally:
        os.close(fd)


def _read(root: int, path: bytes, offset: int, size: int) -> bytes:
    fd = safefs.open_beneath(root, path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        pieces = []
        while size and (piece := os.pread(fd, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)
