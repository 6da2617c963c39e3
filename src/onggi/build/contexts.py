"""What a build can start from beside a folder: an archive or Dockerfile on stdin, a URL, a git
repository; and the named contexts.

An archive is stored as a layer and mounted, never unpacked: no name in it is a name of the host
(SECURITY D5).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain

from ..dockerfile import address
from ..engine.engine import Engine
from ..errors import InvalidInput
from ..store import tarindex
from ..store.inflate import ARCHIVE_KINDS, PLAIN, detect, inflate
from ..store.tarwrite import END_OF_ARCHIVE, padding
from ..typed import NamedTuple
from . import inputs
from .cache import Cache, Layers
from .context import Tree
from .graph import CONTEXT, GitOp
from .loans import Loans

STDIN = "-"
IMAGE = "docker-image://"
_PIECE = 256 << 10
MAX_TEXT = 8 << 20
Read = Callable[[int], bytes]


class Opened(NamedTuple):
    """`text` is a Dockerfile that came instead of files; `local` whether -f is a host's path."""

    tree: Tree
    text: bytes | None = None
    local: bool = False


class Contexts:
    """All contexts of one build, open until `held` ends. `read` is the caller's stdin, `archives`
    read the named contexts that come as one."""

    def __init__(
        self,
        engine: Engine,
        cache: Cache,
        loans: Loans,
        named: dict[str, str],
        held: ExitStack,
        *,
        read: Read | None = None,
        archives: Mapping[str, Read] = {},
        keep_git_dir: bool = False,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._loans = loans
        self._held = held
        self._read = read
        self._archives = archives
        self._keep_git_dir = keep_git_dir
        self._named = named
        self._open: dict[str, Tree] = {}

    def main(self, where: str) -> Opened:
        """The build context; a later `of(CONTEXT)` is the same tree."""
        opened = self._opened(where)
        self._open[CONTEXT] = opened.tree
        return opened

    @contextmanager
    def of(self, origin: str) -> Iterator[Tree]:
        """The tree of a CopyOp's origin."""
        if origin not in self._open:
            name = origin.partition(":")[2]
            read = self._archives.get(name)
            if read is not None:
                opened = self._stream(iter(lambda: read(_PIECE), b""), f"the context {name}")
            else:
                opened = self._opened(self._named[name])
            if opened.text is not None:
                raise InvalidInput(f"build context {name} is no folder or archive")
            opened.tree.rules = inputs.read_rules(opened.tree, "", local=False)
            self._open[origin] = opened.tree
        yield self._open[origin]

    def _opened(self, where: str) -> Opened:
        if where == STDIN and self._read is not None:
            read = self._read
            return self._stream(iter(lambda: read(_PIECE), b""), "the archive on stdin")
        repository = address.repository(where, context=True)
        if repository is not None:
            return Opened(self._git(GitOp(*repository, self._keep_git_dir)))
        if address.is_url(where):
            return self._url(where)
        if "://" in where and not os.path.isdir(where):
            raise InvalidInput(
                f"build context {where[:200]}: a folder, {IMAGE}, http(s):// or git are known"
            )
        return Opened(self._held.enter_context(inputs.context(where, inputs.NO_RULES)), local=True)

    def _git(self, operation: GitOp) -> Tree:
        from . import remote

        found, _ = remote.Remote(self._engine, self._cache, self._loans).git(operation)
        self._cache.ensure(found.layers)
        return self._mounted(found.layers, operation.remote)

    def _url(self, url: str) -> Opened:
        from ..registry import fetch

        with self._engine.store.scratch.directory() as directory:
            path = f"{directory}/file"
            with open(path, "xb") as file:
                fetch.fetch(self._engine.images.web_settings(), url, file.write)
            with open(path, "rb") as file:
                return self._stream(iter(lambda: file.read(_PIECE), b""), url)

    def _stream(self, pieces: Iterator[bytes], label: str) -> Opened:
        """An archive, or else the text of a Dockerfile, as docker tells them apart."""
        head = b""
        while len(head) < tarindex.RECORD and (piece := next(pieces, b"")):
            head += piece
        whole = chain([head], pieces)
        if not is_archive(head):
            return Opened(inputs.NoContext(), _text(whole, label))
        plain = inflate(whole, kind=detect(head), allow=ARCHIVE_KINDS)
        layers = self._engine.store.layers
        diff_id = layers.ingest(ended(plain)).diff_id
        layers.pin([diff_id])
        self._held.callback(layers.unpin, [diff_id])
        return Opened(self._mounted((diff_id,), label))

    def _mounted(self, layers: Layers, label: str) -> Tree:
        from . import ops

        tree = self._held.enter_context(ops.merged(self._engine, layers, label))
        assert tree is not None
        return Tree(tree.fd, label, inputs.NO_RULES, rooted=False)


def ended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A tar with its end. docker's client, when it puts a Dockerfile of elsewhere into a context,
    closes the stream too early: the last member's padding is missing, and what ends a tar. Only
    that is made up for, never a byte of a file."""
    index, last = tarindex.TarIndex(devices=True, require_end=False), 0
    for piece in pieces:
        for entry in index.feed(piece):
            last = entry.data_offset + (0 if entry.sparse else entry.size)
        yield piece
    if not index.ended and last <= index.size <= last + tarindex.RECORD:
        yield padding(index.size) + END_OF_ARCHIVE


def is_archive(head: bytes) -> bool:
    if detect(head) != PLAIN:
        return True
    if len(head) < tarindex.RECORD:
        return False
    try:
        field = head[148:156].strip(b" \0")
        return int(field, 8) == sum(head[:148]) + 8 * 32 + sum(head[156 : tarindex.RECORD])
    except ValueError:
        return False


def _text(pieces: Iterator[bytes], label: str) -> bytes:
    text = bytearray()
    for piece in pieces:
        text += piece
        if len(text) > MAX_TEXT:
            raise InvalidInput(f"{label} is no archive, and too large for a Dockerfile")
    return bytes(text)
