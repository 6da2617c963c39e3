"""Starting a container: everything that is made, in order, and undone when a later step fails.

    command: lock, fork ─> monitor: run directory, network, files, cgroup
                                    clone3 the init ── it mounts while we join cgroup and veth
                                    row "running", let it exec ── ready: the command returns
                                    supervise until the end
                                    row "exited", network, cgroup and run directory go, --rm

The row is written before anything may outlive us, so a crash at any point leaves a row that the
next command can finish (reaper).
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from ..errors import Conflict, NotFound, OnggiError
from ..linux import capability, process
from ..linux.cgroup import Cgroup
from ..monitor import attach as monitor_attach
from ..monitor import main as monitor
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..monitor.log import DEFAULT_MAX_BYTES, DEFAULT_MAX_FILES, LogWriter
from ..network import bridge
from ..runtime import init
from ..runtime.child import Started
from ..runtime.plan import InitPlan
from ..spec.container import Container, ContainerConfig, ContainerState, KillReason
from ..spec.digest import Digest
from ..spec.mount import RootFilesystem
from ..spec.network import PortBinding
from ..store.store import Store
from . import detach, hostfiles, initlayer, lifecycle, sandbox, specgen
from .control import STOP_NOTE
from .networks import container_of_mode
from .paths import Paths, write_file
from .reaper import ACTIVE, Reaper
from .volumes import Volumes
from .wiring import Connection, Wiring

IDLE_NETWORK_S = 1.0


class Launcher:
    def __init__(
        self,
        store: Store,
        paths: Paths,
        wiring: Wiring,
        volumes: Volumes,
        find: Callable[[str], Container],
        reaper: Reaper,
    ) -> None:
        self._store = store
        self._paths = paths
        self._wiring = wiring
        self._volumes = volumes
        self._find = find
        self._reaper = reaper

    def start(self, container: Container, client: socket.socket | None) -> Container:
        with self._paths.locked(container.id):
            container = self._find(container.id)
            lifecycle.require(container, lifecycle.Event.START)
            self._forget_last_run(container)
            joined = self._joined(container)
            self._store.close()
            keep = (client.fileno(),) if client is not None else ()
            crash_log = f"{self._paths.container(container.id)}/monitor.log"
            try:
                pid = detach.fork_monitor(
                    lambda ready: self._monitor(container, joined, client, ready),
                    keep=keep,
                    crash_log=crash_log,
                )
            except OnggiError as error:
                self._record_failure(container, error)
                raise
            detach.forget(pid)
        return container

    def start_attached(self, container: Container, *, stdin: bool) -> Attachment:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            attachment = Attachment(mine, OUTPUT | (INPUT if stdin else 0))
            self.start(container, theirs)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        return attachment

    def _forget_last_run(self, container: Container) -> None:
        """What a start that was killed half-way left behind."""
        if os.path.isdir(self._paths.running(container.id)):
            Cgroup(container.id).kill_all()
            self._reaper.clean(container)

    def _joined(self, container: Container) -> dict[str, Container]:
        """The running containers whose namespaces this one shares, by namespace kind."""
        found = {}
        for kind in ("network", *specgen.SHARED):
            mode = specgen.mode_of(container.config.options.host, kind)
            reference = container_of_mode(mode)
            if reference:
                other = self._find(reference)
                if other.state.status not in ACTIVE:
                    raise Conflict(f"cannot join {kind} of a non running container: {other.id}")
                found[kind] = other
        return found

    def _record_failure(self, container: Container, error: OnggiError) -> None:
        """The container stays as it was with the reason, or goes when it was to remove itself."""
        if container.config.options.host.auto_remove:
            delete(self._store, self._paths, self._volumes, container, True)
            return
        failed = container.state._replace(
            pid=0, exit_code=error.exit_code or 128, error=error.message
        )
        self._store.containers.update_state(container.id, failed)

    # -- in the monitor's process

    def _monitor(
        self,
        container: Container,
        joined: dict[str, Container],
        client: socket.socket | None,
        ready: Callable[[], None],
    ) -> None:
        options = container.config.options
        with ExitStack() as undo:
            run = _Run(self, container, joined, undo)
            started = run.go()
            undo.pop_all()
        server = run.server
        log = _log_writer(self._paths, container)
        task = monitor.Task(
            started.pidfd,
            started.stdin_fd,
            started.stdout_fd,
            started.stderr_fd,
            started.pty_fd,
            close_stdin_with_client=options.stdin_once,
            kill_with_client=options.purpose == "build",
        )
        ready()
        detach.ignore_terminal_signals()
        monitor.supervise(
            task,
            log=log,
            server=server,
            first_client=client,
            on_exit=lambda code: self.finish(container, code),
        )
        self._tidy_later()

    def _tidy_later(self) -> None:
        """Take the idle network down in a while, in a process of its own: nobody waits for it, and
        a container that starts meanwhile finds the bridge standing."""
        if not self._wiring.is_idle():
            return
        self._store.close()
        if os.fork() == 0:
            detach.close_inherited()  # the container's ports must be free from now on
            time.sleep(IDLE_NETWORK_S)
            if self._wiring.is_idle():
                self._wiring.take_down_unused()

    def finish(self, container: Container, code: int) -> str:
        """Record the end, then take down what the run made; why it was killed, when we know."""
        reason: KillReason = ""
        cgroup = Cgroup(container.id)
        if code == 137:
            if cgroup.oom_kills():
                reason = "oom"
            elif os.path.exists(f"{self._paths.running(container.id)}/{STOP_NOTE}"):
                reason = "stop timeout"

        def ended(state: ContainerState) -> ContainerState:
            return state._replace(
                status="exited",
                pid=0,
                finished_ns=time.time_ns(),
                exit_code=code,
                oom_killed=reason == "oom",
                kill_reason=reason,
            )

        try:
            self._store.containers.change_state(container.id, ended)
        except NotFound:
            pass  # removed by force meanwhile
        cgroup.kill_all()
        self._reaper.clean(container)
        if container.config.options.host.auto_remove:
            delete(self._store, self._paths, self._volumes, container, True)
        return reason


class _Run:
    """One start, in the monitor. `undo` holds what must go if it fails."""

    def __init__(
        self,
        launcher: Launcher,
        container: Container,
        joined: dict[str, Container],
        undo: ExitStack,
    ) -> None:
        self._launcher = launcher
        self._container = container
        self._joined = joined
        self._undo = undo
        self._connection: Connection | None = None
        self.server: socket.socket | None = None

    def go(self) -> Started:
        launcher, container = self._launcher, self._container
        paths, config = launcher._paths, container.config
        paths.make_running(container.id)
        self._undo.callback(paths.remove_running, container.id)
        self._connect()
        self._write_host_files()
        cgroup = Cgroup(container.id)
        self._undo.callback(cgroup.remove)
        cgroup.create(config.options.host.resources, specgen.device_rules(config))
        plan = self._plan()
        created = init.spawn(plan, cgroup=cgroup, prepare=self._prepare)
        self._undo.callback(created.abort)
        self.server = self._listen()
        return created.start()

    def _plan(self) -> InitPlan:
        launcher, container = self._launcher, self._container
        paths, config = launcher._paths, container.config
        layers = tuple(Digest(layer) for layer in config.layers)
        rootfs = RootFilesystem(
            initlayer.lowers(launcher._store, paths, layers),
            paths.upper(container.id),
            f"{paths.container(container.id)}/work",
        )
        files = self._joined.get("network", container)
        held = capability.held() & capability.bounding()
        around = specgen.Surroundings(
            directory=paths.container(files.id),
            cpus=os.cpu_count() or 1,
            held=held,
            joined=self._joined,
            devices=sandbox.host_devices() if config.options.host.privileged else (),
        )
        program = sandbox.seccomp_program(config, held, paths)
        return specgen.init_plan(container, rootfs, around, program)

    def _connect(self) -> None:
        config = self._container.config
        mode = config.options.host.network_mode
        if mode in ("none", "host") or "network" in self._joined:
            return
        wiring = self._launcher._wiring
        name = self._container.name
        ports = wanted_ports(config)
        self._connection = wiring.connect(self._container.id, name, mode, ports)
        self._undo.callback(wiring.disconnect, self._container.id)

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
            boot_id=self._launcher._reaper.boot_id(),
            started_ns=time.time_ns(),
        )
        self._launcher._store.containers.update_state(self._container.id, state)
        if self._connection is not None:
            self._launcher._wiring.attach(self._connection, pid)
        elif self._container.config.options.host.network_mode == "none":
            bridge.loopback_up(pid)

    def _listen(self) -> socket.socket:
        directory = os.open(
            self._launcher._paths.running(self._container.id),
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
        container, paths = self._container, self._launcher._paths
        host = container.config.options.host
        endpoint = self._connection.endpoint if self._connection else None
        base = paths.container(container.id)
        hostname = container.config.hostname
        write_file(f"{base}/hostname", f"{hostname}\n")
        hosts = hostfiles.hosts(
            hostname,
            container.config.options.domainname,
            endpoint.address if endpoint else "",
            host.extra_hosts,
            endpoint.gateway if endpoint else "",
        )
        write_file(f"{base}/hosts", hosts)
        resolv_conf = hostfiles.resolv_conf(
            _host_resolv_conf(),
            servers=host.dns,
            search=host.dns_search,
            options=host.dns_options,
            shares_host_network=host.network_mode == "host",
        )
        write_file(f"{base}/resolv.conf", resolv_conf)


class LogOptions(NamedTuple):
    max_bytes: int
    max_files: int


def log_options(config: ContainerConfig) -> LogOptions:
    """max-size (bytes, -1 unlimited) and max-file of json-file; the frontend has parsed sizes."""
    options = config.options.host.log_options
    max_bytes = int(options.get("max-size", DEFAULT_MAX_BYTES))
    return LogOptions(max(0, max_bytes), int(options.get("max-file", DEFAULT_MAX_FILES)))


def _log_writer(paths: Paths, container: Container) -> LogWriter | None:
    if container.config.options.host.log_driver == "none":
        return None
    options = log_options(container.config)
    return LogWriter(paths.log(container.id), options.max_bytes, options.max_files)


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


def check(config: ContainerConfig, paths: Paths) -> None:
    """Refuse at create what could only fail at start: every user value that ends in a file or in
    the runtime's plan."""
    host = config.options.host
    hostfiles.check_host_word(config.hostname, "hostname")
    hostfiles.hosts(config.hostname, config.options.domainname, "", host.extra_hosts, "127.0.0.1")
    hostfiles.resolv_conf("", servers=host.dns, search=host.dns_search, options=host.dns_options)
    specgen.check(config)
    log_options(config)


def delete(
    store: Store, paths: Paths, volumes: Volumes, container: Container, with_volumes: bool
) -> None:
    """Forget a container that does not run, with everything that was its own."""
    paths.remove_container(container.id)
    store.containers.remove(container.id)
    paths.forget_lock(container.id)
    if with_volumes:
        volumes.remove_anonymous(container.config.mounts)


def _host_resolv_conf() -> str:
    """The host's; where systemd-resolved answers on a loopback address, the servers behind it."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 16)
        except OSError:
            continue
        if "nameserver 127.0.0.53" not in text:
            return text
    return ""
