"""Records survive the trip through JSON, also between versions."""

import json

from onggi.spec.codec import decode, encode
from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    HostOptions,
    Process,
    Resources,
    Ulimit,
)
from onggi.spec.mount import MountPoint, MountRequest
from onggi.spec.network import PortBinding

HOST = HostOptions(
    mounts=(MountRequest("bind", "/a", "/b", True),),
    ports=(PortBinding("127.0.0.1", 80, 8000),),
    resources=Resources(memory_bytes=1 << 20),
    ulimits=(Ulimit("nofile", 1, 2),),
    sysctls={"net.x": "1"},
)
CONTAINER = Container(
    "a" * 64,
    "bold_bell",
    5,
    ContainerConfig(
        ContainerOptions("img", command=("x",), entrypoint=(), env=("A=b",), host=HOST),
        Process(("x",), ("A=b",), "/", "", True),
        "sha256:x",
        ("sha256:y",),
        "host",
        "SIGTERM",
        (MountPoint("volume", "v", "/s", "/t"),),
    ),
    ContainerState(status="exited", exit_code=3),
)


def test_round_trip() -> None:
    assert decode(Container, json.loads(json.dumps(encode(CONTAINER)))) == CONTAINER


def test_defaults_are_not_written() -> None:
    assert encode(ContainerState()) == {}
    assert encode(Resources(nano_cpus=5)) == {"nano_cpus": 5}


def test_none_and_empty_stay_apart() -> None:
    for entrypoint in (None, (), ("a",)):
        options = ContainerOptions("x", entrypoint=entrypoint)
        assert decode(ContainerOptions, json.loads(json.dumps(encode(options)))) == options


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert decode(ContainerState, {"exit_code": 1, "later": [1]}).exit_code == 1
