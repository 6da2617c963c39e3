"""A tar archive in a file of ours: its members, and the text of one of them."""

import os
import posixpath

from ...dockerfile.lexer import MAX_FILE_BYTES
from ...errors import InvalidInput
from ...store import tarindex

_PIECE = 256 << 10
_MAX_LINKS = 40


def members(fd: int) -> list[tarindex.TarEntry]:
    """Raises CorruptData."""
    index = tarindex.TarIndex(devices=True)
    found: list[tarindex.TarEntry] = []
    at = 0
    while data := os.pread(fd, _PIECE, at):
        found += index.feed(data)
        at += len(data)
    index.finish()
    return found


def text_of(fd: int, path: str) -> bytes | None:
    """What the file holds, links followed inside the archive; None when it has none. Raises
    InvalidInput for one that is too large."""
    by_path = {entry.path: entry for entry in members(fd)}
    wanted = posixpath.normpath("/" + path).strip("/")
    for _ in range(_MAX_LINKS):
        entry = by_path.get(os.fsencode(wanted))
        if entry is None:
            return None
        target = os.fsdecode(entry.link)
        if entry.kind == tarindex.SYMLINK:
            wanted = posixpath.normpath(
                posixpath.join("/", posixpath.dirname(wanted), target)
            ).strip("/")
        elif entry.kind == tarindex.HARDLINK:
            wanted = target
        elif entry.kind != tarindex.REGULAR:
            raise InvalidInput(f"failed to read dockerfile: {path} is no file")
        elif entry.size > MAX_FILE_BYTES:
            raise InvalidInput(
                f"failed to read dockerfile: {path} is larger than {MAX_FILE_BYTES >> 20} MiB"
            )
        else:
            return os.pread(fd, entry.size, entry.data_offset)
    raise InvalidInput(f"failed to read dockerfile: {path}: too many levels of symbolic links")
