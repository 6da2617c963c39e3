"""What a program asks becomes what the engine understands, or is refused by name."""

import pytest

from onggi.errors import InvalidInput
from onggi.library.options import binding, container_options, words
from onggi.spec.network import PortBinding


@pytest.mark.parametrize(
    ("port", "where", "wanted"),
    [
        (80, None, PortBinding("127.0.0.1", 0, 80, "tcp")),
        (80, 8080, PortBinding("127.0.0.1", 8080, 80, "tcp")),
        ("53/udp", ("0.0.0.0", 53), PortBinding("0.0.0.0", 53, 53, "udp")),
    ],
)
def test_ports(port: int | str, where: int | tuple[str, int] | None, wanted: PortBinding) -> None:
    assert binding(port, where) == wanted


@pytest.mark.parametrize(
    ("port", "where"), [(0, None), (65536, None), ("x", None), ("80/icmp", None), (80, 65536)]
)
def test_bad_ports(port: int | str, where: int | None) -> None:
    with pytest.raises(InvalidInput, match=r"invalid (container|host) port"):
        binding(port, where)


def test_a_text_is_split_and_given_to_no_shell() -> None:
    assert words("sh -c 'echo $HOME; ls'") == ("sh", "-c", "echo $HOME; ls")
    assert words(["a b", "c"]) == ("a b", "c")
    assert words(None) is None


def test_everything_arrives() -> None:
    options = container_options(
        "busybox", "true", cwd="/here", env={"A": "b=c"}, volumes={"data": "/data:ro", "./x": "/x"},
        tmpfs=["/run:size=1m"], memory="64m", cpus=0.5, labels={"k": "v"}, cap_add=["CAP_SYS_TIME"],
        healthcheck="curl localhost", extra_hosts={"db": "10.0.0.1"},
    )  # fmt: skip
    host = options.host
    assert options.env == ("A=b=c",)
    assert [(m.kind, m.source, m.target, m.read_only) for m in host.mounts] == [
        ("volume", "data", "/data", True),
        ("bind", "/here/x", "/x", False),
        ("tmpfs", "", "/run", False),
    ]  # fmt: skip
    assert (host.resources.memory_bytes, host.resources.nano_cpus) == (64 << 20, 500_000_000)
    assert (host.cap_add, host.extra_hosts) == (("CAP_SYS_TIME",), ("db:10.0.0.1",))
    assert options.health is not None
    assert options.health.test == ("CMD-SHELL", "curl localhost")


@pytest.mark.parametrize(
    "asked", [{"memory": "lots"}, {"cpus": "many"}, {"volumes": {"data": "relative"}}]
)
def test_nonsense_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        container_options("busybox", None, cwd="/", **asked)  # type: ignore[arg-type]
