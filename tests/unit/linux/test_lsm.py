"""Labels on made-up /sys and /proc trees: this kernel need not have AppArmor or SELinux."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.linux import lsm, mount


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_which_modules_are_on(tmp_path: Path) -> None:
    sys = str(tmp_path)
    assert not lsm.is_on("apparmor", sys) and not lsm.is_on("selinux", sys)
    write(tmp_path / "module/apparmor/parameters/enabled", "N\n")
    assert not lsm.is_on("apparmor", sys)
    write(tmp_path / "module/apparmor/parameters/enabled", "Y\n")
    write(tmp_path / "fs/selinux/enforce", "0")
    assert lsm.is_on("apparmor", sys) and lsm.is_on("selinux", sys)


def test_loaded_profiles(tmp_path: Path) -> None:
    assert lsm.loaded_profiles(str(tmp_path)) == frozenset()
    text = "docker-default (enforce)\n/usr/bin/man (complain)\nwith (brackets) (kill)\n"
    write(tmp_path / "kernel/security/apparmor/profiles", text)
    wanted = {"docker-default", "/usr/bin/man", "with (brackets)"}
    assert lsm.loaded_profiles(str(tmp_path)) == wanted


@pytest.fixture
def proc(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "77/attr").mkdir(parents=True)
    (tmp_path / "self").symlink_to("77")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def set_label(proc: int, module: str, label: str) -> None:
    lsm.set_exec_label(proc, module, label, magic=mount.file_system_type(proc))


def test_what_is_written(proc: int, tmp_path: Path) -> None:
    attributes = tmp_path / "77/attr"
    write(attributes / "exec", "")
    set_label(proc, "apparmor", "mine")  # before Linux 5.8
    assert (attributes / "exec").read_text() == "exec mine"
    write(attributes / "exec", "")
    write(attributes / "apparmor/exec", "")
    set_label(proc, "apparmor", "mine")
    set_label(proc, "selinux", "u:r:t:s0")
    assert (attributes / "apparmor/exec").read_text() == "exec mine"
    assert (attributes / "exec").read_text() == "u:r:t:s0"


def test_no_link_leads_elsewhere(proc: int, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, "untouched")
    (tmp_path / "77/attr/exec").symlink_to(elsewhere)
    with pytest.raises(OSError, match="label 'x' of SELinux: Too many levels"):
        set_label(proc, "selinux", "x")
    (tmp_path / "77/attr/exec").unlink()
    (tmp_path / "77/attr").rmdir()
    (tmp_path / "77/attr").symlink_to(tmp_path)
    write(tmp_path / "exec", "untouched")
    with pytest.raises(OSError, match="of SELinux"):
        set_label(proc, "selinux", "x")
    assert elsewhere.read_text() == (tmp_path / "exec").read_text() == "untouched"


def test_only_a_real_proc_is_written(proc: int, tmp_path: Path) -> None:
    write(tmp_path / "77/attr/exec", "untouched")
    with pytest.raises(OSError, match="not a proc file system"):
        lsm.set_exec_label(proc, "selinux", "x")
    assert (tmp_path / "77/attr/exec").read_text() == "untouched"
