"""What COPY and ADD would copy, and the digest of it.

Owns the reading for the cache key; writing the layer, on a miss, is for `copying`. Times are no
part of a digest.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterator

from ..dockerfile.ignore import IgnoreRules
from ..dockerfile.ignore import parse as parse_ignore
from ..typed import NamedTuple
from .context import Entry, Tree, Xattrs, xattrs_of
from .graph import CopyOp, canonical

_PIECE = 256 << 10


class Item(NamedTuple):
    """One thing to copy. `below` is its path under the source, "" for the source itself; `link` is
    where an earlier name of the same file is, below the source."""

    below: str
    entry: Entry
    digest: str = ""
    xattrs: Xattrs = ()
    link: str | None = None


class SourceTree(NamedTuple):
    """What one source names: `name` is the last part of what was written, or with --parents all of
    it that is kept, `parents` the directories on the way."""

    name: str
    tree: Tree
    items: tuple[Item, ...]
    parents: tuple[Item, ...] = ()


def gather(operation: CopyOp, tree: Tree) -> list[SourceTree]:
    """Every source with all below it, contents hashed. Raises InvalidInput, NotFound."""
    excludes = parse_ignore("\n".join(operation.excludes).encode("utf-8", "surrogateescape"))
    found: list[SourceTree] = []
    for source in operation.sources:
        for path in tree.find(source, double_star=operation.parents):
            real = tree.resolve(path)
            if real is None:
                raise tree.missing(source, path)
            items = tuple(_items(tree, real, excludes))
            name = posixpath.basename(path)
            parents: tuple[Item, ...] = ()
            if operation.parents:
                name = _kept(source, path)
                parents = tuple(_parents(tree, path, name))
            found.append(SourceTree(name, tree, items, parents))
    return found


def _kept(source: str, path: str) -> str:
    """The part of `path` that --parents keeps: all, or what is behind a `/./` in the source."""
    before, pivot, _ = source.partition("/./")
    dropped = len([part for part in before.split("/") if part not in ("", ".")]) if pivot else 0
    return "/".join(path.split("/")[dropped:])


def _parents(tree: Tree, path: str, kept: str) -> Iterator[Item]:
    """The directories above the source, as they are there."""
    above = path[: len(path) - len(kept)]
    parts = kept.split("/")
    for size in range(1, len(parts)):
        below = "/".join(parts[:size])
        real = tree.resolve(above + below)
        entry = next(tree.walk(real), None) if real is not None else None
        if entry is not None:
            yield Item(below, entry)


def _items(tree: Tree, top: str, excludes: IgnoreRules) -> Iterator[Item]:
    links: dict[tuple[int, int], str] = {}
    for entry in tree.walk(top):
        below = entry.path[len(top) :].lstrip("/") if entry.path != top else ""
        if below and excludes.why(below) is not None:
            continue
        first = links.setdefault(entry.inode, below) if entry.inode != (0, 0) else below
        if tree.rooted and first != below:
            yield Item(below, entry, link=first)
        elif entry.kind == "file":
            fd = tree.open(entry.path)
            try:
                yield Item(below, entry, _hash(fd, entry), xattrs_of(fd))
            finally:
                os.close(fd)
        else:
            yield Item(below, entry)


def _hash(fd: int, entry: Entry) -> str:
    digest = hashlib.sha256()
    while data := os.read(fd, _PIECE):
        digest.update(data)
    return digest.hexdigest()


def manifest_digest(operation: CopyOp, sources: list[SourceTree]) -> str:
    """One digest for everything the layer is made of but times, names in the context, and what
    --chown and --chmod replace anyway."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(canonical(["source", source.name]))
        for item in source.parents:
            digest.update(canonical(["parent", item.below, f"{item.entry.mode:o}"]))
        keep_owner = source.tree.rooted and not operation.chown
        for below, entry, content, xattrs, link in source.items:
            mode = operation.chmod or f"{entry.mode:o}"
            owner = (entry.uid, entry.gid) if keep_owner else ()
            attributes = [(os.fsdecode(name), value.hex()) for name, value in xattrs]
            line = [below, entry.kind, mode, owner, content or entry.target, attributes, link]
            digest.update(canonical(line))
    return digest.hexdigest()
