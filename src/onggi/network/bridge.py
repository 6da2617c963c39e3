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
from collections.abc import Collection

from ..errors import Conflict, NotFound
from ..linux import conntrack, nftables, rtnetlink
from ..linux.nlmsg import Request
from ..spec.network import Endpoint, Network
from . import ipam, netns, options, rules
from .netns import read_sysctl, write_sysctl

PREFIX = "onggi"
_DEFAULT_MTU = 1500


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


def exists(interface: str) -> bool:
    with rtnetlink.Netlink() as socket:
        return rtnetlink.find_link(socket, name=interface) is not None


def free_name(prefix: str = PREFIX, taken: Collection[str] = ()) -> str:
    """The first of onggi0, onggi1, ... that no interface of this host has, and not `taken`."""
    with rtnetlink.Netlink() as socket:
        number = 0
        while f"{prefix}{number}" in taken or rtnetlink.find_link(socket, name=f"{prefix}{number}"):
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
            mac = ipam.mac_for(network.gateway or network.gateway6)
            mtu = options.bridge_options(network.options).mtu if network.options else 0
            socket.apply(rtnetlink.create_bridge(network.bridge, mac=mac, mtu=mtu or host_mtu()))
            link = _find_bridge(socket, network)
            if link is None:
                raise NotFound(f"bridge {network.bridge} vanished while it was made")
        if not (network.makes_link and link.flags & rtnetlink.UP):
            # Up comes last: an up bridge of ours is a complete one.
            _prepare(network)
            socket.apply(*_addresses(network, link.number), rtnetlink.set_up(link.number))
    write_sysctl("ipv4/ip_forward", "1")
    if network.gateway6:
        _forward_v6()


def _prepare(network: Network) -> None:
    """Settings of the new bridge, before it is up."""
    write_sysctl(f"ipv6/conf/{network.bridge}/disable_ipv6", "0" if network.gateway6 else "1")
    write_sysctl(f"ipv6/conf/{network.bridge}/accept_ra", "0")
    write_sysctl(f"ipv6/conf/{network.bridge}/accept_dad", "0")
    write_sysctl(f"ipv4/conf/{network.bridge}/rp_filter", "1")


def _addresses(network: Network, index: int) -> list[Request]:
    """The gateways, unless the network is one where the host has no address."""
    found = options.bridge_options(network.options)
    requests = []
    if network.gateway and not found.inhibit_v4 and found.mode != "isolated":
        length = ipam.prefix_length_of(network.subnet)
        requests.append(rtnetlink.add_address(index, network.gateway, length))
    if network.gateway6 and found.mode6 != "isolated":
        length = ipam.prefix_length_of(network.subnet6)
        requests.append(rtnetlink.add_address(index, network.gateway6, length))
    return requests


def _forward_v6() -> None:
    """Switch forwarding on; interfaces that learn their routes from router advertisements go on
    doing so, which the kernel stops on a router unless accept_ra is 2."""
    if read_sysctl("ipv6/conf/all/forwarding") != "0":
        return
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        if name not in ("all", "lo") and read_sysctl(f"ipv6/conf/{name}/accept_ra") == "1":
            write_sysctl(f"ipv6/conf/{name}/accept_ra", "2")
    write_sysctl("ipv6/conf/all/forwarding", "1")


def remove_bridge(network: Network) -> None:
    with rtnetlink.Netlink() as socket:
        if network.makes_link and _find_bridge(socket, network):
            socket.apply(rtnetlink.delete_link(network.bridge))


def attach(
    endpoint: Endpoint,
    network: Network,
    netns_pid: int,
    *,
    default_route: bool = True,
    default_route6: bool = True,
) -> None:
    """Put the endpoint's interface with its address into the process's network namespace."""
    interface = endpoint.interface
    with netns.of_process(netns_pid) as namespace:
        container = netns.prepared(namespace, endpoint)
        with container, rtnetlink.Netlink() as host:
            _create_pair(host, endpoint, network, namespace, interface)
            try:
                leads_out = not network.internal
                netns.configure(
                    container,
                    endpoint,
                    gateway=endpoint.gateway if default_route and leads_out else None,
                    gateway6=endpoint.gateway6 if default_route6 and leads_out else None,
                )
                container.settle(interface)
                host.settle(endpoint.host_interface)
                host.settle(network.bridge)  # it has a carrier only with its first live port
                open_published(endpoint, network)
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
    isolated = not options.bridge_options(network.options).icc and not _bridged_is_filtered()
    port = rtnetlink.bridge_port(endpoint.host_interface, isolated=isolated)
    try:
        host.apply(pair, port)
    except OSError as error:
        # The kernel takes a dead namespace's interfaces down later, when it has time.
        left = rtnetlink.find_link(host, name=endpoint.host_interface)
        if error.errno != errno.EEXIST or left is None or left.kind != "veth":
            raise
        host.apply(rtnetlink.delete_link(endpoint.host_interface))
        host.apply(pair, port)


def reconnect(endpoint: Endpoint, network: Network) -> bool:
    """Put the endpoint's interface back on its bridge when it lost it; false when it is gone."""
    with rtnetlink.Netlink() as host:
        link = rtnetlink.find_link(host, name=endpoint.host_interface)
        bridge = _find_bridge(host, network)
        if link is None or bridge is None:
            return False
        if link.master != bridge.number:
            isolated = not options.bridge_options(network.options).icc
            host.apply(
                rtnetlink.set_master(link.number, bridge.number),
                rtnetlink.bridge_port(
                    endpoint.host_interface, isolated=isolated and not _bridged_is_filtered()
                ),
            )
    return True


def _bridged_is_filtered() -> bool:
    """Whether our rules see what goes from port to port of a bridge (br_netfilter). Then they keep
    containers apart; isolated ports would also stop what goes to a published port, which
    br_netfilter hands straight from port to port."""
    names = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
    return all(read_sysctl(f"bridge/{name}") == "1" for name in names)


def open_published(endpoint: Endpoint, network: Network) -> None:
    """What published ports need beyond the rules."""
    if any(_on_loopback(binding.host_ip) for binding in endpoint.ports):
        # Lets answers to 127.0.0.1 come back over the bridge. Containers cannot abuse it: the
        # rules drop whatever carries a loopback address and is not from lo.
        write_sysctl(f"ipv4/conf/{network.bridge}/route_localnet", "1")
    for binding in endpoint.ports:
        if binding.protocol == "udp":  # a flow from before would keep its old destination
            conntrack.forget_port(conntrack.UDP, binding.host_port)


def _on_loopback(host_ip: str) -> bool:
    return host_ip in rules.EVERY_ADDRESS or host_ip.startswith("127.")


def detach(endpoint: Endpoint) -> None:
    if endpoint.host_interface:
        with rtnetlink.Netlink() as socket:
            socket.apply(rtnetlink.delete_link(endpoint.host_interface))
    if any(binding.protocol == "udp" for binding in endpoint.ports):
        for address in (endpoint.address, endpoint.address6):
            if address:
                conntrack.forget_address(address)


def apply(text: str, table: str = rules.TABLE) -> None:
    """Install what `rules.render` gave. Asks the kernel first: nft runs only when it differs."""
    note = nftables.table_note(table)
    mark = rules.fingerprint(text)
    if (note is None and not mark) or (note is not None and mark and mark.encode() in note):
        return
    nftables.load(text)


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
