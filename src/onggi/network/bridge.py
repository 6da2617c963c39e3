"""Bridges of networks and veth pairs of endpoints on this host: applies what records say.

Decides no name, address or rule (ipam, rules). The engine serializes calls under the network lock,
applies the rules before the first endpoint is attached and after the last one is detached.
Everything that removes is idempotent.

Beside a firewall with a FORWARD policy of drop (docker's iptables, ufw) containers reach nothing
outside until its administrator lets our bridges pass: no other table can accept for it. See
`firewall_notes`, and docs/network.md for the commands.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Conflict, NotFound
from ..linux import conntrack, nftables, rtnetlink, tools
from ..spec.network import Endpoint, Network
from . import ipam, rules

PREFIX = "onggi"
_DEFAULT_MTU = 1500
_NFT_TIMEOUT_S = 30.0


def routed_subnets(*, ignore: str = "") -> list[str]:
    """The ranges this host reaches other than by a default route; new networks avoid them.

    Those of the interface `ignore` do not count: a network need not avoid itself.
    """
    with rtnetlink.Netlink() as socket:
        link = rtnetlink.find_link(socket, name=ignore) if ignore else None
        found = {
            f"{route.destination}/{route.prefix_length}"
            for route in rtnetlink.routes(socket)
            if route.destination and not (link and route.interface == link.number)
        }
    return sorted(found)


def free_name(prefix: str = PREFIX) -> str:
    """The first of onggi0, onggi1, ... that no interface of this host has."""
    with rtnetlink.Netlink() as socket:
        number = 0
        while rtnetlink.find_link(socket, name=f"{prefix}{number}"):
            number += 1
    return f"{prefix}{number}"


def host_mtu() -> int:
    """The MTU on the way out: what a container may send without being fragmented by the host."""
    with rtnetlink.Netlink() as socket:
        ways_out = [r for r in rtnetlink.routes(socket) if not r.destination and r.interface]
        if not ways_out:
            return _DEFAULT_MTU
        best = min(ways_out, key=lambda route: route.metric)
        link = rtnetlink.find_link(socket, index=best.interface)
    return link.mtu if link and link.mtu else _DEFAULT_MTU


def ensure_bridge(network: Network) -> None:
    """The bridge is there, addressed and up, and the host forwards. Cheap when already so."""
    with rtnetlink.Netlink() as socket:
        link = _find_bridge(socket, network)
        if link is None:
            mac = ipam.mac_for(network.gateway)
            socket.apply(rtnetlink.create_bridge(network.bridge, mac=mac, mtu=host_mtu()))
            link = _find_bridge(socket, network)
            if link is None:
                raise NotFound(f"bridge {network.bridge} vanished while it was made")
        if not link.flags & rtnetlink.UP:  # up comes last: an up bridge is a complete one
            _write_sysctl(f"ipv6/conf/{network.bridge}/disable_ipv6", "1")
            _write_sysctl(f"ipv6/conf/{network.bridge}/accept_ra", "0")
            _write_sysctl(f"ipv4/conf/{network.bridge}/rp_filter", "1")
            prefix_length = ipam.prefix_length_of(network.subnet)
            socket.apply(
                rtnetlink.add_address(link.number, network.gateway, prefix_length),
                rtnetlink.set_up(link.number),
            )
    _write_sysctl("ipv4/ip_forward", "1")


def remove_bridge(network: Network) -> None:
    with rtnetlink.Netlink() as socket:
        if _find_bridge(socket, network):
            socket.apply(rtnetlink.delete_link(network.bridge))


def attach(
    endpoint: Endpoint,
    network: Network,
    netns_pid: int,
    *,
    interface: str = "eth0",
    default_route: bool = True,
) -> None:
    """Put `interface` with the endpoint's address into the process's network namespace."""
    with _namespace_of(netns_pid) as namespace:
        with rtnetlink.inside(namespace):
            # Before the interface is made: it takes them over, and hears no router advertisement.
            _write_sysctl("ipv6/conf/default/accept_ra", "0")
            _write_sysctl("ipv6/conf/default/disable_ipv6", "1")
            container = rtnetlink.Netlink()
        with container, rtnetlink.Netlink() as host:
            _create_pair(host, endpoint, network, namespace, interface)
            try:
                gateway = endpoint.gateway if default_route and not network.internal else ""
                _configure(container, endpoint, interface, gateway)
                container.settle(interface)
                host.settle(endpoint.host_interface)
                host.settle(network.bridge)  # it has a carrier only with its first live port
                _open_published(endpoint, network)
            except BaseException:
                host.apply(rtnetlink.delete_link(endpoint.host_interface))
                raise


def _create_pair(
    host: rtnetlink.Netlink, endpoint: Endpoint, network: Network, namespace: int, interface: str
) -> None:
    link = _find_bridge(host, network)
    if link is None:
        raise NotFound(f"network {network.name} has no bridge {network.bridge} on this host")
    pair = rtnetlink.create_veth(
        endpoint.host_interface,
        bridge=link.number,
        mtu=link.mtu,
        peer=interface,
        peer_mac=endpoint.mac_address,
        peer_namespace=namespace,
    )
    hairpin = rtnetlink.hairpin(endpoint.host_interface)
    try:
        host.apply(pair, hairpin)
    except OSError as error:
        # The kernel takes a dead namespace's interfaces down later, when it has time.
        left = rtnetlink.find_link(host, name=endpoint.host_interface)
        if error.errno != errno.EEXIST or left is None or left.kind != "veth":
            raise
        host.apply(rtnetlink.delete_link(endpoint.host_interface))
        host.apply(pair, hairpin)


def _configure(
    container: rtnetlink.Netlink, endpoint: Endpoint, interface: str, gateway: str
) -> None:
    link = rtnetlink.find_link(container, name=interface)
    if link is None:
        raise NotFound(f"interface {interface} vanished from the container")
    requests = [
        rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX),
        rtnetlink.add_address(link.number, endpoint.address, endpoint.prefix_length),
        rtnetlink.set_up(link.number),
    ]
    if gateway:
        requests.append(rtnetlink.add_default_route(gateway))
    container.apply(*requests)


def _open_published(endpoint: Endpoint, network: Network) -> None:
    """What published ports need beyond the rules."""
    if any(_on_loopback(binding.host_ip) for binding in endpoint.ports):
        # Lets answers to 127.0.0.1 come back over the bridge. Containers cannot abuse it: the
        # rules drop whatever carries a loopback address and is not from lo.
        _write_sysctl(f"ipv4/conf/{network.bridge}/route_localnet", "1")
    for binding in endpoint.ports:
        if binding.protocol == "udp":  # a flow from before would keep its old destination
            conntrack.forget_port(conntrack.UDP, binding.host_port)


def _on_loopback(host_ip: str) -> bool:
    return host_ip in rules.EVERY_ADDRESS or host_ip.startswith("127.")


def detach(endpoint: Endpoint) -> None:
    with rtnetlink.Netlink() as socket:
        socket.apply(rtnetlink.delete_link(endpoint.host_interface))
    if any(binding.protocol == "udp" for binding in endpoint.ports):
        conntrack.forget_address(endpoint.address)


def loopback_up(pid: int) -> None:
    """127.0.0.1 works in the process's network namespace; all that `--network none` has."""
    with _namespace_of(pid) as namespace:
        with rtnetlink.inside(namespace):
            container = rtnetlink.Netlink()
        with container:
            container.apply(rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX))


def apply(text: str, table: str = rules.TABLE) -> None:
    """Install what `rules.render` gave. Asks the kernel first: nft runs only when it differs."""
    note = nftables.table_note(table)
    mark = rules.fingerprint(text)
    if (note is None and not mark) or (note is not None and mark and mark.encode() in note):
        return
    tools.run(("nft", "-f", "-"), input=text.encode(), timeout_s=_NFT_TIMEOUT_S)


def firewall_notes(network: Network, *, published: bool) -> list[str]:
    """What the host's own firewall does to this network, each as one line for the user."""
    notes = [
        f"the firewall chain {chain.name} (table {chain.family} {chain.table}) drops what it does "
        f"not allow: containers reach the outside once it accepts {network.bridge}"
        for chain in nftables.chains_that_drop("forward")
    ]
    if published:
        notes += [
            f"published ports do not pass the firewall chain {chain.name} "
            f"(table {chain.family} {chain.table}): they are open to whoever reaches this host"
            for chain in nftables.chains_that_drop("input")
        ]
    return notes


def _find_bridge(socket: rtnetlink.Netlink, network: Network) -> rtnetlink.Link | None:
    link = rtnetlink.find_link(socket, name=network.bridge)
    if link and link.kind != "bridge":
        raise Conflict(
            f"network {network.name}: the host has an interface {network.bridge} that is no bridge",
            hint=f"rename it: ip link set {network.bridge} name NEWNAME",
        )
    return link


@contextmanager
def _namespace_of(pid: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_sysctl(name: str, value: str) -> None:
    """Set /proc/sys/net/NAME unless it is so already; a kernel without IPv6 has nothing to set."""
    try:
        descriptor = os.open(f"/proc/sys/net/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if os.read(descriptor, 64).strip() == value.encode():
            return
    finally:
        os.close(descriptor)
    descriptor = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
