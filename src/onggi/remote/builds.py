"""Builds of an engine elsewhere: docker's classic builder, and its cache."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..errors import InvalidInput, Unavailable
from ..progress import (
    Event,
    Report,
    StepFailed,
    StepFinished,
    StepOutput,
    StepStarted,
    Warning,
)
from ..registry.credentials import Credentials
from ..typed import Any, NamedTuple
from . import registryauth
from .images import filters_json, report_progress
from .transport import Query, Transport

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*?)\n?", re.DOTALL)
_RESULT = re.compile(r"( ---> Using cache\n)? ---> ([0-9a-f]{12,64})\n")
_BUILT = re.compile(r"Successfully built ([0-9a-f]{12,64})\n")
_CACHED = " ---> Using cache\n"
_WARNING = "[Warning] "
_OF_DOCKER = (" ---> Running in ", " ---> Removed intermediate container ",
              "Removing intermediate container ", "Successfully tagged ")  # fmt: skip


class Built(NamedTuple):
    image_id: str
    steps: int
    cached_steps: int


class Pruned(NamedTuple):
    ids: Sequence[str]
    reclaimed_bytes: int


class Builds:
    def __init__(self, transport: Transport, credentials: Credentials | None = None) -> None:
        self._transport = transport
        self._credentials = credentials

    def build(self, query: Query, context: Iterable[bytes] | None, report: Report) -> Built:
        """`query` has the parameters of POST /build. Raises InvalidInput for what fails."""
        headers = {"Content-Type": "application/x-tar", **registryauth.for_all(self._credentials)}
        if context is not None:
            headers["Transfer-Encoding"] = "chunked"
        lines = Lines()
        body = b"" if context is None else context
        for told in self._transport.documents("POST", "/build", query, body, headers):
            for event in lines.events(told):
                report(event)
            if told.get("status"):
                report_progress(told, report)
            if "error" in told:
                raise InvalidInput(str(told["error"]))
        if not lines.image_id:
            raise Unavailable("the engine ended the build without an image")
        return Built(lines.image_id, lines.started, lines.cached)

    def prune(self, query: Query, filters: Mapping[str, Sequence[str]]) -> Pruned:
        asked = {**query, "filters": filters_json(filters)}
        told = self._transport.json("POST", "/build/prune", asked)
        return Pruned(told.get("CachesDeleted") or (), told.get("SpaceReclaimed") or 0)


class Lines:
    """The classic builder's stream as events of a build here. Pure. What it prints of its own
    containers, which we have none of, is left out."""

    def __init__(self) -> None:
        self.image_id = ""
        self.started = 0
        self.cached = 0
        self._open: list[int] = []  # steps at work; which of them printed something is not told
        self._cached = False
        self._after_step = False

    def events(self, told: Mapping[str, Any]) -> Iterator[Event]:
        if told.get("aux") and "ID" in told["aux"]:
            self.image_id = str(told["aux"]["ID"])
        if "error" in told:
            status = (told.get("errorDetail") or {}).get("code") or 0
            yield StepFailed(self._number, int(status))
        text = str(told.get("stream") or "")
        if text:
            yield from self._of_text(text)

    @property
    def _number(self) -> int:
        return self._open[-1] if self._open else self.started

    def _of_text(self, text: str) -> Iterator[Event]:
        after_step, self._after_step = self._after_step, False
        if step := _STEP.fullmatch(text):
            number, total = int(step[1]), int(step[2])
            self.started += 1
            self._open.append(number)
            self._after_step = not text.endswith("\n")
            yield StepStarted(number, total, step[3])
        elif text == "\n" and after_step:
            return  # docker ends a step's line separately
        elif text == _CACHED:
            self._cached = True
        elif result := _RESULT.fullmatch(text):
            yield self._finished(result[2], cached=bool(result[1]) or self._cached)
        elif built := _BUILT.fullmatch(text):
            self.image_id = self.image_id or built[1]
        elif text.startswith(_WARNING):
            yield Warning(text.removeprefix(_WARNING).rstrip("\n"))
        elif not text.startswith(_OF_DOCKER):
            yield StepOutput(self._number, text.encode("utf-8", "surrogateescape"))

    def _finished(self, image: str, *, cached: bool) -> StepFinished:
        number = self._number
        if self._open:
            self._open.pop()
        self.cached += cached
        self._cached = False
        return StepFinished(number, image[:12], cached)
