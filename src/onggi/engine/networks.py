"""Networks: the built-in three, the user's, and who is on which.

What every start needs is here; making a network (`netplan`), putting a container on one (`joining`)
and the kernel's side (`wiring`) are loaded when they are asked for.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from ..errors import Forbidden, InvalidInput, NotFound, OnggiError, Unsupported
from ..spec.container import Container, HostOptions
from ..spec.network import Endpoint, EndpointOptions, Network, NetworkOptions
from ..store.store import Store
from ..typed import TYPE_CHECKING, Any
from .events import Events
from .paths import NAMES, Paths
from .settings import Settings

if TYPE_CHECKING:
    from .pruning import Chosen
    from .wiring import Wiring

BUILT_IN = ("bridge", "host", "none")
Find = Callable[[str], Container]


class Networks:
    def __init__(
        self, store: Store, paths: Paths, events: Events, settings: Settings, find: Find
    ) -> None:
        """`find` looks a container up as it is now."""
        self._store = store
        self._paths = paths
        self._events = events
        self._settings = settings
        self._find = find

    @cached_property
    def wiring(self) -> "Wiring":
        if not self._settings.tier.is_root:
            from .userwiring import HostWiring, UserWiring

            kind = HostWiring if self._settings.tier.number == 4 else UserWiring
            return kind(self._store, self, self._paths)
        from .wiring import Wiring

        return Wiring(self._store, self, self._paths.run)

    def overrides_drops(self) -> bool:
        """Whether the user wants our bridges let through in the firewall's own chains."""
        from . import configuration

        return configuration.overrides_drops(self._settings.config_files)

    # -- look

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Network]:
        """The built-in three and the user's, by name. Raises InvalidInput for an odd filter."""
        self.ensure_built_in()
        found = self._store.networks.list()
        if not filters:
            return found
        from . import netplan

        used = {endpoint.network_id for endpoint in self._store.networks.endpoints()}
        return netplan.select(found, filters, used)

    def get(self, reference: str) -> Network:
        """By id, name, or the start of an id. Raises NotFound."""
        self.ensure_built_in()
        return self._store.networks.get(reference)

    def inspect(self, reference: str) -> dict[str, Any]:
        """Docker's JSON object of one network."""
        from . import networkview

        network = self.get(reference)
        names = {id_: name for name, id_ in self._store.containers.names().items()}
        return networkview.network(network, self.users(network), names)

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        return self._store.networks.endpoints(container_id=container_id)

    def users(self, network: Network) -> Sequence[Endpoint]:
        return self._store.networks.endpoints(network_id=network.id)

    def check_mode(self, mode: str) -> None:
        """Raises NotFound for a network that does not exist, Unsupported for what is to come."""
        if mode in BUILT_IN or mode == "default" or mode.startswith("container:"):
            return
        if mode.startswith("ns:"):
            raise Unsupported("joining a network namespace by path is not supported yet")
        self.get(mode)

    def resolved(self, host: HostOptions) -> HostOptions:
        """The options with each network under its name, checked. Raises NotFound, InvalidInput,
        Forbidden with docker's words."""
        if not host.endpoints:
            return host
        from . import endpoints

        found = {}
        for reference, asked in endpoints.asked(host).items():
            network = self.get(reference)
            if network.config_only:
                raise Forbidden("configuration networks cannot be used for containers")
            try:
                endpoints.check(network, network.name, asked)
            except InvalidInput as error:
                error.message = f"invalid config for network {network.name}: {error.message}"
                raise
            found[network.name] = asked
        return host._replace(endpoints=found)

    # -- make and remove

    def create(self, options: NetworkOptions) -> Network:
        """A new network; its bridge is made with its first container. Raises Conflict, InvalidInput
        and Forbidden with docker's words."""
        from . import netplan

        self.wiring.check_driver(options.driver)
        self.ensure_built_in()
        with self.locked():
            network = netplan.plan(options, self._store.networks.list(), self.wiring.bridge_prefix)
            self._store.networks.insert(network)
        self._events.network("create", network.id, network.name, network.driver)
        return network

    def remove(self, reference: str, *, force: bool = False) -> None:
        """Raises Forbidden for a built-in one, Conflict while containers are on it, NotFound
        (not with `force`)."""
        try:
            network = self.get(reference)
        except NotFound:
            if force:
                return
            raise
        if network.name in BUILT_IN:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        self.wiring.remove(network)
        self._events.network("destroy", network.id, network.name, network.driver)

    def prune(self, chosen: "Chosen | None" = None) -> Sequence[str]:
        """Remove the user's networks that no container is on, or the chosen of them; names."""
        self.wiring.sweep()
        removed = []
        used = {endpoint.network_id for endpoint in self._store.networks.endpoints()}
        for network in self.list():
            if network.name in BUILT_IN or network.id in used:
                continue
            if chosen is None or chosen.admits(network.labels, network.created_ns):
                try:
                    self.remove(network.id)
                except OnggiError:
                    continue  # a container took it, or somebody removed it, meanwhile
                removed.append(network.name)
        return removed

    def repair(self) -> None:
        """Put back what is missing of bridges, interfaces, rules and the resolver of names: after
        `nft flush ruleset`, or an interface deleted by hand. Idempotent."""
        self.wiring.repair()

    def heal(self) -> None:
        """Start the resolver of names anew when it died; nearly free when it lives."""
        if self.serves_names():
            self.wiring.heal()

    def serves_names(self) -> bool:
        """Whether a resolver is to be there. Asked before `naming` is loaded, which takes 5 ms: the
        default network, which most starts are on, has no names."""
        return os.path.isdir(f"{self._paths.run}/{NAMES}")

    # -- containers

    def connect(
        self, reference: str, container: str, options: EndpointOptions | None = None
    ) -> None:
        """Put a container on a network: at once when it runs, else at its next start. Raises
        Forbidden when it is on it, Conflict, InvalidInput with docker's words."""
        from . import joining

        joining.connect(self._services(), self.get(reference), self._find(container), options)

    def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network. With `force` also one that is gone but for its place.
        Raises Conflict when it is not on it."""
        from . import joining

        joining.disconnect(self._services(), self.get(reference), container, force=force)

    def _services(self) -> Any:
        from . import joining

        return joining.Services(self._store, self._paths, self._events, self.wiring, self._find)

    # -- the built-in ones, and the lock

    def ensure_built_in(self) -> None:
        """The rows docker users expect to be there: bridge, host, none."""
        known = {network.name for network in self._store.networks.list()}
        if known.issuperset(BUILT_IN):
            return
        with self.locked():
            known = {network.name for network in self._store.networks.list()}
            for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
                if name not in known:
                    self._store.networks.insert(
                        Network(os.urandom(32).hex(), name, driver, created_ns=time.time_ns())
                    )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes bridges and rules. The lock is on our network namespace
        itself: engines over other directories share its interfaces and address ranges too."""
        fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # An nft that outlives us must not undo what the next does; a user's pasta stays.
            os.set_inheritable(fd, self._settings.tier.is_root)
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def container_of_mode(mode: str) -> str:
    """The X of "container:X"; "" for any other mode."""
    kind, _, reference = mode.partition(":")
    if kind != "container":
        return ""
    if not reference:
        raise NotFound("invalid network mode: container: needs a name or id")
    return reference
