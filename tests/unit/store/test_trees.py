"""Trees in and out without root: unpacking hostile archives, packing, copying."""

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import CorruptData, InvalidInput
from onggi.store.diff import changes
from onggi.store.pack import Packer
from onggi.store.tarindex import LIMITS, TarEntry, TarIndex
from onggi.store.tarwrite import LayerWriter
from onggi.store.tree import copy_tree, write_tar_of
from onggi.store.unpack import extract_into
from rawtar import archive, member, pax
from trees import difference, snapshot

ME = (os.getuid(), os.getgid())


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root file system in a directory whose neighbours must never change."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "canary").write_text("canary")
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    assert (tmp_path / "canary").read_text() == "canary"
    assert sorted(os.listdir(tmp_path)) == ["canary", "root"]


def put(
    root: int, *members: bytes, directory: str = "/", piece: int = 700, **options: object
) -> None:
    data = archive(*members)
    chunks = (data[at : at + piece] for at in range(0, len(data), piece))
    extract_into(root, directory, chunks, owner=ME, **options)  # type: ignore[arg-type]


def inside(root: int, path: str) -> Path:
    return Path(f"/proc/self/fd/{root}/{path}")


def tar_of(root: int, path: str, **options: object) -> list[TarEntry]:
    out = io.BytesIO()
    write_tar_of(root, path, out.write, **options)  # type: ignore[arg-type]
    index = TarIndex(devices=True)
    found = index.feed(out.getvalue())
    index.finish()
    return found


def names(entries: list[TarEntry]) -> list[str]:
    return [entry.path.decode() for entry in entries]


# -- unpacking ---------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 512, 700, 1 << 20])
def test_unpack(root: int, piece: int) -> None:
    put(
        root,
        member(b"./", b"5", mode=b"0000000\0"),
        member(b"d", b"5", mode=b"0000500\0", mtime=b"00000000007\0"),
        member(b"d/f", data=b"data" * 400, mode=b"0000640\0", mtime=b"00000000005\0"),
        member(b"empty"),
        member(b"d/l", b"2", link=b"/nowhere"),
        member(b"d/h", b"1", link=b"d/f"),
        member(b"d/p", b"6", mode=b"0000622\0"),
        directory="/etc",
        piece=piece,
    )
    assert inside(root, "etc/d/f").read_bytes() == b"data" * 400
    status = inside(root, "etc/d/f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_nlink) == (0o640, 5, 2)
    assert inside(root, "etc/d").stat().st_mtime == 7
    assert stat.S_IMODE(inside(root, "etc/d").stat().st_mode) == 0o500
    assert stat.S_IMODE(inside(root, "etc/d/p").stat().st_mode) == 0o622
    assert os.readlink(inside(root, "etc/d/l")) == "/nowhere"
    assert inside(root, "etc/empty").read_bytes() == b""
    assert stat.S_IMODE(inside(root, "etc").stat().st_mode) != 0  # the root entry is skipped
    inside(root, "etc/d").chmod(0o700)


@pytest.mark.sec("C1")
def test_links_lead_nowhere_but_into_the_root(root: int) -> None:
    up = b"../" * 20
    for number, target in enumerate((b"/", up, up + b"canary/..", b"/../..", b"..")):
        name = b"link%d" % number
        put(root, member(name, b"2", link=target), member(name + b"/made%d" % number, data=b"x"))
        assert inside(root, f"made{number}").read_bytes() == b"x"
    put(root, member(b"out", b"2", link=b"../canary"), member(b"out", data=b"evil"))
    assert inside(root, "out").read_bytes() == b"evil"
    assert not inside(root, "out").is_symlink()
    put(root, member(b"magic", b"2", link=b"/proc/self/root/etc"), member(b"magic/x"))
    assert inside(root, "proc/self/root/etc/x").exists()
    put(root, member(b"loop", b"2", link=b"loop"))
    with pytest.raises(OSError, match="Too many levels"):
        put(root, member(b"loop/x"))


@pytest.mark.sec("C2")
def test_hard_links_stay_in_the_root_and_name_files(root: int) -> None:
    put(root, member(b"l", b"2", link=b"../canary"), member(b"f", data=b"f"))
    for target in (b"l", b"etc", b"missing", b"l/x", b"f/x", b"missing/x"):
        with pytest.raises(CorruptData):
            put(root, member(b"h", b"1", link=target))
    with pytest.raises(CorruptData, match="itself"):
        put(root, member(b"f", b"1", link=b"f"))
    assert inside(root, "f").read_bytes() == b"f"
    for name in (b"../x", b"a/../../x"):
        with pytest.raises(CorruptData):
            put(root, member(name))
        with pytest.raises(CorruptData):
            put(root, member(b"h", b"1", link=name))


def test_what_is_there_is_replaced_or_merged(root: int) -> None:
    put(root, member(b"d/x"), member(b"f"), member(b"l", b"2", link=b"f"))
    put(root, member(b"d", b"5"), member(b"d/y"), member(b"l", data=b"new"), member(b"f", b"5"))
    assert sorted(os.listdir(inside(root, "d"))) == ["x", "y"]
    assert inside(root, "l").read_bytes() == b"new"
    assert inside(root, "f").is_dir()
    put(root, member(b"d", data=b"file now"))
    assert inside(root, "d").read_bytes() == b"file now"


def test_types_can_be_kept(root: int) -> None:
    put(root, member(b"d/x"), member(b"f"))
    with pytest.raises(InvalidInput, match="cannot overwrite directory 'd' with non-directory"):
        put(root, member(b"d"), keep_types=True)
    with pytest.raises(InvalidInput, match="cannot overwrite non-directory 'f' with directory"):
        put(root, member(b"f", b"5"), keep_types=True)
    put(root, member(b"f", data=b"new"), member(b"d", b"5"), keep_types=True)


def test_rename(root: int) -> None:
    def rename(path: bytes) -> bytes:
        return path.replace(b"old", b"new", 1) if path.startswith(b"old") else b""

    put(
        root,
        member(b"old", b"5"), member(b"old/f", data=b"x" * 600), member(b"other", data=b"y" * 600),
        member(b"old/h", b"1", link=b"old/f"),
        rename=rename,
    )  # fmt: skip
    assert sorted(os.listdir(inside(root, "new"))) == ["f", "h"]
    assert not inside(root, "other").exists()


def test_sparse_files_keep_their_holes(root: int) -> None:
    head = pax(
        (b"GNU.sparse.size", b"1000000"), (b"GNU.sparse.map", b"5,3,500000,600"),
        (b"GNU.sparse.name", b"s"),
    )  # fmt: skip
    put(root, head + member(b"s", data=b"abc" + b"d" * 600), member(b"next", data=b"n"), piece=10)
    content = inside(root, "s").read_bytes()
    assert len(content) == 1000000
    assert content[5:8] == b"abc"
    assert content[500000:500600] == b"d" * 600
    assert content.strip(b"\0").replace(b"\0", b"") == b"abc" + b"d" * 600
    assert inside(root, "next").read_bytes() == b"n"


@pytest.mark.sec("B12")
def test_devices_are_refused(root: int) -> None:
    with pytest.raises(CorruptData, match="device"):
        put(root, member(b"null", b"3", major=b"0000001\0", minor=b"0000003\0"))


def test_a_cut_stream_and_a_missing_directory(root: int) -> None:
    with pytest.raises(CorruptData, match="truncated"):
        extract_into(root, "/", [member(b"f", data=b"x" * 2000)[:-700]], owner=ME)
    with pytest.raises(FileNotFoundError):
        put(root, member(b"f"), directory="/missing")
    with pytest.raises(NotADirectoryError):
        put(root, member(b"f"))
        put(root, member(b"g"), directory="/f")


# -- packing -----------------------------------------------------------------------------------


def test_pack_names(root: int) -> None:
    put(root, member(b"d/sub/f", data=b"f"), member(b"l", b"2", link=b"/d/sub"))
    assert names(tar_of(root, "/d", name="d")) == ["d", "d/sub", "d/sub/f"]
    assert names(tar_of(root, "/d", name="other")) == ["other", "other/sub", "other/sub/f"]
    assert names(tar_of(root, "/d")) == ["sub", "sub/f"]
    assert names(tar_of(root, "/d/.", include_root=True)) == ["", "sub", "sub/f"]
    assert names(tar_of(root, "/")) == ["d", "d/sub", "d/sub/f", "etc", "l"]
    assert names(tar_of(root, "d/sub/f")) == ["f"]
    assert names(tar_of(root, "l/f")) == ["f"]
    (link,) = tar_of(root, "/l", name="l")
    assert link.link == b"/d/sub"
    assert names(tar_of(root, "/l", name="l", follow_link=True)) == ["l", "l/f"]
    assert names(tar_of(root, "/l/", name="l")) == ["l", "l/f"]
    assert names(tar_of(root, "/d/sub/f", name="g", follow_link=True)) == ["g"]


@pytest.mark.sec("A6")
def test_packing_stays_in_the_root(root: int) -> None:
    put(root, member(b"l", b"2", link=b"../../../../canary"), member(b"u", b"2", link=b"/.."))
    for path in ("/l", "../canary", "/u/canary", "/l/x"):
        with pytest.raises(FileNotFoundError):
            tar_of(root, path, follow_link=True)
    assert names(tar_of(root, "/u/etc", name="etc")) == ["etc"]
    with pytest.raises(FileNotFoundError):
        tar_of(root, "/missing")


def test_sockets_are_left_out(root: int) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inside(root, "etc/s")))
        assert names(tar_of(root, "/etc", name="etc")) == ["etc"]


def test_packing_stops_at_a_depth(root: int) -> None:
    fd = os.dup(root)
    for _ in range(300):
        os.mkdir("deep", dir_fd=fd)
        inner = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with pytest.raises(InvalidInput, match="too deep"):
        tar_of(root, "/")


# -- copying -----------------------------------------------------------------------------------


def test_copy_tree(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a/b").mkdir(parents=True)
    target.mkdir()
    (source / "a/f").write_bytes(os.urandom(100_000))
    os.link(source / "a/f", source / "a/b/h")
    os.link(source / "a/f", source / "z")
    (source / "l").symlink_to("/etc/passwd")
    os.mkfifo(source / "p", 0o640)
    (source / "a/f").chmod(0o4711)
    (source / "a").chmod(0o1755)
    os.setxattr(source / "a/f", "user.k", b"v")
    source.chmod(0o711)
    for path in ("a/b", "a", "l", "p", ""):
        os.utime(source / path, ns=(10**18, 10**18 + 12345), follow_symlinks=False)
    source_fd, target_fd = (os.open(path, os.O_RDONLY) for path in (source, target))
    try:
        copy_tree(source_fd, target_fd)
        assert difference(snapshot(source_fd), snapshot(target_fd)) == []
        with pytest.raises(FileExistsError):
            copy_tree(source_fd, target_fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)


# -- trees that a container still changes ------------------------------------------------------


class Vanishing(Packer):
    """Removes a name between the look at it and its opening, as a container would."""

    victim = b""

    def _open(self, directory_fd: int, name: bytes) -> int:
        if name == self.victim:
            os.unlink(name, dir_fd=directory_fd)
        return super()._open(directory_fd, name)


def test_a_file_that_vanishes_while_it_is_packed_is_left_out(root: int) -> None:
    for name in ("a", "c"):
        inside(root, name).write_text(name)
    os.link("a", "b", src_dir_fd=root, dst_dir_fd=root)
    out = io.BytesIO()
    packer = Vanishing(LayerWriter(out.write), overlay=False, devices=False)
    packer.victim = b"a"
    packer.contents(root, b"")
    found = TarIndex(require_end=False).feed(out.getvalue())
    assert [(entry.path, entry.kind) for entry in found] == [
        (b"b", b"0"), (b"c", b"0"), (b"etc", b"5"),
    ]  # fmt: skip


def test_a_diff_of_a_tree_that_nests_too_deep_is_refused(root: int) -> None:
    here = os.dup(root)
    for _ in range(LIMITS.depth + 2):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(InvalidInput, match="nested too deep"):
        changes(root, -1)
