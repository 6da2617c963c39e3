"""What a build tells on its Status stream: vertices, their progress, output and warnings.

A `Feed` keeps what was told, within bounds, so that whoever asks late hears it from the start.
`Telling` turns the builder's events into BuildKit's vertices and their names.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...dockerfile import problem
from ...errors import OnggiError
from ...progress import (
    Event,
    Layer,
    Message,
    PushResult,
    StepFailed,
    StepFinished,
    StepOutput,
    StepStarted,
    Warning,
)
from .messages_pb2 import (
    Position,
    Range,
    SourceInfo,
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from .wire import now

MAX_KEPT_BYTES = 8 << 20
_ENDED_LAYERS = frozenset(
    ("Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted from")
)
_FINDING = re.compile(r".* \(line ([0-9]{1,6})\)", re.DOTALL)


class Feed:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._told: list[bytes] = []
        self._first = 0  # the number of the first that is kept
        self._size = 0
        self._over = False

    def tell(self, response: StatusResponse) -> None:
        data = response.SerializeToString()
        with self._changed:
            self._told.append(data)
            self._size += len(data)
            while self._size > MAX_KEPT_BYTES:
                self._size -= len(self._told.pop(0))
                self._first += 1
            self._changed.notify_all()

    def finish(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Those who wait look again whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def responses(self, lost: threading.Event) -> Iterator[bytes]:
        """From the start to the end of the build, or until `lost`, which comes with a `wake`."""
        number = 0
        while True:
            with self._changed:
                while number >= self._first + len(self._told):
                    if self._over or lost.is_set():
                        return
                    self._changed.wait()
                number = max(number, self._first)
                data = self._told[number - self._first]
            number += 1
            yield data


class Doing:
    """One vertex that is at work."""

    def __init__(self, feed: Feed, digest: str, name: str) -> None:
        self._feed = feed
        self.digest = digest
        self._name = name
        self._started = now()
        self._statuses: dict[str, VertexStatus] = {}
        self._tell_vertex()

    def _tell_vertex(self, *, cached: bool = False, ended: bool = False, error: str = "") -> None:
        vertex = Vertex(digest=self.digest, name=self._name, started=self._started, cached=cached)
        if ended:
            vertex.completed.CopyFrom(now())
            vertex.error = error
        self._feed.tell(StatusResponse(vertexes=[vertex]))

    def end(self, *, cached: bool = False, error: str = "") -> None:
        self._tell_vertex(cached=cached, ended=True, error=error)

    def progress(
        self, id_: str, current: int = 0, total: int = 0, *, name: str = "", ended: bool = False
    ) -> None:
        """A line of its own; told again it is the same line."""
        known = self._statuses.setdefault(
            id_, VertexStatus(ID=id_, vertex=self.digest, name=name or id_, started=now())
        )
        known.current, known.total = current, total
        known.timestamp.CopyFrom(now())
        if ended:
            known.completed.CopyFrom(now())
        self._feed.tell(StatusResponse(statuses=[known]))

    def done(self, line: str) -> None:
        self.progress(line, ended=True)

    def log(self, data: bytes, stream: int) -> None:
        log = VertexLog(vertex=self.digest, timestamp=now(), stream=stream, msg=data)
        self._feed.tell(StatusResponse(logs=[log]))


class Telling:
    """A build's events as they come. `ref` keeps the digests of two builds apart."""

    def __init__(self, feed: Feed, ref: str) -> None:
        self._feed = feed
        self._ref = ref
        self._steps: dict[int, Doing] = {}
        self._aside: Doing | None = None  # work that belongs to no step
        self._count = 0
        self.source: SourceInfo | None = None
        self.failure = ""  # of the command that failed, in BuildKit's words
        self._definition = ""

    @contextmanager
    def doing(self, name: str) -> Iterator[Doing]:
        vertex = self._begin(name)
        try:
            yield vertex
        except OnggiError as error:
            vertex.end(error=problem.place_of(error.message)[0])
            raise
        except BaseException:
            vertex.end(error="canceled")
            raise
        vertex.end()

    def _begin(self, name: str) -> Doing:
        self._count += 1
        text = f"{self._ref} {self._count} {name}".encode(errors="replace")
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        self._definition = self._definition or digest
        return Doing(self._feed, digest, name)

    def report(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._settle()
                if event.in_stage[1]:  # BuildKit has no vertex for mere configuration
                    self._steps[event.number] = self._begin(_name(event))
            case StepOutput(number, data, stream):
                if number in self._steps:
                    self._steps[number].log(data, stream)
            case StepFinished():
                if event.number in self._steps:
                    self._steps.pop(event.number).end(cached=event.cached)
            case StepFailed(_, code, command):
                words = f'process "{command}" did not complete successfully: exit code: {code}'
                self.failure = words
            case Layer():
                self._layer(event)
            case Message(text):
                self._working().log(f"{text}\n".encode(errors="replace"), 1)
            case Warning(text):
                self._warn(text)
            case PushResult():
                self._working().done(f"pushed {event.tag}: {event.digest}")

    def _layer(self, event: Layer) -> None:
        self._working().progress(
            event.id,
            event.current_bytes,
            event.total_bytes,
            name=f"{event.id} {event.action.lower()}",
            ended=event.action in _ENDED_LAYERS,
        )

    def _working(self) -> Doing:
        """What is told between steps: images that come or go."""
        if self._aside is None:
            self._aside = self._begin("[internal] transfer images")
        return self._aside

    def _settle(self) -> None:
        if self._aside is not None:
            self._aside.end()
            self._aside = None

    def _warn(self, text: str) -> None:
        match = _FINDING.fullmatch(text)
        line = int(match[1]) if match else 0
        warning = VertexWarning(
            vertex=self._definition, level=1, short=text.encode(errors="replace")
        )
        if line and self.source is not None:
            warning.info.CopyFrom(self.source)
            warning.ranges.append(_range(line))
        self._feed.tell(StatusResponse(warnings=[warning]))

    def failed(self, message: str) -> None:
        """What is at work has ended with this; what waited has been given up."""
        self._settle()
        steps, self._steps = self._steps, {}
        for index, number in enumerate(sorted(steps)):
            steps[number].end(error=message if index == 0 else "canceled")

    def finished(self) -> None:
        self._settle()


def _range(line: int) -> Range:
    return Range(start=Position(line=line), end=Position(line=line))


def _name(event: StepStarted) -> str:
    number, total = event.in_stage
    return f"[{event.place}{number}/{total}] {event.text}"
