"""EROFS images read back by an independent reader: names, inodes, data, copies."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erofs_reader import Reader
from onggi.errors import CorruptData
from onggi.store.erofs import TAR_OFFSET, ErofsImage
from onggi.store.layerfile import append_image, read_tar, write_all_at
from onggi.store.layertree import LayerTree, LowerFile
from onggi.store.tarindex import (
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Extent,
    TarEntry,
    TarIndex,
)
from rawtar import archive, member, pax
from steps import steps

UUID = bytes(range(16))
# Of one image. A change is no breach (layers are made again from their tars), but never by chance.
GOLDEN = "476b5724e885d87b141fb78ec5cbd15c0dfc6cdf98cee7538b21c2271b9c10b2"
Resolve = Callable[[bytes], LowerFile | None]


def image_of(path: Path, tar: bytes, resolve: Resolve | None = None) -> Reader:
    tree = LayerTree(resolve)
    index = TarIndex()
    for entry in index.feed(tar):
        tree.add(entry)
    index.finish()
    return write(path, tree, tar)


def write(path: Path, tree: LayerTree, tar: bytes) -> Reader:
    image = ErofsImage(tree, len(tar))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all_at(fd, tar, TAR_OFFSET)
        append_image(fd, image, UUID)
        assert b"".join(read_tar(fd, len(tar))) == tar
    finally:
        os.close(fd)
    reader = Reader(path.read_bytes())
    assert reader.inodes == image.inodes
    return reader


def test_an_empty_layer(tmp_path: Path) -> None:
    reader = image_of(tmp_path / "i", archive())
    assert reader.walk() == {b"": reader.root}
    root = reader.inode(reader.root)
    assert (root.mode, root.links, root.uid) == (stat.S_IFDIR | 0o755, 2, 0)
    assert reader.uuid == UUID


def test_everything_a_layer_can_hold(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    tar = archive(
        member(b"./", b"5", mode=b"0000711\0", mtime=b"00000000007\0"),
        pax((b"SCHILY.xattr.security.capability", capability), (b"mtime", b"-1.25"))
        + member(b"bin/ping", data=b"elf" * 1000, mode=b"0004755\0"),
        member(b"bin/pong", b"1", link=b"bin/ping"),
        member(b"empty", uid=b"\x80\0\0\0\xff\xff\xff\xfe"),
        member(b"link", b"2", link=b"/etc"),
        pax((b"linkpath", b"t" * 4000)) + member(b"longlink", b"2"),
        member(b"pipe", b"6"),
        member(b".wh.gone"),
        member(b"dir/.wh..wh..opq"),
        pax((b"SCHILY.xattr.user.big", b"v" * 3000)) + member(b"dir", b"5"),
    )
    reader = image_of(tmp_path / "i", tar)
    paths = reader.walk()
    assert set(paths) == {
        b"", b"bin", b"dir", b"empty", b"gone", b"link", b"longlink", b"pipe", b"bin/ping",
        b"bin/pong",
    }  # fmt: skip
    ping = reader.inode(paths[b"bin/ping"])
    assert paths[b"bin/pong"] == paths[b"bin/ping"]
    assert (ping.data, ping.mode, ping.links) == (b"elf" * 1000, stat.S_IFREG | 0o4755, 2)
    assert ping.mtime_ns == -1_250_000_000
    assert ping.xattrs == {b"security.capability": capability}
    assert reader.inode(paths[b"empty"]).uid == 0xFFFFFFFE
    assert reader.inode(paths[b"link"]).data == b"/etc"
    assert reader.inode(paths[b"longlink"]).data == b"t" * 4000
    assert reader.inode(paths[b"gone"])[:3] == (stat.S_IFCHR, 0, 0)
    assert reader.inode(paths[b"gone"]).rdev == 0
    assert reader.inode(paths[b"dir"]).xattrs == {
        b"trusted.overlay.opaque": b"y", b"user.big": b"v" * 3000,
    }  # fmt: skip
    root = reader.inode(reader.root)
    assert (root.mode & 0o7777, root.mtime_ns, root.links) == (0o711, 7 * 10**9, 4)
    assert stat.S_ISFIFO(reader.inode(paths[b"pipe"]).mode)
    assert reader.compat == 3
    assert reader.incompat == 0


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@given(st.lists(NAMES, max_size=60, unique=True))
@settings(max_examples=60)
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    names = [name for name in names if not name.startswith(b".wh.")]
    kinds = [REGULAR, DIRECTORY, SYMLINK, FIFO]
    tree = LayerTree()
    expected: dict[bytes, tuple[int, bytes]] = {}
    parents = [b""]
    for number, name in enumerate(names):
        kind = kinds[number % 4]
        parent = parents[number // 7 % len(parents)]
        path = parent + b"/" + name if parent else name
        link = name[:200] if kind == SYMLINK else b""
        tree.add(TarEntry(path, kind, mode=number % 0o10000, uid=number, link=link))
        expected[path] = (number, link)
        if kind == DIRECTORY:
            parents.append(path)
    path = tmp_path_factory.getbasetemp() / "image"
    reader = write(path, tree, b"")
    walked = reader.walk()
    assert set(walked) == {b"", *expected}
    for each, (number, link) in expected.items():
        inode = reader.inode(walked[each])
        assert (inode.mode & 0o7777, inode.uid) == (0o777 if link else number, number)
        if link:
            assert inode.data == link


def test_the_same_layer_gives_the_same_bytes(tmp_path: Path) -> None:
    tar = archive(member(b"b", data=b"x"), member(b"a", b"5"), member(b"a/c", b"2", link=b"b"))
    digests = set()
    for name in ("one", "two"):
        image_of(tmp_path / name, tar)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests == {GOLDEN}


def sparse_image(path: Path, size: int, extents: list[tuple[int, bytes]]) -> tuple[Reader, bytes]:
    """An image of one sparse file whose runs stand one after the other in the "tar"."""
    tar, content, table = b"", bytearray(size), []
    for offset, data in extents:
        table.append(Extent(offset, len(tar), len(data)))
        content[offset : offset + len(data)] = data
        tar += data
    tree = LayerTree()
    tree.add(TarEntry(b"before", REGULAR, size=len(tar)))
    tree.add(TarEntry(b"sparse", REGULAR, size=size, sparse=tuple(table)))
    tree.add(TarEntry(b"zzz", SYMLINK, link=b"after"))
    return write(path, tree, tar), bytes(content)


@pytest.mark.parametrize(
    ("size", "extents"),
    [
        (0, []),
        (1, []),
        (1 << 20, []),
        ((1 << 20) + 1, [(4096, b"a" * 8192)]),
        (100_000, [(0, b"a" * 512), (1024, b"b" * 512), (98304, b"c" * 1696)]),
        (10_000, [(1, b"x")]),
        (10_000, [(100, b"x" * 50), (200, b"y" * 5000), (9999, b"z")]),
        (50_000, [(4095, b"ab"), (8191, b"cd"), (40000, b"e" * 10000)]),
        (12288, [(0, b"a" * 4095), (4096, b"b" * 4097), (8200, b"c")]),
    ],
)
def test_sparse_files(size: int, extents: list[tuple[int, bytes]], tmp_path: Path) -> None:
    reader, content = sparse_image(tmp_path / "i", size, extents)
    paths = reader.walk()
    assert reader.inode(paths[b"sparse"]).data == content
    assert reader.inode(paths[b"zzz"]).data == b"after"


@given(st.data())
@settings(max_examples=60)
def test_any_sparse_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    grain = data.draw(st.sampled_from([1, 100, 512, 4096]))
    borders = sorted(data.draw(st.sets(st.integers(0, 60), max_size=12)))
    extents = [
        (first * grain, bytes([first + 1]) * ((last - first) * grain))
        for first, last in zip(borders[::2], borders[1::2], strict=False)
    ]
    size = (borders[-1] if borders else 0) * grain + data.draw(st.integers(0, 5000))
    reader, content = sparse_image(tmp_path_factory.getbasetemp() / "sparse", size, extents)
    assert reader.inode(reader.walk()[b"sparse"]).data == content


@pytest.mark.sec("C5")
def test_sparse_maps_are_bounded(tmp_path: Path) -> None:
    tree = LayerTree()
    run = Extent(512, 0, 512)
    tree.add(TarEntry(b"huge", REGULAR, size=1 << 40, sparse=(run,)))
    with pytest.raises(CorruptData, match="too large or too fragmented"):
        ErofsImage(tree, 512)


def test_lower_files_are_copied(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    lower = LowerFile(
        REGULAR, 0o640, 7, 8, 9, len(content), ((b"user.a", b"b"),), b"",
        lambda offset, size: content[offset : offset + size],
    )  # fmt: skip
    tar = archive(member(b"h", b"1", link=b"lower"), member(b"i", b"1", link=b"lower"))
    reader = image_of(tmp_path / "i", tar, lambda path: lower if path == b"lower" else None)
    paths = reader.walk()
    inode = reader.inode(paths[b"h"])
    assert paths[b"h"] == paths[b"i"]
    assert inode.data == content
    assert (inode.mode & 0o7777, inode.uid, inode.links) == (0o640, 7, 2)
    short = lower._replace(read=lambda offset, size: b"")
    with pytest.raises(CorruptData, match="shorter"):
        image_of(tmp_path / "j", tar, lambda path: short)


def test_an_opaque_root_is_told(tmp_path: Path) -> None:
    tree = LayerTree()
    tree.add(TarEntry(b".wh..wh..opq", REGULAR))
    assert ErofsImage(tree, 0).root_opaque


@pytest.mark.sec("C4")
def test_work_grows_with_the_size_only() -> None:
    def build(count: int) -> None:
        tree = LayerTree()
        for number in range(count):
            tree.add(TarEntry(b"d/%d" % number, REGULAR))
            tree.add(TarEntry(b"d/%d" % number, HARDLINK, link=b"d/0") if number % 2 else
                     TarEntry(b"x%d/.wh..wh..opq" % number, REGULAR))  # fmt: skip
        for _ in ErofsImage(tree, 0).metadata():
            pass

    assert steps(lambda: build(20000)) < 2.2 * steps(lambda: build(10000))
