"""A container's place on a network: address, bridge, veth, ports, firewall rules.

Intent is recorded (endpoint row) before anything is made, everything is made under one lock, and
every undoing is idempotent, so that a crash anywhere leaves something `disconnect` can finish. Soon
after the last endpoint go the bridge and our firewall table: an idle host carries nothing of ours.
"""

import os
import zlib
from collections.abc import Sequence

from ..errors import Conflict, InvalidInput, NotFound
from ..linux import process
from ..network import bridge, ipam, ports, rules
from ..spec.network import Endpoint, Network, PortBinding
from ..store.store import Store
from ..typed import NamedTuple
from .networks import Networks

DEFAULT = "bridge"
STANDARD_RUN = "/run/onggi"


class Connection(NamedTuple):
    """A container's endpoint, ready for its process. `held` are the sockets that keep its published
    ports from other programs; the monitor holds them until the end."""

    network: Network
    endpoint: Endpoint
    held: tuple[int, ...]


class Wiring:
    def __init__(self, store: Store, networks: Networks, run: str) -> None:
        self._store = store
        self._networks = networks
        mark = _mark(run)
        self._table = f"{rules.TABLE}_{mark}" if mark else rules.TABLE
        self._bridges = f"{bridge.PREFIX}{mark[:6]}-" if mark else bridge.PREFIX

    def connect(
        self,
        container_id: str,
        name: str,
        mode: str,
        wanted: tuple[PortBinding, ...],
        mac_address: str = "",
    ) -> Connection:
        """Reserve address and ports on the network, make bridge and rules. `attach` follows when
        the process is there. Undone by `disconnect` and by closing `held`. A `mac_address` of ""
        is derived from the address."""
        self._networks.ensure_built_in()  # takes the lock itself
        with self._networks.locked():
            reference = DEFAULT if mode == "default" else mode
            network = self._with_subnet(self._store.networks.get(reference))
            if not network.bridge:
                raise InvalidInput(f"network {network.name} cannot be joined by name")
            try:
                bindings, held = ports.reserve(wanted, name=name)
            except Conflict as error:
                error.hint = self._publisher(wanted) or error.hint
                raise
            try:
                self._release_dead(bindings)
                endpoint = self._store.networks.add_endpoint(
                    network.id,
                    lambda used: _endpoint(network, container_id, used, bindings, mac_address),
                )
                bridge.ensure_bridge(network)
                self._apply_rules(self._used())
            except BaseException:
                ports.release(held)
                self._store.networks.release(container_id)
                self._take_down_unused()
                raise
        return Connection(network, endpoint, tuple(held))

    def _release_dead(self, bindings: Sequence[PortBinding]) -> None:
        """Take these ports from containers that are gone: of a start that was killed half-way, or
        of a time before a reboot. Whoever lives, or is about to, holds them bound: `reserve` would
        have failed."""
        wanted = {(port.protocol, port.host_port) for port in bindings}
        for endpoint in self._store.networks.endpoints() if wanted else ():
            has = {(port.protocol, port.host_port) for port in endpoint.ports}
            if has & wanted and not self._lives(endpoint.container_id):
                bridge.detach(endpoint)
                self._store.networks.release(endpoint.container_id)

    def sweep(self) -> None:
        """Finish what killed commands and monitors left: endpoints of containers that are gone,
        and a network that nobody is on."""
        with self._networks.locked():
            for endpoint in self._store.networks.endpoints():
                if not self._lives(endpoint.container_id):
                    bridge.detach(endpoint)
                    self._store.networks.release(endpoint.container_id)
            if not self._used():
                self._take_down_unused()

    def _lives(self, container_id: str) -> bool:
        """Also without its monitor, which held the ports: the rules still lead to it."""
        try:
            state = self._store.containers.get(container_id).state
        except NotFound:
            return False
        return state.boot_id == process.boot_id() and (
            process.same_process(state.pid, state.pid_start)
            or process.same_process(state.monitor_pid, state.monitor_start)
        )

    def attach(self, connection: Connection, pid: int) -> None:
        """Put the container's interface into the network namespace of `pid`."""
        bridge.attach(connection.endpoint, connection.network, pid)

    def loopback_up(self, pid: int) -> None:
        """All that a container without a network has."""
        bridge.loopback_up(pid)

    def disconnect(self, container_id: str) -> None:
        """Take the container off its networks. Idempotent. Bridges stay until `take_down_unused`,
        which its monitor sees to a moment later: removing one costs 50 ms, and the next container
        may want it. Behind a monitor that died they go at once: nobody else would."""
        if not self._store.networks.endpoints(container_id=container_id):
            return
        with self._networks.locked():
            endpoints = self._store.networks.endpoints(container_id=container_id)
            for endpoint in endpoints:
                bridge.detach(endpoint)
            self._store.networks.release(container_id)
            if not self._used() and not self._is_mine(container_id):
                self._take_down_unused()
            else:
                self._apply_rules(self._used() | {endpoint.network_id for endpoint in endpoints})

    def _is_mine(self, container_id: str) -> bool:
        """Whether this process is the container's monitor (until a start, that is its creator)."""
        try:
            state = self._store.containers.get(container_id).state
        except NotFound:
            return False
        return state.status != "created" and state.monitor_pid == os.getpid()

    def _publisher(self, wanted: tuple[PortBinding, ...]) -> str | None:
        """Which container has one of the ports: more use than the name of its monitor's program."""
        numbers = {(port.host_port, port.protocol) for port in wanted if port.host_port}
        for endpoint in self._store.networks.endpoints():
            for port in endpoint.ports:
                if (port.host_port, port.protocol) in numbers:
                    try:
                        holder = self._store.containers.get(endpoint.container_id)
                    except NotFound:
                        continue  # it has just been removed
                    return f"port {port.host_port} is published by the container {holder.name}"
        return None

    def is_idle(self) -> bool:
        """Whether no container is on any network."""
        return not self._store.networks.endpoints()

    def take_down_unused(self) -> None:
        """Remove the bridges no container is on, and their rules. Idempotent."""
        with self._networks.locked():
            self._take_down_unused()

    def bridged(self) -> Sequence[Network]:
        """The networks that may have a bridge on this host."""
        return [network for network in self._store.networks.list() if network.bridge]

    def take_down_orphans(self, networks: Sequence[Network]) -> None:
        """Remove these bridges and our table though the store that knew of them is gone."""
        with self._networks.locked():
            for network in networks:
                bridge.remove_bridge(network)
            bridge.apply(rules.render((), (), self._table), self._table)

    def _take_down_unused(self) -> None:
        used = self._used()
        for network in self._store.networks.list():
            if network.bridge and network.id not in used:
                bridge.remove_bridge(network)
        self._apply_rules(used)

    def _used(self) -> set[str]:
        """Ids of the networks that containers are on."""
        return {endpoint.network_id for endpoint in self._store.networks.endpoints()}

    def _apply_rules(self, network_ids: set[str]) -> None:
        networks = [n for n in self._store.networks.list() if n.bridge and n.id in network_ids]
        text = rules.render(networks, self._store.networks.endpoints(), self._table)
        bridge.apply(text, self._table)

    def _with_subnet(self, network: Network) -> Network:
        """The network with a range of its own. The default one chooses when it is first used, and
        again when it is idle and the host has begun to route its range elsewhere."""
        if network.driver != "bridge":
            return network
        idle = not self._store.networks.endpoints(network_id=network.id)
        if network.subnet and not idle:
            return network
        others = [n.subnet for n in self._store.networks.list() if n.subnet and n.id != network.id]
        routed = bridge.routed_subnets(ignore=network.bridge)
        if network.subnet and not ipam.overlaps_any(network.subnet, [*routed, *others]):
            return network
        subnet = ipam.choose_subnet(routed, others)
        chosen = network._replace(
            subnet=subnet,
            gateway=ipam.gateway_of(subnet),
            bridge=network.bridge or bridge.free_name(self._bridges),
        )
        self._store.networks.replace(chosen)
        return chosen


def _mark(run: str) -> str:
    """Engines with directories of their own share neither a firewall table nor a bridge: what one
    takes down when it is idle must not be what another stands on."""
    return "" if run == STANDARD_RUN else f"{zlib.crc32(os.fsencode(run)):08x}"


def _endpoint(
    network: Network,
    container_id: str,
    used: frozenset[str],
    bindings: tuple[PortBinding, ...],
    mac_address: str,
) -> Endpoint:
    address = ipam.next_address(network.subnet, network.gateway, used)
    return Endpoint(
        network_id=network.id,
        container_id=container_id,
        address=address,
        prefix_length=ipam.prefix_length_of(network.subnet),
        gateway=network.gateway,
        mac_address=mac_address or ipam.mac_for(address),
        host_interface=f"veth{container_id[:10]}",
        ports=bindings,
    )
