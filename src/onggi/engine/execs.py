"""Exec: another process in a running container, watched by a monitor of its own.

Same sandbox as the container's first process: its namespaces, cgroup, capabilities, seccomp filter.
Nothing of an exec is stored; its exit code reaches whoever is attached.
"""

import socket
from collections.abc import Callable
from typing import NamedTuple

from ..errors import InvalidInput
from ..linux import capability
from ..linux.cgroup import Cgroup
from ..monitor import main as monitor
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..runtime import join
from ..spec.container import Container
from ..store.store import Store
from . import detach, lifecycle, merge, sandbox, specgen
from .paths import Paths


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


class Execs:
    def __init__(self, store: Store, paths: Paths, find: Callable[[str], Container]) -> None:
        self._store = store
        self._paths = paths
        self._find = find

    def start(self, reference: str, options: ExecOptions) -> Attachment:
        """Run a command in a running container; the attachment ends with its exit code. Raises
        Conflict when the container does not run, CommandNotFound, CommandNotExecutable."""
        container = self._ready(reference, options)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            attachment = Attachment(mine, OUTPUT | (INPUT if options.stdin else 0))
            self._fork(container, options, theirs)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        return attachment

    def start_detached(self, reference: str, options: ExecOptions) -> None:
        """Run a command in the background; returns when it has been started."""
        self._fork(self._ready(reference, options), options, None)

    def _ready(self, reference: str, options: ExecOptions) -> Container:
        if not options.args:
            raise InvalidInput("No exec command specified")
        if options.working_dir and not options.working_dir.startswith("/"):
            raise InvalidInput(f"the working directory '{options.working_dir}' is not absolute")
        container = self._find(reference)
        lifecycle.require(container, lifecycle.Event.EXEC)
        for entry in options.env:
            merge.environment((), (entry,), "", False)  # refuses what is no variable
        return container

    def _fork(
        self, container: Container, options: ExecOptions, client: socket.socket | None
    ) -> None:
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
        )
        cgroup = Cgroup(container.id)

        def work(ready: Callable[[], None]) -> None:
            started = join.join(plan, cgroup)
            ready()
            detach.ignore_terminal_signals()
            task = monitor.Task(
                started.pidfd,
                started.stdin_fd,
                started.stdout_fd,
                started.stderr_fd,
                started.pty_fd,
                close_stdin_with_client=True,
            )
            monitor.supervise(task, first_client=client, on_exit=lambda code: "")

        self._store.close()
        keep = (client.fileno(),) if client is not None else ()
        crash_log = f"{self._paths.container(container.id)}/monitor.log"
        pid = detach.fork_monitor(work, keep=keep, crash_log=crash_log)
        detach.forget(pid)
