"""A container's places on its networks: addresses, bridges, interfaces, ports, firewall rules.

Intent is recorded (endpoint row) before anything is made, everything is made under one lock, and
every undoing is idempotent, so that a crash anywhere leaves something `disconnect` can finish. Soon
after the last endpoint go the bridge and our firewall table: an idle host carries nothing of ours.
"""

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

from ..errors import Conflict, InvalidInput, NotFound, Unavailable
from ..linux import nftables, process
from ..network import bridge, drivers, ipam, netns, ports, rules
from ..spec.container import Container
from ..spec.network import Endpoint, EndpointOptions, Network, PortBinding
from ..store.store import Store
from ..typed import TYPE_CHECKING, NamedTuple, TypeVar
from . import endpoints
from .endpoints import Place
from .networks import Networks

if TYPE_CHECKING:
    from .naming import Naming

STANDARD_RUN = "/run/onggi"
T = TypeVar("T")


class Connection(NamedTuple):
    """A container's endpoints, ready for its process, the first network's first. `published` are
    its ports with real numbers; `held` the sockets that keep them from other programs, which the
    monitor holds until the end; `doors` those of them at which somebody has to answer."""

    places: tuple[Place, ...]
    published: tuple[PortBinding, ...]
    held: tuple[int, ...]
    doors: tuple[int, ...] = ()


class Wiring:
    def __init__(self, store: Store, networks: Networks, run: str) -> None:
        self._store = store
        self._networks = networks
        self._run = run
        self._has_firewall = True
        mark = _mark(run)
        self._table = f"{rules.TABLE}_{mark}" if mark else rules.TABLE
        self.bridge_prefix = f"{bridge.PREFIX}{mark[:6]}-" if mark else bridge.PREFIX

    @cached_property
    def naming(self) -> "Naming":
        from .naming import Naming

        return Naming(self._store, self._run, self._there)

    def _there(self, work: Callable[[], T]) -> T | None:
        """Do it in the network namespace of the bridges, which is our own."""
        return work()

    def connect(
        self,
        container: Container,
        wanted: Mapping[str, EndpointOptions],
        ports_: tuple[PortBinding, ...],
    ) -> Connection:
        """Reserve addresses on the networks, by name, and the ports; make bridges and rules.
        `attach` follows when the process is there. Undone by `disconnect` and by closing `held`."""
        self._networks.ensure_built_in()  # takes the lock itself
        with self._networks.locked():
            networks = [self._usable(self._store.networks.get(name)) for name in wanted]
            bindings, held, doors = self._reserve(networks, ports_, container.name)
            who = endpoints.named(container)
            try:
                self._release_dead(bindings)
                places = self._places(who, networks, tuple(wanted.values()), bindings)
                for place in places:
                    self._ensure(place.network)
                self._apply_rules(self._used())
                if _has_names(places):
                    self.naming.update()
                elif self._networks.serves_names():
                    self.naming.repair()
                if not self._has_firewall:
                    doors = self._opened(bindings, held)
            except BaseException:
                ports.release(held)
                self._store.networks.release(container.id)
                self._take_down_unused()
                raise
        return Connection(places, bindings, held, doors)

    def _ensure(self, network: Network) -> None:
        """What the network needs before its first endpoint."""
        self._there(lambda: drivers.ensure(network))

    @staticmethod
    def _opened(bindings: Sequence[PortBinding], held: tuple[int, ...]) -> tuple[int, ...]:
        """Without a firewall the kernel leads nothing to a container: all of it is relayed."""
        from . import proxying

        proxying.check(bindings)
        for descriptor in held:
            ports.open_door(descriptor)
        return held

    def _usable(self, reference: Network) -> Network:
        """The network with a range. Raises InvalidInput for what is no network to be on."""
        network = self._with_subnet(reference)
        if network.driver in ("host", "null"):
            raise InvalidInput(f"network {network.name} cannot be joined by name")
        return network

    def _reserve(
        self, networks: Sequence[Network], wanted: tuple[PortBinding, ...], name: str
    ) -> ports.Reserved:
        """Ports are published where a network of the container is a bridge that leads out."""
        out = endpoints.publishing(networks)
        if not wanted or not out:
            return ports.Reserved()
        bindings = [endpoints.bound(port, out) for port in wanted]
        return self._reserved(bindings, name, self._reach(out))

    def _reach(self, networks: Sequence[Network]) -> ports.Reach:
        families = (any(n.ipv4 for n in networks), any(n.ipv6 for n in networks))
        return ports.Reach(*families, doors=True)

    def _reserved(
        self, bindings: Sequence[PortBinding], name: str, reach: ports.Reach
    ) -> ports.Reserved:
        try:
            return ports.reserve(bindings, name=name, reach=reach)
        except Conflict as error:
            error.hint = self._publisher(bindings) or error.hint
            raise

    def _places(
        self,
        who: endpoints.Named,
        networks: Sequence[Network],
        options: Sequence[EndpointOptions],
        bindings: tuple[PortBinding, ...],
        taken: Sequence[str] = (),
    ) -> tuple[Place, ...]:
        """Rows of endpoints with addresses; the ports at the one that leads out."""
        interfaces = endpoints.interface_names(networks, options, taken)
        places = [
            Place(network, endpoints.blank(network, who, asked, interface))
            for network, asked, interface in zip(networks, options, interfaces, strict=True)
        ]
        chosen = endpoints.publisher(places)
        made = []
        for place, asked in zip(places, options, strict=True):
            endpoint = place.endpoint._replace(ports=bindings if place is chosen else ())
            network = place.network
            stored = self._store.networks.add_endpoint(
                network.id,
                endpoints.chooser(endpoint, network, asked),
            )
            made.append(Place(network, stored))
        return tuple(made)

    def _release_dead(self, bindings: Sequence[PortBinding]) -> None:
        """Take these ports from containers that are gone: of a start that was killed half-way, or
        of a time before a reboot. Whoever lives, or is about to, holds them bound: `reserve` would
        have failed."""
        wanted = {(port.protocol, port.host_port) for port in bindings}
        for endpoint in self._store.networks.endpoints() if wanted else ():
            has = {(port.protocol, port.host_port) for port in endpoint.ports}
            if has & wanted and not self._lives(endpoint.container_id):
                self._drop(endpoint)

    def sweep(self) -> None:
        """Finish what killed commands and monitors left: endpoints of containers that are gone,
        and a network that nobody is on."""
        with self._networks.locked():
            for endpoint in self._store.networks.endpoints():
                if not self._lives(endpoint.container_id):
                    self._drop(endpoint)
            self._take_down_unused()

    def _drop(self, endpoint: Endpoint) -> None:
        """Of a container that is gone."""
        self._there(lambda: bridge.detach(endpoint))
        self._store.networks.release(endpoint.container_id)

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
        """Put the container's interfaces into the network namespace of `pid`."""
        out, out6 = endpoints.ways_out(connection.places)
        for place in connection.places:
            self._attach(place, pid, default_route=place is out, default_route6=place is out6)
        if _has_names(connection.places):
            with self._networks.locked():
                self.naming.serve(connection.places[0].endpoint.container_id, pid)

    def _attach(
        self, place: Place, pid: int, *, default_route: bool = False, default_route6: bool = False
    ) -> None:
        endpoint = place.endpoint
        self._there(
            lambda: drivers.attach(
                place.network,
                endpoint,
                pid,
                default_route=default_route,
                default_route6=default_route6,
                settings=endpoints.sysctls(endpoint.driver_options, endpoint.interface),
            )
        )

    is_apart = False  # whether we cannot reach a container's address

    def check_driver(self, driver: str) -> None:
        """Raises Unsupported for networks that there cannot be here."""

    def join(self, container: Container, network: Network, options: EndpointOptions) -> None:
        """Put a container that runs on one more network, at once."""
        with self._networks.locked():
            network = self._usable(network)
            before = self._places_of(container.id)
            taken = [place.endpoint.interface for place in before]
            try:
                who = endpoints.named(container)
                (place,) = self._places(who, [network], [options], (), taken)
                self._ensure(network)
                self._apply_rules(self._used())
                self._attach(place, container.state.pid)
                self._redirect(container)
                if _has_names([place]):
                    self.naming.update()
                    self.naming.serve(container.id, container.state.pid)
            except BaseException:
                self._leave(container, network)
                raise

    def leave(self, container: Container, network: Network) -> None:
        """Take a container that runs off a network, at once."""
        with self._networks.locked():
            self._leave(container, network)

    def _leave(self, container: Container, network: Network) -> None:
        pid = container.state.pid
        for endpoint in self._store.networks.endpoints(
            network_id=network.id, container_id=container.id
        ):
            self._there(partial(drivers.detach, network, endpoint, pid))
        self._store.networks.release(container.id, network.id)
        self._rename()
        self._redirect(container)
        if network.id not in self._used():
            self._there(lambda: drivers.remove(network))

    def _redirect(self, container: Container) -> None:
        """After a change of its networks: the container's way out, and where its ports lead."""
        places = self._places_of(container.id)
        out, out6 = endpoints.ways_out(places)
        ways = (out and out.endpoint, out6 and out6.endpoint)
        self._there(lambda: netns.route(container.state.pid, *ways))
        chosen = endpoints.publisher(places)
        published = container.state.published if chosen else ()
        network_id = chosen.network.id if chosen else ""
        now = {place.network.id: place.endpoint.ports for place in places if place.endpoint.ports}
        if now != ({network_id: published} if published else {}):
            self._store.networks.publish(container.id, network_id, published)
            if chosen:
                endpoint = chosen.endpoint._replace(ports=published)
                self._there(partial(bridge.open_published, endpoint, chosen.network))
        self._apply_rules(self._used())

    def _places_of(self, container_id: str) -> list[Place]:
        networks = {network.id: network for network in self._store.networks.list()}
        return [
            Place(networks[endpoint.network_id], endpoint)
            for endpoint in self._store.networks.endpoints(container_id=container_id)
        ]

    def remove(self, network: Network) -> None:
        """Forget a network, and its bridge. Raises Conflict while containers are on it."""
        with self._networks.locked():
            self._store.networks.remove(network.id)
            self._there(lambda: drivers.remove(network))
            self._apply_rules(self._used())

    def on_default(self, container_id: str) -> Endpoint | None:
        """The container's place on the default network."""
        found = self._store.networks.endpoints(
            network_id=self._store.networks.get(endpoints.DEFAULT).id, container_id=container_id
        )
        return found[0] if found else None

    def networks_of(self, container_id: str) -> Sequence[Network]:
        """Those the container is on."""
        ids = {e.network_id for e in self._store.networks.endpoints(container_id=container_id)}
        return [network for network in self._store.networks.list() if network.id in ids]

    def loopback_up(self, pid: int) -> None:
        """All that a container without a network has."""
        netns.loopback_up(pid)

    def disconnect(self, container_id: str, *, links_later: bool = False) -> Sequence[Endpoint]:
        """Take the container off its networks. Idempotent. Bridges stay until `take_down_unused`,
        which its monitor sees to a moment later: removing one costs 50 ms, and the next container
        may want it. Behind a monitor that died they go at once: nobody else would.

        `links_later` gives the endpoints whose interfaces are to go by `detach`, which waits for
        an RCU grace period of 10 ms or more: for a container that will never start again. If its
        process has ended, the kernel removes them too, some time later."""
        if not self._store.networks.endpoints(container_id=container_id):
            return ()
        with self._networks.locked():
            left = self._store.networks.endpoints(container_id=container_id)
            later = [e for e in left if links_later and not e.ports]
            for endpoint in left:
                if endpoint not in later:
                    self._there(partial(bridge.detach, endpoint))
            self._store.networks.release(container_id)
            self._rename()
            mine = {endpoint.network_id for endpoint in left}
            if mine - self._used() and not self._is_mine(container_id):
                self._take_down_unused()
            else:
                self._apply_rules(self._used() | mine)
        return later

    def detach(self, left: Sequence[Endpoint]) -> None:
        """Remove what `disconnect` left."""
        for endpoint in left:
            self._there(partial(bridge.detach, endpoint))

    def _is_mine(self, container_id: str) -> bool:
        """Whether this process is the container's monitor (until a start, that is its creator)."""
        try:
            state = self._store.containers.get(container_id).state
        except NotFound:
            return False
        return state.status != "created" and state.monitor_pid == os.getpid()

    def _publisher(self, wanted: Sequence[PortBinding]) -> str | None:
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
        """Whether no container is on any network, or a bridge stands that none is on."""
        used = self._used()
        return not used or any(
            bridge.exists(network.bridge)
            for network in self._store.networks.list()
            if network.bridge and network.makes_link and network.id not in used
        )

    def take_down_unused(self) -> None:
        """Remove the bridges no container is on, and their rules. Idempotent."""
        with self._networks.locked():
            self._take_down_unused()

    def bridged(self) -> Sequence[Network]:
        """The networks that may have an interface on this host."""
        return [n for n in self._store.networks.list() if n.driver not in ("host", "null")]

    def take_down_orphans(self, networks: Sequence[Network]) -> None:
        """Remove these bridges and our table though the store that knew of them is gone."""
        with self._networks.locked():
            for network in networks:
                drivers.remove(network)
            if self._networks.serves_names():
                self.naming.clear()
            self._install(rules.render((), (), self._table))

    def rename(self, container: Container) -> None:
        """Let the others on its networks find it by its new name."""
        with self._networks.locked():
            for endpoint in self._store.networks.endpoints(container_id=container.id):
                names = endpoints.names_on(endpoints.named(container), endpoint.aliases)
                self._store.networks.replace_endpoint(endpoint._replace(names=names))
            self._rename()

    def _rename(self) -> None:
        """After names came or went: the resolver learns it, when there is one."""
        if self._networks.serves_names():
            self.naming.update()

    def repair(self) -> None:
        """Make the kernel and the resolver what the rows say, and take away what they do not."""
        self.sweep()
        with self._networks.locked():
            networks = {network.id: network for network in self._store.networks.list()}
            for endpoint in self._store.networks.endpoints():
                network = networks[endpoint.network_id]
                if network.bridge and self._lives(endpoint.container_id):
                    self._ensure(network)
                    self._reattach(Place(network, endpoint))
            self._apply_rules(self._used())
            if not self._networks.overrides_drops() and self._has_firewall:
                from ..network import opening

                # Of the time when it was wanted.
                self._there(lambda: opening.apply(self._table, ()))
            self._rename()
            if self._networks.serves_names():
                self.naming.repair()

    def _reattach(self, place: Place) -> None:
        """The container's interface, when it lost its bridge or is gone."""
        pid = self._store.containers.get(place.endpoint.container_id).state.pid
        if not pid or self._there(lambda: bridge.reconnect(place.endpoint, place.network)):
            return
        out, out6 = endpoints.ways_out(self._places_of(place.endpoint.container_id))
        self._attach(place, pid, default_route=place == out, default_route6=place == out6)

    def heal(self) -> None:
        """Start the resolver of names anew when it died."""
        if not self.naming.answers():
            with self._networks.locked():
                self.naming.repair()

    def _take_down_unused(self) -> None:
        self._rename()
        used = self._used()
        for network in self._store.networks.list():
            if network.id not in used:
                self._there(partial(drivers.remove, network))
        self._apply_rules(used)

    def _used(self) -> set[str]:
        """Ids of the networks that containers are on."""
        return {endpoint.network_id for endpoint in self._store.networks.endpoints()}

    def _apply_rules(self, network_ids: set[str]) -> None:
        networks = [n for n in self._store.networks.list() if n.bridge and n.id in network_ids]
        text = rules.render(networks, self._store.networks.endpoints(), self._table)
        self._install(text, [network.bridge for network in networks])

    def _install(self, text: str, bridges: Sequence[str] = ()) -> None:
        try:
            self._there(lambda: bridge.apply(text, self._table))
            if self._networks.overrides_drops():
                from ..network import opening

                self._there(lambda: opening.apply(self._table, bridges))
        except (Unavailable, OSError):
            if self._there(nftables.is_usable):
                raise
            self._has_firewall = False  # the user was told when the container was made

    def _with_subnet(self, network: Network) -> Network:
        """The network with a range of its own. One whose range nobody asked for chooses when it is
        first used, and again when it is idle and the host has begun to route its range
        elsewhere."""
        chooses = network.driver == "bridge" and network.ipv4 and not _has_pool(network)
        if not chooses:
            return network
        idle = not self._store.networks.endpoints(network_id=network.id)
        if network.subnet and not idle:
            return network
        rows = [row for row in self._store.networks.list() if row.id != network.id]
        others = [subnet for row in rows for subnet in endpoints.subnets(row)]
        routed = bridge.routed_subnets(ignore=network.bridge)
        if network.subnet and not ipam.overlaps_any(network.subnet, [*routed, *others]):
            return network
        subnet = ipam.choose_subnet(routed, others)
        taken = {row.bridge for row in rows}
        chosen = network._replace(
            subnet=subnet,
            gateway=ipam.gateway_of(subnet),
            bridge=network.bridge or bridge.free_name(self.bridge_prefix, taken),
        )
        self._store.networks.replace(chosen)
        return chosen


def _has_names(places: Sequence[Place]) -> bool:
    return any(endpoints.is_user_defined(place.network.name) for place in places)


def _has_pool(network: Network) -> bool:
    return any(not ipam.is_v6(pool.subnet) for pool in network.pools)


def _mark(run: str) -> str:
    """Engines with directories of their own share neither a firewall table nor a bridge: what one
    takes down when it is idle must not be what another stands on."""
    return "" if run == STANDARD_RUN else f"{zlib.crc32(os.fsencode(run)):08x}"
