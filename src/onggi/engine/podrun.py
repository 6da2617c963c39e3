"""One run of a pod: its namespaces with their network, held by a program that only sleeps.

Nobody watches it: the process that made it ends, and whoever looks next finds out how it is (see
`reaper`). It keeps the published ports from other programs by the sockets that it was given, and
the relay of those that the kernel cannot lead to it alive.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from ..linux import pause
from ..runtime.child import Started
from ..runtime.plan import BindRoot, InitPlan
from ..spec.container import Container
from . import podplan, specgen
from .detach import Work
from .run import Run, Services

_PLACES = ("dev", "etc", "proc", "sys")


class Hold(Run):
    @classmethod
    def start(cls, services: Services, container: Container) -> Work:
        """For a process of its own."""

        def work(ready: Callable[[], None]) -> None:
            paths, wiring = services.paths, services.wiring
            paths.make_running(container.id)
            try:
                with ExitStack() as undo:
                    cls(services, container, undo).go()
                    undo.pop_all()
            except BaseException:
                paths.remove_running(container.id)
                if wiring.is_idle():
                    wiring.take_down_unused()
                raise
            ready()

        return work

    def go(self) -> Started:
        started = super().go()
        if self.relay is not None:
            self.relay.start(stays=True)
        return started

    def _root(self) -> BindRoot:
        return BindRoot(_make_root(f"{self._services.paths.run}/pause"))

    def _plan(self, edits: specgen.Edits, detached: Mapping[str, int]) -> InitPlan:
        plan = super()._plan(edits, detached)
        held = self._connection.held if self._connection else ()
        if self.relay is not None:
            held = (*held, self.relay.life())
        process = plan.process._replace(output="null", kept=held)
        if self._services.tier.ids <= podplan.NOBODY:  # there is nobody but root to be
            process = process._replace(user="")
        return plan._replace(process=process, read_only=True)


def _make_root(directory: str) -> str:
    """A directory with nothing but the program and the places where something is mounted, for all
    pods, read-only. Made once."""
    path = f"{directory}{podplan.COMMAND}"
    if os.path.exists(path):
        return directory
    program = pause.program()
    for name in _PLACES:
        os.makedirs(f"{directory}/{name}", 0o755, exist_ok=True)
    for name in specgen.HOST_FILES:
        os.close(os.open(f"{directory}/etc/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    part = f"{path}.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.write(fd, program)
        os.fchmod(fd, 0o555)
    finally:
        os.close(fd)
    os.replace(part, path)  # whole or not at all
    return directory
