"""`Wiring` without root: no bridges, no firewall; each container on the default network gets a
pasta of its own. Containers reach the outside and publish ports; they do not reach each other.
"""

from collections.abc import Sequence

from ..errors import Conflict, Unavailable, Unsupported
from ..network import ipam, pasta, ports
from ..spec.network import Endpoint, Network, PortBinding
from ..store.store import Store
from .networks import Networks
from .paths import Paths
from .wiring import DEFAULT, Connection, Wiring


class UserWiring(Wiring):
    def __init__(self, store: Store, networks: Networks, paths: Paths) -> None:
        super().__init__(store, networks, paths.run)
        self._paths = paths

    def connect(
        self,
        container_id: str,
        name: str,
        mode: str,
        wanted: tuple[PortBinding, ...],
        mac_address: str = "",
    ) -> Connection:
        missing = pasta.is_usable()
        if missing:
            raise Unavailable(
                f"no network without root: {missing}",
                hint="onggi doctor says how to get it; --network none or host do without",
            )
        if mode not in ("default", DEFAULT) or mac_address:
            raise Unsupported(
                f"network {mode}: without root there are only bridge, host and none",
                hint="--network container:NAME shares the network of another container",
            )
        self._networks.ensure_built_in()
        network = self._store.networks.get(DEFAULT)
        try:
            bindings, held = ports.reserve(wanted, name=name)
        except Conflict as error:
            error.hint = self._publisher(wanted) or error.hint
            raise
        ports.release(held)  # they are pasta's to bind
        self._release_dead(bindings)
        endpoint = self._store.networks.add_endpoint(
            network.id, lambda used: _endpoint(network, container_id, used, bindings)
        )
        return Connection(network, endpoint, ())

    def attach(self, connection: Connection, pid: int) -> None:
        directory = self._paths.running(connection.endpoint.container_id)
        pasta.start(pid, directory, connection.endpoint)

    def loopback_up(self, pid: int) -> None:
        pasta.loopback_up(pid)

    def disconnect(self, container_id: str) -> None:
        pasta.stop(self._paths.running(container_id))
        self._store.networks.release(container_id)

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


def _endpoint(
    network: Network, container_id: str, used: frozenset[str], bindings: tuple[PortBinding, ...]
) -> Endpoint:
    return Endpoint(
        network_id=network.id,
        container_id=container_id,
        address=ipam.next_address(pasta.SUBNET, pasta.GATEWAY, used),
        prefix_length=ipam.prefix_length_of(pasta.SUBNET),
        gateway=pasta.GATEWAY,
        mac_address="",
        host_interface="",
        ports=bindings,
    )
