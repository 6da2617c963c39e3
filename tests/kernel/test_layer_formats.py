"""Layers on a real kernel: EROFS, extracted directories and GNU tar must show the same tree."""

import io
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onggi.errors import InvalidInput
from onggi.linux.mount import mount_layer, mount_overlay
from onggi.spec.mount import LayerMount, RootFilesystem
from onggi.store.diff import changes, write_layer
from onggi.store.erofs import TAR_OFFSET, ErofsImage
from onggi.store.extract import extract
from onggi.store.layerfile import append_image, write_all_at
from onggi.store.layertree import LayerTree, LowerFile
from onggi.store.tarindex import REGULAR, TarIndex
from rawtar import archive, member, pax
from steps import steps
from trees import difference, snapshot

pytestmark = pytest.mark.root
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
Resolve = Callable[[bytes], LowerFile | None]


@contextmanager
def opened(path: Path | int) -> Iterator[int]:
    fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def tree_of(tar: bytes, resolve: Resolve | None = None) -> LayerTree:
    tree, index = LayerTree(resolve), TarIndex()
    for entry in index.feed(tar):
        tree.add(entry)
    index.finish()
    return tree


def erofs(path: Path, tar: bytes, resolve: Resolve | None = None) -> LayerMount:
    tree = tree_of(tar, resolve)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all_at(fd, tar, TAR_OFFSET)
        append_image(fd, ErofsImage(tree, len(tar)), bytes(16))
    finally:
        os.close(fd)
    try:
        os.close(mount_layer(LayerMount("erofs", str(path))))
    except OSError:
        return LayerMount("erofs-loop", str(path))
    return LayerMount("erofs", str(path))


def directory(path: Path, tar: bytes, resolve: Resolve | None = None) -> LayerMount:
    path.mkdir()
    file = path.with_suffix(".tar")
    file.write_bytes(tar)
    with open(file, "rb") as source, opened(path) as root:
        extract(tree_of(tar, resolve), source.fileno(), 0, root)
    return LayerMount("directory", str(path))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one of everything a layer may hold."""
    root = tmp_path / "source"
    (root / "deep").mkdir(parents=True)
    path = root / "deep"
    for number in range(12):
        path = path / f"{number}-{'d' * 60}"
    path.mkdir(parents=True)
    (path / "file").write_text("far down")
    (root / "big").write_bytes(os.urandom(3 << 20))
    (root / "small").write_bytes(b"x")
    (root / "empty").touch()
    os.link(root / "big", root / "big-again")
    os.link(root / "big", root / "deep/big-elsewhere")
    (root / "link").symlink_to("/etc/passwd")
    (root / "long-link").symlink_to("t" * 3000)
    os.mkfifo(root / "fifo", 0o620)
    (root / "many").mkdir()
    for number in range(3000):
        (root / f"many/{number}-{'n' * (number % 200)}").touch()
    for name in (b"new\nline", b"\xff\xfe", b"back\\slash", "\u6f22\u5b57".encode(), b"n" * 255):
        os.close(os.open(os.fsencode(root) + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o644))
    os.setxattr(root / "small", "user.small", b"v")
    os.setxattr(root / "big", "user.big", b"v" * 2500)
    os.setxattr(root / "many", "user.dir", b"d" * 600)
    os.setxattr(root / "empty", "security.capability", CAPABILITY)
    for mode in (0o4755, 0o2711, 0o1777, 0o000, 0o7777):
        (root / f"mode-{mode:o}").touch()
        os.chown(root / f"mode-{mode:o}", 1000 + mode, 4000000000)
        os.chmod(root / f"mode-{mode:o}", mode)
    with open(root / "sparse", "wb") as file:
        for at, size in ((8192, 4096), (1 << 20, 10000), (3 << 20, 1)):
            file.seek(at)
            file.write(b"s" * size)
        file.truncate(5 << 20)
    (root / "sticky").mkdir()
    os.chmod(root / "sticky", 0o1777)
    for here, names, files in os.walk(root, topdown=False):
        for number, name in enumerate([*names, *files]):
            when = (number * 86400 - 5) * 10**9 + number * 1000003
            os.utime(os.path.join(here, name), ns=(when, when), follow_symlinks=False)
    os.utime(root, (1, 1))
    return root


TAR_OPTIONS = {
    "pax": ["--format=posix", "--xattrs", "--xattrs-include=*"],
    "pax sparse 1.0": ["--format=posix", "-S", "--xattrs", "--xattrs-include=*"],
    "pax sparse 0.1": ["--format=posix", "-S", "--sparse-version=0.1"],
    "gnu": ["--format=gnu", "-S"],
}


@pytest.mark.parametrize("form", TAR_OPTIONS)
def test_the_mounted_tar_is_what_tar_extracts(form: str, source: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        ["tar", "-c", "-C", str(source), *TAR_OPTIONS[form], "."], capture_output=True, check=True
    )
    reference = tmp_path / "reference"
    reference.mkdir()
    subprocess.run(
        ["tar", "-xp", "-C", str(reference), "--xattrs", "--xattrs-include=*", "--numeric-owner"],
        input=made.stdout, check=True,
    )  # fmt: skip
    with opened(reference) as fd:
        expected = snapshot(fd)
    assert len(expected) > 3000
    with opened(mount_layer(erofs(tmp_path / "layer.erofs", made.stdout))) as fd:
        assert difference(expected, snapshot(fd)) == []
    with opened(mount_layer(directory(tmp_path / "extracted", made.stdout))) as fd:
        assert difference(expected, snapshot(fd)) == []


def test_our_own_layer_is_the_tree_it_was_made_of(source: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with opened(source) as fd:
        write_layer(fd, stream.write)
        expected = snapshot(fd)
    again = io.BytesIO()
    with opened(source) as fd:
        write_layer(fd, again.write)
    assert stream.getvalue() == again.getvalue()
    with opened(mount_layer(erofs(tmp_path / "layer.erofs", stream.getvalue()))) as fd:
        found = snapshot(fd)
    whole = {
        path: file._replace(mtime_ns=file.mtime_ns // 10**9 * 10**9)
        for path, file in expected.items()
    }
    whole["."] = found["."]  # a layer says nothing about the root
    assert difference(whole, found) == []


LOWER = archive(
    member(b"bin", b"5"),
    pax((b"SCHILY.xattr.user.a", b"b")),
    member(b"bin/tool", data=b"tool" * 999, mode=b"0004755\0"),
    member(b"etc", b"5"), member(b"etc/a", data=b"a"), member(b"etc/b", data=b"b"),
    member(b"gone", b"5"), member(b"gone/x"), member(b"opaque", b"5"), member(b"opaque/old"),
    member(b"kind", b"5"), member(b"kind/x"), member(b"replaced", b"5"), member(b"replaced/old"),
)  # fmt: skip
UPPER = archive(
    member(b"etc", b"5"), member(b"etc/.wh.a"), member(b"etc/c", data=b"c"),
    member(b".wh.gone"), member(b"opaque/new"), member(b"opaque/.wh..wh..opq"),
    member(b"kind", data=b"now a file"), member(b".wh.replaced"), member(b"replaced", b"5"),
    member(b"replaced/new"), member(b"usr/hard", b"1", link=b"bin/tool"),
    member(b"usr/harder", b"1", link=b"usr/hard"), member(b".wh.never-was"),
)  # fmt: skip


def lower_tool(lower_fd: int) -> Resolve:
    def resolve(path: bytes) -> LowerFile | None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=lower_fd)
        try:
            status = os.fstat(fd)
            with open(fd, "rb", closefd=False) as file:
                data = file.read()
        finally:
            os.close(fd)
        return LowerFile(
            REGULAR, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
            status.st_mtime_ns, len(data), ((b"user.a", b"b"),), b"", lambda o, n: data[o : o + n],
        )  # fmt: skip

    return resolve


@pytest.mark.sec("C3")
def test_both_backends_merge_alike(tmp_path: Path) -> None:
    lowers = [erofs(tmp_path / "lower.erofs", LOWER), directory(tmp_path / "lower", LOWER)]
    with opened(mount_layer(lowers[0])) as lower_fd:
        resolve = lower_tool(lower_fd)
        uppers = [
            erofs(tmp_path / "upper.erofs", UPPER, resolve),
            directory(tmp_path / "upper", UPPER, resolve),
        ]
    merged = []
    for lower in lowers:
        for upper in uppers:
            with opened(mount_overlay(RootFilesystem((lower, upper), "", ""))) as fd:
                merged.append(snapshot(fd))
    for other in merged[1:]:
        assert difference(merged[0], other) == []
    first = merged[0]
    assert set(first) == {
        ".", "./bin", "./bin/tool", "./etc", "./etc/b", "./etc/c", "./opaque", "./opaque/new",
        "./kind", "./replaced", "./replaced/new", "./usr", "./usr/hard", "./usr/harder",
    }  # fmt: skip
    hard = first["./usr/hard"]
    assert hard.content == first["./bin/tool"].content
    assert (hard.mode, hard.links) == (stat.S_IFREG | 0o4755, 2)
    assert hard.xattrs == first["./bin/tool"].xattrs


@contextmanager
def container(tmp_path: Path, *layers: LayerMount) -> Iterator[tuple[int, Path]]:
    """A writable overlay over the layers: its root, and its upper directory."""
    upper, work = tmp_path / "up", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    with opened(mount_overlay(RootFilesystem(layers, str(upper), str(work)))) as fd:
        yield fd, upper


def test_a_commit_shows_what_the_container_showed(tmp_path: Path) -> None:
    lower = erofs(tmp_path / "lower.erofs", LOWER)
    with container(tmp_path, lower) as (root_fd, upper):
        root = Path(f"/proc/self/fd/{root_fd}")
        (root / "etc/a").unlink()
        (root / "etc/b").write_text("changed")
        (root / "gone/x").unlink()
        (root / "gone").rmdir()
        (root / "opaque/old").unlink()
        (root / "opaque").rmdir()
        (root / "opaque").mkdir()
        (root / "opaque/new").write_text("new")
        (root / "new/sub").mkdir(parents=True)
        os.link(root / "etc/b", root / "new/hard")
        os.mkfifo(root / "new/fifo")
        (root / "new/s").symlink_to("/nowhere")
        (root / "kind/x").unlink()
        (root / "kind").rmdir()
        (root / "kind").write_text("a file")
        os.setxattr(root / "etc/b", "security.capability", CAPABILITY)
        expected = snapshot(root_fd)
        with opened(upper) as upper_fd, opened(mount_layer(lower)) as lower_fd:
            listed = changes(upper_fd, lower_fd)
            stream = io.BytesIO()
            write_layer(upper_fd, stream.write)
    assert listed == [
        ("C", "/etc"), ("D", "/etc/a"), ("C", "/etc/b"), ("D", "/gone"), ("C", "/kind"),
        ("A", "/new"), ("A", "/new/fifo"), ("A", "/new/hard"), ("A", "/new/s"), ("A", "/new/sub"),
        ("C", "/opaque"), ("A", "/opaque/new"), ("D", "/opaque/old"),
    ]  # fmt: skip
    committed = erofs(tmp_path / "new.erofs", stream.getvalue())
    with opened(mount_overlay(RootFilesystem((lower, committed), "", ""))) as fd:
        found = snapshot(fd)
    whole = {
        path: file._replace(mtime_ns=file.mtime_ns // 10**9 * 10**9)
        for path, file in expected.items()
    }
    assert found.pop(".").mode == whole.pop(".").mode
    assert difference(whole, found) == []


@pytest.mark.sec("B12")
def test_a_commit_refuses_devices_and_false_whiteouts(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with opened(tmp_path) as fd:
        with pytest.raises(InvalidInput, match="/null is a character device"):
            write_layer(fd, lambda data: None)
        (tmp_path / "null").unlink()
        (tmp_path / ".wh.x").touch()
        with pytest.raises(InvalidInput, match="cannot hold a file named"):
            write_layer(fd, lambda data: None)


def test_an_unchanged_copy_is_no_change(tmp_path: Path) -> None:
    lower = erofs(tmp_path / "lower.erofs", LOWER)
    with container(tmp_path, lower) as (root_fd, upper):
        with open(f"/proc/self/fd/{root_fd}/etc/a", "ab"):
            pass  # opened for writing: copied up, and the same
        with opened(upper) as upper_fd, opened(mount_layer(lower)) as lower_fd:
            assert os.listdir(upper_fd) == ["etc"]
            assert changes(upper_fd, lower_fd) == []


def test_sparse_and_unaligned_files_read_right(tmp_path: Path) -> None:
    text = b"3\n1\n5\n4090\n20\n20000\n1\n"
    head = pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"odd"),
        (b"GNU.sparse.realsize", b"30000"),
    )  # fmt: skip
    tar = archive(head + member(b"odd", data=text.ljust(512, b"\0") + b"a" * 5 + b"b" * 20 + b"c"))
    content = bytearray(30000)
    content[1:6], content[4090:4110], content[20000:20001] = b"a" * 5, b"b" * 20, b"c"
    for layer in (erofs(tmp_path / "e", tar), directory(tmp_path / "d", tar)):
        with opened(mount_layer(layer)) as fd, open(f"/proc/self/fd/{fd}/odd", "rb") as file:
            assert file.read() == content


@pytest.mark.sec("C4")
def test_large_layers_take_work_in_proportion(tmp_path: Path) -> None:
    """100,000 entries, half of them in one directory and half with deep or opaque parents."""

    def build(count: int) -> int:
        deep = b"/".join(b"%d" % level for level in range(100))
        members = []
        for number in range(count // 2):
            members.append(member(b"flat/%d" % number))
            deeper = b"%b/%d" % (deep, number % 500)
            members.append(member(b"%b/.wh..wh..opq" % deeper if number % 2 else deeper + b"/f"))
        tar = archive(*members)
        layers: list[LayerMount] = []
        work = steps(lambda: layers.append(erofs(tmp_path / "layer.erofs", tar)))
        with opened(mount_layer(layers[0])) as fd:
            assert len(os.listdir(f"/proc/self/fd/{fd}/flat")) == count // 2
        return work

    half, whole = build(50_000), build(100_000)
    assert whole < 2.2 * half


def test_a_real_layer(busybox_layer: Path, tmp_path: Path) -> None:
    tar = busybox_layer.read_bytes()
    with opened(mount_layer(erofs(tmp_path / "e", tar))) as fd:
        one = snapshot(fd)
    with opened(mount_layer(directory(tmp_path / "d", tar))) as fd:
        assert difference(one, snapshot(fd)) == []
    assert "./bin/sh" in one
