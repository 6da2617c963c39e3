"""ADD of a local archive: its members as members of the new layer, under the destination.

Owns the road from compressed bytes to tar records; extracts nothing on the host. Names are those
that `store.tarindex` lets through, links in the archive are followed inside the root.
"""

import os
import posixpath
from collections import deque
from collections.abc import Iterator

from ..errors import CorruptData, InvalidInput, Unsupported
from ..store import tarindex
from ..store.inflate import ARCHIVE_KINDS, detect, inflate
from ..store.tarwrite import padding
from .target import Attributes, Kind, Target

_PIECE = 256 << 10
_KINDS: dict[bytes, Kind] = {
    tarindex.REGULAR: "file", tarindex.DIRECTORY: "directory", tarindex.SYMLINK: "link",
    tarindex.FIFO: "fifo", tarindex.HARDLINK: "file",
}  # fmt: skip


def unpack(
    fd: int, name: str, base: str, target: Target, owner: tuple[int, int] | None
) -> Iterator[bytes] | None:
    """The pieces of the layer for the archive `fd`; None when it is no archive, as docker decides:
    by whether a first member can be read. Raises InvalidInput for one that breaks later."""
    stream = _Members(_pieces(fd))
    try:
        first = stream.next()
    except (CorruptData, Unsupported):
        first = None
    if first is None:
        os.lseek(fd, 0, os.SEEK_SET)
        return None
    return _unpacked(first, stream, name, base, target, owner)


def _pieces(fd: int) -> Iterator[bytes]:
    """The tar, its first piece record by record: an error after the first member is an error of
    the archive, one before it says that there is no archive."""
    head = os.pread(fd, 6, 0)
    chunks = iter(lambda: os.read(fd, _PIECE), b"")
    pieces = inflate(chunks, kind=detect(head), allow=ARCHIVE_KINDS)
    first = next(pieces, b"")
    for at in range(0, len(first), tarindex.RECORD):
        yield first[at : at + tarindex.RECORD]
    yield from pieces


def _unpacked(
    first: tarindex.TarEntry,
    stream: "_Members",
    name: str,
    base: str,
    target: Target,
    owner: tuple[int, int] | None,
) -> Iterator[bytes]:
    target.directory(base)
    entry: tarindex.TarEntry | None = first
    try:
        while entry is not None:
            if entry.path:
                yield from _member(entry, stream, base, target, owner)
            entry = stream.next()
    except CorruptData as error:
        raise InvalidInput(f"{name}: {error.message}") from error


def _member(
    entry: tarindex.TarEntry,
    stream: "_Members",
    base: str,
    target: Target,
    owner: tuple[int, int] | None,
) -> Iterator[bytes]:
    path = os.fsdecode(entry.path)
    if entry.sparse is not None:
        raise Unsupported(f"ADD: {path[:200]} in the archive is a sparse file")
    parent = target.real(f"{base}/{posixpath.dirname(path)}")
    target.directory(parent, entry.mtime_ns)
    path = f"{parent}/{posixpath.basename(path)}".lstrip("/")
    if entry.kind not in _KINDS:
        raise InvalidInput(f"ADD: {path[:200]} in the archive is a device node")
    kind = _KINDS[entry.kind]
    hard = entry.kind == tarindex.HARDLINK
    link = os.fsdecode(entry.link)
    if hard:
        link = target.real(f"{base}/{link}")
        if target.kind(link) != "file":
            raise InvalidInput(f"ADD: /{path[:200]} in the archive is a link to what is not a file")
    if kind == "directory" and target.kind(path) is None:
        target.fresh.add(path)
    target.require_replaceable(path, kind)
    uid, gid = owner or (entry.uid, entry.gid)
    attributes = Attributes(entry.mode, uid, gid, entry.mtime_ns, entry.xattrs)
    size = entry.size if entry.kind == tarindex.REGULAR else 0
    target.put(path, kind, attributes, size=size, link=link, hard=hard)
    yield target.drain()
    if size:
        yield from stream.data(entry)
        yield padding(size)


class _Members:
    """The members of a tar stream with their data, one after the other, holding no more than the
    piece that is being read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.index = tarindex.TarIndex(require_end=False)
        self.entries: deque[tarindex.TarEntry] = deque()
        self.held = b""
        self.start = 0  # where `held` begins in the tar
        self.ended = False

    def _more(self) -> bool:
        piece = next(self.pieces, b"")
        if not piece:
            self.ended = True
            self.index.finish()
            return False
        self.start += len(self.held)
        self.held = piece
        self.entries.extend(self.index.feed(piece))
        return True

    def next(self) -> tarindex.TarEntry | None:
        while not self.entries:
            if self.ended or not self._more():
                return None
        return self.entries.popleft()

    def data(self, entry: tarindex.TarEntry) -> Iterator[bytes]:
        at, end = entry.data_offset, entry.data_offset + entry.size
        while at < end:
            offset = at - self.start
            piece = self.held[offset : end - self.start] if offset < len(self.held) else b""
            if piece:
                at += len(piece)
                yield piece
            elif not self._more():
                raise CorruptData("the archive ends inside a file")
