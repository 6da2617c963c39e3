"""The tar writer: read back by others, and the same bytes every time."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.errors import InvalidInput
from onggi.store.tarindex import DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, TarEntry, TarIndex
from onggi.store.tarwrite import END_OF_ARCHIVE, LayerWriter, header, padding


def index(data: bytes) -> list[TarEntry]:
    reader = TarIndex(devices=True)
    found = reader.feed(data)
    reader.finish()
    return found


def layer(*, exact_times: bool = False, mtime_clamp_s: int | None = None) -> bytes:
    out = io.BytesIO()
    writer = LayerWriter(out.write, exact_times=exact_times, mtime_clamp_s=mtime_clamp_s)
    at = 5_500_000_000
    writer.directory("/app/", 0o755, 0, 0, at)
    content = io.BytesIO(b"hello")
    writer.file("app/main.py", 5, 0o644, 1000, 1000, at, content.read, ((b"user.a", b"b"),))
    writer.symlink("app/link", "main.py", 0, 0, at)
    writer.hardlink("app/again", "app/main.py", 0o644, 1000, 1000, at)
    writer.fifo("app/fifo", 0o600, 0, 0, at)
    writer.device("app/null", False, (1, 3), 0o666, 0, 0, at)
    writer.whiteout("app/old")
    writer.whiteout("old")
    writer.opaque("app")
    writer.finish()
    return out.getvalue()


def test_reads_back() -> None:
    entries = {entry.path: entry for entry in index(layer())}
    assert list(entries) == [
        b"app", b"app/main.py", b"app/link", b"app/again", b"app/fifo", b"app/null",
        b"app/.wh.old", b".wh.old", b"app/.wh..wh..opq",
    ]  # fmt: skip
    assert entries[b"app"].kind == DIRECTORY
    main = entries[b"app/main.py"]
    assert (main.kind, main.size, main.uid, main.mtime_ns) == (REGULAR, 5, 1000, 5 * 10**9)
    assert main.xattrs == ((b"user.a", b"b"),)
    assert layer()[main.data_offset :][:5] == b"hello"
    assert (entries[b"app/link"].kind, entries[b"app/link"].link) == (SYMLINK, b"main.py")
    assert (entries[b"app/again"].kind, entries[b"app/again"].link) == (HARDLINK, b"app/main.py")
    assert entries[b"app/fifo"].kind == FIFO
    assert entries[b"app/null"].device == (1, 3)


def test_tarfile_reads_it_too() -> None:
    with tarfile.open(fileobj=io.BytesIO(layer())) as tar:
        names = tar.getnames()
        main = tar.getmember("app/main.py")
        assert main.pax_headers == {"SCHILY.xattr.user.a": "b"}
        content = tar.extractfile(main)
        assert content is not None
        assert content.read() == b"hello"
    assert names[:3] == ["app", "app/main.py", "app/link"]


def test_times() -> None:
    assert {entry.mtime_ns for entry in index(layer())} == {0, 5 * 10**9}
    assert {entry.mtime_ns for entry in index(layer(exact_times=True))} == {0, 5_500_000_000}
    assert {entry.mtime_ns for entry in index(layer(mtime_clamp_s=3))} == {0, 3 * 10**9}


def test_the_same_calls_give_the_same_bytes() -> None:
    assert layer() == layer()
    assert layer().endswith(END_OF_ARCHIVE)
    assert len(layer()) % 512 == 0


PARTS = st.binary(min_size=1, max_size=120).filter(
    lambda part: b"/" not in part and b"\0" not in part and part not in (b".", b"..")
)


@given(
    parts=st.lists(PARTS, min_size=1, max_size=6),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 0xFFFFFFFE),
    size=st.integers(0, 1 << 40),
    mtime_ns=st.integers(-(1 << 31) * 10**9, 15032385535 * 10**9),
    link=st.binary(min_size=1, max_size=4000).filter(lambda link: b"\0" not in link),
)
@settings(max_examples=150)
def test_any_field_comes_back(
    parts: list[bytes], mode: int, uid: int, size: int, mtime_ns: int, link: bytes
) -> None:
    path = b"/".join(parts)
    head = header(path, REGULAR, mode=mode, uid=uid, gid=uid, size=size, mtime_ns=mtime_ns)
    (entry,) = TarIndex().feed(head)
    assert entry[:7] == (path, REGULAR, mode, uid, uid, mtime_ns, size)
    (entry,) = TarIndex().feed(header(path, SYMLINK, link=link))
    assert (entry.path, entry.link) == (path, link)


def test_short_headers_where_they_suffice() -> None:
    assert len(header(b"n" * 100, REGULAR)) == 512
    assert len(header(b"p" * 155 + b"/" + b"n" * 100, REGULAR)) == 512
    assert len(header(b"n" * 101, REGULAR)) == 1536
    assert len(header(b"x", REGULAR, uid=0o7777777, size=0o77777777777)) == 512
    assert len(header(b"d" * 99 + b"/", DIRECTORY)) == 512


def test_files_that_change_their_size_leave_the_archive_whole() -> None:
    for size, given_ in ((10, b"short"), (3, b"too long"), (2 << 20, b"x"), (0, b"")):
        out = io.BytesIO()
        writer = LayerWriter(out.write)
        writer.file("f", size, 0o644, 0, 0, 0, io.BytesIO(given_).read)
        writer.finish()
        (entry,) = index(out.getvalue())
        data = out.getvalue()[entry.data_offset :][:size]
        assert data == given_[:size].ljust(size, b"\0")


def test_names_have_a_limit() -> None:
    with pytest.raises(InvalidInput):
        LayerWriter(lambda data: None).fifo("x/" * 3000, 0o600, 0, 0, 0)


def test_padding() -> None:
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
