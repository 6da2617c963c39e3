"""SELinux's labels of files: attributes that root may write also where no policy reads them."""

import os
from pathlib import Path

import pytest

from onggi.engine import mac
from onggi.errors import InvalidInput
from onggi.linux import lsm
from onggi.runtime.plan import Labels
from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerId,
    ContainerOptions,
    ContainerState,
    HostOptions,
    Process,
)
from onggi.spec.mount import MountPoint

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(lsm.is_on("selinux"), reason="this kernel takes labels of its policy only"),
]
MINE = "system_u:object_r:container_file_t:s0:c1,c2"
EVERYBODYS = "system_u:object_r:container_file_t:s0"


def label_of(path: Path) -> str:
    if "security.selinux" not in os.listxattr(path, follow_symlinks=False):
        return ""
    return os.getxattr(path, "security.selinux", follow_symlinks=False).decode().rstrip("\0")


@pytest.fixture(autouse=True)
def _labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mac, "labels", lambda _: Labels(mount=MINE))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The host files of a container."""
    (tmp_path / "files").mkdir()
    for name in ("hosts", "hostname", "resolv.conf"):
        (tmp_path / "files" / name).write_text("")
    return tmp_path / "files"


def container(*mounts: MountPoint, network: str = "bridge") -> Container:
    host = HostOptions(network_mode=network)
    process = Process((), (), "/", "", False)
    options = ContainerOptions("busybox", host=host)
    config = ContainerConfig(options, process, "sha256:1", (), "", "", mounts=mounts)
    return Container(ContainerId("c" * 64), "web", 0, config, ContainerState())


def test_what_is_mounted_gets_the_label_that_its_mode_says(tmp_path: Path, files: Path) -> None:
    for name in ("own", "shared", "plain"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text("")
    outside = tmp_path / "outside"
    outside.write_text("")
    (tmp_path / "own" / "link").symlink_to(outside)
    points = [
        MountPoint("bind", "", str(tmp_path / name), f"/{name}", mode=mode)
        for name, mode in (("own", "ro,Z"), ("shared", "z"), ("plain", ""))
    ]
    mac.relabel(container(*points), str(files), {})
    for below in ("", "below", "below/file"):
        found = [label_of(tmp_path / name / below) for name in ("own", "shared", "plain")]
        assert found == [MINE, EVERYBODYS, ""]
    assert label_of(tmp_path / "own" / "link") == MINE
    assert label_of(outside) == ""
    assert {label_of(path) for path in files.iterdir()} == {MINE}


def test_a_mount_that_is_made_already_is_labelled_through_its_descriptor(
    tmp_path: Path, files: Path
) -> None:
    (tmp_path / "part").mkdir()
    point = MountPoint("volume", "v", "/nowhere/_data", "/v", mode="z")
    fd = os.open(tmp_path / "part", os.O_PATH)
    try:
        mac.relabel(container(point), str(files), {"/v": fd})
    finally:
        os.close(fd)
    assert label_of(tmp_path / "part") == EVERYBODYS


def test_the_host_files_of_a_joined_network_are_everybodys(files: Path) -> None:
    mac.relabel(container(network="container:other"), str(files), {})
    assert {label_of(path) for path in files.iterdir()} == {EVERYBODYS}


@pytest.mark.parametrize("system", ["/usr", "link"])
def test_what_the_host_stands_on_is_not_labelled(tmp_path: Path, files: Path, system: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    source = system if system[0] == "/" else str(tmp_path / system)
    with pytest.raises(InvalidInput, match=f"SELinux relabeling of {source} is not allowed"):
        mac.relabel(container(MountPoint("bind", "", source, "/x", mode="Z")), str(files), {})
    assert label_of(Path("/etc")) == label_of(Path("/usr")) == ""
