"""A container's places on networks: what may be asked for, addresses, names, the way out."""

import pytest

from onggi.engine import endpoints, netplan
from onggi.engine.endpoints import Place
from onggi.errors import Conflict, Forbidden, InvalidInput, OnggiError, Unavailable
from onggi.linux.nftables import Chain
from onggi.network import opening
from onggi.network.options import ICC, PREFIX, bridge_options, parent_options
from onggi.spec.container import HostOptions
from onggi.spec.network import Endpoint, EndpointOptions, Network, NetworkOptions, Pool, PortBinding

NET = Network(
    "n1", "net1", "bridge", "10.1.0.0/24", "10.1.0.1", "onggi1",
    pools=(Pool("10.1.0.0/24", part="10.1.0.8/29", reserved={"r": "10.1.0.8"}),),
)  # fmt: skip
SIX = Network("n6", "six", "bridge", subnet6="fd00::/64", gateway6="fd00::1", bridge="onggi2",
              ipv4=False, ipv6=True)  # fmt: skip
INNER = NET._replace(id="n2", name="inner", internal=True)
WHO = endpoints.Named("c" * 64, ("web", "cccccccccccc"))


def place(network: Network, priority: int = 0) -> Place:
    endpoint = endpoints.blank(network, WHO, EndpointOptions(gateway_priority=priority), "eth0")
    return Place(network, endpoint)


def addressed(network: Network, asked: EndpointOptions, *used: str) -> Endpoint:
    blank = endpoints.blank(network, WHO, asked, "eth0")
    return endpoints.chooser(blank, network, asked)(frozenset(used))


def test_addresses_come_from_the_part_and_never_from_what_is_reserved() -> None:
    first = addressed(NET, EndpointOptions())
    assert (first.address, first.prefix_length, first.gateway) == ("10.1.0.9", 24, "10.1.0.1")
    assert first.mac_address == "02:42:0a:01:00:09"
    assert addressed(NET, EndpointOptions(), "10.1.0.9").address == "10.1.0.10"
    assert addressed(NET, EndpointOptions(address="10.1.0.200")).address == "10.1.0.200"
    for taken in ("10.1.0.1", "10.1.0.8", "10.1.0.77"):
        with pytest.raises(Conflict, match="Address already in use"):
            addressed(NET, EndpointOptions(address=taken), "10.1.0.77")
    with pytest.raises(Unavailable):
        addressed(NET, EndpointOptions(), *(f"10.1.0.{n}" for n in range(9, 16)))


def test_a_second_range_is_used_when_the_first_is_full() -> None:
    two = NET._replace(driver="macvlan", pools=(Pool("10.1.0.0/30"), Pool("10.2.0.0/24")))
    found = addressed(two, EndpointOptions(), "10.1.0.2")
    assert (found.address, found.gateway) == ("10.2.0.2", "10.2.0.1")


def test_ipv6_alone() -> None:
    found = addressed(SIX, EndpointOptions())
    assert (found.address, found.address6, found.gateway6) == ("", "fd00::2", "fd00::1")
    assert endpoints.shown(found._replace(ports=()), v6=True) == []


def test_the_way_out_is_of_the_highest_priority_then_the_first_by_name() -> None:
    other = NET._replace(id="n3", name="aaa")
    places = [place(NET), place(other), place(INNER, 9), place(SIX)]
    assert endpoints.ways_out(places) == (places[1], places[3])
    assert endpoints.gateway([place(NET, 1), place(other)]) == place(NET, 1)
    assert endpoints.publisher([place(INNER)]) is None
    loose = NET._replace(driver="macvlan", bridge="")
    assert endpoints.gateway([place(loose)]) is None
    assert endpoints.publisher([place(loose._replace(options={"parent": "eth0"}))]) is None


def test_interfaces_are_numbered_around_what_is_asked_for() -> None:
    named = EndpointOptions(driver_options={endpoints.INTERFACE_NAME: "eth1"})
    prefixed = NET._replace(options={PREFIX: "lan"})
    networks, options = [NET, NET, prefixed, NET], [EndpointOptions(), named, EndpointOptions()]
    found = endpoints.interface_names(networks, [*options, EndpointOptions()], ["eth0"])
    assert found == ["eth2", "eth1", "lan0", "eth3"]


def test_names_begin_with_its_own() -> None:
    assert endpoints.names_on(WHO, ["api", "web"]) == ("web", "api", "cccccccccccc")


def test_where_no_network_is_wanted() -> None:
    assert endpoints.asked(HostOptions()) == {"bridge": EndpointOptions()}
    for mode in ("none", "host", "container:x"):
        assert endpoints.asked(HostOptions(network_mode=mode)) == {}
    assert endpoints.asked(HostOptions(endpoints={})) == {}


@pytest.mark.parametrize(
    ("name", "asked", "text"),
    [
        ("bridge", EndpointOptions(address="1.2.3.4"), "on user defined networks only"),
        ("net1", EndpointOptions(address="1.2.3"), "invalid IPv4 address: 1.2.3"),
        ("net1", EndpointOptions(address6="1.2.3.4"), "invalid IPv6 address: 1.2.3.4"),
        ("net1", EndpointOptions(link_local=("x",)), "invalid link-local IP address: x"),
        ("net1", EndpointOptions(address="10.9.0.1"), "no configured subnet contains IP address"),
        ("net1", EndpointOptions(address6="fd00::5"), "networks with user configured subnets"),
        ("net1", EndpointOptions(mac_address="01:00:00:00:00:01"), "is a multicast address"),
        ("net1", EndpointOptions(driver_options={endpoints.SYSCTLS: "kernel.x=1"}), "sysctl"),
    ],
)
def test_what_cannot_be_asked_for(name: str, asked: EndpointOptions, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        endpoints.check(NET, name, asked)


@pytest.mark.sec("C12")
@pytest.mark.parametrize(
    "setting", ["net.ipv4.conf.IFNAME.a/../b=1", "net.ipv4.conf.eth0.x=1", "net.x.conf.IFNAME.x=1"]
)
def test_sysctls_of_an_endpoint_are_of_its_interface(setting: str) -> None:
    with pytest.raises(InvalidInput):
        endpoints.sysctls({endpoints.SYSCTLS: setting}, "eth0")
    found = endpoints.sysctls({endpoints.SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1"}, "eth3")
    assert found == [("ipv4/conf/eth3/log_martians", "1")]


def plan(options: NetworkOptions, *existing: Network) -> Network:
    return netplan.plan(options, existing, "onggi")


def test_a_plan_of_a_network() -> None:
    made = plan(NetworkOptions("x", pools=(Pool("10.5.0.0/24"),), ipv6=True))
    assert (made.subnet, made.gateway) == ("10.5.0.0/24", "10.5.0.1")
    assert made.subnet6.startswith("fd") and made.subnet6.endswith("/64") and made.bridge
    assert plan(NetworkOptions("y", config_only=True)).driver == "null"


@pytest.mark.parametrize(
    "options",
    [
        NetworkOptions("bridge"),
        NetworkOptions("net1"),
        NetworkOptions("a b"),
        NetworkOptions("x", driver="nosuch"),
        NetworkOptions("x", pools=(Pool("10.1.0.0/16"),)),  # overlaps NET
        NetworkOptions("x", pools=(Pool("10.5.0.0/24"), Pool("10.6.0.0/24"))),
        NetworkOptions("x", pools=(Pool("10.5.0.0/24", gateway="10.6.0.1"),)),
        NetworkOptions("x", pools=(Pool("10.5.0.0/24", part="10.5.0.0/16"),)),
        NetworkOptions("x", options={ICC: "maybe"}),
        NetworkOptions("x", options={"com.docker.network.bridge.name": "onggi1"}),
        NetworkOptions("x", driver="ipvlan", options={"ipvlan_mode": "l9"}),
        NetworkOptions("x", ipam_driver="null"),
    ],
)
def test_plans_that_are_refused(options: NetworkOptions) -> None:
    with pytest.raises(OnggiError):
        plan(options, NET)


@pytest.mark.sec("F1")
def test_names_of_interfaces_never_become_rules() -> None:
    for name in ('x" accept', "a b", "", "sixteen-letters-", ".."):
        with pytest.raises(InvalidInput):
            bridge_options({"com.docker.network.bridge.name": name or " "})
        with pytest.raises(InvalidInput):
            parent_options("macvlan", {"parent": name or " "})
        with pytest.raises(InvalidInput):
            opening.script({Chain("inet", "filter", "forward"): ""}, "onggi", [name])


def test_what_is_opened_is_closed_again() -> None:
    chain = Chain("ip", "filter", "FORWARD")
    opened = opening.script({chain: ""}, "onggi", ["onggi0"])
    assert 'insert rule ip filter FORWARD jump onggi comment "onggi"' in opened
    listed = 'chain onggi { # handle 9\n} chain FORWARD {\njump onggi comment "onggi" # handle 12'
    assert "insert" not in opening.script({chain: listed}, "onggi", ["onggi0"])
    assert opening.script({chain: listed}, "onggi", []) == (
        "delete rule ip filter FORWARD handle 12\ndelete chain ip filter onggi\n"
    )
    assert opening.script({chain: "jump onggi_other # handle 3"}, "onggi", []) == ""


def test_a_config_only_network_gives_what_it_has() -> None:
    source = plan(NetworkOptions("s", config_only=True, pools=(Pool("10.7.0.0/24"),)))
    made = plan(NetworkOptions("x", config_from="s"), source)
    assert made.subnet == "10.7.0.0/24" and made.config_from == "s"
    with pytest.raises(Forbidden, match="user-specified configurations are not supported"):
        plan(NetworkOptions("x", config_from="s", internal=True), source)


@pytest.mark.parametrize(
    ("address", "address6", "v6", "expected"),
    [
        ("10.0.0.2", "", True, ["0.0.0.0", "::", "192.0.2.1", "0.0.0.0"]),
        ("10.0.0.2", "", False, ["0.0.0.0", "192.0.2.1", "0.0.0.0"]),
        ("10.0.0.2", "fd00::2", True, ["0.0.0.0", "::", "192.0.2.1", "0.0.0.0", "::"]),
        ("127.0.0.2", "", True, ["0.0.0.0", "192.0.2.1", "0.0.0.0"]),
    ],
)
def test_where_published_ports_are_shown(
    address: str, address6: str, v6: bool, expected: list[str]
) -> None:
    """By both families, SCTP only by those that the container has."""
    ports = (
        PortBinding("", 80, 80),
        PortBinding("192.0.2.1", 81, 80),
        PortBinding("", 9, 9, "sctp"),
    )
    found = Endpoint("n", "c", address, 24, "", "", "", ports, address6=address6)
    assert [port.host_ip for port in endpoints.shown(found, v6=v6)] == expected
