"""Networks of the drivers macvlan and ipvlan: containers with addresses on the host's own wire.

What the host lacks for it is made with the first endpoint and goes with the last: a VLAN ("eth0.20"
where only eth0 is there), or for a network without a parent an interface that leads nowhere.
"""

from ..errors import InvalidInput
from ..linux import rtnetlink
from ..spec.network import Endpoint, Network
from . import netns
from .options import ParentOptions, parent_options

_LOOSE_MTU = 1500


def ensure(network: Network) -> None:
    """The parent is there. Raises InvalidInput when it is not and cannot be made."""
    found = parent_options(network.driver, network.options)
    with rtnetlink.Netlink() as socket:
        name = _parent_name(network, found)
        if rtnetlink.find_link(socket, name=name):
            return
        names = [name]
        if found.parent:
            _make_vlan(socket, name)
        else:  # a cable with both ends here: children have a carrier, and nowhere to go
            names.append(f"dp-{network.id[:12]}")
            socket.apply(rtnetlink.create_cable(*names, mtu=found.mtu or _LOOSE_MTU))
        made = [rtnetlink.find_link(socket, name=name) for name in names]
        socket.apply(*(rtnetlink.set_up(link.number) for link in made if link))
        for name in names:
            socket.settle(name)


def _make_vlan(socket: rtnetlink.Netlink, name: str) -> None:
    base, dot, number = name.rpartition(".")
    if not dot or not (number.isascii() and number.isdigit() and 0 < int(number) < 4095):
        raise InvalidInput(
            f"invalid subinterface vlan name {name}, example formatting is eth0.10",
            hint="the parent interface is not there: ip link shows those that are",
        )
    parent = rtnetlink.find_link(socket, name=base)
    if parent is None:
        raise InvalidInput(f"unable to find the parent interface {base}, it was not found")
    socket.apply(rtnetlink.create_vlan(name, parent=parent.number, number=int(number)))


def remove(network: Network) -> None:
    """What `ensure` made. Idempotent; an interface of the administrator's stays."""
    found = parent_options(network.driver, network.options)
    name = _parent_name(network, found)
    with rtnetlink.Netlink() as socket:
        if network.makes_link and rtnetlink.find_link(socket, name=name):
            socket.apply(rtnetlink.delete_link(name))


def _parent_name(network: Network, found: ParentOptions) -> str:
    return found.parent or f"dm-{network.id[:12]}"


def attach(
    endpoint: Endpoint,
    network: Network,
    netns_pid: int,
    *,
    default_route: bool = True,
    default_route6: bool = True,
) -> None:
    """Put the endpoint's interface into the process's network namespace."""
    found = parent_options(network.driver, network.options)
    with netns.of_process(netns_pid) as namespace:
        container = netns.prepared(namespace, endpoint)
        with container, rtnetlink.Netlink() as host:
            _create(host, endpoint, network, found, namespace)
            if network.internal or not found.parent:
                default_route = default_route6 = False
            by_device = network.driver == "ipvlan" and found.mode != "l2"
            gateway = "" if by_device else endpoint.gateway
            gateway6 = "" if by_device else endpoint.gateway6
            netns.configure(
                container,
                endpoint,
                gateway=gateway if default_route else None,
                gateway6=gateway6 if default_route6 else None,
            )


def _create(
    host: rtnetlink.Netlink,
    endpoint: Endpoint,
    network: Network,
    found: ParentOptions,
    namespace: int,
) -> None:
    name = _parent_name(network, found)
    link = rtnetlink.find_link(host, name=name)
    if link is None:
        raise InvalidInput(f"network {network.name}: its parent interface {name} is gone")
    if network.driver == "macvlan":
        request = rtnetlink.create_macvlan(
            endpoint.interface, parent=link.number, mode=found.mode, mac=endpoint.mac_address,
            mtu=found.mtu, namespace=namespace,
        )  # fmt: skip
    else:
        request = rtnetlink.create_ipvlan(
            endpoint.interface, parent=link.number, mode=found.mode, flag=found.flag,
            mtu=found.mtu, namespace=namespace,
        )  # fmt: skip
    host.apply(request)


def detach(endpoint: Endpoint, netns_pid: int) -> None:
    """Take the interface out of a namespace that lives on. Idempotent."""
    with netns.of_process(netns_pid) as namespace:
        with rtnetlink.inside(namespace):
            container = rtnetlink.Netlink()
        with container:
            container.apply(rtnetlink.delete_link(endpoint.interface))
