"""The engine in the hands of a program: `onggi.connect()` makes one.

Usable from several threads. What forks is done by a small process beside us (engine.spawner), so
the program may have threads and be as large as it likes.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ..build import spawned
from ..build.options import BuildOptions
from ..engine import spawner as spawners
from ..engine.engine import Engine
from ..engine.settings import Settings
from ..errors import OnggiError
from ..progress import Event, Report, from_json, ignore
from .asked import Asked, Unpack
from .container import Container
from .options import Command, container_options
from .result import CommandFailed, Result, TimedOut
from .streams import MAX_OUTPUT, collect


class Client:
    """Images, containers and builds of the engine over one pair of directories. Close it, or use it
    as a context manager. Containers made with `start` are removed when the client is closed, and
    when the program is killed, unless they were asked to stay (`keep=True`)."""

    def __init__(self, root: str, run: str, settings: Settings) -> None:
        """Raises Unavailable when the process that starts containers does not."""
        self._owner = os.urandom(16).hex()
        self._spawner = spawners.launch(root, run, settings, owner=self._owner)
        self.warnings: list[str] = []
        self._engine = Engine(
            root, run, settings=settings, warn=self.warnings.append, spawner=self._spawner
        )
        self._open = True

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the containers that were not to stay, and let go of everything."""
        if self._open:
            self._open = False
            self._engine.close()
            self._spawner.close(timeout_s=60)  # it removes them, as it does when we are killed

    # -- containers

    def run(
        self,
        image: str,
        command: Command | None = None,
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        check: bool = True,
        pull: str = "missing",
        max_output: int = MAX_OUTPUT,
        **asked: Unpack[Asked],
    ) -> Result:
        """Run a command in a new container to its end, and remove the container. Raises
        CommandFailed for an exit code other than 0 unless `check` is false, TimedOut when it has
        been killed after `timeout_s`, CommandNotFound, CommandNotExecutable, NotFound for an image
        that cannot be had, InvalidInput."""
        container = self._create(image, command, pull, stdin=bool(stdin), asked=asked)
        with container:
            attachment = self._engine.containers.start_attached(container.id, stdin=bool(stdin))
            result, late = collect(
                attachment,
                stdin=stdin,
                timeout_s=timeout_s,
                max_output=max_output,
                expired=lambda: self._engine.containers.kill(container.id),
            )
        shown = (
            f"{image} {command if isinstance(command, str) else ' '.join(command or ())}".strip()
        )
        if late:
            raise TimedOut(f"{shown}: not done after {timeout_s:g} s", result)
        if check and result.exit_code:
            raise CommandFailed(shown, result)
        return result

    def start(
        self,
        image: str,
        command: Command | None = None,
        *,
        keep: bool = False,
        pull: str = "missing",
        **asked: Unpack[Asked],
    ) -> Container:
        """A container that runs in the background. It is removed with the client unless `keep`.
        Raises as `run`."""
        container = self._create(image, command, pull, stdin=False, asked=asked, keep=keep)
        try:
            container.start()
        except BaseException:
            container.remove(force=True)
            raise
        return container

    def container(self, reference: str) -> Container:
        """One that is there, by name or ID. Raises NotFound."""
        return self._of(reference)

    def containers(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Container]:
        """The running ones, or all, newest first; filters as `onggi ps --filter` has them."""
        rows = self._engine.containers.list(all=all, filters=filters or {})
        return [Container(self._engine, self._spawner, row) for row in rows]

    def _create(
        self,
        image: str,
        command: Command | None,
        pull: str,
        *,
        stdin: bool,
        asked: Asked,
        keep: bool = False,
    ) -> Container:
        labels = dict(asked.get("labels") or {})
        if not keep:
            labels[spawners.OWNER] = self._owner
        asked = {**asked, "labels": labels}
        options = container_options(image, command, cwd=os.getcwd(), stdin=stdin, **asked)
        row = self._engine.containers.create(options, pull=pull)
        return Container(self._engine, self._spawner, row)

    def _of(self, reference: str) -> Container:
        return Container(self._engine, self._spawner, self._engine.containers.get(reference))

    # -- images

    def images(self) -> list[str]:
        """The names of the images that are here."""
        return [tag for image in self._engine.images.list() for tag in image.tags]

    def pull(self, reference: str, *, platform: str = "", report: Report = ignore) -> str:
        """The image's ID. `report` is given the progress. Raises NotFound, Unauthorized."""
        return str(self._engine.images.pull(reference, platform=platform, report=report).id)

    def push(self, reference: str, *, report: Report = ignore) -> None:
        self._engine.images.push(reference, report)

    def tag(self, image: str, name: str) -> None:
        self._engine.images.tag(image, name)

    def remove_image(self, reference: str, *, force: bool = False) -> None:
        self._engine.images.remove(reference, force=force)

    def load(self, archive: Path) -> list[str]:
        """The names of the images of an archive of docker's or of OCI's layout."""
        with archive.open("rb") as stream:
            return self._engine.images.load(stream.read)

    def save(self, references: Sequence[str], archive: Path) -> None:
        with archive.open("wb") as stream:
            self._engine.images.save(references, stream.write)

    def build(
        self,
        context: str | Path,
        *,
        tag: str | Sequence[str] = (),
        dockerfile: str = "",
        build_args: Mapping[str, str] | None = None,
        target: str = "",
        no_cache: bool = False,
        pull: bool = False,
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        network: str = "bridge",
        report: Report = ignore,
    ) -> str:
        """The ID of the image that a Dockerfile makes. `context` is a directory, a URL or a git
        repository; `report` is given the steps and their output. Raises InvalidInput with file,
        line and the last output of the step that failed."""
        options = BuildOptions(
            context_dir=str(context),
            dockerfile=dockerfile,
            tags=(tag,) if isinstance(tag, str) else tuple(tag),
            build_args=dict(build_args or {}),
            target=target,
            no_cache=no_cache,
            pull=pull,
            labels=dict(labels or {}),
            platform=platform,
            network_mode=network,
        )
        return self._built(options, lambda told: report(_event(told)))

    def _built(self, options: BuildOptions, report: Callable[[object], None]) -> str:
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        leash, other = socket.socketpair()
        try:
            with leash, other:
                told = self._spawner.call(
                    "build.spawned:run",
                    spawned.arguments(options, {}),
                    fds=(nothing, other.fileno()),
                    report=report,
                )
        finally:
            os.close(nothing)
        return str(told["id"])


def _event(told: object) -> Event:
    if not isinstance(told, list):
        raise OnggiError(f"no progress event: {told!r}")
    return from_json(told)
