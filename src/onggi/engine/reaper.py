"""Truth about running containers: liveness is observed, and what a crash left is finished here.

A row says "running"; the process table says whether. When the process is gone and so is its
monitor, nobody will record the end any more, so the next command that looks does. Cleaning up needs
the container's lock, else it could take away what a start is just making; whoever has the lock
cleans up itself, and looking waits for nobody.
"""

import os
import time
from collections.abc import Callable

from ..errors import NotFound, Unavailable
from ..linux import process
from ..spec.container import Container, ContainerState
from ..store.store import Store
from .events import Events
from .paths import Paths

ACTIVE = ("running", "paused", "restarting")
LOST = 255  # docker's exit code when nobody saw the end


class Reaper:
    def __init__(
        self, store: Store, paths: Paths, clean: Callable[[Container], None], events: Events
    ) -> None:
        """`clean` removes a dead container's cgroup, endpoint and run directory; idempotent, and
        only for who has the container's lock."""
        self._store = store
        self._paths = paths
        self.clean = clean
        self._events = events
        self._boot_id = ""

    def boot_id(self) -> str:
        if not self._boot_id:
            self._boot_id = process.boot_id()
        return self._boot_id

    def observe(self, container: Container) -> Container:
        """The container as it is now. Repairs the row of one whose monitor died unseen."""
        state = container.state
        if state.status not in ACTIVE:
            if state.interrupted and os.path.isdir(self._paths.running(container.id)):
                self._clean_up(container)  # who found it dead could not
            return container
        if self.runs(state) or self.is_watched(state):
            return container
        return self._bury(container)

    def runs(self, state: ContainerState) -> bool:
        return state.boot_id == self.boot_id() and process.same_process(state.pid, state.pid_start)

    def is_watched(self, state: ContainerState) -> bool:
        """Whether its monitor (before the start: its creator) lives and will finish its work."""
        return state.boot_id == self.boot_id() and process.same_process(
            state.monitor_pid, state.monitor_start
        )

    def _bury(self, container: Container) -> Container:
        found_dead = False

        def change(stored: ContainerState) -> ContainerState:
            nonlocal found_dead
            found_dead = stored.status in ACTIVE and stored.pid == container.state.pid
            if not found_dead:
                return stored  # its monitor or another command was faster, or it runs anew
            if container.config.options.purpose == "pod":  # it has no monitor: all end so
                return stored._replace(status="exited", pid=0, finished_ns=time.time_ns())
            return stored._replace(
                status="exited",
                pid=0,
                finished_ns=time.time_ns(),
                exit_code=LOST,
                error="its monitor was killed; the exit code is unknown",
                interrupted=True,
                health=stored.health and stored.health._replace(status="unhealthy"),
            )

        try:
            state = self._store.containers.change_state(container.id, change)
        except Unavailable:  # a full disk: shown as it is, recorded when there is room
            return container._replace(state=change(container.state))
        buried = container._replace(state=state)
        if found_dead:
            self._events.container(buried, "die", exitCode=str(LOST), execDuration="0")
            self._clean_up(buried)
        return buried

    def _clean_up(self, container: Container) -> None:
        """Unless somebody has the lock, or has had it since: the run that ended is then not the
        last one any more."""
        with self._paths.lock_if_free(container.id) as free:
            if not free:
                return
            try:
                stored = self._store.containers.get(container.id)
            except NotFound:
                return
            if stored.state == container.state:
                self.clean(container)
