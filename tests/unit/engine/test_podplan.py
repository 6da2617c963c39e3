"""What a pod's containers share, what they may ask, and the state of the whole."""

import pytest

from onggi.engine import podplan, podview
from onggi.errors import InvalidInput, NotFound
from onggi.spec.container import Container, ContainerOptions, HostOptions
from onggi.spec.network import EndpointOptions, PortBinding
from sample import container


def pod(share: tuple[str, ...] = podplan.DEFAULT_SHARE, **host: object) -> Container:
    options = podplan.infra("web", "", {"a": "1"}, share, HostOptions(**host))  # type: ignore[arg-type]
    base = container(1)
    config = base.config._replace(options=options, hostname=options.hostname)
    return base._replace(name=options.name, config=config)


@pytest.mark.parametrize(
    ("texts", "shared"),
    [
        ([], ("ipc", "net", "uts")),
        (["net"], ("net",)),
        (["net,pid", "ipc"], ("ipc", "net", "pid")),
        (["+pid"], ("ipc", "net", "pid", "uts")),
        (["none"], ()),
    ],
)
def test_share(texts: list[str], shared: tuple[str, ...]) -> None:
    assert podplan.shared(texts) == shared


@pytest.mark.parametrize("texts", [["user"], ["none,net"], ["nosuch"]])
def test_what_cannot_be_shared(texts: list[str]) -> None:
    with pytest.raises(InvalidInput):
        podplan.shared(texts)


def test_a_container_joins_what_the_pod_shares() -> None:
    holder = pod(("net", "pid"), cgroup_parent="here")
    host = podplan.member(ContainerOptions("image"), holder).host
    joined = f"container:{holder.id}"
    assert (host.pod, host.network_mode, host.pid_mode) == (holder.id, joined, joined)
    assert (host.ipc_mode, host.uts_mode, host.cgroup_parent) == ("", "", "here")


@pytest.mark.parametrize(
    "host",
    [
        HostOptions(network_mode="host"),
        HostOptions(ports=(PortBinding("", 80, 80, "tcp"),)),
        HostOptions(endpoints={"bridge": EndpointOptions(address="10.1.2.3")}),
        HostOptions(ipc_mode="host"),
        HostOptions(uts_mode="host"),
    ],
)
def test_what_the_pod_has_decided_is_refused(host: HostOptions) -> None:
    with pytest.raises(InvalidInput):
        podplan.member(ContainerOptions("image", host=host), pod())


def test_a_hostname_is_the_pods() -> None:
    with pytest.raises(InvalidInput):
        podplan.member(ContainerOptions("image", hostname="own"), pod())
    assert (
        podplan.member(ContainerOptions("image", hostname="own"), pod(("net",))).hostname == "own"
    )


def test_the_holder_gets_no_right() -> None:
    options = pod().config.options
    assert options.host.cap_drop == ("ALL",)
    assert "no-new-privileges=true" in options.host.security_opt
    assert options.user == "65535:65535"


def test_a_pod_is_found_by_its_name_on_networks_of_the_users() -> None:
    asked = {"front": EndpointOptions(aliases=("shop",)), "back": EndpointOptions()}
    host = pod(network_mode="front", endpoints=asked).config.options.host
    assert host.endpoints == {
        "front": EndpointOptions(aliases=("shop", "web")),
        "back": EndpointOptions(aliases=("web",)),
    }
    plain = {"bridge": EndpointOptions()}
    assert pod(endpoints=plain).config.options.host.endpoints == plain


def test_finding() -> None:
    holder, other = pod(), container(2)

    def look_up(reference: str) -> Container:
        for found in (holder, other):
            if reference in (found.id, found.name):
                return found
        raise NotFound(reference)

    assert podplan.find(look_up, "web") is holder
    assert podplan.find(look_up, holder.id) is holder
    for reference in ("nosuch", other.name):
        with pytest.raises(NotFound, match="no such pod"):
            podplan.find(look_up, reference)


@pytest.mark.parametrize(
    ("infra", "members", "state"),
    [
        ("created", [], "Created"),
        ("created", ["created"], "Created"),
        ("running", [], "Running"),
        ("running", ["running", "running"], "Running"),
        ("running", ["running", "exited"], "Degraded"),
        ("running", ["exited"], "Degraded"),
        ("running", ["paused", "paused"], "Paused"),
        ("exited", ["exited", "created"], "Exited"),
        ("exited", [], "Exited"),
    ],
)
def test_state(infra: str, members: list[str], state: str) -> None:
    assert podplan.state_of(infra, members) == state


def test_inspect_has_podmans_words() -> None:
    found = podview.inspect(
        pod(ports=(PortBinding("", 8080, 80, "tcp"),)), [container(2)], "Running"
    )
    assert (found["Name"], found["Hostname"], found["State"]) == ("web", "web", "Running")
    ports = found["InfraConfig"]["PortBindings"]
    assert ports == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    assert found["Containers"][0]["Name"] == "name2"
