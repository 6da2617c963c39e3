"""Which part of this package does what a network's driver says."""

from collections.abc import Sequence

from ..spec.network import Endpoint, Network
from . import bridge, netns

Settings = Sequence[tuple[str, str]]


def ensure(network: Network) -> None:
    """What the host needs before the first endpoint."""
    if network.driver == "bridge":
        bridge.ensure_bridge(network)
    else:
        from . import parent

        parent.ensure(network)


def attach(
    network: Network,
    endpoint: Endpoint,
    netns_pid: int,
    *,
    default_route: bool,
    default_route6: bool,
    settings: Settings = (),
) -> None:
    """Put the endpoint's interface into the network namespace of the process; `settings` are
    written below its /proc/sys/net."""
    if network.driver == "bridge":
        work = bridge.attach
    else:
        from . import parent

        work = parent.attach
    work(endpoint, network, netns_pid, default_route=default_route, default_route6=default_route6)
    if settings:
        with netns.of_process(netns_pid) as namespace:
            netns.set_interface(namespace, settings)


def detach(network: Network, endpoint: Endpoint, netns_pid: int) -> None:
    """Take the endpoint's interface from a process that lives on."""
    if network.driver == "bridge":
        bridge.detach(endpoint)
    else:
        from . import parent

        parent.detach(endpoint, netns_pid)


def remove(network: Network) -> None:
    """What `ensure` made. Idempotent."""
    if network.driver == "bridge" and network.bridge:
        bridge.remove_bridge(network)
    elif network.driver in ("macvlan", "ipvlan"):
        from . import parent

        parent.remove(network)
