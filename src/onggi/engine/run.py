"""One run of a container: everything that is made before its command, in order.

In the monitor's process. What is made is put on an ExitStack, so that a later step's failure takes
it away again. The row says "running" before the command can: a crash at any point leaves a row that
the next command can finish (reaper).
"""

import _socket as socket  # `socket` itself takes 2 ms to import
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from .. import trace
from ..errors import Conflict
from ..linux import capability, process
from ..linux.cgroup import Cgroup
from ..monitor import attach as monitor_attach
from ..monitor.log import Log
from ..network import ports
from ..runtime import init
from ..runtime.child import Started
from ..runtime.plan import BindRoot, InitPlan
from ..spec.container import Container, ContainerConfig, ContainerState, Health
from ..spec.digest import Digest
from ..spec.mount import RootFilesystem
from ..spec.network import PortBinding
from ..store.store import Store
from ..typed import TYPE_CHECKING, NamedTuple, Protocol
from . import (
    devices,
    endpoints,
    health,
    hostfiles,
    initlayer,
    layers,
    logdriver,
    notes,
    points,
    sandbox,
    specgen,
    userns,
)
from .cgroups import cgroup_of
from .events import Events
from .lending import NOTHING, Lent
from .networks import container_of_mode
from .paths import Paths, read_file, write_file
from .reaper import ACTIVE, Reaper
from .tier import ROOT, Tier
from .volumes import Volumes
from .wiring import Connection, Wiring

if TYPE_CHECKING:
    from .links import Link
    from .proxying import Relay


class Services(NamedTuple):
    """What starting and watching a container needs of the engine."""

    store: Store
    paths: Paths
    wiring: Wiring
    volumes: Volumes
    find: Callable[[str], Container]
    reaper: Reaper
    events: Events
    lent: Lent = NOTHING  # to this one run
    tier: Tier = ROOT


class Created(Protocol):
    """A container whose command waits: runtime.init's, or another runtime's."""

    def start(self) -> Started: ...
    def abort(self) -> None: ...


class Run:
    """`go` makes it and lets the command run; `undo` holds what must go if it fails. `container` is
    the row as it is from then on."""

    def __init__(
        self, services: Services, container: Container, undo: ExitStack, *, restarts: int = 0
    ) -> None:
        self.container = container
        self.server: socket.socket | None = None
        self.log: Log | None = None
        self._services = services
        self._undo = undo
        self._restarts = restarts
        self._joined = joined(services.find, container)
        self._connection: Connection | None = None
        self._id_base = 0
        self._links: Sequence[Link] = ()
        self.relay: Relay | None = None

    def go(self) -> Started:
        """Raises OnggiError or OSError; Conflict when the user stopped it meanwhile."""
        services, container = self._services, self.container
        self.log = logdriver.open_log(services.paths, container)
        if self.log is not None:
            self._undo.callback(self.log.close)
        trace.mark("monitor set up")
        self._connect()
        trace.mark("network: address, bridge, rules")
        self._write_host_files()
        cgroup = cgroup_of(container)
        self._undo.callback(cgroup.remove)
        config = container.config
        edits = devices.asked(config.options.host)
        cgroup.create(layers.resources(config.options.host), specgen.device_rules(config, edits))
        trace.mark("control groups made")
        if config.options.host.auto_remove and container.state.started_ns:
            services.paths.renew_work(container.id)
        with ExitStack() as made:
            detached = points.detached(
                container, services.store, services.paths, self._joined, made
            )
            files = services.paths.container(self._joined.get("network", container).id)
            sandbox.relabel(container, files, detached)
            plan = self._plan(edits, detached)
            trace.mark("planned")
            created = self._spawn(plan, cgroup, edits)
            self._undo.callback(created.abort)
        self.server = self._listen()
        if notes.why_ended(services.paths, container.id):  # after the row: see control.stop
            raise Conflict(f"container {container.id} was stopped while it was being started")
        trace.mark("attach socket")
        started = created.start()
        trace.mark("command executed")
        self._tell_start()
        return started

    def _spawn(self, plan: InitPlan, cgroup: Cgroup, edits: specgen.Edits) -> Created:
        config = self.container.config
        if self._services.tier.number == 4:
            from ..runtime import unisolated

            scratch = self._services.paths.running(self.container.id)
            return unisolated.spawn(plan, scratch, self._prepare)
        if config.options.host.runtime in specgen.OWN_RUNTIMES:
            return init.spawn(plan, cgroup=cgroup, prepare=self._prepare)
        from . import foreign

        rules = specgen.device_rules(config, edits)
        paths = self._services.paths
        return foreign.spawn(paths, self.container, plan, rules, cgroup.path, self._prepare)

    def release(self) -> None:
        """Give up the host ports: the next run reserves them anew."""
        if self.container.config.options.host.runtime not in specgen.OWN_RUNTIMES:
            from . import foreign

            foreign.end(self._services.paths, self.container)
        if self._services.tier.number == 4:
            from ..runtime import unisolated

            unisolated.end_rest()
        if self.relay is not None:
            self.relay.stop()
        if self._connection:
            ports.release(self._connection.held)

    def tell_end(self) -> None:
        """The events of what a container leaves when it ends."""
        events, container = self._services.events, self.container
        if container.config.options.purpose == "build":
            return
        for network in self._services.wiring.networks_of(container.id):
            events.network(
                "disconnect", network.id, network.name, network.driver, container=container.id
            )
        for point in container.config.mounts:
            if point.kind == "volume":
                events.volume("unmount", point.name, container=container.id)

    def _tell_start(self) -> None:
        events, container = self._services.events, self.container
        if container.config.options.purpose == "build":
            return
        for point in container.config.mounts:
            if point.kind == "volume":
                events.volume(
                    "mount",
                    point.name,
                    container=container.id,
                    destination=point.target,
                    propagation="",
                    **{"read/write": "false" if point.read_only else "true"},
                )
        for place in self._connection.places if self._connection else ():
            network = place.network
            events.network(
                "connect", network.id, network.name, network.driver, container=container.id
            )
        events.container(container, "start")

    def _plan(self, edits: specgen.Edits, detached: Mapping[str, int]) -> InitPlan:
        services, container = self._services, self.container
        paths, config = services.paths, container.config
        files = self._joined.get("network", container)
        held = capability.held() & capability.bounding()
        around = specgen.Surroundings(
            directory=paths.container(files.id),
            cpus=os.cpu_count() or 1,
            held=held,
            joined=self._joined,
            devices=sandbox.host_devices() if config.options.host.privileged else (),
            edits=edits,
            ipv6=os.path.isdir("/proc/sys/net/ipv6"),
            detached=detached,
        )
        program = sandbox.seccomp_program(config, held, paths)
        plan = services.lent.added_to(specgen.init_plan(container, self._root(), around, program))
        told = tuple(entry for link in self._links for entry in link.env)
        process_plan = plan.process._replace(
            labels=sandbox.loaded_labels(container), env=(*told, *plan.process.env)
        )
        plan = plan._replace(process=sandbox.overseen(process_plan, container, paths))
        if not services.tier.is_root:
            return userns.limited(plan, services.tier.ids)
        if not userns.is_wanted(config.options.host):
            return plan
        self._id_base = userns.base_of(services.store.id_ranges.take(container.id, userns.SLOTS))
        return userns.mapped(plan, self._id_base)

    def _root(self) -> RootFilesystem | BindRoot:
        services, container = self._services, self.container
        digests = tuple(Digest(layer) for layer in container.config.layers)
        return RootFilesystem(
            initlayer.lowers(services.store, services.paths, digests),
            services.paths.upper(container.id),
            f"{services.paths.container(container.id)}/work",
        )

    def _connect(self) -> None:
        config = self.container.config
        wanted = endpoints.asked(config.options.host)
        if not wanted or "network" in self._joined:
            return
        if config.options.host.links and endpoints.DEFAULT in wanted:
            self._links = self._linked()  # elsewhere they are names for the resolver
        wiring = self._services.wiring
        self._connection = wiring.connect(self.container, wanted, wanted_ports(config))
        self._undo.callback(ports.release, self._connection.held)  # the next try reserves them anew
        self._undo.callback(wiring.disconnect, self.container.id)
        if self._connection.doors:
            from .proxying import Relay

            self.relay = Relay(self._services.store, self.container.id, self._connection.doors)

    def _linked(self) -> Sequence["Link"]:
        """The containers of --link. Raises NotFound, Conflict."""
        from .links import link

        found = []
        wiring, container = self._services.wiring, self.container
        for text in container.config.options.host.links:
            reference, _, alias = text.partition(":")
            other = self._services.find(reference)
            found.append(link(container, alias, other, wiring.on_default(other.id)))
        return found

    def _prepare(self, pid: int) -> None:
        """While the init mounts: its row, then its network interface."""
        start = process.start_time(pid)
        me = os.getpid()
        state = ContainerState(
            status="running",
            pid=pid,
            pid_start=start or 0,
            monitor_pid=me,
            monitor_start=process.start_time(me) or 0,
            boot_id=self._services.reaper.boot_id(),
            started_ns=time.time_ns(),
            finished_ns=self.container.state.finished_ns,
            restart_count=self._restarts,
            id_base=self._id_base,
            health=Health() if health.is_checked(self.container.config) else None,
            published=self._connection.published if self._connection else (),
        )
        self._services.store.containers.update_state(self.container.id, state)
        self.container = self.container._replace(state=state)
        trace.mark("row: running")
        if self._connection is not None:
            self._services.wiring.attach(self._connection, pid)
            if self.relay is not None and self._services.wiring.is_apart:
                self.relay.inside = pid
        elif endpoints.has_own_namespace(self.container.config.options.host):
            self._services.wiring.loopback_up(pid)
        trace.mark("network interface, or loopback")

    def _listen(self) -> socket.socket:
        directory = os.open(
            self._services.paths.running(self.container.id),
            os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC,
        )
        try:
            server = monitor_attach.listen(directory)
        finally:
            os.close(directory)
        self._undo.callback(server.close)
        return server

    def _write_host_files(self) -> None:
        """hostname, hosts and resolv.conf; a container that joins another shares the other's."""
        if "network" in self._joined:
            return
        container, paths = self.container, self._services.paths
        host = container.config.options.host
        places = self._connection.places if self._connection else ()
        base = paths.container(container.id)
        hostname = container.config.hostname
        write_file(f"{base}/hostname", f"{hostname}\n")
        hosts = hostfiles.hosts(
            hostname,
            container.config.options.domainname,
            [address for place in places for address in endpoints.addresses(place.endpoint)],
            host.extra_hosts,
            endpoints.host_gateway(places),
            [(link.address, link.names) for link in self._links],
        )
        write_file(f"{base}/hosts", hosts)
        embedded = any(endpoints.is_user_defined(place.network.name) for place in places)
        resolv_conf = hostfiles.resolv_conf_of(host, embedded=embedded)
        write_file(f"{base}/resolv.conf", resolv_conf)
        default = next((p.endpoint for p in places if p.network.name == endpoints.DEFAULT), None)
        if default is not None and container.state.started_ns:
            self._tell_linked(default.address)

    def _tell_linked(self, address: str) -> None:
        """Who runs with a link to this container finds it where it is from now on."""
        from .links import to

        store, paths = self._services.store, self._services.paths
        for other, names in to(
            self.container, store.containers.list(all=False), self._services.find
        ):
            path = f"{paths.container(other.id)}/hosts"
            write_file(path, hostfiles.with_link(read_file(path), address, names))


def joined(find: Callable[[str], Container], container: Container) -> dict[str, Container]:
    """The running containers whose namespaces this one shares, by namespace kind. Raises Conflict
    when one does not run."""
    found = {}
    for kind in ("network", *specgen.SHARED):
        mode = specgen.mode_of(container.config.options.host, kind)
        reference = container_of_mode(mode)
        if reference:
            other = find(reference)
            if other.state.status not in ACTIVE:
                raise Conflict(f"cannot join {kind} of a non running container: {other.id}")
            if kind == "ipc" and other.config.options.host.ipc_mode not in ("shareable", "host"):
                raise Conflict(
                    f"container {other.id}: non-shareable IPC (hint: use IpcMode:shareable for the "
                    "donor container)"
                )
            found[kind] = other
    return found


def wanted_ports(config: ContainerConfig) -> tuple[PortBinding, ...]:
    """-p, and with -P an ephemeral port for each exposed one that -p does not publish."""
    host = config.options.host
    if not host.publish_all:
        return host.ports
    published = {(port.container_port, port.protocol) for port in host.ports}
    extra = []
    for text in config.exposed_ports:
        number, _, protocol = text.partition("/")
        if (int(number), protocol) not in published:
            extra.append(PortBinding("", 0, int(number), specgen.protocol(protocol)))
    return (*host.ports, *extra)
