"""`Wiring` without root. On the default network each container has a helper of its own
(network/outside): it reaches the outside and publishes ports, and no other container. The user's
own networks are bridges in a network namespace of the user's (`usernet`), where our root may make
them.

Published ports of those are sockets of the host's that a relay answers: what is bound there the
kernel cannot lead into another namespace.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ..errors import Unavailable, Unsupported
from ..network import ipam, outside, pasta, ports
from ..spec.container import Container
from ..spec.network import Endpoint, EndpointOptions, Network, PortBinding
from ..store.store import Store
from ..typed import TYPE_CHECKING, TypeVar
from .endpoints import DEFAULT, Place
from .networks import Networks
from .paths import Paths
from .wiring import Connection, Wiring

if TYPE_CHECKING:
    from .usernet import UserNetwork

T = TypeVar("T")
LOOPBACK = ("127.0.0.0/8", "127.0.0.1")  # every address of it is the host's
_APART = (
    "without root a container is on the default network, alone, or on networks of your own: not on "
    "both"
)
_ONLY = "without isolation there are only the networks bridge, host and none"


class UserWiring(Wiring):
    is_apart = True

    def __init__(self, store: Store, networks: Networks, paths: Paths) -> None:
        super().__init__(store, networks, paths.run)
        self._paths = paths

    @cached_property
    def _network(self) -> "UserNetwork":
        from .usernet import UserNetwork

        return UserNetwork(self._paths.run)

    def _there(self, work: Callable[[], T]) -> T | None:
        return self._network.visit(work)

    def _ensure(self, network: Network) -> None:
        self._network.ensure()
        super()._ensure(network)

    def connect(
        self,
        container: Container,
        wanted: Mapping[str, EndpointOptions],
        ports_: tuple[PortBinding, ...],
    ) -> Connection:
        missing, _ = outside.missing()
        if missing:
            raise Unavailable(
                f"no network without root: {missing}",
                hint="onggi doctor says how to get it; --network none or host do without",
            )
        if DEFAULT not in wanted:
            return super().connect(container, wanted, ports_)
        if len(wanted) > 1:
            raise Unsupported(_APART)
        if wanted[DEFAULT] != EndpointOptions():
            raise Unsupported(
                "without root the default network takes no options",
                hint="onggi network create NAME, and run with --network NAME",
            )
        self._networks.ensure_built_in()
        network = self._store.networks.get(DEFAULT)
        bindings, held, doors = self._reserved(ports_, container.name, ports.Reach(doors=True))
        ports.release(set(held) - set(doors))  # they are the helper's to bind
        self._release_dead(bindings)
        endpoint = self._store.networks.add_endpoint(
            network.id, lambda used: _endpoint(network, container.id, used, bindings)
        )
        return Connection((Place(network, endpoint),), bindings, doors, doors)

    def _reserve(
        self, networks: Sequence[Network], wanted: tuple[PortBinding, ...], name: str
    ) -> ports.Reserved:
        from . import proxying

        proxying.check(wanted)
        return super()._reserve(networks, wanted, name)

    def _reach(self, networks: Sequence[Network]) -> ports.Reach:
        return ports.Reach(v4=False, v6=False, doors=True)

    def attach(self, connection: Connection, pid: int) -> None:
        endpoint = connection.places[0].endpoint
        if _is_bridged(endpoint):
            super().attach(connection, pid)
            return
        direct = tuple(port for port in endpoint.ports if ":" not in port.host_ip)
        directory = self._paths.running(endpoint.container_id)
        outside.start(pid, directory, endpoint._replace(ports=direct))

    def check_driver(self, driver: str) -> None:
        if driver != "bridge":
            raise Unsupported(
                f"networks of the driver {driver} need root: they are on the host's own wire",
                hint="onggi network create NAME makes a bridge network, which does without",
            )

    def join(self, container: Container, network: Network, options: EndpointOptions) -> None:
        if network.name == DEFAULT or self.on_default(container.id):
            raise Unsupported(_APART)
        super().join(container, network, options)

    def leave(self, container: Container, network: Network) -> None:
        if network.name == DEFAULT:
            raise Unsupported("without root a container that runs cannot leave the default network")
        super().leave(container, network)

    def loopback_up(self, pid: int) -> None:
        outside.loopback_up(pid)

    def disconnect(self, container_id: str, *, links_later: bool = False) -> Sequence[Endpoint]:
        if any(map(_is_bridged, self._store.networks.endpoints(container_id=container_id))):
            return super().disconnect(container_id, links_later=links_later)
        outside.stop(self._paths.running(container_id))
        self._store.networks.release(container_id)
        return ()

    def _drop(self, endpoint: Endpoint) -> None:
        if _is_bridged(endpoint):
            super()._drop(endpoint)
        else:
            self.disconnect(endpoint.container_id)

    def is_idle(self) -> bool:
        return not self._is_needed() and bool(self._network.holder())

    def _is_needed(self) -> bool:
        return any(map(_is_bridged, self._store.networks.endpoints()))

    def _take_down_unused(self) -> None:
        if self._is_needed():
            super()._take_down_unused()
        else:
            self._rename()
            self._network.end()

    def take_down_orphans(self, networks: Sequence[Network]) -> None:
        with self._networks.locked():
            if self._networks.serves_names():
                self.naming.clear()
            self._network.end()


class HostWiring(UserWiring):
    """Without any isolation: a container's ports are the host's own. A port that is published as
    another one cannot be had."""

    def connect(
        self,
        container: Container,
        wanted: Mapping[str, EndpointOptions],
        ports_: tuple[PortBinding, ...],
    ) -> Connection:
        if set(wanted) != {DEFAULT}:
            raise Unsupported(_ONLY)
        self._networks.ensure_built_in()
        for port in ports_:
            if port.host_port not in (0, port.container_port):
                raise Unsupported(
                    f"port {port.container_port} cannot be published as {port.host_port}: without "
                    "isolation it is the host's own",
                    hint=f"-p {port.container_port}:{port.container_port}",
                )
        same = tuple(port._replace(host_port=port.container_port) for port in ports_)
        bindings, held, _ = ports.reserve(same, name=container.name)
        ports.release(held)  # they are the command's to bind
        self._release_dead(bindings)
        network = self._store.networks.get(DEFAULT)
        endpoint = self._store.networks.add_endpoint(
            network.id, lambda used: _endpoint(network, container.id, used, bindings, LOOPBACK)
        )
        return Connection((Place(network, endpoint),), bindings, ())

    def attach(self, connection: Connection, pid: int) -> None:
        pass

    def check_driver(self, driver: str) -> None:
        raise Unsupported(_ONLY)

    def join(self, container: Container, network: Network, options: EndpointOptions) -> None:
        raise Unsupported(_ONLY)

    def leave(self, container: Container, network: Network) -> None:
        raise Unsupported(_ONLY)

    def loopback_up(self, pid: int) -> None:
        pass


def _is_bridged(endpoint: Endpoint) -> bool:
    """Whether it is on a network of the user's own."""
    return bool(endpoint.host_interface)


def _endpoint(
    network: Network,
    container_id: str,
    used: frozenset[str],
    bindings: tuple[PortBinding, ...],
    subnet: tuple[str, str] = (pasta.SUBNET, pasta.GATEWAY),
) -> Endpoint:
    addresses, gateway = subnet
    return Endpoint(
        network_id=network.id,
        container_id=container_id,
        address=ipam.next_address(addresses, gateway, used),
        prefix_length=ipam.prefix_length_of(addresses),
        gateway=gateway,
        mac_address="",
        host_interface="",
        ports=bindings,
    )
