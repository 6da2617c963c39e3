"""Containers and execs of an engine elsewhere."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..engine.execs import ExecOptions
from ..engine.logfiles import LogEntry
from ..engine.pruning import Chosen
from ..engine.restart import Policy
from ..engine.stats import Sample
from ..errors import NotFound
from ..monitor.attach import Attachment
from ..progress import Report, ignore
from ..spec.container import Container, ContainerOptions, ContainerState, Resources
from ..spec.network import PortBinding
from ..spec.platform import parse_platform
from ..streams import FrameDecoder
from ..typed import Any
from ..units import format_rfc3339, parse_rfc3339
from . import records, requests
from .bridge import attached
from .images import Images, chosen_filters, filters_json
from .transport import Transport, escaped

Filters = Mapping[str, Sequence[str]]


class Containers:
    """As engine.containers.Containers; only what the command line calls."""

    def __init__(self, transport: Transport, images: Images, warn: Callable[[str], None]) -> None:
        self._transport = transport
        self._images = images
        self._warn = warn
        self._listed: dict[str, Mapping[str, Any]] = {}  # by id, as the last list said

    # -- looking

    def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        query = {"size": True} if size else None
        found: dict[str, Any] = self._transport.json("GET", _path(reference, "/json"), query)
        return found

    def get(self, reference: str) -> Container:
        return records.container(self.inspect(reference))

    def list(
        self, *, all: bool = False, filters: Filters | None = None, limit: int = 0
    ) -> Sequence[Container]:
        """As the list has them: without exact times, and with a status in words."""
        query = {"all": all, "limit": limit or None, "filters": filters_json(filters or {})}
        items = self._transport.json("GET", "/containers/json", query)
        self._listed = {item["Id"]: item for item in items}
        return [records.listed(item) for item in items]

    def status_text(self, container: Container) -> str:
        """Of one that was listed, in the engine's words; its clock is not ours."""
        return str(self._item(container.id).get("Status") or "")

    def network_names(self, container: Container) -> Sequence[str]:
        return container.config.options.host.network_mode.split(",")

    def ports(self, container: Container) -> tuple[PortBinding, ...]:
        if container.id in self._listed:
            return records.listed_ports(self._listed[container.id])
        return records.ports(self.inspect(container.id))

    def _item(self, container_id: str, *, size: bool = False) -> Mapping[str, Any]:
        """What the list says of it; asked for once more when the sizes are missing."""
        item = self._listed.get(container_id)
        if item is None or (size and "SizeRootFs" not in item):
            query = {"all": True, "size": size}
            items = self._transport.json("GET", "/containers/json", query)
            self._listed = {item["Id"]: item for item in items}
        found: Mapping[str, Any] = self._listed.get(container_id, {})
        return found

    def loopback_only_ports(self, container: Container) -> Sequence[PortBinding]:
        return ()  # nobody can look into its network from here

    def size(self, reference: str) -> tuple[int, int]:
        found = self._item(reference, size=True)
        return found.get("SizeRw") or 0, found.get("SizeRootFs") or 0

    def sample(self, container: Container) -> Sample:
        """What it uses right now; nothing for one that does not run."""
        if container.state.status not in ("running", "paused"):
            return Sample()
        query = {"stream": False, "one-shot": True}
        try:
            return records.sample(self._transport.json("GET", _path(container.id, "/stats"), query))
        except NotFound:
            return Sample()

    def top(
        self, reference: str, ps_args: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        query = {"ps_args": " ".join(ps_args)} if ps_args else None
        found = self._transport.json("GET", _path(reference, "/top"), query)
        return found["Titles"], found["Processes"] or []

    def diff(self, reference: str) -> Sequence[tuple[str, str]]:
        found = self._transport.json("GET", _path(reference, "/changes")) or []
        return [("CAD"[item["Kind"]], item["Path"]) for item in found]

    # -- its life

    def create(
        self, options: ContainerOptions, *, pull: str = "missing", report: Report = ignore
    ) -> Container:
        platform = options.platform and str(parse_platform(options.platform))
        query = {"name": options.name or None, "platform": platform or None}
        body = requests.create(options)
        if pull == "always":
            self._images.pull(options.image, platform=platform, report=report)
        try:
            made = self._transport.json("POST", "/containers/create", query, body)
        except NotFound as error:
            if pull != "missing" or not error.message.startswith("No such image"):
                raise
            self._images.pull(options.image, platform=platform, report=report)
            made = self._transport.json("POST", "/containers/create", query, body)
        for warning in made.get("Warnings") or ():
            self._warn(warning)
        return self.get(made["Id"])

    def start(self, reference: str) -> Container:
        self._post(reference, "/start")
        return self.get(reference)

    def start_attached(self, reference: str, *, stdin: bool) -> Attachment:
        """Attached before it starts, and waited for before it can end."""
        container = self.get(reference)
        ended = self._waiter(container)
        attachment = self._attach(container, stdin, ended)
        try:
            self._post(container.id, "/start")
        except BaseException:
            attachment.close()
            raise
        return attachment

    def attach(self, reference: str, *, stdin: bool) -> Attachment:
        container = self.get(reference)
        return self._attach(container, stdin, self._waiter(container))

    def _attach(
        self, container: Container, stdin: bool, ended: Callable[[], int | None]
    ) -> Attachment:
        query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True}
        stream, early = self._transport.hijack(_path(container.id, "/attach"), query)

        def resize(rows: int, columns: int) -> None:
            self._post(container.id, "/resize", {"h": str(rows), "w": str(columns)})

        return attached(
            stream, early, tty=container.config.options.tty, stdin=stdin, resize=resize,
            exit_code=ended,
        )  # fmt: skip

    def _waiter(self, container: Container) -> Callable[[], int | None]:
        """The engine has begun to wait when this returns: it sends the head of its answer first."""
        gone = container.config.options.host.auto_remove
        running = container.state.status in ("running", "paused")
        condition = "removed" if gone else "not-running" if running else "next-exit"
        response = self._transport.answer(
            "POST", _path(container.id, "/wait"), {"condition": condition}
        )

        def ended() -> int | None:
            with response:
                told = response.read()
            return int(json.loads(told)["StatusCode"]) if told.strip() else None

        return ended

    def wait(self, reference: str, *, timeout_s: float | None = None) -> ContainerState:
        told = self._transport.json("POST", _path(reference, "/wait"))
        code = int(told["StatusCode"])
        try:
            return self.get(reference).state._replace(exit_code=code)
        except NotFound:
            return ContainerState(status="exited", exit_code=code)

    def stop(self, reference: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        query = {"t": None if timeout_s is None else str(timeout_s), "signal": signal or None}
        self._post(reference, "/stop", query)

    def restart(self, reference: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        query = {"t": None if timeout_s is None else str(timeout_s), "signal": signal or None}
        self._post(reference, "/restart", query)

    def kill(self, reference: str, signal: str = "KILL") -> None:
        self._post(reference, "/kill", {"signal": signal})

    def pause(self, reference: str) -> None:
        self._post(reference, "/pause")

    def unpause(self, reference: str) -> None:
        self._post(reference, "/unpause")

    def rename(self, reference: str, name: str) -> None:
        self._post(reference, "/rename", {"name": name})

    def update(
        self, reference: str, change: Resources, policy: Policy | None = None
    ) -> Sequence[str]:
        body = requests.resources(change)
        if policy is not None:
            body["RestartPolicy"] = {"Name": policy.name, "MaximumRetryCount": policy.retries}
        told = self._transport.json("POST", _path(reference, "/update"), None, body)
        return told.get("Warnings") or ()

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        query = {"force": force, "v": volumes}
        self._transport.json("DELETE", _path(reference, ""), query)

    def prune(self, chosen: Chosen | None = None) -> Sequence[str]:
        filters = chosen_filters(chosen) if chosen is not None else {}
        query = {"filters": filters_json(filters)}
        told = self._transport.json("POST", "/containers/prune", query)
        return told.get("ContainersDeleted") or ()

    def commit(
        self,
        reference: str,
        *,
        target: str = "",
        author: str = "",
        message: str = "",
        changes_: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        repository, tag = _split(target)
        query = {
            "container": reference, "repo": repository or None, "tag": tag or None,
            "author": author or None, "comment": message or None, "pause": pause,
            "changes": "\n".join(changes_) or None,
        }  # fmt: skip
        return str(self._transport.json("POST", "/commit", query, {})["Id"])

    def _post(self, reference: str, what: str, query: Mapping[str, Any] | None = None) -> None:
        with self._transport.answer("POST", _path(reference, what), query) as response:
            response.read()


class Execs:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(self, reference: str, options: ExecOptions) -> Attachment:
        exec_id = self._create(reference, options)
        body: dict[str, Any] = {"Detach": False, "Tty": options.tty}
        if options.tty and options.rows:
            body["ConsoleSize"] = [options.rows, options.columns]
        stream, early = self._transport.hijack(f"/exec/{exec_id}/start", None, body)

        def resize(rows: int, columns: int) -> None:
            query = {"h": str(rows), "w": str(columns)}
            with self._transport.answer("POST", f"/exec/{exec_id}/resize", query) as response:
                response.read()

        def ended() -> int | None:
            code: int | None = self._transport.json("GET", f"/exec/{exec_id}/json")["ExitCode"]
            return code

        return attached(stream, early, tty=options.tty, stdin=options.stdin, resize=resize,
                        exit_code=ended)  # fmt: skip

    def start_detached(self, reference: str, options: ExecOptions) -> None:
        exec_id = self._create(reference, options._replace(stdin=False))
        body = {"Detach": True, "Tty": options.tty}
        self._transport.json("POST", f"/exec/{exec_id}/start", None, body)

    def _create(self, reference: str, options: ExecOptions) -> str:
        body = requests.execution(options)
        return str(self._transport.json("POST", _path(reference, "/exec"), None, body)["Id"])


class Logs:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
    ) -> Iterator[LogEntry]:
        """With the time that the engine puts in front of each line."""
        found = self._transport.json("GET", _path(reference, "/json"))
        query = {
            "stdout": True, "stderr": True, "timestamps": True, "follow": follow,
            "tail": "all" if tail is None else str(tail),
            "since": format_rfc3339(since_ns) if since_ns else None,
            "until": format_rfc3339(until_ns) if until_ns else None,
        }  # fmt: skip
        response = self._transport.answer("GET", _path(reference, "/logs"), query)
        with response:
            if found["Config"]["Tty"]:
                for line in iter(response.readline, b""):
                    yield _entry("stdout", line)
                return
            decoder = FrameDecoder(max_frame=1 << 31)
            while data := response.read1(1 << 16):
                for stream, payload in decoder.feed(data):
                    yield _entry("stderr" if stream == 2 else "stdout", payload)


def _entry(stream: str, line: bytes) -> LogEntry:
    stamp, _, data = line.partition(b" ")
    try:
        return LogEntry(parse_rfc3339(stamp.decode()), stream, data)
    except (ValueError, UnicodeDecodeError):
        return LogEntry(0, stream, line)


def _path(reference: str, what: str) -> str:
    return f"/containers/{escaped(reference)}{what}"


def _split(target: str) -> tuple[str, str]:
    name, colon, tag = target.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (target, "")
