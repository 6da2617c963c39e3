"""Exec: another process in a running container, watched by a monitor of its own.

Same sandbox as the container's first process: its namespaces, cgroup, capabilities, seccomp filter.
Nothing of an exec is stored but what `execnotes` keeps of the API's; its exit code reaches whoever
is attached.
"""

import _socket as socket  # `socket` itself takes 2 ms to import
import os
from collections.abc import Callable

from ..errors import InvalidInput
from ..linux import capability
from ..linux.cgroup import Cgroup
from ..monitor import main as monitor
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..runtime import join
from ..runtime.child import Started
from ..runtime.plan import JoinPlan
from ..spec.codec import encode
from ..spec.container import Container
from ..store.store import Store
from ..typed import TYPE_CHECKING, NamedTuple
from . import detach, lifecycle, merge, sandbox, specgen, tier
from .cgroups import cgroup_of, leave_unit
from .events import Events
from .paths import Paths

if TYPE_CHECKING:
    from .execnotes import ExecNotes
    from .spawner import Spawner


class ExecOptions(NamedTuple):
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
    rows: int = 0
    columns: int = 0


def new_id() -> str:
    return os.urandom(32).hex()


class Execs:
    def __init__(
        self,
        store: Store,
        paths: Paths,
        find: Callable[[str], Container],
        events: Events,
        spawner: "Spawner | None" = None,
        heal: Callable[[], None] | None = None,
    ) -> None:
        """`heal` is called before a command runs: it is to find what its container is promised."""
        self._heal = heal
        self._store = store
        self._spawner = spawner
        self._events = events
        self._paths = paths
        self._find = find

    @property
    def notes(self) -> "ExecNotes":
        from .execnotes import ExecNotes

        return ExecNotes(self._paths)

    def start(self, reference: str, options: ExecOptions) -> Attachment:
        """Run a command in a running container; the attachment ends with its exit code. Raises
        Conflict when the container does not run, CommandNotFound, CommandNotExecutable."""
        container = self.checked(reference, options)
        exec_id = new_id()
        self.tell_created(exec_id, container, options)
        return self.start_as(exec_id, container.id, options)[0]

    def start_as(
        self, exec_id: str, reference: str, options: ExecOptions, *, output: bool = True
    ) -> tuple[Attachment, int]:
        """The attachment and the pid of a command under an id of the caller's. Without `output` the
        attachment only tells of the end."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            flags = (OUTPUT if output else 0) | (INPUT if options.stdin else 0)
            attachment = Attachment(mine, flags)
            pid = self._spawn(exec_id, reference, options, theirs)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        return attachment, pid

    def start_detached(self, reference: str, options: ExecOptions) -> None:
        """Run a command in the background; returns when it has been started."""
        container = self.checked(reference, options)
        exec_id = new_id()
        self.tell_created(exec_id, container, options)
        self._spawn(exec_id, container.id, options, None)

    def checked(self, reference: str, options: ExecOptions) -> Container:
        if not options.args:
            raise InvalidInput("No exec command specified")
        if options.working_dir and not options.working_dir.startswith("/"):
            raise InvalidInput(f"the working directory '{options.working_dir}' is not absolute")
        if self._heal is not None:
            self._heal()
        container = self._find(reference)
        lifecycle.require(container, "exec")
        for entry in options.env:
            merge.environment((), (entry,), "", False)  # refuses what is no variable
        return container

    def tell_created(self, exec_id: str, container: Container, options: ExecOptions) -> None:
        line = " ".join(options.args)
        self._events.container(container, f"exec_create: {line}", execID=exec_id)

    def _spawn(
        self, exec_id: str, reference: str, options: ExecOptions, client: socket.socket | None
    ) -> int:
        if self._spawner is None:
            return self.fork(exec_id, reference, options, client)
        arguments = {"exec_id": exec_id, "id": reference, "options": encode(options)}
        fds = () if client is None else (client.fileno(),)
        return int(self._spawner.call("engine.spawned:execute", arguments, fds=fds))

    def fork(
        self,
        exec_id: str,
        reference: str,
        options: ExecOptions,
        client: socket.socket | None,
        *,
        noted: bool = False,
    ) -> int:
        """Start it from this process, which has no threads; its pid. `noted`: there may be a note
        of it, which is to tell its course."""
        container = self.checked(reference, options)
        plan = self._plan(container, options)
        cgroup = cgroup_of(container)
        line = " ".join(options.args)
        notes = self.notes if noted else None

        def tell(action: str, **more: str) -> None:
            self._events.container(container, action, execID=exec_id, **more)

        def ended(code: int) -> str:
            if notes is not None:
                notes.ended(container.id, exec_id, code)
            tell("exec_die", exitCode=str(code))
            return ""

        def work(ready: Callable[..., None]) -> None:
            started = self._join(container, plan, cgroup)
            if notes is not None:
                notes.began(container.id, exec_id, started.pid)
            tell(f"exec_start: {line}")
            ready(str(started.pid))
            detach.ignore_terminal_signals()
            task = monitor.Task(
                started.pidfd,
                started.stdin_fd,
                started.stdout_fd,
                started.stderr_fd,
                started.pty_fd,
                close_stdin_with_client=True,
                settled=leave_unit,
            )
            monitor.supervise(task, first_client=client, on_exit=ended)

        self._store.close()
        keep = (client.fileno(),) if client is not None else ()
        crash_log = f"{self._paths.container(container.id)}/monitor.log"
        monitor_pid, pid = detach.fork_monitor(work, keep=keep, crash_log=crash_log)
        detach.forget(monitor_pid)
        return int(pid)

    def _plan(self, container: Container, options: ExecOptions) -> JoinPlan:
        held = capability.held() & capability.bounding()
        plan = specgen.exec_plan(
            container,
            options.args,
            env=options.env,
            working_dir=options.working_dir,
            user=options.user,
            tty=options.tty,
            stdin=options.stdin,
            privileged=options.privileged,
            size=(options.rows, options.columns),
            held=held,
            seccomp=sandbox.seccomp_program(container.config, held, self._paths),
            ids=tier.current().ids,
        )
        plan = sandbox.labelled(plan, container)
        process = sandbox.overseen(plan.process, container, self._paths)
        return plan._replace(process=process)

    def _join(self, container: Container, plan: JoinPlan, cgroup: Cgroup) -> Started:
        if tier.current().number == 4:
            return self._join_unisolated(container, plan)
        if container.config.options.host.runtime in specgen.OWN_RUNTIMES:
            return join.join(plan, cgroup)
        from . import foreign

        return foreign.join(self._paths, container, plan.process)

    def _join_unisolated(self, container: Container, plan: JoinPlan) -> Started:
        from ..runtime import unisolated

        directory = self._paths.container(container.id)
        mounts = specgen.mounts(container.config, directory, {})
        points = [p for p in container.config.mounts if p.kind == "image" or p.subpath]
        shown = tuple(m for m in mounts if m.target not in {p.target for p in points})
        return unisolated.join(
            plan.process,
            self._paths.upper(container.id),
            shown,
            self._paths.running(container.id),
        )
