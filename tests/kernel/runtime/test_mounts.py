"""Volumes, tmpfs, read-only roots, and what may not be mounted."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onggi.errors import InvalidInput
from onggi.linux import mount, namespace
from onggi.runtime import plan
from onggi.runtime.plan import PlanMount

pytestmark = pytest.mark.root
Box = Any


def test_a_directory_and_a_file(box: Box, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("A")
    mounts = [
        PlanMount("/deep/data", "bind", str(data), ("rbind", "rw")),
        PlanMount("/deep/file", "bind", str(data / "a"), ("rbind", "ro", "rro")),
    ]
    result = box.sh("cat /deep/data/a /deep/file; echo B > /deep/data/b; echo > /deep/file",
                    mounts=mounts)  # fmt: skip
    assert result.out == "AA"
    assert "Read-only" in result.err
    assert (data / "b").read_text() == "B\n"


def test_read_only_is_recursive(box: Box, tmp_path: Path) -> None:
    """A mount below a read-only volume is read-only as well, when `rro` says so."""
    pid = os.fork()
    if pid == 0:  # the host's mounts are changed in a namespace of our own only
        code = 1
        try:
            namespace.unshare(namespace.CLONE_NEWNS)
            mount.mount_setattr("/", propagation=mount.MS_PRIVATE, recursive=True)
            for name in ("one", "one/two"):
                os.mkdir(tmp_path / name)
                fd = mount.fsmount("tmpfs")
                mount.move_mount(fd, str(tmp_path / name))
                os.close(fd)
            for options, outcome in ((("rbind", "rro"), 1), (("rbind", "ro"), 0)):
                mounts = [PlanMount("/v", "bind", str(tmp_path / "one"), options)]
                result = box.sh("touch /v/x; touch /v/two/x", mounts=mounts)
                assert result.err.count("Read-only") == 1 + outcome, result
            box._undo.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_missing_source(box: Box) -> None:
    with pytest.raises(InvalidInput, match="bind source path does not exist: /nowhere"):
        box.run("true", mounts=[PlanMount("/v", "bind", "/nowhere", ("rbind",))])


def test_a_directory_over_a_file(box: Box, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"error mounting .* to rootfs at '/etc/passwd'"):
        box.run("true", mounts=[PlanMount("/etc/passwd", "bind", str(tmp_path), ("rbind",))])


@pytest.mark.parametrize("target", ["/", "/proc", "/proc/sys", "/proc/1/root", "/proc/self/fd/1"])
def test_targets_that_are_refused(box: Box, tmp_path: Path, target: str) -> None:
    with pytest.raises(InvalidInput):
        box.run("true", mounts=[PlanMount(target, "bind", str(tmp_path), ("rbind",))])


def test_tmpfs(box: Box) -> None:
    mounts = [plan.tmpfs_mount("/scratch", "size=64k,mode=1770"), plan.tmpfs_mount("/tmp", "exec")]
    script = """
        stat -c %a /scratch /tmp; grep -E ' /(scratch|tmp) ' /proc/mounts | cut -d' ' -f4
        dd if=/dev/zero of=/scratch/big bs=1k count=100"""
    result = box.sh(script, mounts=mounts)
    modes, lines = result.out.split()[:2], result.out.splitlines()[2:]
    assert modes == ["1770", "1777"]
    assert "noexec" in lines[0] and "size=64k" in lines[0]
    assert "noexec" not in lines[1] and "nosuid" in lines[1]
    assert "No space left" in result.err


def test_a_new_tmpfs_target_is_for_everybody(box: Box) -> None:
    mounts = [plan.tmpfs_mount("/new", "")]
    assert box.sh("stat -c %a /new", mounts=mounts).out == "1777\n"


def test_shared_memory_size(box: Box) -> None:
    assert "size=65536k" in box.sh("grep /dev/shm /proc/mounts").out


def test_read_only_root(box: Box, tmp_path: Path) -> None:
    mounts = [PlanMount("/vol/new", "bind", str(tmp_path), ("rbind",)), plan.tmpfs_mount("/t", "")]
    result = box.sh("touch /x; touch /vol/new/ok /t/ok /dev/shm/ok && echo fine",
                    read_only=True, mounts=mounts, cwd="/made")  # fmt: skip
    assert "Read-only" in result.err
    assert result.out == "fine\n"
    assert (tmp_path / "ok").exists()


def test_a_volume_in_a_volume(box: Box, tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    outer.mkdir()
    inner.mkdir()
    (inner / "x").write_text("inner")
    mounts = [
        PlanMount("/v", "bind", str(outer), ("rbind",)),
        PlanMount("/v/sub/dir", "bind", str(inner), ("rbind",)),
    ]
    assert box.sh("cat /v/sub/dir/x", mounts=mounts).out == "inner"
    assert (outer / "sub/dir").is_dir()


@pytest.mark.sec("A7")
def test_a_link_in_a_volume_leads_inside_the_container(box: Box, tmp_path: Path) -> None:
    outer, outside = tmp_path / "outer", tmp_path / "outside"
    outer.mkdir()
    outside.mkdir()
    (outer / "link").symlink_to(outside)
    mounts = [
        PlanMount("/v", "bind", str(outer), ("rbind",)),
        PlanMount("/v/link/deep", "tmpfs", "tmpfs"),
    ]
    assert box.sh("touch /v/link/deep/x && echo ok", mounts=mounts).out == "ok\n"
    assert list(outside.iterdir()) == []


def test_propagation(box: Box, tmp_path: Path) -> None:
    for words, field in (("rprivate", ""), ("rslave", "")):
        mounts = [PlanMount("/v", "bind", str(tmp_path), ("rbind", words))]
        line = box.sh("grep ' /v ' /proc/self/mountinfo", mounts=mounts).out
        assert "shared:" not in line, (words, field)


def test_extra_devices(box: Box) -> None:
    devices = (*plan.DEFAULT_NODES, plan.Device("/dev/sub/mine", "c", 1, 5, 0o640, 7, 8))
    assert box.sh("stat -c '%a %u %g %t %T' /dev/sub/mine", devices=devices).out == "640 7 8 1 5\n"


def test_changes_land_in_the_upper_directory(box: Box) -> None:
    box.sh("echo new > /etc/new; rm /bin/busybox")
    assert (box.upper / "etc/new").read_text() == "new\n"
    assert os.major((box.upper / "bin/busybox").stat().st_rdev) == 0


def test_two_layers(box: Box, layer: Callable[[str], Path]) -> None:
    top = layer("top")
    (top / "etc").mkdir()
    (top / "etc/passwd").write_text("top")
    box.layers = (top,)
    assert box.sh("cat /etc/passwd").out == "top"
