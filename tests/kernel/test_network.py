"""Bridges, rules and published ports, in network namespaces made for the test.

Every "machine" is a namespace; sockets are opened inside it and used from here, so one process is
the neighbour, the host and the containers at once.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from onggi.engine import detach
from onggi.errors import OnggiError
from onggi.linux import nftables, rtnetlink
from onggi.network import bridge, ipam, netns, opening, ports, rules
from onggi.spec.network import Endpoint, Network, PortBinding

pytestmark = pytest.mark.root
SILENCE_S = 0.4  # where nothing may get through: nothing within that
ANSWER_S = 30
NEIGHBOUR, HOST = "192.0.2.2", "192.0.2.1"


class Machine:
    """A network namespace held by a sleeping process."""

    def __init__(self, undo: ExitStack) -> None:
        argv = ["unshare", "--net", "sh", "-c", "echo ready; exec cat"]
        self.process = undo.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        undo.callback(self.process.kill)
        assert self.process.stdout and self.process.stdout.readline() == b"ready\n"
        self.pid = self.process.pid
        self.namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        undo.callback(os.close, self.namespace)

    @contextmanager
    def inside(self) -> Iterator[None]:
        with rtnetlink.inside(self.namespace):
            yield

    def run(self, command: str) -> str:
        argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "sh", "-ec", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def socket(self, kind: int, address: str = "") -> socket.socket:
        with self.inside():
            return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)


class Lab:
    """neighbour -- host -- onggi0 -- a, b
    `-- br-two -- c ; br-in (internal) -- d"""

    def __init__(self, undo: ExitStack) -> None:
        self.undo = undo
        self.host, self.neighbour = Machine(undo), Machine(undo)
        self.host.run("ip link set lo up; ip link add lan0 type veth peer name lan1")
        self.host.run(f"ip link set lan1 netns {self.neighbour.pid}")
        self.host.run(f"ip address add {HOST}/24 dev lan0; ip link set lan0 up mtu 1400")
        self.host.run(f"ip route add default via {NEIGHBOUR}")
        self.neighbour.run(f"ip address add {NEIGHBOUR}/24 dev lan1; ip link set lan1 up")
        with rtnetlink.inside(self.host.namespace), rtnetlink.Netlink() as here:
            here.settle("lan0")
        with rtnetlink.inside(self.neighbour.namespace), rtnetlink.Netlink() as there:
            there.settle("lan1")
        self.networks: list[Network] = []
        self.endpoints: list[Endpoint] = []
        self.machines: dict[str, Machine] = {}

    def network(
        self, name: str, interface: str, *, internal: bool = False, v6: str = "", **options: str
    ) -> Network:
        with self.host.inside():
            taken = [network.subnet for network in self.networks]
            subnet = ipam.choose_subnet(bridge.routed_subnets(), taken)
            made = Network(
                name, name, "bridge", subnet, ipam.gateway_of(subnet), interface, internal,
                subnet6=v6, gateway6=ipam.gateway_of(v6) if v6 else "", ipv6=bool(v6),
                options={f"com.docker.network.bridge.{k}": v for k, v in options.items()},
            )  # fmt: skip
            bridge.ensure_bridge(made)
        self.networks.append(made)
        return made

    def container(self, name: str, network: Network, *published: PortBinding) -> Endpoint:
        used = [e.address for e in self.endpoints if e.network_id == network.id]
        address = ipam.next_address(network.subnet, network.gateway, used)
        endpoint = Endpoint(
            network.id, name, address, 24, network.gateway, ipam.mac_for(address), f"veth{name}",
            published,
        )  # fmt: skip
        if network.subnet6:
            address6 = ipam.next_address(
                network.subnet6, network.gateway6, [e.address6 for e in self.endpoints]
            )
            endpoint = endpoint._replace(
                address6=address6, prefix_length6=64, gateway6=network.gateway6
            )
        self.endpoints.append(endpoint)
        self.apply()
        self.machines[name] = Machine(self.undo)
        with self.host.inside():
            bridge.attach(endpoint, network, self.machines[name].pid)
        return endpoint

    def apply(self) -> None:
        with self.host.inside():
            bridge.apply(rules.render(self.networks, self.endpoints))

    def silent(self, source: Machine, to: tuple[str, int], server: Machine, port: int) -> bool:
        return self.tcp(source, to, server, port, SILENCE_S) is None

    def tcp(
        self,
        source: Machine,
        to: tuple[str, int],
        server: Machine,
        port: int,
        patience_s: float = ANSWER_S,
    ) -> str | None:
        """The peer's address as the server sees it; None when nothing gets through."""
        with closing(server.socket(socket.SOCK_STREAM, to[0])) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::" if ":" in to[0] else "0.0.0.0", port))
            listener.listen()
            listener.settimeout(ANSWER_S)
            with closing(source.socket(socket.SOCK_STREAM, to[0])) as client:
                client.settimeout(patience_s)
                try:
                    client.connect(to)
                except OSError:
                    return None
                client.settimeout(ANSWER_S)
                connection, (peer, *_port) = listener.accept()
                with connection:
                    connection.sendall(b"pong")
                    assert client.recv(4) == b"pong"
                return str(peer)

    def udp(self, source: Machine, to: tuple[str, int], server: Machine, port: int) -> str | None:
        with closing(server.socket(socket.SOCK_DGRAM)) as listener:
            listener.bind(("0.0.0.0", port))
            listener.settimeout(ANSWER_S)
            with closing(source.socket(socket.SOCK_DGRAM)) as client:
                client.settimeout(ANSWER_S)
                try:
                    client.sendto(b"ping", to)
                    _data, peer = listener.recvfrom(16)
                    listener.sendto(b"pong", peer)
                    answer, sender = client.recvfrom(16)
                except OSError:
                    return None
                assert (answer, sender) == (b"pong", to)
                return str(peer[0])


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as undo:
        yield Lab(undo)


@pytest.fixture
def one(lab: Lab) -> Network:
    return lab.network("bridge", "onggi0")


def test_attach_configures_the_container(lab: Lab, one: Network) -> None:
    endpoint = lab.container("a", one)
    shown = lab.machines["a"].run(
        "ip -o address; ip -o link; ip route; cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    )
    assert f"inet {endpoint.address}/24 brd 172.17.0.255" in shown
    assert "mtu 1400" in shown and endpoint.mac_address in shown
    assert f"default via {one.gateway} dev eth0" in shown
    assert "inet 127.0.0.1/8" in shown and "inet6 ::1/128" in shown and "fe80" not in shown
    assert shown.endswith("1\n")
    assert "02:42:ac:11:00:01" in lab.host.run("ip link show onggi0")


def test_container_reaches_host_neighbour_and_peer(lab: Lab, one: Network) -> None:
    a = lab.container("a", one)
    b = lab.container("b", one)
    inside_a, inside_b = lab.machines["a"], lab.machines["b"]
    assert lab.tcp(inside_a, (one.gateway, 80), lab.host, 80) == a.address
    assert lab.tcp(lab.host, (a.address, 80), inside_a, 80) == one.gateway
    assert lab.tcp(inside_a, (b.address, 80), inside_b, 80) == a.address
    assert lab.tcp(inside_a, (NEIGHBOUR, 80), lab.neighbour, 80) == HOST
    assert lab.udp(inside_a, (NEIGHBOUR, 53), lab.neighbour, 53) == HOST


@pytest.mark.sec("F6")
def test_published_everywhere(lab: Lab, one: Network) -> None:
    two = lab.network("two", "br-two")
    published = (PortBinding("", 8000, 80), PortBinding("0.0.0.0", 5353, 53, "udp"))
    a = lab.container("a", one, *published)
    lab.container("b", one)
    c = lab.container("c", two)
    inside_a, inside_b, inside_c = (lab.machines[name] for name in "abc")
    expected = [
        (lab.host, "127.0.0.1", one.gateway),
        (lab.host, "127.9.9.9", one.gateway),
        (lab.host, HOST, HOST),
        (lab.host, one.gateway, one.gateway),
        (lab.neighbour, HOST, NEIGHBOUR),  # who it is stays visible
        (inside_b, HOST, one.gateway),
        (inside_b, one.gateway, one.gateway),
        (inside_a, HOST, one.gateway),  # hairpin: to itself through the host
        (inside_a, one.gateway, one.gateway),
        (inside_c, HOST, one.gateway),
        (inside_c, one.gateway, one.gateway),
    ]
    for source, address, peer in expected:
        assert lab.tcp(source, (address, 8000), inside_a, 80) == peer, address
        assert lab.udp(source, (address, 5353), inside_a, 53) == peer, address
    assert lab.silent(inside_c, (a.address, 80), inside_a, 80)
    assert lab.silent(lab.neighbour, (HOST, 8001), inside_a, 80)
    assert lab.silent(inside_a, (c.address, 80), inside_c, 80)


@pytest.mark.sec("F2")
def test_loopback_publishing_stays_on_the_host(lab: Lab, one: Network) -> None:
    a = lab.container("a", one, PortBinding("127.0.0.1", 8000, 80))
    inside_a = lab.machines["a"]
    lab.neighbour.run(
        "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet;"
        f"ip route add 127.0.0.0/8 via {HOST}; ip route add 172.17.0.0/24 via {HOST}"
    )
    lab.host.run("echo 1 > /proc/sys/net/ipv4/conf/lan0/route_localnet")
    attempts = [(lab.neighbour, "127.0.0.1", 8000), (lab.neighbour, a.address, 80)]
    assert lab.tcp(lab.host, ("127.0.0.1", 8000), inside_a, 80) == one.gateway
    assert lab.silent(lab.host, (HOST, 8000), inside_a, 80)
    for source, address, port in [*attempts, (lab.neighbour, HOST, 8000)]:
        assert lab.silent(source, (address, port), inside_a, 80), address
    # The control: without our drops both attacks work, so the test can see them.
    lab.host.run("nft flush chain inet onggi raw; nft flush chain inet onggi into")
    for source, address, port in attempts:
        assert lab.tcp(source, (address, port), inside_a, 80) == NEIGHBOUR, address


@pytest.mark.sec("F2")
def test_container_cannot_reach_the_hosts_loopback(lab: Lab, one: Network) -> None:
    lab.container("a", one, PortBinding("", 8000, 80))
    inside_a = lab.machines["a"]
    inside_a.run(
        "ip address flush dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet;"
        f"ip route add 127.0.0.0/8 via {one.gateway}"
    )
    assert lab.host.run("cat /proc/sys/net/ipv4/conf/onggi0/route_localnet") == "1\n"
    assert lab.silent(inside_a, ("127.0.0.1", 81), lab.host, 81)
    lab.host.run("nft flush chain inet onggi raw")
    assert lab.tcp(inside_a, ("127.0.0.1", 81), lab.host, 81) is not None


@pytest.mark.sec("F4")
def test_networks_are_isolated(lab: Lab, one: Network) -> None:
    two = lab.network("two", "br-two")
    inner = lab.network("inner", "br-in", internal=True)
    at = {
        "a": lab.container("a", one, PortBinding("", 8000, 80)),
        "c": lab.container("c", two),
        "d": lab.container("d", inner, PortBinding("", 8001, 80)),
        "e": lab.container("e", inner),
    }
    assert len({network.subnet for network in (one, two, inner)}) == 3
    for source in at:
        for target, endpoint in at.items():
            same = at[source].network_id == endpoint.network_id
            patience_s = ANSWER_S if same else SILENCE_S
            ends = lab.machines[source], (endpoint.address, 80), lab.machines[target], 80
            reached = lab.tcp(*ends, patience_s)
            assert (reached is not None) == same, (source, target)
    inside_d = lab.machines["d"]
    assert "default" not in inside_d.run("ip route")
    inside_d.run(f"ip route add default via {inner.gateway}")
    assert lab.silent(inside_d, (NEIGHBOUR, 80), lab.neighbour, 80)
    assert lab.silent(inside_d, (HOST, 8000), lab.machines["a"], 80)
    assert lab.silent(lab.neighbour, (HOST, 8001), inside_d, 80)
    # A borrowed address goes nowhere.
    lab.machines["a"].run(f"ip address add {at['c'].address}/32 dev eth0")
    spoof = lab.machines["a"].socket(socket.SOCK_DGRAM)
    ear = lab.host.socket(socket.SOCK_DGRAM)
    with spoof, ear:
        ear.bind(("0.0.0.0", 99))
        ear.settimeout(SILENCE_S)
        spoof.bind((at["c"].address, 0))
        spoof.sendto(b"x", (one.gateway, 99))
        with pytest.raises(TimeoutError):
            ear.recv(1)


@pytest.mark.sec("F1")
def test_an_administrators_drop_stands(lab: Lab, one: Network) -> None:
    lab.container("a", one, PortBinding("", 8000, 80))
    inside_a = lab.machines["a"]
    assert lab.tcp(lab.neighbour, (HOST, 8000), inside_a, 80) == NEIGHBOUR
    lab.host.run(
        "nft 'add table ip admin; add chain ip admin f { type filter hook forward priority 10; };"
        " add rule ip admin f iifname lan0 tcp dport 80 drop'"
    )
    assert lab.silent(lab.neighbour, (HOST, 8000), inside_a, 80)


@pytest.mark.sec("F1")
def test_beside_a_firewall_that_drops_by_policy(lab: Lab, one: Network) -> None:
    """Docker's iptables rules beside us: nothing passes until their owner lets our bridge pass."""
    lab.container("a", one, PortBinding("", 8000, 80))
    inside_a = lab.machines["a"]
    with lab.host.inside():
        assert bridge.firewall_notes(one, published=True) == []
    lab.host.run(
        "nft 'add table ip filter; add chain ip filter USER;"
        " add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
        " add rule ip filter FORWARD jump USER;"
        " add chain ip filter INPUT { type filter hook input priority 0; policy drop; };"
        " add rule ip filter INPUT accept'"
    )
    with lab.host.inside():
        forward, published = bridge.firewall_notes(one, published=True)
        assert bridge.firewall_notes(one, published=False) == [forward]
    assert "FORWARD (table ip filter)" in forward and "onggi0" in forward
    assert "INPUT (table ip filter)" in published
    assert lab.silent(inside_a, (NEIGHBOUR, 80), lab.neighbour, 80)
    assert lab.silent(lab.neighbour, (HOST, 8000), inside_a, 80)
    lab.host.run(
        "nft 'add rule ip filter USER iifname onggi0 accept;"
        " add rule ip filter USER oifname onggi0 accept'"
    )
    assert lab.tcp(inside_a, (NEIGHBOUR, 80), lab.neighbour, 80) == HOST
    assert lab.tcp(lab.neighbour, (HOST, 8000), inside_a, 80) == NEIGHBOUR


def test_removal_leaves_nothing_and_repeats(lab: Lab, one: Network) -> None:
    endpoint = lab.container("a", one, PortBinding("", 8000, 80), PortBinding("", 53, 53, "udp"))
    with lab.host.inside():
        for _ in range(2):
            bridge.detach(endpoint)
            bridge.remove_bridge(one)
            bridge.apply(rules.render([], []))
    assert lab.host.run("nft list ruleset") == ""
    links = lab.host.run("ip -o link")
    assert "vetha" not in links and "onggi0" not in links


def test_apply_runs_nft_only_on_change_and_heals(lab: Lab, one: Network) -> None:
    handles = "nft -a list table inet onggi"
    lab.apply()
    before = lab.host.run(handles)
    lab.apply()
    assert lab.host.run(handles) == before
    lab.host.run("nft flush ruleset")
    lab.apply()
    assert "postrouting" in lab.host.run(handles)
    lab.endpoints.append(
        Endpoint("bridge", "a", "172.17.0.2", 24, one.gateway, "", "", (PortBinding("", 1, 2),))
    )
    lab.apply()
    assert "172.17.0.2 . 2" in lab.host.run(handles)


def test_engines_have_tables_of_their_own(lab: Lab, one: Network) -> None:
    with lab.host.inside():
        bridge.apply(rules.render([one], [], "onggi_other"), "onggi_other")
        lab.apply()
        assert lab.host.run("nft list tables") == "table inet onggi_other\ntable inet onggi\n"
        bridge.apply(rules.render([], [], "onggi_other"), "onggi_other")
    assert lab.host.run("nft list tables") == "table inet onggi\n"


def test_attach_that_fails_leaves_nothing(lab: Lab, one: Network) -> None:
    endpoint = lab.container("a", one)
    with lab.host.inside():
        bridge.detach(endpoint)
        bad = endpoint._replace(gateway="10.9.8.7")
        with pytest.raises(OSError, match="default route"):
            bridge.attach(bad, one, lab.machines["a"].pid)
    assert "vetha" not in lab.host.run("ip -o link")


def test_attach_replaces_the_interface_of_a_dead_container(lab: Lab, one: Network) -> None:
    endpoint = lab.container("a", one)
    fresh = Machine(lab.undo)
    with lab.host.inside():
        bridge.attach(endpoint, one, fresh.pid)
    assert endpoint.address in fresh.run("ip address show eth0")
    assert "eth0" not in lab.machines["a"].run("ip -o link")


def test_udp_flow_follows_a_new_container(lab: Lab, one: Network) -> None:
    old = lab.container("a", one, PortBinding("", 5353, 53, "udp"))
    client = lab.neighbour.socket(socket.SOCK_DGRAM)
    first = lab.machines["a"].socket(socket.SOCK_DGRAM)
    with client, first:
        first.bind(("0.0.0.0", 53))
        first.settimeout(ANSWER_S)
        client.sendto(b"1", (HOST, 5353))
        assert first.recv(1) == b"1"
        with lab.host.inside():
            bridge.detach(old)
        lab.endpoints = [old._replace(ports=())]  # its address stays taken
        new = lab.container("b", one, PortBinding("", 5353, 53, "udp"))
        assert new.address != old.address
        with closing(lab.machines["b"].socket(socket.SOCK_DGRAM)) as second:
            second.bind(("0.0.0.0", 53))
            second.settimeout(ANSWER_S)
            client.sendto(b"2", (HOST, 5353))
            assert second.recv(1) == b"2"


def test_loopback_up(lab: Lab) -> None:
    lonely = Machine(lab.undo)
    netns.loopback_up(lonely.pid)
    assert lab.tcp(lonely, ("127.0.0.1", 80), lonely, 80) == "127.0.0.1"
    assert lonely.run("ip -o link").count("\n") == 1


def test_routes_and_mtu_of_the_host(lab: Lab) -> None:
    with lab.host.inside():
        assert bridge.routed_subnets() == ["192.0.2.0/24"]
        assert bridge.host_mtu() == 1400
    lab.host.run("ip route add 172.17.0.0/16 via 192.0.2.9")
    with lab.host.inside():
        assert ipam.choose_subnet(bridge.routed_subnets(), []) == "172.18.0.0/24"
        assert bridge.free_name() == "onggi0"
    lab.network("bridge", "onggi0")
    with lab.host.inside():
        assert bridge.free_name() == "onggi1"
        assert "172.18.0.0/24" in bridge.routed_subnets()
        assert "172.18.0.0/24" not in bridge.routed_subnets(ignore="onggi0")
    lab.host.run("ip route del default")
    with lab.host.inside():
        assert bridge.host_mtu() == 1500


def test_reserved_port_passes_traffic_and_holds(lab: Lab, one: Network) -> None:
    with lab.host.inside():
        real, held, _ = ports.reserve((PortBinding("", 0, 80),), name="a")
    lab.undo.callback(ports.release, held)
    lab.container("a", one, *real)
    assert lab.tcp(lab.host, ("127.0.0.1", real[0].host_port), lab.machines["a"], 80)
    assert lab.tcp(lab.neighbour, (HOST, real[0].host_port), lab.machines["a"], 80)


NEIGHBOUR6, HOST6 = "2001:db8::2", "2001:db8::1"


@pytest.fixture
def lab6(lab: Lab) -> Lab:
    """The lab with IPv6 on the wire, and a route of the neighbour's to the containers."""
    lab.host.run(f"ip address add {HOST6}/64 dev lan0 nodad; ip route add default via {NEIGHBOUR6}")
    lab.neighbour.run(f"ip address add {NEIGHBOUR6}/64 dev lan1 nodad; ip route add fd00::/8 via "
                      f"{HOST6}; ip route add default via {HOST6}")  # fmt: skip
    return lab


@pytest.mark.sec("F4")
def test_ipv6_is_isolated_and_published_as_ipv4_is(lab6: Lab) -> None:
    lab = lab6
    six = lab.network("six", "onggi0", v6="fd00:6::/64")
    other = lab.network("other", "br-other", v6="fd00:7::/64")
    four = lab.network("four", "br-four")
    a = lab.container("a", six, PortBinding("", 8000, 80))
    b, c = lab.container("b", six), lab.container("c", other)
    lab.container("d", four)
    inside = {name: lab.machines[name] for name in "abcd"}
    assert a.address6 == "fd00:6::2"
    assert lab.tcp(inside["a"], (b.address6, 80), inside["b"], 80) == a.address6
    assert lab.tcp(inside["a"], (NEIGHBOUR6, 80), lab.neighbour, 80) == HOST6
    assert lab.tcp(lab.neighbour, (HOST6, 8000), inside["a"], 80) == NEIGHBOUR6
    assert lab.tcp(lab.host, (HOST6, 8000), inside["a"], 80) is not None
    assert lab.tcp(inside["c"], (HOST6, 8000), inside["a"], 80) is not None
    assert lab.tcp(inside["a"], (HOST6, 8000), inside["a"], 80) is not None  # hairpin
    assert lab.tcp(lab.neighbour, (HOST, 8000), inside["a"], 80) == NEIGHBOUR
    assert lab.silent(lab.neighbour, (a.address6, 80), inside["a"], 80)
    assert lab.silent(inside["c"], (a.address6, 80), inside["a"], 80)
    assert lab.silent(inside["a"], (c.address6, 80), inside["c"], 80)
    assert "inet6" not in inside["d"].run("ip address show eth0")


@pytest.mark.sec("F4")
@pytest.mark.parametrize("bridged_is_filtered", ["0", "1"])
def test_without_icc_containers_reach_all_but_each_other(
    lab: Lab, bridged_is_filtered: str
) -> None:
    lab.host.run(
        f"for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do "
        f"[ ! -e $f ] || echo {bridged_is_filtered} > $f; done"
    )
    apart = lab.network("apart", "onggi0", enable_icc="false")
    a = lab.container("a", apart, PortBinding("", 8000, 80))
    b = lab.container("b", apart)
    inside_a, inside_b = lab.machines["a"], lab.machines["b"]
    assert lab.silent(inside_b, (a.address, 80), inside_a, 80)
    assert lab.tcp(inside_b, (NEIGHBOUR, 80), lab.neighbour, 80) == HOST
    assert lab.tcp(inside_b, (apart.gateway, 80), lab.host, 80) == b.address
    assert lab.tcp(inside_b, (HOST, 8000), inside_a, 80) == apart.gateway
    assert lab.tcp(lab.neighbour, (HOST, 8000), inside_a, 80) == NEIGHBOUR


def test_a_routed_network_is_reached_at_its_ports_alone(lab: Lab) -> None:
    routed = lab.network("routed", "onggi0", gateway_mode_ipv4="routed")
    a = lab.container("a", routed, PortBinding("", 8000, 80))
    lab.neighbour.run(f"ip route add {routed.subnet} via {HOST}")
    inside_a = lab.machines["a"]
    assert lab.tcp(lab.neighbour, (a.address, 80), inside_a, 80) == NEIGHBOUR
    assert lab.silent(lab.neighbour, (a.address, 81), inside_a, 81)
    assert lab.silent(lab.neighbour, (HOST, 8000), inside_a, 80)
    assert lab.tcp(inside_a, (NEIGHBOUR, 80), lab.neighbour, 80) == a.address


def test_the_gateway_is_the_hosts_own_address(lab: Lab, one: Network) -> None:
    lab.container("a", one)
    assert lab.tcp(lab.host, (one.gateway, 80), lab.host, 80) == one.gateway


def test_two_hosts_and_their_containers_through_published_ports(lab: Lab) -> None:
    """neighbour and host are both hosts of containers; a third machine knows neither's networks."""
    here, there = lab.network("here", "onggi0"), Lab(lab.undo)
    third = Machine(lab.undo)
    for number, (machine, name) in enumerate(((lab.host, "wan0"), (there.host, "wan1")), 1):
        machine.run(f"ip link add {name} type veth peer name to{number}")
        machine.run(f"ip link set to{number} netns {third.pid}; ip link set {name} up")
        machine.run(f"ip address add 198.51.100.{number}1/24 dev {name}")
    third.run("ip link add lan type bridge; ip link set to1 master lan; ip link set to2 master lan")
    third.run("for i in to1 to2 lan; do ip link set $i up; done")
    third.run("ip address add 198.51.100.3/24 dev lan")
    for machine, name in ((lab.host, "wan0"), (there.host, "wan1"), (third, "lan")):
        with rtnetlink.inside(machine.namespace), rtnetlink.Netlink() as socket_:
            socket_.settle(name)
    far = there.network("far", "onggi0")
    a = lab.container("a", here, PortBinding("", 8000, 80), PortBinding("", 5300, 53, "udp"))
    b = there.container("b", far, PortBinding("", 8000, 80))
    assert a.address == b.address  # each host chose for itself
    inside_a, inside_b = lab.machines["a"], there.machines["b"]
    one, two = "198.51.100.11", "198.51.100.21"
    assert lab.tcp(inside_a, (two, 8000), inside_b, 80) == one  # its host's address
    assert lab.tcp(inside_b, (one, 8000), inside_a, 80) == two
    assert lab.tcp(third, (one, 8000), inside_a, 80) == "198.51.100.3"
    assert lab.udp(third, (one, 5300), inside_a, 53) == "198.51.100.3"
    assert lab.udp(inside_b, (one, 5300), inside_a, 53) == two
    assert lab.silent(third, (one, 8001), inside_a, 80)


def test_a_dropping_firewall_lets_our_bridges_through_when_that_is_asked_for(
    lab: Lab, one: Network
) -> None:
    lab.host.run(
        "nft 'add table inet admin; add chain inet admin forward "
        "{ type filter hook forward priority 0; policy drop; }'"
    )
    before = lab.host.run("nft list table inet admin")
    lab.container("a", one, PortBinding("", 8000, 80))
    two = lab.network("two", "br-two")
    b = lab.container("b", two)
    inside_a, inside_b = lab.machines["a"], lab.machines["b"]

    def reached(patience_s: float = ANSWER_S) -> tuple[str | None, str | None]:
        return (
            lab.tcp(inside_a, (NEIGHBOUR, 80), lab.neighbour, 80, patience_s),
            lab.tcp(lab.neighbour, (HOST, 8000), inside_a, 80, patience_s),
        )

    assert reached(SILENCE_S) == (None, None)
    for _ in range(2):  # the second time changes nothing
        with lab.host.inside():
            opening.apply("onggi", ["onggi0", "br-two"])
        assert reached() == (HOST, NEIGHBOUR)
        assert lab.host.run("nft list table inet admin").count("jump onggi") == 1
    assert lab.silent(inside_a, (b.address, 80), inside_b, 80)
    for _ in range(2):
        with lab.host.inside():
            opening.apply("onggi", [])
        assert lab.host.run("nft list table inet admin") == before
    assert reached(SILENCE_S) == (None, None)


def test_what_nft_refuses_is_one_line(lab: Lab) -> None:
    """The rest, pages of it, is for a traceback (--debug), also from another process."""
    script = "add table inet one\nadd chain inet one two {\n}\nadd rule inet one two nonsense\n"
    with lab.host.inside(), pytest.raises(OnggiError) as caught:
        nftables.load(script)
    assert re.fullmatch(r"nft refuses our rules: .*syntax error.*", caught.value.message)
    assert "nonsense" not in lab.host.run("nft list ruleset")
    again = detach.error_of(*json.loads(detach.encoded(caught.value)))
    assert script in again.__notes__[0]
