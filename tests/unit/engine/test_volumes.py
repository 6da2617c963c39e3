"""What a volume's options mean, which volumes a filter takes, and how inspect shows mounts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.engine import mountview, volume_filters, volumesource
from onggi.engine.events import Events
from onggi.engine.volumes import Volumes
from onggi.engine.volumesource import Source
from onggi.errors import InvalidInput
from onggi.linux import mount
from onggi.runtime.plan import MountOptions
from onggi.spec.mount import MountPoint, MountRequest, Volume
from onggi.store.store import Store


def options(kind: str, device: str, words: str = "") -> dict[str, str]:
    return {"type": kind, "device": device, **({"o": words} if words else {})}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"nosuch": "1"}, 'create v: invalid option: "nosuch"'),
        ({"o": "ro"}, 'create v: missing required option: "device"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"device": "/x"}, 'create v: missing required option: "type"'),
        ({"type": "none", "o": "bind", "device": "rel"}, "no absolute path"),
        ({"type": "tmpfs", "device": "t", "size": "1m"}, "quota size requested"),
        ({"type": "tmpfs", "device": "t\0"}, "NUL"),
    ],
)
def test_options_that_are_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        volumesource.check("v", given)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (options("none", "/srv", "bind"), Source("", "/srv", MountOptions())),
        (options("none", "/srv", "rbind,ro"),
         Source("", "/srv", MountOptions(mount.RDONLY, bind_recursive=True))),
        (options("tmpfs", "tmpfs", "size=64m,uid=1000,nosuid"),
         Source("tmpfs", "tmpfs",
                MountOptions(mount.NOSUID, data=(("size", "64m"), ("uid", "1000"))))),
        (options("ext4", "/dev/sdx", "noatime,sync"),
         Source("ext4", "/dev/sdx", MountOptions(mount.NOATIME, data=(("sync", None),)))),
    ],
)  # fmt: skip
def test_what_is_mounted(given: dict[str, str], source: Source) -> None:
    volumesource.check("v", given)
    assert volumesource.plan(given) == source


@pytest.mark.parametrize(
    ("given", "host"),
    [
        (options("nfs", ":/export", "addr=nas.example,rw"), "nas.example"),
        (options("nfs", "nas.example:/export"), "nas.example"),
        (options("nfs4", "nas.example:/export", "addr=10.0.0.1"), ""),
        (options("nfs", "10.0.0.1:/export"), ""),
        (options("nfs", "[fd00::1]:/export"), ""),
        (options("cifs", "//nas.example/share", "username=u"), "nas.example"),
        (options("tmpfs", "tmpfs"), ""),
    ],
)
def test_whose_address_is_looked_up(given: dict[str, str], host: str) -> None:
    assert volumesource.plan(given).host == host


VOLUMES = [Volume("web-2", labels={"a": "1"}), Volume("web-1"), Volume("other", labels={"a": "2"})]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["other", "web-1", "web-2"]),
        ({"name": ["web"]}, ["web-1", "web-2"]),
        ({"name": ["^web-[0-1]$"]}, ["web-1"]),
        ({"name": ["["]}, []),
        ({"label": ["a"]}, ["other", "web-2"]),
        ({"label": ["a=1"]}, ["web-2"]),
        ({"driver": ["local"], "name": ["other"]}, ["other"]),
        ({"driver": ["nfs"]}, []),
        ({"dangling": ["true"]}, ["other", "web-2"]),
        ({"dangling": ["0"]}, ["web-1"]),
    ],
)
def test_filters(filters: dict[str, list[str]], names: list[str]) -> None:
    found = volume_filters.select(VOLUMES, filters, lambda volume: volume.name == "web-1")
    assert [volume.name for volume in found] == names


@pytest.mark.parametrize("filters", [{"nosuch": ["1"]}, {"dangling": ["maybe"]}])
def test_filters_that_are_none(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInput, match="invalid filter"):
        volume_filters.select(VOLUMES, filters, lambda volume: False)


def test_mounts_are_shown_as_docker_shows_them() -> None:
    asked = MountRequest(
        "volume", "v", "/d", True, no_copy=True, labels={"a": "1"}, options={"type": "tmpfs"},
        driver="local", subpath="sub", origin="mount",
    )  # fmt: skip
    assert mountview.asked(asked) == {
        "Type": "volume", "Source": "v", "Target": "/d", "ReadOnly": True,
        "VolumeOptions": {
            "NoCopy": True, "Labels": {"a": "1"}, "Subpath": "sub",
            "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}},
        },
    }  # fmt: skip
    bind = MountRequest("bind", "/s", "/t", propagation="rslave", recursion="disabled")
    assert mountview.asked(bind) == {
        "Type": "bind", "Source": "/s", "Target": "/t",
        "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
    }  # fmt: skip
    tmpfs = MountRequest("tmpfs", "", "/t", tmpfs_options="size=1048576,mode=1770")
    assert mountview.asked(tmpfs) == {
        "Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 0o1770},
    }  # fmt: skip
    assert mountview.mounted(MountPoint("bind", "", "/s", "/t", True, "rslave", mode="ro,z")) == {
        "Type": "bind", "Source": "/s", "Destination": "/t", "Mode": "ro,z", "RW": False,
        "Propagation": "rslave",
    }  # fmt: skip


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield Volumes(store, store.root, Events(str(tmp_path / "run")))
    store.close()


def test_what_is_put_into_a_new_volume_stays_beside_a_prune(volumes: Volumes) -> None:
    """A row and its directory come and go together: as long as the volume that was made is there,
    so is what was written into it."""
    volumes.create("data")
    volumes._store.close()
    pid = os.fork()
    if pid == 0:  # removes it as fast as it can
        try:
            while not os.path.exists(volumes.path("stop")):
                volumes.remove("data", force=True)
            os._exit(0)
        finally:
            os._exit(1)
    for number in range(400):
        made = volumes.create("data")
        file = Path(volumes.path("data"), str(number))
        try:
            file.write_text("x")
        except FileNotFoundError:
            continue  # it is gone again
        with volumes._locked():
            here = [volume for volume in volumes.list() if volume.created_ns == made.created_ns]
            assert file.exists() or not here
    volumes.create("stop")
    _, status = os.waitpid(pid, 0)
    assert status == 0
    volumes.remove("data", force=True)
    assert sorted(os.listdir(os.path.dirname(os.path.dirname(volumes.path("x"))))) == ["stop"]
