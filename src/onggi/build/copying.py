"""The layer that COPY or ADD makes, as a tar stream, without a container.

Owns the second reading of the sources. A file that changed since its digest was taken is an error,
so that a cache key never names other bytes.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterator

from ..dockerfile import modes
from ..errors import InvalidInput
from ..store.tarwrite import END_OF_ARCHIVE, padding
from ..typed import NamedTuple
from .context import Entry, Tree, Xattrs
from .graph import CopyOp
from .sources import Item, SourceTree
from .target import EARLIEST_NS, Attributes, Target

_PIECE = 256 << 10


class Owner(NamedTuple):
    uid: int
    gid: int


def layer_pieces(
    operation: CopyOp, sources: list[SourceTree], target: Target, owner: Owner | None
) -> Iterator[bytes]:
    """The layer's tar. `owner` is what --chown says. Raises InvalidInput for a destination that
    cannot be, or a source that changed."""
    count = len(sources) + len(operation.inline)
    writer = _Writer(operation, target, owner)
    for source in sources:
        yield from writer.source(source, several=count > 1)
    for document in operation.inline:
        path = writer.place(document.name, several=count > 1)
        data = document.text.encode("utf-8", "surrogateescape")
        target.put(path, "file", writer.document(), size=len(data))
        yield target.drain() + data + padding(len(data))
    yield target.drain() + END_OF_ARCHIVE


class _Writer:
    def __init__(self, operation: CopyOp, target: Target, owner: Owner | None) -> None:
        self.operation = operation
        self.target = target
        self.owner = owner
        self.chmod = modes.parse(operation.chmod) if operation.chmod else None

    def document(self) -> Attributes:
        """Of a heredoc."""
        mode = self.mode(0o644, directory=False)
        return Attributes(mode, *(self.owner or Owner(0, 0)), EARLIEST_NS)

    def mode(self, mode: int, *, directory: bool) -> int:
        return mode if self.chmod is None else modes.changed(self.chmod, mode, directory=directory)

    def of_entry(self, entry: Entry, xattrs: Xattrs, rooted: bool) -> Attributes:
        owner = Owner(entry.uid, entry.gid) if rooted else Owner(0, 0)
        mode = self.mode(entry.mode, directory=entry.kind == "directory")
        return Attributes(mode, *(self.owner or owner), entry.mtime_ns, xattrs)

    def place(self, name: str, *, several: bool, mtime_ns: int = EARLIEST_NS) -> str:
        """Where a single file goes: into a directory that is there or asked for, else to exactly
        the destination."""
        wanted = self.operation.destination
        base = self.target.real(wanted)
        if wanted.endswith("/"):
            self.target.directory(base, mtime_ns)
        if self.target.kind(base) == "directory":
            base = f"{base}/{name}".lstrip("/")
        elif several:
            raise InvalidInput(
                "When using COPY with more than one source file, the destination must be a "
                f"directory and end with a /: {wanted}"
            )
        self.target.directory(posixpath.dirname(base), mtime_ns)
        self.target.require_replaceable(base, "file")
        return base

    def source(self, source: SourceTree, *, several: bool) -> Iterator[bytes]:
        if self.operation.parents:
            yield from self.with_parents(source)
            return
        top = source.items[0]
        if top.entry.kind == "directory":
            yield from self.directory(source)
            return
        if self.operation.unpack and top.entry.kind == "file":
            from .unpack import unpack

            fd = source.tree.open(top.entry.path)
            try:
                base = self.target.real(self.operation.destination)
                pieces = unpack(fd, top.entry.path, base, self.target, self.owner)
                if pieces is not None:
                    yield from pieces
                    return
            finally:
                os.close(fd)
        path = self.place(source.name, several=several, mtime_ns=top.entry.mtime_ns)
        yield from self.item(source, top, path, path)

    def with_parents(self, source: SourceTree) -> Iterator[bytes]:
        """The source under its own path, with the directories above it as they are there."""
        base = self.target.real(self.operation.destination)
        self.target.directory(base)
        for item in (*source.parents, *source.items):
            name = item.below if item in source.parents else f"{source.name}/{item.below}"
            path = self.target.real(f"{base}/{name}").lstrip("/")
            if path in self.target.made and item.entry.kind == "directory":
                continue
            self.target.require_replaceable(path, item.entry.kind)
            yield from self.item(source, item, path, f"{base}/{source.name}")

    def directory(self, source: SourceTree) -> Iterator[bytes]:
        """The contents, merged into the destination. The destination itself keeps its mode."""
        base = self.target.real(self.operation.destination)
        self.target.directory(base, source.items[0].entry.mtime_ns)
        for item in source.items[1:]:
            path = f"{base}/{item.below}".lstrip("/")
            self.target.require_replaceable(path, item.entry.kind)
            yield from self.item(source, item, path, base)

    def item(self, source: SourceTree, item: Item, path: str, base: str) -> Iterator[bytes]:
        """One member. `base` is where the source's own path went."""
        entry, target = item.entry, self.target
        attributes = self.of_entry(entry, item.xattrs, source.tree.rooted)
        if item.link is not None:
            first = f"{base}/{item.link}".strip("/")
            target.put(path, "file", attributes._replace(xattrs=()), link=first, hard=True)
        elif entry.kind == "file":
            target.put(path, "file", attributes, size=entry.size)
            yield from self.content(source.tree, item)
            return
        else:
            if entry.kind == "directory" and target.kind(path) is None:
                target.fresh.add(path)
            target.put(path, entry.kind, attributes, link=entry.target)
        yield target.drain()

    def content(self, tree: Tree, item: Item) -> Iterator[bytes]:
        entry = item.entry
        digest = hashlib.sha256()
        fd = tree.open(entry.path)
        head, left = self.target.drain(), entry.size
        try:
            while data := os.read(fd, _PIECE):
                digest.update(data)
                left -= len(data)
                if left < 0:
                    break
                yield head + data
                head = b""
        finally:
            os.close(fd)
        if left or digest.hexdigest() != item.digest:
            raise InvalidInput(f"{entry.path} in {tree.label} changed while it was copied")
        yield head + padding(entry.size)
