"""Trees that change under our hands, and trees with mounts in them."""

import io
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import CorruptData
from onggi.linux.mount import fsmount, move_mount
from onggi.store.tarindex import TarIndex
from onggi.store.tree import copy_tree, write_tar_of
from onggi.store.unpack import extract_into
from rawtar import archive, member

pytestmark = pytest.mark.root

# A "container" that swaps a directory and a link to the outside as fast as it can.
RACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print(flush=True)
while True:
    libc.renameat2(-100, b"d", -100, b"l", 2)
"""


@pytest.fixture
def racing_root(tmp_path: Path) -> Iterator[Path]:
    """A root whose /d and /l (a link to a directory outside) change places all the time."""
    root = tmp_path / "root"
    (root / "d/sub").mkdir(parents=True)
    (root / "d/secret").write_text("inside")
    (tmp_path / "outside/sub").mkdir(parents=True)
    (tmp_path / "outside/secret").write_text("OUTSIDE")
    (root / "l").symlink_to(tmp_path / "outside")
    racer = subprocess.Popen([sys.executable, "-c", RACER, str(root)], stdout=subprocess.PIPE)
    try:
        assert racer.stdout is not None
        racer.stdout.readline()
        yield root
    finally:
        racer.kill()
        racer.communicate()


def outside(root: Path) -> list[tuple[str, int, int]]:
    found = []
    for here, names, files in os.walk(root.parent / "outside"):
        for name in [*names, *files]:
            status = os.lstat(os.path.join(here, name))
            found.append((name, status.st_mode, status.st_mtime_ns))
    return sorted(found)


LEAST, MOST = 100, 2000


@pytest.mark.sec("A6")
def test_swapping_names_lets_nothing_in_or_out(racing_root: Path) -> None:
    before = outside(racing_root)
    tar = archive(
        member(b"d/secret", data=b"evil", mode=b"0004777\0"), member(b"d/sub/new"),
        member(b"l/x", b"6"), member(b"d/sub", b"5", mode=b"0000777\0"),
        member(b"d/h", b"1", link=b"d/secret"),
    )  # fmt: skip
    root_fd = os.open(racing_root, os.O_RDONLY | os.O_DIRECTORY)
    done, swapped = 0, set()
    deadline = time.monotonic() + 60
    try:
        # A slow machine does fewer, and one that does them all before the racer ran goes on.
        while done < LEAST or (time.monotonic() < deadline and (done < MOST or len(swapped) < 2)):
            swapped.add(stat.S_IFMT(os.lstat(racing_root / "d").st_mode))
            try:
                extract_into(root_fd, "/", [tar])
            except (OSError, CorruptData):
                pass  # a swap at the wrong moment may fail, it may not escape
            out = io.BytesIO()
            try:
                write_tar_of(root_fd, "/d", out.write, name="d", follow_link=done % 2 == 0)
            except OSError:
                pass
            assert b"OUTSIDE" not in out.getvalue()
            assert outside(racing_root) == before
            done += 1
    finally:
        os.close(root_fd)
    assert len(swapped) == 2, "the racer never hit"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs on one of its directories and one on one of its files' names."""
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    (root / "hosts").write_text("under")
    (root / "plain").write_text("plain")
    fd = fsmount("tmpfs")
    move_mount(fd, str(root / "proc"))
    os.close(fd)
    (root / "proc/cpuinfo").write_text("mounted")
    subprocess.run(["mount", "--bind", str(root / "proc/cpuinfo"), str(root / "hosts")], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root / "hosts")], check=True)
        subprocess.run(["umount", str(root / "proc")], check=True)


def test_mounts_can_be_left_empty(mounted: Path) -> None:
    fd = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sizes = {}
        for one_filesystem in (False, True):
            out = io.BytesIO()
            write_tar_of(fd, "/", out.write, one_filesystem=one_filesystem)
            entries = TarIndex().feed(out.getvalue())
            sizes[one_filesystem] = {entry.path.decode(): entry.size for entry in entries}
    finally:
        os.close(fd)
    assert sizes[False] == {"hosts": 7, "plain": 5, "proc": 0, "proc/cpuinfo": 7}
    assert sizes[True] == {"hosts": 0, "plain": 5, "proc": 0}


def test_copy_up_keeps_owners_and_leaves_devices(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "f").touch()
    os.chown(source / "f", 999, 998)
    os.chmod(source / "f", 0o6755)
    os.setxattr(
        source / "f", "security.capability",
        bytes.fromhex("0100000200040000000000000000000000000000"),
    )  # fmt: skip
    os.chown(source, 70, 71)
    os.chmod(source, 0o1777)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    source_fd, target_fd = (os.open(path, os.O_RDONLY) for path in (source, target))
    try:
        copy_tree(source_fd, target_fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)
    assert os.listdir(target) == ["f"]
    for path in ("f", ""):
        one, other = os.stat(source / path), os.stat(target / path)
        assert (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)
    assert os.getxattr(target / "f", "security.capability")


def test_devices_when_asked_for(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        null = member(b"null", b"3", major=b"0000001\0", minor=b"0000003\0", mode=b"0000666\0")
        extract_into(fd, "/", [archive(null)], devices=True)
    finally:
        os.close(fd)
    status = os.stat(tmp_path / "null")
    assert (status.st_mode, status.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
