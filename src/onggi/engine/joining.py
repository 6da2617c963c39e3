"""`network connect` and `disconnect`: at once for a container that runs, else for its next start.

What a container is on stands in its row; the words are docker's (moby daemon/
container_operations.go).
"""

from collections.abc import Iterable

from ..errors import Conflict, Forbidden, NotFound
from ..spec.container import Container
from ..spec.network import EndpointOptions, Network
from ..store.store import Store
from ..typed import NamedTuple
from . import endpoints, hostfiles
from .events import Events
from .networks import Find
from .paths import Paths, read_file, write_file
from .wiring import Wiring

RUNS = ("running", "paused")


class Services(NamedTuple):
    store: Store
    paths: Paths
    events: Events
    wiring: Wiring
    find: Find


def connect(
    services: Services, network: Network, container: Container, asked: EndpointOptions | None
) -> None:
    """Raises Forbidden, Conflict, InvalidInput."""
    options = asked or EndpointOptions()
    with services.paths.locked(container.id):
        container = services.find(container.id)
        _refuse_conflicts(network, container)
        if network.config_only:
            raise Forbidden("configuration networks cannot be used for containers")
        if endpoints.is_user_defined(network.name) or asked is not None:
            endpoints.check(network, network.name, options)
        known = endpoints.asked(container.config.options.host)
        if network.name in known:
            raise Forbidden(
                f"endpoint with name {container.name} already exists in network {network.name}"
            )
        if container.state.status in RUNS:
            services.wiring.join(container, network, options)
            _rewrite_hosts(services, container, network)
        joined = {**known, network.name: options}
        _record(services, container, joined)
        _rewrite_resolv_conf(services, container, known, joined)
    services.events.network(
        "connect", network.id, network.name, network.driver, container=container.id
    )


def disconnect(services: Services, network: Network, reference: str, *, force: bool) -> None:
    """Raises Forbidden, Conflict, NotFound."""
    try:
        container = services.find(reference)
    except NotFound:
        if force and _release_gone(services, network, reference):
            return
        raise
    with services.paths.locked(container.id):
        container = services.find(container.id)
        _refuse_conflicts(network, container)
        known = endpoints.asked(container.config.options.host)
        if network.name not in known:
            raise Forbidden(f"container {container.id} is not connected to network {network.name}")
        left = {name: asked for name, asked in known.items() if name != network.name}
        if container.state.status in RUNS:
            _rewrite_hosts(services, container, network, leaves=True)
            services.wiring.leave(container, network)
        _record(services, container, left)
        _rewrite_resolv_conf(services, container, known, left)
    services.events.network(
        "disconnect", network.id, network.name, network.driver, container=container.id
    )


def _refuse_conflicts(network: Network, container: Container) -> None:
    mode = container.config.options.host.network_mode
    if mode == "host" or network.driver == "host":
        raise Forbidden(
            "container cannot be disconnected from host network or connected to host network"
        )
    if mode.startswith("container:"):
        raise Forbidden(
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network"
        )
    if mode == "none" or network.driver == "null":
        raise Forbidden(
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )
    if container.state.status in ("removing", "dead"):
        raise Conflict(
            f"container {container.id} is marked for removal and cannot be connected or "
            "disconnected to the network"
        )


def _rewrite_hosts(
    services: Services, container: Container, network: Network, *, leaves: bool = False
) -> None:
    """The addresses on that network come to, or go from, the container's /etc/hosts."""
    found = services.store.networks.endpoints(network_id=network.id, container_id=container.id)
    own = [address for endpoint in found for address in endpoints.addresses(endpoint)]
    path = f"{services.paths.container(container.id)}/hosts"
    text = read_file(path)
    names = hostfiles.own_names(container.config.hostname, container.config.options.domainname)
    add, remove = ((), own) if leaves else (own, ())
    changed = hostfiles.with_addresses(text, add, remove, names)
    if changed != text:
        write_file(path, changed)


def _rewrite_resolv_conf(
    services: Services, container: Container, before: Iterable[str], after: Iterable[str]
) -> None:
    """The first user-defined network brings our resolver, the last takes it away; not when the
    container has made the file its own."""
    had, has = (any(map(endpoints.is_user_defined, names)) for names in (before, after))
    if had == has or container.state.status not in RUNS:
        return
    path = f"{services.paths.container(container.id)}/resolv.conf"
    host = container.config.options.host
    if read_file(path) == hostfiles.resolv_conf_of(host, embedded=had):
        write_file(path, hostfiles.resolv_conf_of(host, embedded=has))


def _record(services: Services, container: Container, known: dict[str, EndpointOptions]) -> None:
    config = container.config
    host = config.options.host._replace(endpoints=known)
    options = config.options._replace(host=host)
    services.store.containers.update_config(container.id, config._replace(options=options))


def _release_gone(services: Services, network: Network, reference: str) -> bool:
    """The place of a container whose row is gone, by its id or the start of it."""
    for endpoint in services.store.networks.endpoints(network_id=network.id):
        if endpoint.container_id.startswith(reference) and len(reference) >= 12:
            services.wiring.disconnect(endpoint.container_id)
            return True
    return False
