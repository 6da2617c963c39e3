"""A build context as the tar that an engine elsewhere is sent: docker's classic builder's.

Owns what goes in: the files that the ignore rules leave, and always the Dockerfile and the ignore
file, without which the engine could not know what to do with the rest.
"""

import os
import zlib
from collections.abc import Iterable, Iterator

from ..store import tarwrite
from ..store.tarindex import DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK
from . import inputs
from .context import Entry, Tree, xattrs_of

PIECE = 256 << 10
_GZIP = 31  # zlib's number for its format


def packed(path: str, dockerfile: str, text: bytes | None, outside: str) -> Iterator[bytes]:
    """The folder `path`. `dockerfile` is a path in it; unless `text` is the Dockerfile, which is
    then sent under the name `dockerfile` and hidden from COPY, with the rules of `outside`, the
    path that it has on this machine ("" for none)."""
    with inputs.context(path, inputs.NO_RULES) as tree:
        if text is None:
            tree.rules = inputs.read_rules(tree, dockerfile, local=False)
            hidden = [name for name in _needed(dockerfile) if _is_hidden(tree, name)]
            for name in hidden:
                yield from _although_ignored(tree, name)
            yield from _entries(tree)
        else:
            tree.rules = inputs.read_rules(tree, outside, local=True)
            yield from _sent_along(tree, dockerfile, text)
            yield from _entries(tree, skip=inputs.IGNORE_NAME)
    yield tarwrite.END_OF_ARCHIVE


def only_dockerfile(text: bytes) -> Iterator[bytes]:
    """A context of nothing else."""
    yield from _file(inputs.DEFAULT_NAME, text)
    yield tarwrite.END_OF_ARCHIVE


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(wbits=_GZIP)
    for piece in pieces:
        if data := squeeze.compress(piece):
            yield data
    yield squeeze.flush()


def _needed(dockerfile: str) -> tuple[str, ...]:
    return dockerfile, f"{dockerfile}{inputs.IGNORE_NAME}", inputs.IGNORE_NAME


def _is_hidden(tree: Tree, name: str) -> bool:
    return not tree.visible(name) and tree.look(name) is not None


def _sent_along(tree: Tree, name: str, text: bytes) -> Iterator[bytes]:
    """A Dockerfile that is not in the context, and rules that hide it and themselves."""
    rules = "".join(f"{rule.text}\n" for rule in tree.rules.rules)
    rules += f"{inputs.IGNORE_NAME}\n{name}\n"
    yield from _file(name, text)
    yield from _file(inputs.IGNORE_NAME, rules.encode("utf-8", "surrogateescape"))


def _file(name: str, text: bytes) -> Iterator[bytes]:
    yield tarwrite.header(os.fsencode(name), REGULAR, mode=0o600, size=len(text))
    yield text + tarwrite.padding(len(text))


def _entries(tree: Tree, *, skip: str = "") -> Iterator[bytes]:
    """All that is not ignored."""
    links: dict[tuple[int, int], bytes] = {}
    for entry in tree.walk(""):
        if entry.path not in ("", skip):
            yield from _member(tree, entry, links)


def _although_ignored(tree: Tree, path: str) -> Iterator[bytes]:
    rules, tree.rules = tree.rules, inputs.NO_RULES
    found = list(tree.walk(path))
    tree.rules = rules
    for entry in found:
        yield from _member(tree, entry, {})


def _member(tree: Tree, entry: Entry, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    path, mode, when = os.fsencode(entry.path), entry.mode, entry.mtime_ns
    match entry.kind:
        case "directory":
            yield tarwrite.header(path + b"/", DIRECTORY, mode=mode, mtime_ns=when)
        case "link":
            target = os.fsencode(entry.target)
            yield tarwrite.header(path, SYMLINK, mode=0o777, mtime_ns=when, link=target)
        case "fifo":
            yield tarwrite.header(path, FIFO, mode=mode, mtime_ns=when)
        case "file" if entry.inode in links:
            first = links[entry.inode]
            yield tarwrite.header(path, HARDLINK, mode=mode, mtime_ns=when, link=first)
        case "file":
            if entry.inode != (0, 0):
                links[entry.inode] = path
            yield from _contents(tree, entry)


def _contents(tree: Tree, entry: Entry) -> Iterator[bytes]:
    """A file that shrinks meanwhile is padded, one that grows is cut: the archive stays whole."""
    with open(tree.open(entry.path), "rb", buffering=0) as file:
        yield tarwrite.header(
            os.fsencode(entry.path), REGULAR, mode=entry.mode, size=entry.size,
            mtime_ns=entry.mtime_ns, xattrs=xattrs_of(file.fileno()),
        )  # fmt: skip
        left = entry.size
        while left:
            data = file.read(min(left, PIECE)) or bytes(min(left, PIECE))
            left -= len(data)
            yield data
    yield tarwrite.padding(entry.size)
