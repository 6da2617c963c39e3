"""Root filesystems as copies: layers are merged as overlayfs would, and what changed is found."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from onggi.linux import copied, mount
from onggi.spec.mount import LayerMount, RootFilesystem
from onggi.store import diff, owners


def layers(tmp_path: Path) -> list[str]:
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one / "kept", one / "hidden", two / "hidden"):
        directory.mkdir(parents=True)
    (one / "kept/a").write_text("a")
    (one / "gone").write_text("x")
    (one / "hidden/old").write_text("old")
    (one / "link").symlink_to("kept/a")
    os.link(one / "kept/a", one / "kept/b")
    (two / "gone").touch()
    os.setxattr(two / "gone", copied.WHITEOUT_MARK, b"y")
    os.setxattr(two / "hidden", "user.overlay.opaque", b"y")
    (two / "hidden/new").write_text("new")
    (two / "hidden").chmod(0o710)
    return [str(one), str(two)]


@pytest.fixture
def joined(tmp_path: Path) -> str:
    target = tmp_path / "joined"
    target.mkdir()
    copied.merge(layers(tmp_path), str(target))
    return str(target)


@pytest.fixture
def upper(tmp_path: Path, joined: str) -> Path:
    (tmp_path / "upper").mkdir()
    root = RootFilesystem((LayerMount("copied", joined),), str(tmp_path / "upper"), "")
    os.close(mount.mount_overlay(root))
    return tmp_path / "upper"


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def changes(upper: Path) -> list[diff.Change]:
    fd = os.open(upper, os.O_RDONLY)
    try:
        pristine = copied.pristine(str(upper))
        assert pristine is not None
        return diff.changes_of_copy(fd, pristine)
    finally:
        os.close(fd)


def test_layers_are_merged(tmp_path: Path, joined: str) -> None:
    root = Path(joined)
    assert names(root) == ["hidden", "hidden/new", "kept", "kept/a", "kept/b", "link"]
    assert (root / "hidden").stat().st_mode & 0o777 == 0o710
    assert (root / "kept/a").stat().st_ino == (tmp_path / "one/kept/a").stat().st_ino


def test_a_copy_shares_nothing_but_its_own_links(joined: str, upper: Path) -> None:
    assert names(upper) == names(Path(joined))
    assert (upper / "kept/a").stat().st_ino != (Path(joined) / "kept/a").stat().st_ino
    assert (upper / "kept/a").samefile(upper / "kept/b")
    assert os.readlink(upper / "link") == "kept/a"
    assert changes(upper) == []


def test_a_second_look_copies_nothing(joined: str, upper: Path) -> None:
    (upper / "kept/a").write_text("changed")
    root = RootFilesystem((LayerMount("copied", joined),), str(upper), "")
    os.close(mount.mount_overlay(root))
    assert (upper / "kept/a").read_text() == "changed"


def test_what_changed_is_found_and_written(upper: Path) -> None:
    (upper / "kept/b").unlink()
    (upper / "hidden/new").write_text("newer")
    (upper / "added").mkdir()
    (upper / "added/file").write_text("file")
    assert changes(upper) == [
        ("A", "/added"),
        ("A", "/added/file"),
        ("C", "/hidden/new"),
        ("C", "/kept"),
        ("D", "/kept/b"),
    ]
    pieces: list[bytes] = []
    fd = os.open(upper, os.O_RDONLY)
    try:
        diff.write_layer(fd, pieces.append, pristine=copied.pristine(str(upper)))
    finally:
        os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as layer:
        written = layer.getnames()
    assert written == ["added", "added/file", "hidden/new", "kept", "kept/.wh.b"]


def test_a_directory_that_is_no_copy(tmp_path: Path) -> None:
    assert copied.pristine(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (b"5:42:0100644", (5, 42)),
        (b"", None),
        (b"5:42", None),
        (b"-1:0:0", None),
        (b"4294967295:0:0", None),
        (b"a:b:c", None),
    ],
)
def test_a_record_counts_on_files_of_our_own(
    tmp_path: Path, record: bytes, found: tuple[int, int] | None
) -> None:
    (tmp_path / "file").touch()
    status = (tmp_path / "file").stat()
    assert owners.of(status, record) == (found or (status.st_uid, status.st_gid))
    values = list(status)
    values[4] = status.st_uid + 1  # st_uid
    assert owners.of(os.stat_result(values), record) == (status.st_uid + 1, status.st_gid)
