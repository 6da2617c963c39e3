"""The life of a monitor: one container's runs from the first to the last, and what lies between.

    run ── ready: the command that started us returns ── supervise ── end: recorded, cleaned up
     ^                                                                  |
     └── back-off, ended at once by a user's stop <── policy: again? ───┴── no: all goes, --rm, exit

A later run that cannot start counts as one that failed. What a user wants meanwhile is in `notes`.
"""

import os
import time
from _socket import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from .. import signals as signal
from .. import trace
from ..errors import NotFound, OnggiError, Unavailable
from ..monitor import main as monitor
from ..runtime.child import Started
from ..spec.container import Container, ContainerConfig, ContainerState, KillReason
from ..spec.network import Endpoint
from ..typed import TYPE_CHECKING
from . import detach, notes, removal, restart
from .cgroups import cgroup_of, leave_unit
from .health import is_checked
from .restart import End, Policy
from .run import Run, Services

if TYPE_CHECKING:
    from .probe import Checker

IDLE_NETWORK_S = 1.0
FAILED_TO_START = 128
ALL_OOM_KILLS = 1 << 62  # cgroup v1 tells before it kills and counts: no number fits


def policy_of(config: ContainerConfig) -> Policy:
    host = config.options.host
    return Policy(host.restart_policy or "no", host.restart_retries)


class Watch:
    def __init__(
        self, services: Services, container: Container, client: socket | None, lock: int
    ) -> None:
        """`lock` is the container's, as its command holds it: ours too until the container runs,
        for the command may be killed."""
        self._lock = lock
        self._services = services
        self._container = container
        self._client = client
        self._restarts = 0
        self._delay_s = 0.0
        self._began = 0.0
        self._oom_told = 0  # how many of this run's kills for memory the events tell of
        self._goes_on = False
        self._left: Sequence[Endpoint] = ()  # to be removed when everybody knows of the end

    def work(self, ready: Callable[[], None]) -> None:
        """Returns when the container has ended for good. Raises what keeps it from starting."""
        signal.pthread_sigmask(signal.SIG_BLOCK, (notes.WAKE,))
        paths, id_ = self._services.paths, self._container.id
        paths.make_running(id_)
        try:
            run, started = self._start()
        except BaseException:
            paths.remove_running(id_)
            if self._services.wiring.is_idle():  # at once: nobody is left to do it later
                self._services.wiring.take_down_unused()
            raise
        os.close(self._lock)
        ready()
        detach.ignore_terminal_signals()
        while True:
            self._supervise(run, started)
            following = self._next_run()
            if following is None:
                break
            run, started = following
        self._services.wiring.detach(self._left)
        self._tidy_later()

    # -- a run

    def _start(self) -> tuple[Run, Started]:
        with ExitStack() as undo:
            run = Run(self._services, self._container, undo, restarts=self._restarts)
            started = run.go()
            undo.pop_all()
        self._began = time.monotonic()
        self._container = run.container
        return run, started

    def _supervise(self, run: Run, started: Started) -> None:
        options = self._container.config.options
        task = monitor.Task(
            started.pidfd,
            started.stdin_fd,
            started.stdout_fd,
            started.stderr_fd,
            started.pty_fd,
            close_stdin_with_client=options.stdin_once,
            kill_with_client=options.purpose == "build",
            resized=self._tell_size,
            oom_fd=cgroup_of(self._container).watch_oom(),
            out_of_memory=self._tell_oom,
            settled=None if options.purpose == "build" else leave_unit,
            relay=run.relay,
        )
        self._oom_told = 0
        checker = self._start_health_checks()

        def ended(code: int) -> str:
            if checker is not None:
                checker.stop()
            return self._ended(run, code)

        client, self._client = self._client, None
        monitor.supervise(
            task,
            log=run.log,
            server=run.server,
            first_client=client,
            on_exit=ended,
        )
        os.close(started.pidfd)

    def _tell_size(self, rows: int, columns: int) -> None:
        self._services.events.container(
            self._container, "resize", height=str(rows), width=str(columns)
        )

    def _tell_oom(self) -> None:
        """Of any process of the container, as docker does."""
        cgroup = cgroup_of(self._container)
        kills = cgroup.oom_kills()
        if cgroup.version == 2 and kills <= self._oom_told:
            return  # another event of memory
        self._oom_told = kills if cgroup.version == 2 else ALL_OOM_KILLS
        self._services.events.container(self._container, "oom")
        pid = self._container.state.pid

        def killed(state: ContainerState) -> ContainerState:
            return state._replace(oom_killed=True) if state.pid == pid else state

        try:
            self._services.store.containers.change_state(self._container.id, killed)
        except (NotFound, Unavailable):
            pass  # the end records it

    def _start_health_checks(self) -> "Checker | None":
        if not is_checked(self._container.config):
            return None
        from .probe import Checker

        return Checker(self._services, self._container)

    # -- its end

    def _ended(self, run: Run, code: int) -> str:
        """Record the end and take down what the run made; why it was killed, when we know. With the
        container's lock: who sees the end in the row can start it only when all is gone."""
        trace.mark("command ran")
        with self._services.paths.locked(self._container.id):
            return self._end_run(run, code)

    def _end_run(self, run: Run, code: int) -> str:
        ran_s = time.monotonic() - self._began
        container = self._container
        kills = cgroup_of(container).oom_kills()
        reason = self._kill_reason(code, kills)
        self._decide(code, ran_s)
        self._record(
            lambda state: state._replace(
                exit_code=code, oom_killed=bool(kills or self._oom_told), kill_reason=reason
            )
        )
        trace.mark("row: exited")
        events = self._services.events
        if kills > self._oom_told:
            events.container(container, "oom")
        events.container(container, "die", exitCode=str(code), execDuration=str(int(ran_s)))
        run.tell_end()
        run.release()
        trace.mark("events told")
        cgroup_of(container).kill_all()
        trace.mark("control groups emptied")
        self._clean()
        trace.mark("cleaned up")
        return reason

    def _kill_reason(self, code: int, oom_kills: int) -> KillReason:
        if code != 137:
            return ""
        if oom_kills:
            return "oom"
        timed_out = notes.has_timed_out(self._services.paths, self._container.id)
        return "stop timeout" if timed_out else ""

    def _decide(self, code: int, ran_s: float) -> None:
        """Whether another run follows, and when; by the policy as it is by now (`update`)."""
        why = notes.why_ended(self._services.paths, self._container.id)
        end = End(code, ran_s, self._restarts, bool(why))
        try:
            self._container = self._services.store.containers.get(self._container.id)
            self._goes_on = restart.restarts(policy_of(self._container.config), end)
        except NotFound:
            self._goes_on = False
        if self._goes_on:
            self._delay_s = restart.next_delay(self._delay_s, ran_s)
            self._restarts += 1

    def _record(self, change: Callable[[ContainerState], ContainerState]) -> None:
        """The end in the row, with the fields that every end has."""
        why = notes.why_ended(self._services.paths, self._container.id)

        def ended(state: ContainerState) -> ContainerState:
            health = state.health and state.health._replace(status="unhealthy")  # as docker says it
            return change(state)._replace(
                status="restarting" if self._goes_on else "exited",
                pid=0,
                finished_ns=time.time_ns(),
                restart_count=self._restarts,
                stopped_by_user=why == "stop",
                interrupted=why == "shutdown",
                health=health,
            )

        try:
            state = self._services.store.containers.change_state(self._container.id, ended)
        except (NotFound, Unavailable):
            return  # removed by force meanwhile; or a full disk: whoever looks next records it
        self._container = self._container._replace(state=state)

    def _clean(self) -> None:
        """All goes after the last run. Before another the run directory stays, with its notes."""
        services, container = self._services, self._container
        if self._goes_on:
            cgroup_of(container).remove()
            services.wiring.disconnect(container.id)
            return
        why = notes.why_ended(services.paths, container.id)
        goes = container.config.options.host.auto_remove and why != "restart"
        if goes:
            self._left = services.wiring.disconnect(container.id, links_later=True)
        services.reaper.clean(container)
        trace.mark("control groups, network, run directory removed")
        if goes:
            removal.delete(services, container, with_volumes=True)

    # -- the next run

    def _next_run(self) -> tuple[Run, Started] | None:
        """Waits, and starts until it works; None when nothing more is to run."""
        while self._goes_on:
            self._back_off()
            if notes.why_ended(self._services.paths, self._container.id):
                self._give_up()
                break
            try:
                return self._start()
            except (OnggiError, OSError) as error:
                if notes.why_ended(self._services.paths, self._container.id):
                    self._give_up()
                else:
                    self._failed(error)
        return None

    def _back_off(self) -> None:
        """The note is looked at after the signal was blocked and before each wait: none is lost."""
        end = time.monotonic() + self._delay_s
        paths, id_ = self._services.paths, self._container.id
        while (left := end - time.monotonic()) > 0 and not notes.why_ended(paths, id_):
            signal.sigtimedwait((notes.WAKE,), left)

    def _give_up(self) -> None:
        """The user stopped the container while it did not run."""
        self._goes_on = False
        with self._services.paths.locked(self._container.id):
            self._record(lambda state: state)
            self._clean()

    def _failed(self, error: OnggiError | OSError) -> None:
        """A run that could not start counts as a failure of the container."""
        code = (error.exit_code if isinstance(error, OnggiError) else None) or FAILED_TO_START
        message = error.message if isinstance(error, OnggiError) else str(error)
        with self._services.paths.locked(self._container.id):
            self._decide(code, 0.0)
            self._record(lambda state: state._replace(exit_code=code, error=message))
            self._clean()

    def _tidy_later(self) -> None:
        """Take the idle network down in a while, in a process of its own: nobody waits for it, and
        a container that starts meanwhile finds the bridge standing."""
        wiring = self._services.wiring
        if not wiring.is_idle():
            return
        networks = wiring.bridged()
        database = self._services.store.db
        database.close()
        if os.fork() == 0:
            detach.close_inherited()  # nothing of the container's is to stay open meanwhile
            time.sleep(IDLE_NETWORK_S)
            if not os.path.exists(database.path):
                wiring.take_down_orphans(networks)  # the whole store was deleted meanwhile
            elif wiring.is_idle():
                wiring.take_down_unused()
