"""Streaming decompression by magic number, with limits that hold against bombs (SECURITY C6).

Owns which formats are read and how much output one may cause: no call ever expands more than a few
MiB at once (zstd: what 2 KiB can encode), the running total is limited, and a callback sees the
total every 16 MiB so that the caller can watch the free space. Concatenated gzip members, zstd
frames (skippable ones too), xz and bzip2 streams are one stream; zero padding after gzip and xz is
accepted, anything else after the end is not. Never starts a program, never touches a file.
"""

from collections.abc import Callable, Iterable, Iterator

from ..errors import CorruptData, Unsupported
from ..typed import Any, Final, Protocol

PLAIN: Final = ""
GZIP: Final = "gzip"
ZSTD: Final = "zstd"
XZ: Final = "xz"
BZIP2: Final = "bzip2"
LAYER_KINDS: Final = frozenset((PLAIN, GZIP, ZSTD))  # what a registry may send
ARCHIVE_KINDS: Final = frozenset((PLAIN, GZIP, ZSTD, XZ, BZIP2))  # `load`, `import`, ADD
MAX_BYTES: Final = 64 << 30
CHECK_EVERY: Final = 16 << 20
# Most output of one step. Larger pieces than malloc keeps (128 KiB) are pages that the kernel gives
# and takes anew: 0.15 s of page faults for 250 MB.
_PIECE = 64 << 10
_ZSTD_SLICE = 2048  # of input: zstd's bindings cannot bound the output of a step
_ZSTD_WINDOW = 128 << 20
_XZ_MEMORY = 256 << 20
_MAX_MEMBERS = 5_000_000


def detect(head: bytes) -> str:
    """The format by the first bytes (6 suffice); PLAIN when it is none of ours."""
    if head[:2] == b"\x1f\x8b":
        return GZIP
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return ZSTD
    if head[:6] == b"\xfd7zXZ\0":
        return XZ
    if head[:3] == b"BZh":
        return BZIP2
    return PLAIN


class _Member(Protocol):
    """One gzip member, zstd frame or xz stream."""

    ended: bool
    rest: bytes  # input after its end

    def decompress(self, data: bytes) -> Iterator[bytes]: ...


class Inflater:
    """Push compressed bytes in, get pieces out. `finish` says whether the stream was whole.

    `kind` as from `detect`. Raises CorruptData on damage and when more than `max_bytes` come out.
    """

    def __init__(
        self,
        kind: str,
        *,
        max_bytes: int = MAX_BYTES,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self.total = 0
        self._kind = kind
        self._max = max_bytes
        self._check = check
        self._next_check = CHECK_EVERY
        self._member: _Member | None = None
        self._members = 0
        self._padding = False
        self._make, self._errors = _opener(kind)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of output caused by `data`. Exhaust the iterator before the next call."""
        if self._make is None:
            if data:
                self._count(data)
                yield data
            return
        while data:
            if self._member is None:
                data = self._begin(data)
                if self._member is None:
                    return
            try:
                for piece in self._member.decompress(data):
                    self._count(piece)
                    yield piece
            except self._errors as error:
                raise CorruptData(f"damaged {self._kind} data: {error}") from error
            if not self._member.ended:
                return
            data, self._member = self._member.rest, None

    def finish(self) -> None:
        """The input is over. Raises CorruptData when it stopped inside a member."""
        if self._make is not None and (self._member is not None or not self._members):
            raise CorruptData(f"{self._kind} data is cut short")

    def _begin(self, data: bytes) -> bytes:
        """Open the next member; skips the zero padding that tapes and tools leave behind."""
        assert self._make is not None
        if self._members and self._kind in (GZIP, XZ):
            stripped = data.lstrip(b"\0")
            self._padding = self._padding or len(stripped) < len(data)
            if not stripped:
                return b""
            if self._padding and self._kind == GZIP:
                raise CorruptData("garbage after the end of gzip data")
            data = stripped
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise CorruptData(f"{self._kind} data has more than {_MAX_MEMBERS} members")
        self._member = self._make()
        return data

    def _count(self, piece: bytes) -> None:
        self.total += len(piece)
        if self.total > self._max:
            raise CorruptData(f"data expands to more than {self._max} bytes")
        if self.total >= self._next_check:
            self._next_check = self.total + CHECK_EVERY
            if self._check is not None:
                self._check(self.total)


def inflate(
    chunks: Iterable[bytes],
    *,
    kind: str | None = None,
    allow: frozenset[str] = LAYER_KINDS,
    max_bytes: int = MAX_BYTES,
    check: Callable[[int], None] | None = None,
) -> Iterator[bytes]:
    """The decompressed stream of `chunks`. `kind` None detects it by its first bytes; a detected
    kind outside `allow` raises Unsupported."""
    source = iter(chunks)
    head = b""
    while len(head) < 6:
        chunk = next(source, None)
        if chunk is None:
            break
        head += chunk
    if kind is None:
        kind = detect(head)
    if kind not in allow:
        raise Unsupported(f"{kind} compression is not accepted here")
    inflater = Inflater(kind, max_bytes=max_bytes, check=check)
    yield from inflater.feed(head)
    for chunk in source:
        yield from inflater.feed(chunk)
    inflater.finish()


# -- the formats -------------------------------------------------------------------------------


class _Bounded:
    """Decompressors of the bz2 family: `decompress(data, max_length)` and `needs_input`."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor
        self.ended = False
        self.rest = b""

    def decompress(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        while True:
            piece = decompressor.decompress(data, _PIECE)
            data = b""
            if piece:
                yield piece
            if decompressor.eof:
                self.ended, self.rest = True, decompressor.unused_data
                return
            if decompressor.needs_input:
                return


class _Zlib:
    """zlib's older interface: the input it could not use comes back as `unconsumed_tail`."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor
        self.ended = False
        self.rest = b""

    def decompress(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        while True:
            piece = decompressor.decompress(data, _PIECE)
            data = decompressor.unconsumed_tail
            if piece:
                yield piece
            if decompressor.eof:
                self.ended, self.rest = True, decompressor.unused_data
                return
            if not data and len(piece) < _PIECE:
                return


class _Zstd:
    """A zstd frame, fed in slices because one call returns all that its input encodes."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor
        self.ended = False
        self.rest = b""

    def decompress(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        pieces, size = [], 0
        for at in range(0, len(data), _ZSTD_SLICE):
            piece = decompressor.decompress(data[at : at + _ZSTD_SLICE])
            pieces.append(piece)
            size += len(piece)
            if decompressor.eof:
                self.ended = True
                self.rest = decompressor.unused_data + data[at + _ZSTD_SLICE :]
                break
            if size >= 1 << 16:
                yield b"".join(pieces)
                pieces, size = [], 0
        if size:
            yield b"".join(pieces)


def _opener(kind: str) -> tuple[Callable[[], _Member] | None, tuple[type[Exception], ...]]:
    """What opens a member of `kind`, and what its decompressor raises on damage."""
    if kind == PLAIN:
        return None, ()
    if kind == GZIP:
        return _gzip_opener()
    if kind == ZSTD:
        import zstandard

        parameters = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        return lambda: _Zstd(parameters.decompressobj()), (zstandard.ZstdError,)
    if kind == XZ:
        import lzma

        return (
            lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
            (lzma.LZMAError,),
        )
    if kind == BZIP2:
        import bz2

        return lambda: _Bounded(bz2.BZ2Decompressor()), (OSError, ValueError)
    raise Unsupported(f"unknown compression {kind!r}")


def _gzip_opener() -> tuple[Callable[[], _Member], tuple[type[Exception], ...]]:
    try:
        from isal import igzip_lib
    except ImportError:
        import zlib

        return lambda: _Zlib(zlib.decompressobj(31)), (zlib.error,)
    error: Any = igzip_lib.IsalError  # its stub calls the class an instance
    return (
        lambda: _Bounded(igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)),
        (error,),
    )
