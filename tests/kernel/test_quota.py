"""Limits of a writable layer, on a file system of the test's own where the kernel has quotas."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.linux import quota

pytestmark = pytest.mark.root
OPTIONS = ["-O", "quota,project", "-E", "quotatype=prjquota"]


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True)


def written(directory: Path, name: str, size_bytes: int) -> str:
    """What a writer says who is not root: CAP_SYS_RESOURCE knows no limit."""
    argv = ["/bin/sh", "-c", f"head -c {size_bytes} /dev/zero > {name}"]
    return subprocess.run(argv, capture_output=True, text=True, user=65534, cwd=directory).stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted ext4 with project quotas."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("needs mkfs.ext4")
    image, point = tmp_path / "disk", tmp_path / "point"
    image.write_bytes(b"")
    os.truncate(image, 64 << 20)
    point.mkdir()
    made = run("mkfs.ext4", "-q", *OPTIONS, image)
    assert made.returncode == 0, made.stderr
    done = run("mount", "-o", "loop,prjquota", image, point)
    if done.returncode:
        pytest.skip("this kernel has no project quotas on ext4 (CONFIG_QFMT_V2)")
    yield point
    run("umount", point)


def test_two_directories_share_a_limit(disk: Path) -> None:
    upper, work = disk / "upper", disk / "work"
    for directory in (upper, work):
        directory.mkdir()
        directory.chmod(0o777)
    project = quota.limit((str(upper), str(work)), 7, 4 << 20)
    assert written(work, "a", 3 << 20) == ""
    os.rename(work / "a", upper / "a")  # one project: no EXDEV
    assert "quota exceeded" in written(upper, "b", 2 << 20)
    fd = os.open(upper, os.O_RDONLY)
    try:
        assert quota.project_of(fd) == project
        assert quota.used_bytes(fd, project)[0] >= 3 << 20
    finally:
        os.close(fd)
    other = disk / "other"
    other.mkdir()
    assert quota.limit((str(other),), 7, 4 << 20) != project, "it is in use"


def test_where_there_are_none_the_error_says_so(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    assert run("mount", "-t", "tmpfs", "plain", plain).returncode == 0
    try:
        with pytest.raises(OSError) as caught:
            quota.limit((str(plain),), 0, 1 << 20)
        assert caught.value.errno in quota.MISSING
    finally:
        run("umount", plain)
