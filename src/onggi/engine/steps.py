"""The containers of a build's RUN steps: hidden, started with what the builder lends, and gone with
their builder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import NotFound, OnggiError
from ..spec.container import Container, ContainerOptions
from ..spec.digest import Digest
from ..typed import TYPE_CHECKING, NamedTuple
from .lending import NOTHING, Lent
from .reaper import ACTIVE

if TYPE_CHECKING:
    from ..monitor.attach import Attachment
    from .containers import Containers
    from .creation import Creation


class StepResult(NamedTuple):
    exit_code: int
    upper_path: str
    oom_killed: bool


class Steps:
    def __init__(self, containers: "Containers", creation: "Creation") -> None:
        self._containers = containers
        self._creation = creation

    @contextmanager
    def step(
        self, options: ContainerOptions, layers: tuple[Digest, ...], lent: Lent = NOTHING
    ) -> Iterator["Step"]:
        """A container for one RUN on these layers, gone when the block ends."""
        container = self._creation.create_step(options, layers)
        try:
            yield Step(self._containers, container, lent)
        finally:
            try:
                self._containers.remove(container.id, force=True, volumes=True)
            except NotFound:
                pass

    def sweep(self) -> None:
        """Remove the step containers of builders that died."""
        services = self._containers.services
        for container in services.store.containers.list(all=True, purpose="build"):
            seen = services.reaper.observe(container)
            if seen.state.status not in ACTIVE and not services.reaper.is_watched(seen.state):
                try:
                    self._containers.remove(container.id, force=True, volumes=True)
                except OnggiError:
                    continue  # another command is at it


class Step:
    """One build step's container."""

    def __init__(self, containers: "Containers", container: Container, lent: Lent) -> None:
        self._containers = containers
        self.container = container
        self._lent = lent

    def run(self, output: Callable[[int, bytes], None]) -> StepResult:
        """Run to the end, handing on (stream, bytes). The step dies with its builder."""
        services = self._containers.services
        attachment = self.attached(stdin=False)
        try:
            for stream, data in attachment.frames():
                output(stream, data)
        finally:
            attachment.close()
        state = self._containers.wait(self.container.id)
        upper = services.paths.upper(self.container.id)
        return StepResult(state.exit_code, upper, state.oom_killed)

    def attached(self, *, stdin: bool) -> "Attachment":
        """Started, with an attachment that misses no byte."""
        from .launch import Launcher

        services = self._containers.services
        launcher = Launcher(services._replace(lent=self._lent))
        return launcher.start_attached(services.find(self.container.id), stdin=stdin)
