"""Starting a container, as the command that asks for it sees it.

command: lock, fork ─> monitor (watch): run directory, network, files, cgroup (run)
                                clone3 the init ── it joins cgroups, mounts; we make its veth
                                row "running", let it exec ── ready: the command returns
                                supervise until the end; perhaps run again
                                row "exited", network, cgroup and run directory go, --rm
"""

import _socket as socket  # `socket` itself takes 2 ms to import
import os

from ..errors import NotModified, OnggiError
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..spec.container import Container, ContainerConfig
from . import (
    detach,
    health,
    hostcheck,
    hostfiles,
    lifecycle,
    logdriver,
    removal,
    restart,
    specgen,
    tier,
)
from .cgroups import cgroup_of
from .run import Services
from .watch import FAILED_TO_START, Watch, policy_of


class Launcher:
    def __init__(self, services: Services) -> None:
        self._services = services

    def start(self, container: Container, client: socket.socket | None) -> Container:
        """Raises NotModified when it runs already, Conflict when it is paused, and what keeps it
        from starting."""
        services = self._services
        if container.config.options.host.pod:
            self._start_pod(container.config.options.host.pod)
        with services.paths.locked(container.id) as lock:
            container = services.find(container.id)
            if container.state.status in ("running", "restarting"):
                raise NotModified(f"container {container.id} is already running")
            lifecycle.require(container, "start")
            self._forget_last_run(container)
            services.store.close()
            keep = (lock, *services.lent.fds, *((client.fileno(),) if client is not None else ()))
            crash_log = f"{services.paths.container(container.id)}/monitor.log"
            work = self._work(container, client, lock)
            try:
                pid, _ = detach.fork_monitor(work, keep=keep, crash_log=crash_log)
            except OnggiError as error:
                self._forget_last_run(container)  # a monitor that was killed undid nothing
                self._record_failure(container, error)
                raise
            detach.forget(pid)
        return container

    def _work(self, container: Container, client: socket.socket | None, lock: int) -> detach.Work:
        """What the monitor does; a pod's namespaces need nobody to watch them."""
        if container.config.options.purpose == "pod":
            from .podrun import Hold

            return Hold.start(self._services, container)
        return Watch(self._services, container, client, lock).work

    def _start_pod(self, pod: str) -> None:
        """The namespaces that the container joins."""
        try:
            self.start(self._services.find(pod), client=None)
        except NotModified:
            pass  # it holds them already

    def start_attached(self, container: Container, *, stdin: bool) -> Attachment:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            attachment = Attachment(mine, OUTPUT | (INPUT if stdin else 0))
            self._services.events.container(container, "attach")
            self.start(container, theirs)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        return attachment

    def _forget_last_run(self, container: Container) -> None:
        """What a start that was killed half-way left behind, or a run that a reboot ended."""
        left = os.path.isdir(self._services.paths.running(container.id))
        if left or container.state.interrupted:
            cgroup_of(container).kill_all()
            self._services.reaper.clean(container)

    def _record_failure(self, container: Container, error: OnggiError) -> None:
        """The container stays as it was with the reason, or goes when it was to remove itself."""
        if container.config.options.host.auto_remove:
            removal.delete(self._services, container, with_volumes=True)
            return
        failed = container.state._replace(
            pid=0, exit_code=error.exit_code or FAILED_TO_START, error=error.message
        )
        self._services.store.containers.update_state(container.id, failed)


def check(config: ContainerConfig) -> list[str]:
    """Refuse at create what could only fail at start: every user value that ends in a file or in
    the runtime's plan. Warnings for what the host cannot do."""
    host = config.options.host
    hostfiles.check_host_word(config.hostname, "hostname")
    hostfiles.hosts(config.hostname, config.options.domainname, (), host.extra_hosts, "127.0.0.1")
    hostfiles.resolv_conf("", servers=host.dns, search=host.dns_search, options=host.dns_options)
    specgen.check(config)
    logdriver.check(config)
    if config.health is not None:
        health.check(config.health)
    restart.check(policy_of(config))
    if host.runtime not in specgen.OWN_RUNTIMES:
        from . import foreign

        foreign.check(config)
    told = tier.warnings(config.process.user) if config.options.purpose == "run" else []
    return [*hostcheck.check(host), *told]
