"""`Wiring` without root: no bridges, no firewall; each container on the default network gets a
helper of its own (network/outside). Containers reach the outside and publish ports; they do not
reach each other.
"""

from collections.abc import Mapping, Sequence

from ..errors import Conflict, Unavailable, Unsupported
from ..network import ipam, outside, pasta, ports
from ..spec.container import Container
from ..spec.network import Endpoint, EndpointOptions, Network, PortBinding
from ..store.store import Store
from .endpoints import DEFAULT, Place
from .networks import Networks
from .paths import Paths
from .wiring import Connection, Wiring

LOOPBACK = ("127.0.0.0/8", "127.0.0.1")  # every address of it is the host's
_ONLY = "without root there are only the networks bridge, host and none"


class UserWiring(Wiring):
    def __init__(self, store: Store, networks: Networks, paths: Paths) -> None:
        super().__init__(store, networks, paths.run)
        self._paths = paths

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
        if wanted != {DEFAULT: EndpointOptions()}:
            raise Unsupported(
                f"network {', '.join(wanted)}: {_ONLY}",
                hint="--network container:NAME shares the network of another container",
            )
        self._networks.ensure_built_in()
        network = self._store.networks.get(DEFAULT)
        try:
            bindings, held = ports.reserve(ports_, name=container.name)
        except Conflict as error:
            error.hint = self._publisher(ports_) or error.hint
            raise
        ports.release(held)  # they are pasta's to bind
        self._release_dead(bindings)
        endpoint = self._store.networks.add_endpoint(
            network.id, lambda used: _endpoint(network, container.id, used, bindings)
        )
        return Connection((Place(network, endpoint),), bindings, ())

    def attach(self, connection: Connection, pid: int) -> None:
        endpoint = connection.places[0].endpoint
        outside.start(pid, self._paths.running(endpoint.container_id), endpoint)

    def check_user_defined(self) -> None:
        raise Unsupported(_ONLY)

    def join(self, container: Container, network: Network, options: EndpointOptions) -> None:
        self.check_user_defined()

    def leave(self, container: Container, network: Network) -> None:
        self.check_user_defined()

    def remove(self, network: Network) -> None:
        self._store.networks.remove(network.id)

    def loopback_up(self, pid: int) -> None:
        outside.loopback_up(pid)

    def disconnect(self, container_id: str, *, links_later: bool = False) -> Sequence[Endpoint]:
        outside.stop(self._paths.running(container_id))
        self._store.networks.release(container_id)
        return ()

    def sweep(self) -> None:
        for endpoint in self._store.networks.endpoints():
            if not self._lives(endpoint.container_id):
                self.disconnect(endpoint.container_id)

    def _release_dead(self, bindings: Sequence[PortBinding]) -> None:
        wanted = {(port.protocol, port.host_port) for port in bindings}
        for endpoint in self._store.networks.endpoints() if wanted else ():
            has = {(port.protocol, port.host_port) for port in endpoint.ports}
            if has & wanted and not self._lives(endpoint.container_id):
                self.disconnect(endpoint.container_id)

    def is_idle(self) -> bool:
        return False  # there is nothing that would have to go later

    def take_down_unused(self) -> None:
        pass

    def take_down_orphans(self, networks: Sequence[Network]) -> None:
        pass


class HostWiring(UserWiring):
    """Without any isolation: a container's ports are the host's own. A port that is published as
    another one cannot be had."""

    def connect(
        self,
        container: Container,
        wanted: Mapping[str, EndpointOptions],
        ports_: tuple[PortBinding, ...],
    ) -> Connection:
        self._networks.ensure_built_in()
        for port in ports_:
            if port.host_port not in (0, port.container_port):
                raise Unsupported(
                    f"port {port.container_port} cannot be published as {port.host_port}: without "
                    "isolation it is the host's own",
                    hint=f"-p {port.container_port}:{port.container_port}",
                )
        same = tuple(port._replace(host_port=port.container_port) for port in ports_)
        bindings, held = ports.reserve(same, name=container.name)
        ports.release(held)  # they are the command's to bind
        self._release_dead(bindings)
        network = self._store.networks.get(DEFAULT)
        endpoint = self._store.networks.add_endpoint(
            network.id, lambda used: _endpoint(network, container.id, used, bindings, LOOPBACK)
        )
        return Connection((Place(network, endpoint),), bindings, ())

    def attach(self, connection: Connection, pid: int) -> None:
        pass

    def loopback_up(self, pid: int) -> None:
        pass


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
