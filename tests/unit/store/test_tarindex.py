"""The tar reader: what other tools write, what nobody should, and in how small pieces."""

import io
import subprocess
import tarfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.errors import CorruptData
from onggi.store.tarindex import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Extent,
    Limits,
    TarEntry,
    TarIndex,
)
from rawtar import END, archive, extension, member, pad, pax, record

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def index(data: bytes, piece: int = 1 << 16, **options: bool) -> list[TarEntry]:
    reader = TarIndex(**options)
    found = []
    for at in range(0, len(data), piece):
        found += reader.feed(data[at : at + piece])
    reader.finish()
    return found


def one(data: bytes) -> TarEntry:
    (entry,) = index(archive(data))
    return entry


def written_by_tarfile(form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in ("short", "d" * 90 + "/" + "f" * 90, "x/" * 60 + "deep", "uni-é-漢"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = 1000, 1234567890, 0o4755
            info.uid, info.gid = 1000, 54321
            tar.addfile(info, io.BytesIO(name.encode()[:1] * 1000))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 80
        tar.addfile(link)
        directory = tarfile.TarInfo("dir")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_tarfile_writes(form: int) -> None:
    data = written_by_tarfile(form)
    entries = index(data)
    expected = tarfile.open(fileobj=io.BytesIO(data)).getmembers()
    assert [entry.path.decode() for entry in entries] == [each.name for each in expected]
    for entry, info in zip(entries, expected, strict=True):
        assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
        assert entry.mtime_ns == info.mtime * 10**9
        assert (entry.size, entry.link.decode()) == (info.size, info.linkname)
        if entry.size:
            assert entry.data_offset == info.offset_data
    assert [entry.kind for entry in entries] == [REGULAR] * 4 + [SYMLINK, DIRECTORY]


PARTS = st.lists(st.sampled_from([b"a", b"b", b".", b""]), min_size=1, max_size=4)


@given(names=st.lists(PARTS.map(b"/".join).filter(bool), max_size=9))
def test_a_name_means_the_same_beside_any_other(names: list[bytes]) -> None:
    """A directory is checked once and not again: no other may be taken for it."""
    together = index(archive(*(member(name, DIRECTORY) for name in names)))
    alone = [one(member(name, DIRECTORY)).path for name in names]
    assert [entry.path for entry in together] == alone


def test_a_name_beside_another_is_checked_too() -> None:
    for name in (b"d/..", b"d/" + b"x" * 256):
        with pytest.raises(CorruptData):
            index(archive(member(b"d/file"), member(name)))


@given(piece=st.integers(1, 1500))
@settings(max_examples=25)
def test_pieces_do_not_matter(piece: int) -> None:
    data = written_by_tarfile(tarfile.PAX_FORMAT)
    assert index(data, piece) == index(data)


# -- names (C1) --------------------------------------------------------------------------------

REFUSED = [
    b"../x", b"a/../../b", b"..", b"/..", b"a/..", b"./..", b"../", b"a/../b", b"/../x",
    b"a/b/../../../c", b"./../x", b".././x", b"a//..//b", b"x" * 256, b"a/" + b"x" * 256,
    b"y/" * 256 + b"z", b"z" * 5000, b"a/" * 3000, b"../" * 40 + b"etc/passwd",
]  # fmt: skip
ACCEPTED = {
    b"/x": b"x", b"//x": b"x", b"/etc/passwd": b"etc/passwd", b"./x": b"x", b"x//y": b"x/y",
    b"a/./b": b"a/b", b"...": b"...", b"..x": b"..x", b"x..": b"x..", b"a/...": b"a/...",
    b"a\nb": b"a\nb", b"a\\..\\b": b"a\\..\\b", b"\xff\xfe": b"\xff\xfe", b" ": b" ",
    b"-rf": b"-rf", b"a b": b"a b", b"~": b"~", b"$(id)": b"$(id)", b"\x1b[2J": b"\x1b[2J",
    b"C:": b"C:", b"x" * 255: b"x" * 255, b"y/" * 254 + b"z": b"y/" * 254 + b"z",
    b"%2e%2e/x": b"%2e%2e/x",
}  # fmt: skip
KINDS = [REGULAR, DIRECTORY, SYMLINK, HARDLINK, FIFO, CHARACTER]


@pytest.mark.sec("C1")
@pytest.mark.parametrize("kind", KINDS)
def test_names_that_escape_are_refused(kind: bytes) -> None:
    for name in REFUSED:
        with pytest.raises(CorruptData, match=r"at byte [0-9]+"):
            one(member(name, kind, link=b"target"))
        if kind == HARDLINK:
            long = extension(b"K", name + b"\0")
            with pytest.raises(CorruptData):
                one(long + member(b"link", kind))


@pytest.mark.sec("C1")
@pytest.mark.parametrize("kind", KINDS)
def test_odd_names_are_kept_exactly(kind: bytes) -> None:
    for name, path in ACCEPTED.items():
        assert one(member(name, kind, link=b"target")).path == path
    for root in (b"/", b".", b"./", b"/."):
        if kind == DIRECTORY or (kind == REGULAR and root.endswith(b"/")):
            assert one(member(root, kind)).path == b""
        else:
            with pytest.raises(CorruptData):
                one(member(root, kind, link=b"target"))


@pytest.mark.sec("C1")
def test_names_with_nul_or_nothing() -> None:
    for key in (b"path", b"linkpath"):
        with pytest.raises(CorruptData):
            one(pax((key, b"a\0b")) + member(b"x", SYMLINK, link=b"y"))
    for kind in KINDS:
        with pytest.raises(CorruptData):
            one(member(b"", kind, link=b"t", mode=b"0000644\0"))
    with pytest.raises(CorruptData):
        one(member(b"x", SYMLINK))
    with pytest.raises(CorruptData):
        one(member(b"x", HARDLINK, link=b"/"))


# -- headers (C5) ------------------------------------------------------------------------------


def sparse_old(numbers: list[tuple[int, int]], size: int, stored: int, more: int = 0) -> bytes:
    table = b"".join(b"%011o\0%011o\0" % pair for pair in numbers).ljust(96, b"\0")
    block = bytearray(record(name=b"s", kind=b"S", size=b"%011o\0" % stored, magic=b"ustar  \0"))
    block[386:482], block[482], block[483:495] = table, more, b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def sparse_pax(*pairs: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    return pax(*pairs) + member(b"s", data=data)


NEGATIVE = b"\xff" * 12
BAD_HEADERS = {
    "checksum off by one": record(checksum=b"000001\0 "),
    "checksum not octal": record(checksum=b"zzzzzz\0 "),
    "checksum empty": record(checksum=b"\0" * 8),
    "checksum negative": record(checksum=b"-00123\0 "),
    "size negative octal": record(size=b"-0000000001\0"),
    "size with plus": record(size=b"+0000000001\0"),
    "size with underscore": record(size=b"0_000000001\0"),
    "size with 0o": record(size=b"0o000000001\0"),
    "size with 8": record(size=b"00000000008\0"),
    "size hexadecimal": record(size=b"0x0000000ff\0"),
    "size inner space": record(size=b"0000 000001\0"),
    "size inner NUL": record(size=b"0000\0000001\0"),
    "size base-256 negative": record(size=NEGATIVE),
    "size base-256 -512": record(size=(-512).to_bytes(12, "big", signed=True)),
    "size base-256 2^63": record(size=b"\x80" + (1 << 63).to_bytes(11, "big")),
    "size base-256 2^87": record(size=b"\x80" + b"\x7f" * 11),
    "size above the limit": record(size=b"\x80" + ((1 << 40) + 1).to_bytes(11, "big")),
    "size of a directory": record(kind=b"5", size=b"00000001000\0"),
    "size of a symlink": record(kind=b"2", link=b"t", size=b"00000001000\0"),
    "size of a fifo": record(kind=b"6", size=b"00000001000\0"),
    "size of a name with slash": record(name=b"dir/", kind=b"\0", size=b"00000001000\0"),
    "mode not octal": record(mode=b"rwxr-xr\0"),
    "mode negative": record(mode=b"-000644\0"),
    "uid negative": record(uid=b"\xff" * 8),
    "uid -1": record(uid=b"-000001\0"),
    "uid 2^32-1": record(uid=b"\x80\0\0\0\xff\xff\xff\xff"),
    "uid 2^32": record(uid=b"\x80\0\0\1\0\0\0\0"),
    "gid 2^40": record(gid=b"\x80\0\1\0\0\0\0\0"),
    "mtime text": record(mtime=b"yesterday\0"),
    "mtime negative octal": record(mtime=b"-0000000001\0"),
    "unknown type Z": record(kind=b"Z"),
    "unknown type V": record(kind=b"V"),
    "multi volume": record(kind=b"M"),
    "dump directory": record(kind=b"D"),
    "solaris X": record(kind=b"X"),
    "type 0xff": record(kind=b"\xff"),
    "block device": record(kind=b"4", major=b"0000010\0", minor=b"0000000\0"),
    "character device": record(kind=b"3", major=b"0000001\0", minor=b"0000003\0"),
    "block 0:0": record(kind=b"4"),
    "long name too long": record(kind=b"L", size=b"00004000001\0"),
    "pax too long": record(kind=b"x", size=b"\x80" + (1 << 39).to_bytes(11, "big")),
    "pax negative size": record(kind=b"x", size=NEGATIVE),
    "pax no length": extension(b"x", b"path=foo\n") + member(b"x"),
    "pax length zero": extension(b"x", b"0 path=foo\n") + member(b"x"),
    "pax length negative": extension(b"x", b"-13 path=foo\n") + member(b"x"),
    "pax length short": extension(b"x", b"5 path=foo\n") + member(b"x"),
    "pax length past end": extension(b"x", b"99 path=foo\n") + member(b"x"),
    "pax length huge": extension(b"x", b"9" * 400 + b" path=foo\n") + member(b"x"),
    "pax no newline": extension(b"x", b"12 path=foo ") + member(b"x"),
    "pax no equals": extension(b"x", b"12 path foo\n") + member(b"x"),
    "pax empty key": extension(b"x", b"8 =foo\n\n"[:7] + b"\n") + member(b"x"),
    "pax trailing NUL": extension(b"x", b"12 path=foo\n\0\0\0") + member(b"x"),
    "pax size negative": pax((b"size", b"-1")) + member(b"x"),
    "pax size text": pax((b"size", b"1e3")) + member(b"x"),
    "pax size arabic": pax((b"size", "٣".encode())) + member(b"x"),
    "pax size 2^64": pax((b"size", b"18446744073709551616")) + member(b"x"),
    "pax uid -1": pax((b"uid", b"-1")) + member(b"x"),
    "pax uid underscore": pax((b"uid", b"1_0")) + member(b"x"),
    "pax mtime NaN": pax((b"mtime", b"NaN")) + member(b"x"),
    "pax mtime exponent": pax((b"mtime", b"1e9")) + member(b"x"),
    "global path": pax((b"path", b"y"), kind=b"g") + member(b"x"),
    "global size": pax((b"size", b"512"), kind=b"g") + member(b"x"),
    "two names": extension(b"L", b"one\0") + pax((b"path", b"two")) + member(b"x"),
    "header after a zero record": bytes(512) + record(),
    "end after an extension": pax((b"path", b"y")) + bytes(1024),
    "extension without end": extension(b"L", b"n\0") * 65 + member(b"x"),
    "sparse old past size": sparse_old([(0, 512)], 100, 512) + bytes(512),
    "sparse old overlap": sparse_old([(0, 512), (256, 512)], 2048, 1024) + bytes(1024),
    "sparse old short data": sparse_old([(0, 512)], 512, 1024) + bytes(1024),
    "sparse old negative": sparse_old([(0, 512)], 512, 512)[:386] + NEGATIVE + bytes(626),
    "sparse 0.1 odd": sparse_pax(
        (b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9"), data=b"x"
    ),
    "sparse 0.1 text": sparse_pax(
        (b"GNU.sparse.map", b"a,b"), (b"GNU.sparse.size", b"9"), data=b"x"
    ),
    "sparse 0.1 no size": sparse_pax((b"GNU.sparse.map", b"0,1"), data=b"x"),
    "sparse 1.0 no map": sparse_pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
    ),
    "sparse 1.0 endless": sparse_pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"),
        data=b"1\n" + b"0" * 4094,
    ),
    "sparse 1.0 no number": sparse_pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"),
        data=b"x" * 512,
    ),
    "sparse 1.0 huge": sparse_pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"),
        data=pad(b"99999999999999\n"),
    ),
    "sparse 2.0": sparse_pax(
        (b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
    ),
    "overlay redirect": pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/x")) + member(b"x"),
    "overlay opaque": pax((b"SCHILY.xattr.user.overlay.opaque", b"y")) + member(b"x", b"5"),
    "nested overlay": pax((b"SCHILY.xattr.trusted.overlay.overlay.w", b"")) + member(b"x"),
    "capability of 3 bytes": pax((b"SCHILY.xattr.security.capability", b"abc")) + member(b"x"),
    "capability revision 9": pax(
        (b"SCHILY.xattr.security.capability", b"\0\0\0\x09" + bytes(16))
    ) + member(b"x"),
    "xattr of 64 KiB": pax((b"SCHILY.xattr.user.x", b"v" * 65536)) + member(b"x"),
    "xattr name of 300": pax((b"SCHILY.xattr.user." + b"n" * 300, b"v")) + member(b"x"),
    "ten large xattrs": pax(
        *((b"SCHILY.xattr.user.%d" % n, b"v" * 60000) for n in range(10))
    ) + member(b"x"),
    "not a tar": b"PK\3\4" + b"junk" * 127,
    "gzip": b"\x1f\x8b\x08\0" + b"junk" * 127,
}  # fmt: skip


@pytest.mark.sec("C5")
@pytest.mark.parametrize("what", BAD_HEADERS)
def test_bad_headers_are_refused_at_once(what: str) -> None:
    data = BAD_HEADERS[what] + END
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(CorruptData):
            index(data)
        assert time.process_time() - began < 10
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_enough_bad_headers() -> None:
    assert len(BAD_HEADERS) >= 60


@pytest.mark.sec("C5")
def test_truncation_is_noticed_everywhere() -> None:
    data = written_by_tarfile(tarfile.PAX_FORMAT)
    end = len(data.rstrip(b"\0")) // 512 * 512
    for length in [*range(0, end, 512), *range(1, end, 997)]:
        with pytest.raises(CorruptData):
            index(data[:length])


def test_a_missing_end_can_be_accepted() -> None:
    whole = member(b"a", data=b"x" * 600) + member(b"b")
    assert len(index(whole, require_end=False)) == 2
    assert len(index(whole + bytes(512))) == 2  # one zero record counts as an end
    with pytest.raises(CorruptData, match="truncated at byte 2048"):
        index(whole)
    with pytest.raises(CorruptData):
        index(whole[:-512] + record(size=b"00000001000\0"), require_end=False)
    assert index(b"", require_end=False) == []
    with pytest.raises(CorruptData, match="empty"):
        index(b"")


def test_what_follows_the_end_is_padding() -> None:
    reader = TarIndex()
    data = archive(member(b"a")) + b"anything" * 1000
    assert len(reader.feed(data)) == 1
    assert reader.ended
    assert reader.size == len(data)
    reader.finish()


@pytest.mark.sec("C4")
def test_counts_are_limited() -> None:
    reader = TarIndex(Limits(entries=10))
    reader.feed(member(b"a") * 10)
    with pytest.raises(CorruptData, match="more than 10 entries"):
        reader.feed(member(b"a"))


@given(st.binary(max_size=2048))
@settings(max_examples=100)
def test_noise_raises_nothing_else(noise: bytes) -> None:
    try:
        index(noise)
    except CorruptData:
        pass


@given(st.integers(0, 4095), st.integers(0, 255))
@settings(max_examples=200)
def test_a_flipped_byte_raises_nothing_else(where: int, value: int) -> None:
    data = bytearray(
        archive(
            pax((b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b")) + member(b"x", data=b"y"),
            sparse_old([(512, 512)], 2048, 512) + bytes(512),
        )
    )
    data[where % len(data)] = value
    try:
        for entry in index(bytes(data)):
            assert b".." not in entry.path.split(b"/")
            assert 0 <= entry.size <= 1 << 40
    except CorruptData:
        pass


# -- fields ------------------------------------------------------------------------------------


def test_numbers_in_their_odd_forms() -> None:
    assert one(member(b"x", uid=b"\x80\0\0\0\xff\xff\xff\xfe")).uid == 0xFFFFFFFE
    assert one(member(b"x", mode=b"100644 \0")).mode == 0o644
    assert one(member(b"x", mode=b"  755\0\0\0")).mode == 0o755
    assert one(member(b"x", mode=b"0007777\0")).mode == 0o7777
    assert one(pax((b"uid", b"4294967294")) + member(b"x")).uid == 4294967294
    large = pax((b"size", b"3")) + member(b"x", data=b"abc", size=b"00000000000\0")
    assert one(large).size == 3


def test_times() -> None:
    def time_of(text: bytes) -> int:
        return one(pax((b"mtime", text)) + member(b"x")).mtime_ns

    assert time_of(b"1.5") == 1_500_000_000
    assert time_of(b"1.123456789999") == 1_123_456_789
    assert time_of(b"-1.5") == -1_500_000_000
    assert time_of(b"7.") == 7_000_000_000
    assert time_of(b"99999999999999999999") == 15032385535 * 10**9
    assert time_of(b"-99999999999999999999") == -(1 << 31) * 10**9
    before = (-5).to_bytes(12, "big", signed=True)
    assert one(member(b"x", mtime=before)).mtime_ns == -5 * 10**9


def test_global_headers_apply_and_local_ones_win() -> None:
    entries = index(
        archive(
            pax((b"uid", b"7"), (b"comment", b"c"), kind=b"g"),
            member(b"a"),
            pax((b"uid", b"8")) + member(b"b"),
            member(b"c"),
        )
    )
    assert [entry.uid for entry in entries] == [7, 8, 7]


def test_prefix_only_where_the_format_has_one() -> None:
    assert one(member(b"name", prefix=b"dir")).path == b"dir/name"
    assert one(member(b"name", prefix=b"dir", magic=b"ustar  \0")).path == b"name"
    assert one(member(b"name", prefix=b"dir", magic=b"\0" * 8)).path == b"name"


def test_old_directories_end_in_a_slash() -> None:
    assert one(member(b"dir/", b"\0")).kind == DIRECTORY
    assert one(member(b"file", b"\0")).kind == REGULAR
    assert one(member(b"file", b"7")).kind == REGULAR


def test_a_hard_link_never_has_data() -> None:
    entries = index(
        archive(member(b"h", HARDLINK, link=b"/a/b", size=b"00000000777\0"), member(b"x"))
    )
    assert entries[0][:2] == (b"h", HARDLINK)
    assert (entries[0].link, entries[0].size) == (b"a/b", 0)


@pytest.mark.sec("B12")
def test_devices_only_when_asked() -> None:
    null = archive(member(b"null", CHARACTER, major=b"0000001\0", minor=b"0000003\0"))
    with pytest.raises(CorruptData, match="device"):
        index(null)
    assert index(null, devices=True)[0].device == (1, 3)
    disk = archive(member(b"sda", BLOCK, major=b"0000010\0", minor=b"0000000\0"))
    assert index(disk, devices=True)[0].kind == BLOCK
    assert one(member(b"white", CHARACTER)).device == (0, 0)


@pytest.mark.sec("C3")
def test_extended_attributes() -> None:
    given_ = {
        b"security.capability": CAPABILITY, b"user.k": b"v\0w", b"security.selinux": b"s",
        b"trusted.x": b"t", b"system.posix_acl_access": b"a", b"user.": b"",
    }  # fmt: skip
    header = pax(
        *((b"SCHILY.xattr." + name, value) for name, value in given_.items()),
        (b"LIBARCHIVE.xattr.user.other", b"dg=="),
    )
    reader = TarIndex()
    kinds = (REGULAR, DIRECTORY, SYMLINK)
    entries = reader.feed(
        archive(
            *(header + member(b"x", kind, link=b"t" if kind == SYMLINK else b"") for kind in kinds)
        )
    )
    assert [dict(entry.xattrs) for entry in entries] == [
        {b"security.capability": CAPABILITY, b"user.k": b"v\0w"},
        {b"user.k": b"v\0w"},
        {},
    ]
    assert b"security.selinux" in reader.ignored_xattrs


# -- sparse files ------------------------------------------------------------------------------

MAP = (Extent(512, 512, 512), Extent(2048, 1024, 100))


def test_old_sparse() -> None:
    data = sparse_old([(512, 512), (2048, 100)], 4096, 612) + pad(b"a" * 512 + b"b" * 100)
    first, second = index(archive(data, member(b"next")))
    assert (first.size, first.sparse) == (4096, MAP)
    assert second.path == b"next"


def test_old_sparse_with_more_records() -> None:
    pairs = [(n * 1024, 512) for n in range(30)]
    table = b"".join(b"%011o\0%011o\0" % pair for pair in pairs[4:25]).ljust(504, b"\0") + b"\1"
    last = b"".join(b"%011o\0%011o\0" % pair for pair in pairs[25:]).ljust(512, b"\0")
    data = sparse_old(pairs[:4], 30 * 1024, 30 * 512, more=1) + table.ljust(512, b"\0") + last
    first, second = index(archive(data + bytes(30 * 512), member(b"next")), piece=100)
    assert first.sparse is not None
    assert [(extent.offset, extent.size) for extent in first.sparse] == pairs
    assert first.sparse[0].data_offset == first.data_offset == 3 * 512
    assert second.path == b"next"


def test_pax_sparse_maps() -> None:
    stored = pad(b"a" * 512 + b"b" * 100)
    size = b"00000001144\0"  # 612
    one_zero = (
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"real"),
        (b"GNU.sparse.realsize", b"4096"),
    )  # fmt: skip
    text = pad(b"2\n512\n512\n2048\n100\n")
    forms = {
        "0.0": pax(
            (b"GNU.sparse.size", b"4096"), (b"GNU.sparse.numblocks", b"2"),
            (b"GNU.sparse.offset", b"512"), (b"GNU.sparse.numbytes", b"512"),
            (b"GNU.sparse.offset", b"2048"), (b"GNU.sparse.numbytes", b"100"),
        ) + record(name=b"real", size=size),
        "0.1": pax(
            (b"GNU.sparse.size", b"4096"), (b"GNU.sparse.map", b"512,512,2048,100"),
            (b"GNU.sparse.name", b"real"),
        ) + record(name=b"GNUSparseFile.0/real", size=size),
        "1.0": pax(*one_zero) + record(size=b"%011o\0" % (612 + 512)) + text,
    }  # fmt: skip
    for name, head in forms.items():
        first, second = index(archive(head + stored, member(b"next")), piece=333)
        assert (first.path, first.size) == (b"real", 4096), name
        assert first.sparse == tuple(
            extent._replace(data_offset=len(head) + extent.data_offset - 512) for extent in MAP
        )
        assert second.path == b"next"


@pytest.mark.parametrize(
    "options",
    [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))],
)
def test_reads_sparse_files_of_gnu_tar(options: list[str], tmp_path: Path) -> None:
    content = bytearray(1 << 20)
    content[40960:50000] = b"x" * 9040
    content[800000:800010] = b"y" * 10
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(len(content))
        for at in (40960, 800000):
            file.seek(at)
            file.write(content[at : at + 9040].rstrip(b"\0"))
    done = subprocess.run(
        ["tar", "-cS", *options, "sparse"], cwd=tmp_path, capture_output=True, check=True
    )
    (entry,) = index(done.stdout)
    assert (entry.path, entry.size) == (b"sparse", 1 << 20)
    if entry.sparse is None:
        pytest.skip("this file system keeps no holes")
    read = bytearray(entry.size)
    for offset, position, size in entry.sparse:
        read[offset : offset + size] = done.stdout[position : position + size]
    assert read == content
