"""Streaming compression with pinned settings, so that the same layer gives the same blob.

gzip is isal's level 1 where isal can be imported, else zlib's level 6: the two write different
bytes, and so does another version of either library. `settings` names what this process uses;
whoever remembers a blob's digest remembers it next to that text. gzip headers carry no name and no
time. zstd is level 3, one thread, with a checksum. Never touches a file.
"""

import zlib
from collections.abc import Iterable, Iterator

from ..errors import Unsupported
from ..typed import Any, Protocol
from .inflate import GZIP, PLAIN, ZSTD


class Compressor(Protocol):
    """bytes in, compressed bytes out (possibly none yet); `flush` gives the rest, once."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(kind: str) -> Compressor:
    """A fresh compressor for "gzip", "zstd" or "" (none)."""
    if kind == PLAIN:
        return _Plain()
    made: Any
    if kind == GZIP:
        isal = _isal_zlib()
        if isal is not None:
            made = isal.compressobj(level=1, wbits=31)
        else:
            made = zlib.compressobj(level=6, wbits=31)
    elif kind == ZSTD:
        import zstandard

        made = zstandard.ZstdCompressor(level=3, write_checksum=True, threads=0).compressobj()
    else:
        raise Unsupported(f"cannot compress as {kind!r}")
    result: Compressor = made
    return result


def settings(kind: str) -> str:
    """What decides the bytes `compressor(kind)` writes, as one word: "gzip:isal-1:1.7.1"."""
    if kind == GZIP:
        if _isal_zlib() is not None:
            from isal import __version__ as isal_version

            return f"gzip:isal-1:{isal_version}"
        return f"gzip:zlib-6:{zlib.ZLIB_RUNTIME_VERSION}"
    if kind == ZSTD:
        import zstandard

        return f"zstd:3:{'.'.join(map(str, zstandard.ZSTD_VERSION))}"
    return kind


def deflate(chunks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """The compressed stream of `chunks`, without empty pieces."""
    engine = compressor(kind)
    for chunk in chunks:
        piece = engine.compress(chunk)
        if piece:
            yield piece
    piece = engine.flush()
    if piece:
        yield piece


def _isal_zlib() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib
