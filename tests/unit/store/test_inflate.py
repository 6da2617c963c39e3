"""Decompression: every format in every cut, damage, and bombs."""

import bz2
import functools
import gzip
import itertools
import lzma
import random
import sys
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard

from onggi.errors import CorruptData, Unsupported
from onggi.store.deflate import compressor, deflate, settings
from onggi.store.inflate import ARCHIVE_KINDS, BZIP2, GZIP, PLAIN, XZ, ZSTD, detect, inflate

CONTENT = random.Random(7).randbytes(200_000) + b"text " * 100_000
MAKE: dict[str, Callable[[bytes], bytes]] = {
    PLAIN: bytes,
    GZIP: gzip.compress,
    ZSTD: zstandard.ZstdCompressor(write_checksum=True).compress,
    XZ: lzma.compress,
    BZIP2: bz2.compress,
}
PACKED = [kind for kind in MAKE if kind]
SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    return str(request.param)


def expand(data: bytes, piece: int = 1 << 16, **options: object) -> bytes:
    chunks = (data[at : at + piece] for at in range(0, len(data), piece))
    return b"".join(inflate(chunks, allow=ARCHIVE_KINDS, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("piece", [1 << 16, 4099, 1 << 24])
def test_each_format_in_pieces(kind: str, piece: int, library: str) -> None:
    data = MAKE[kind](CONTENT)
    assert detect(data) == kind
    assert expand(data, piece) == CONTENT


@pytest.mark.parametrize("kind", MAKE)
def test_byte_by_byte(kind: str, library: str) -> None:
    assert expand(MAKE[kind](b"some bytes"), 1) == b"some bytes"


@pytest.mark.parametrize("kind", PACKED)
def test_members_one_after_the_other(kind: str, library: str) -> None:
    one, two = MAKE[kind](b"one" * 99), MAKE[kind](b"two" * 99)
    empty = MAKE[kind](b"")
    for piece in (1, 7, 1 << 16):
        assert expand(one + empty + two, piece) == b"one" * 99 + b"two" * 99


def test_zstd_skippable_frames() -> None:
    data = SKIPPABLE + MAKE[ZSTD](b"content") + SKIPPABLE
    assert detect(data) == ZSTD
    for piece in (1, 1 << 16):
        assert expand(data, piece) == b"content"


def test_gzip_and_xz_accept_zeros_at_the_end(library: str) -> None:
    for kind in (GZIP, XZ):
        for piece in (1, 1 << 16):
            assert expand(MAKE[kind](b"x") + bytes(1000), piece) == b"x"


@pytest.mark.parametrize("kind", PACKED)
def test_garbage_at_the_end(kind: str, library: str) -> None:
    with pytest.raises(CorruptData):
        expand(MAKE[kind](b"x") + b"garbage after the end of the data")
    if kind == GZIP:
        with pytest.raises(CorruptData, match="garbage"):
            expand(MAKE[kind](b"x") + bytes(9) + MAKE[kind](b"y"))


@pytest.mark.parametrize("kind", PACKED)
def test_truncation_is_an_error(kind: str, library: str) -> None:
    data = MAKE[kind](CONTENT)
    for length in (3 if kind == BZIP2 else 6, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptData, match=r"cut short|damaged"):
            expand(data[:length])
    with pytest.raises(CorruptData, match="cut short"):
        expand(b"", kind=kind)


@pytest.mark.parametrize("kind", PACKED)
def test_damage_is_an_error(kind: str, library: str) -> None:
    data = bytearray(MAKE[kind](CONTENT))
    for where in (len(data) // 2, len(data) - 5):
        damaged = bytearray(data)
        damaged[where] ^= 0x55
        with pytest.raises(CorruptData):
            expand(bytes(damaged))


# -- bombs (C6) --------------------------------------------------------------------------------


@functools.cache
def bomb(kind: str, megabytes: int) -> bytes:
    if kind == GZIP:
        made = zlib.compressobj(9, wbits=31)
        return b"".join([*(made.compress(bytes(1 << 20)) for _ in range(megabytes)), made.flush()])
    if kind == ZSTD:
        frame = zstandard.ZstdCompressor(level=19).compressobj()
        pieces = [frame.compress(bytes(1 << 20)) for _ in range(megabytes)]
        return b"".join([*pieces, frame.flush()])
    return MAKE[kind](bytes(megabytes << 20))


@pytest.mark.sec("C6")
@pytest.mark.parametrize("kind", PACKED)
def test_bombs_stop_at_the_limit(kind: str, library: str) -> None:
    data = bomb(kind, 64) * 100
    limit, largest, total = 64 << 20, 0, 0
    began = time.process_time()
    with pytest.raises(CorruptData, match=f"more than {limit} bytes"):
        for piece in inflate([data], allow=ARCHIVE_KINDS, max_bytes=limit):
            largest, total = max(largest, len(piece)), total + len(piece)
    assert total <= limit
    assert largest <= 64 << 20
    assert time.process_time() - began < 30


@pytest.mark.sec("C6")
def test_the_caller_sees_the_total_and_can_stop() -> None:
    seen: list[int] = []

    def check(total: int) -> None:
        seen.append(total)
        if total > 100 << 20:
            raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        for _ in inflate([bomb(GZIP, 64) * 3], check=check):
            pass
    assert all(later - earlier <= 18 << 20 for earlier, later in itertools.pairwise(seen))


@pytest.mark.sec("C6")
def test_zstd_windows_are_limited() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = frame.compress(CONTENT) + frame.flush()
    with pytest.raises(CorruptData):
        expand(data)


def test_layers_are_not_xz_or_bzip2() -> None:
    for kind in (XZ, BZIP2):
        with pytest.raises(Unsupported, match=kind):
            list(inflate([MAKE[kind](b"x")]))
    with pytest.raises(Unsupported):
        list(inflate([b"x"], kind="lz4", allow=frozenset(("lz4",))))


# -- deflate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PLAIN, GZIP, ZSTD])
def test_compression_is_deterministic_in_any_cut(kind: str, library: str) -> None:
    one = b"".join(deflate([CONTENT], kind))
    again = b"".join(deflate([CONTENT], kind))
    assert one == again
    assert expand(one) == CONTENT
    assert list(inflate(deflate([b"x"], kind), kind=kind)) == [b"x"]
    engine = compressor(kind)
    assert expand(engine.compress(b"") + engine.flush(), kind=kind) == b""


def test_gzip_headers_carry_no_time(library: str) -> None:
    data = b"".join(deflate([b"x"], GZIP))
    assert data[4:8] == bytes(4)
    assert data[3] == 0
    assert settings(GZIP).startswith(f"gzip:{library}-")


def test_settings_name_the_library() -> None:
    assert settings(ZSTD).startswith("zstd:3:")
    assert settings(PLAIN) == ""
    with pytest.raises(Unsupported):
        compressor("lz4")
