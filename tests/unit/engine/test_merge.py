"""Image and options merged: docker's rules for commands, environment, mounts."""

import pytest

from onggi.engine import merge
from onggi.errors import InvalidInput
from onggi.spec.container import ContainerOptions, HostOptions
from onggi.spec.digest import Digest
from onggi.spec.image import Image, ImageConfig
from onggi.spec.mount import MountRequest
from onggi.spec.platform import Platform

ID = "c0ffee" * 10 + "abcd"
CONFIG = ImageConfig(
    Platform("linux", "amd64"),
    (Digest.of(b"layer"),),
    env=("PATH=/opt/bin", "A=1", "B=2"),
    cmd=("serve",),
    entrypoint=("/entry",),
    working_dir="/srv",
    user="app",
    labels={"from": "image", "kept": "yes"},
    exposed_ports=("80/tcp",),
)
IMAGE = Image(Digest.of(b"config"), CONFIG, None, 1, 1, ())


def merged(image: Image = IMAGE, **options: object) -> merge.ContainerConfig:
    return merge.merge(ID, ContainerOptions("x", **options), image, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entrypoint", "command", "args"),
    [
        (None, None, ("/entry", "serve")),
        (None, ("other",), ("/entry", "other")),
        (("sh",), None, ("sh",)),
        (("sh",), ("-c", "x"), ("sh", "-c", "x")),
        ((), ("true",), ("true",)),
    ],
)
def test_commands(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, args: tuple[str, ...]
) -> None:
    assert merged(entrypoint=entrypoint, command=command).process.args == args


def test_nothing_to_run_is_an_error() -> None:
    bare = IMAGE._replace(config=CONFIG._replace(cmd=(), entrypoint=()))
    with pytest.raises(InvalidInput, match="no command specified"):
        merged(bare)


def test_environment_merges_by_name_the_users_first() -> None:
    env = merged(env=("B=3", "C="), tty=True).process.env
    assert env == ("PATH=/opt/bin", f"HOSTNAME={ID[:12]}", "TERM=xterm", "B=3", "C=", "A=1")


def test_a_name_without_value_is_removed() -> None:
    assert "A=1" not in merged(env=("A",)).process.env


@pytest.mark.parametrize("entry", ["=x", "A\0=b", ""])
def test_bad_environment(entry: str) -> None:
    with pytest.raises(InvalidInput, match="environment"):
        merged(env=(entry,))


def test_user_labels_ports_and_directory() -> None:
    config = merged(labels={"from": "user"}, exposed_ports=("53/udp",), working_dir="/w", user="0")
    assert config.labels == {"from": "user", "kept": "yes"}
    assert config.exposed_ports == ("53/udp", "80/tcp")
    assert (config.process.working_dir, config.process.user) == ("/w", "0")


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="absolute"):
        merged(working_dir="srv")


def test_an_image_volume_gets_an_anonymous_volume_unless_covered() -> None:
    mine = MountRequest("bind", "/host", "/data/")
    options = ContainerOptions("x", host=HostOptions(mounts=(mine,)))
    found = merge.wanted_mounts(options, ("/data", "/more"))
    assert found == (mine._replace(target="/data"), MountRequest("volume", "", "/more"))


@pytest.mark.parametrize("target", ["/", "rel", "/a/..", "/x\0"])
def test_bad_targets(target: str) -> None:
    with pytest.raises(InvalidInput):
        merge.clean_target(target)


def test_two_mounts_on_one_target() -> None:
    host = HostOptions(mounts=(MountRequest("tmpfs", "", "/a"), MountRequest("tmpfs", "", "/a/.")))
    with pytest.raises(InvalidInput, match="Duplicate mount point: /a"):
        merge.wanted_mounts(ContainerOptions("x", host=host), ())


@pytest.mark.parametrize("name", ["a", "-ab", "a/b", "a b", "ä1", ".x"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid container name"):
        merge.check_name(name)


def test_ports_of_an_image_are_made_plain() -> None:
    """What an image says is anybody's: `ps` and -P must live with it."""
    odd = CONFIG._replace(
        exposed_ports=("80", "8000-8002/tcp", "53/udp", "http/tcp", "70000/tcp", "²/tcp", "9-/tcp")
    )
    config = merged(IMAGE._replace(config=odd))
    assert config.exposed_ports == ("53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp", "9/tcp")
