"""One container in the hands of a program."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType

from ..engine.engine import Engine
from ..engine.execs import ExecOptions, new_id
from ..engine.spawner import Spawner
from ..errors import Conflict, InvalidInput, NotFound, OnggiError, Unavailable
from ..linux import process
from ..spec import container as spec
from ..spec.network import PortBinding
from ..typed import Any
from . import files
from .options import LOOPBACK, Command, variables, words
from .result import CommandFailed, Result, TimedOut
from .streams import MAX_OUTPUT, collect

POLL_S = 0.05


class Container:
    """Use it as a context manager to have it removed, with its anonymous volumes, at the end."""

    def __init__(self, engine: Engine, spawner: Spawner, container: spec.Container) -> None:
        self._engine = engine
        self._spawner = spawner
        self.id = container.id
        self.name = container.name
        self.image = container.config.options.image

    def __repr__(self) -> str:
        return f"<onggi container {self.name} ({self.id[:12]}) of {self.image}>"

    def __enter__(self) -> "Container":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove(force=True)

    # -- looking

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited or dead; raises NotFound when it is gone."""
        return self._row().state.status

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy; "" without a health check."""
        health = self._row().state.health
        return health.status if health is not None else ""

    def inspect(self) -> dict[str, Any]:
        """What `onggi inspect` prints."""
        return self._engine.containers.inspect(self.id)

    def port(self, port: int | str) -> tuple[str, int]:
        """(host, port) at which this program reaches a published port. Raises NotFound."""
        number, _, protocol = str(port).partition("/")
        for bound in self._bindings():
            if (str(bound.container_port), bound.protocol) == (number, protocol or "tcp"):
                everywhere = bound.host_ip in ("", "0.0.0.0", "::")  # noqa: S104 - compared
                return (LOOPBACK if everywhere else bound.host_ip, bound.host_port)
        raise NotFound(f"{self.name}: port {port} is not published: ports={{{port}: None}}")

    def logs(self, *, tail: int | None = None) -> bytes:
        """What it wrote to both streams so far, in order."""
        return b"".join(entry.data for entry in self._engine.logs.read(self.id, tail=tail))

    def follow(self) -> Iterator[bytes]:
        """Its output from the beginning, as it comes, until it ends."""
        for entry in self._engine.logs.read(self.id, follow=True):
            yield entry.data

    # -- commands inside

    def exec(
        self,
        command: Command,
        *,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
        timeout_s: float | None = None,
        check: bool = False,
        privileged: bool = False,
        max_output: int = MAX_OUTPUT,
    ) -> Result:
        """Run a command in it to its end. Raises CommandNotFound and CommandNotExecutable; TimedOut
        after `timeout_s`, when its process has been killed with the session it began; with `check`
        CommandFailed for an exit code other than 0."""
        args = words(command) or ()
        options = ExecOptions(
            args=args,
            env=variables(env or {}),
            working_dir=workdir,
            user=user,
            stdin=True,
            privileged=privileged,
        )
        attachment, pid = self._engine.execs.start_as(new_id(), self.id, options)
        start = process.start_time(pid)
        result, late = collect(
            attachment,
            stdin=stdin,
            timeout_s=timeout_s,
            max_output=max_output,
            expired=lambda: _end_session(pid, start),
        )
        shown = " ".join(args)
        if late:
            raise TimedOut(f"{self.name}: {shown}: not done after {timeout_s:g} s", result)
        if check and result.exit_code:
            raise CommandFailed(shown, result)
        return result

    # -- files

    def put(
        self,
        path: str,
        source: bytes | Path,
        *,
        mode: int = 0o644,
        owner: tuple[int, int] = (0, 0),
    ) -> None:
        """Write a file (bytes, with `mode`), or copy a file or directory of the host (with its
        modes), to `path`, whose directory must be there. All of it is `owner`'s: (user, group).
        Raises NotFound."""
        place = PurePosixPath(path)
        if not place.is_absolute() or not place.name:
            raise InvalidInput(f"{path!r} is no absolute path of a file")
        if isinstance(source, bytes):
            fill = files.one_file(place.name, source, mode, owner)
        else:
            fill = files.tree_of_host(source, place.name)

        def take(fd: int) -> None:
            arguments = {"id": self.id, "path": str(place.parent), "owner": list(owner)}
            self._spawner.call("engine.spawned:copy_in", arguments, fds=(fd,))

        files.sent(fill, take)

    def get(self, path: str) -> bytes:
        """The content of a regular file; links are followed inside. Raises NotFound, and
        InvalidInput for what is no regular file."""
        return files.received(self._giver(path), lambda chunks: files.only_file(chunks, path))

    def get_tree(self, path: str, into: Path) -> None:
        """Copy a file or directory below a directory of the host. Nothing lands outside of it."""
        files.received(self._giver(path), lambda chunks: files.into_host(chunks, into))

    def _giver(self, path: str) -> Callable[[int], None]:
        def give(fd: int) -> None:
            arguments = {"id": self.id, "path": path, "follow_link": True}
            self._spawner.call("engine.spawned:copy_out", arguments, fds=(fd,))

        return give

    # -- waiting

    def wait(self, *, timeout_s: float | None = None) -> int:
        """Its exit code, when it has ended. Raises TimedOut."""
        try:
            return self._engine.containers.wait(self.id, timeout_s=timeout_s).exit_code
        except Unavailable as error:
            raise TimedOut(f"{self.name} still runs after {timeout_s} s") from error

    def wait_healthy(self, *, timeout_s: float = 60) -> "Container":
        """Until its health check says so. Raises Conflict when it ends or has no health check, and
        TimedOut with what the last check said."""

        def healthy() -> bool:
            row = self._running_row()
            if row.config.health is None:
                raise Conflict(f"{self.name} has no health check: healthcheck='…'")
            return row.state.health is not None and row.state.health.status == "healthy"

        def last_check() -> str:
            health = self._row().state.health
            return health.log[-1].output.strip() if health is not None and health.log else ""

        return self._until(healthy, timeout_s, "healthy", last_check)

    def wait_port(self, port: int | str, *, timeout_s: float = 60) -> "Container":
        """Until something accepts TCP connections at a published port. Raises Conflict when the
        container ends first, and TimedOut."""
        address = self.port(port)

        def answers() -> bool:
            self._running_row()
            try:
                with socket.create_connection(address, timeout=1) as connection:
                    connection.settimeout(0.2)
                    # A forwarder accepts for a container that does not, and then hangs up.
                    return connection.recv(1, socket.MSG_PEEK) != b""
            except TimeoutError:
                return True  # it waits for us to speak
            except OSError:
                return False

        return self._until(answers, timeout_s, f"listening on {port}", self._last_words)

    def wait_log(self, text: str, *, timeout_s: float = 60) -> "Container":
        """Until it has written `text`. Raises Conflict when it ends without, and TimedOut."""
        wanted = text.encode()

        def written() -> bool:
            ended = self._row().state.status not in ("running", "restarting", "paused")
            if wanted in self.logs():
                return True
            if ended:
                self._running_row()
            return False

        return self._until(written, timeout_s, f"saying {text!r}", self._last_words)

    def _until(
        self, done: Callable[[], bool], timeout_s: float, what: str, told: Callable[[], str]
    ) -> "Container":
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                last = told()
                hint = f": {last}" if last else ""
                raise TimedOut(f"{self.name} is not {what} after {timeout_s:g} s{hint}")
            time.sleep(POLL_S)
        return self

    # -- its life

    def start(self) -> None:
        self._engine.containers.start(self.id)

    def stop(self, *, timeout_s: int | None = None) -> None:
        """Ask it to end, and kill it after `timeout_s` (10 when nobody says)."""
        self._engine.containers.stop(self.id, timeout_s=timeout_s)

    def kill(self, signal_name: str = "KILL") -> None:
        self._engine.containers.kill(self.id, signal_name)

    def restart(self, *, timeout_s: int | None = None) -> None:
        self._engine.containers.restart(self.id, timeout_s=timeout_s)

    def pause(self) -> None:
        self._engine.containers.pause(self.id)

    def unpause(self) -> None:
        self._engine.containers.unpause(self.id)

    def remove(self, *, force: bool = False, volumes: bool = True) -> None:
        """With its anonymous volumes. It may be gone already."""
        try:
            self._engine.containers.remove(self.id, force=force, volumes=volumes)
        except NotFound:
            pass

    def commit(self, tag: str = "", *, changes: tuple[str, ...] = ()) -> str:
        """Its file system as a new image; the image's ID."""
        arguments = {
            "id": self.id,
            "target": tag,
            "author": "",
            "message": "",
            "changes": list(changes),
            "pause": True,
        }
        return str(self._spawner.call("engine.spawned:commit", arguments))

    def _row(self) -> spec.Container:
        return self._engine.containers.get(self.id)

    def _running_row(self) -> spec.Container:
        row = self._row()
        if row.state.status not in ("running", "restarting", "paused"):
            last = self._last_words()
            told = f": {last}" if last else ""
            raise Conflict(f"{self.name} has ended with exit code {row.state.exit_code}{told}")
        return row

    def _last_words(self) -> str:
        try:
            return self.logs(tail=10).decode(errors="replace").strip()
        except OnggiError:  # its log driver keeps nothing
            return ""

    def _bindings(self) -> tuple[PortBinding, ...]:
        return self._engine.containers.ports(self._row())


def _end_session(pid: int, start: int | None) -> None:
    """Kill the leader of a session (a number that may be another's by now is left alone) and who
    is still in it: the children that an impatient caller does not want to leave behind."""
    leader = None if start is None else process.open_process(pid, start)
    if leader is None:
        return
    held = [leader, *map(process.pidfd_open, _members(pid))]
    for fd in held:
        try:
            process.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)


def _members(session: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != session:
            try:
                if os.getsid(int(name)) == session:
                    found.append(int(name))
            except ProcessLookupError:
                pass
    return found
