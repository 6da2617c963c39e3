"""One request as a handler of the API sees it, and what it may answer.

A handler takes a Call and returns an Answer, raises an OnggiError (its `http_status` and text go
out, once, in service.py), or has answered itself through one of the streams:

    with call.stream("application/json") as out:   chunked; out.write(bytes) is sent at once
    with call.progress() as out:                   out.report: a progress callback of the engine;
                                                   an error after the first line becomes the last
    raw = call.hijack(content_type)                the bare connection
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..errors import InvalidInput, OnggiError
from ..httpd.exchange import Exchange, Raw
from ..progress import Event
from ..spec.jsontext import canonical
from ..typed import TYPE_CHECKING, Any, NamedTuple
from . import progresslines
from .decode import MAX_JSON, Fields, Query, parse_json
from .shared import Shared

if TYPE_CHECKING:
    from ..engine.engine import Engine

Version = tuple[int, int]
Header = tuple[str, str]


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[Header, ...] = ()


def json_answer(value: Any, status: int = 200) -> Answer:
    """Docker's encoder ends a document with a line feed."""
    return Answer(status, canonical(value) + b"\n", "application/json")


EMPTY = Answer(204)


class Call:
    """`params` are the placeholders of the route's path, decoded; `version` is the API's that the
    client asked for, the newest without a prefix; `shared` is what requests have in common."""

    def __init__(
        self,
        engine: "Engine",
        exchange: Exchange,
        version: Version,
        params: Mapping[str, str],
        query: Query,
        headers: tuple[Header, ...],
        shared: Shared,
    ) -> None:
        self.engine = engine
        self.shared = shared
        self.exchange = exchange
        self.request = exchange.request
        self.version = version
        self.params = params
        self.query = query
        self._headers = headers

    def json(self, *, optional: bool = False) -> Fields:
        """The body as a JSON object. `optional`: no body at all is an empty object. Raises
        InvalidInput with docker's words."""
        kind = self.request.header("content-type")
        if optional and not self.exchange.has_body:
            return Fields(None)
        if kind.partition(";")[0].strip().lower() != "application/json":
            if not kind:
                raise InvalidInput("malformed Content-Type header (): mime: no media type")
            raise InvalidInput(
                f"unsupported Content-Type header ({kind}): must be 'application/json'"
            )
        data = self.exchange.body(MAX_JSON)
        if not data.strip():
            if optional:
                return Fields(None)
            raise InvalidInput("invalid JSON: got EOF while reading request body")
        return Fields(parse_json(data))

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes: archives."""
        while data := self.exchange.read():
            yield data

    # -- answers that do not end at once

    @contextmanager
    def stream(
        self, content_type: str, *, status: int = 200, headers: tuple[Header, ...] = ()
    ) -> Iterator["Stream"]:
        """A chunked answer that begins now. An error inside cuts it: the client sees that the last
        chunk is missing."""
        stream = Stream(self, content_type, status, headers)
        stream.begin()
        yield stream
        stream.end()

    @contextmanager
    def progress(self, content_type: str = "application/json") -> Iterator["Stream"]:
        """Lines of progress. The answer begins with the first of them: an error before is answered
        with its own status, one after it is the last line."""
        stream = Stream(self, content_type, 200, ())
        try:
            yield stream
        except OnggiError as error:
            if not stream.begun:
                raise
            stream.write(progresslines.failure(error))
        stream.end()

    def hijack(self, content_type: str) -> Raw:
        return self.exchange.hijack([("Content-Type", content_type), *self._headers])

    @property
    def headers(self) -> tuple[Header, ...]:
        """Those of every answer."""
        return self._headers

    def begin(self, status: int, content_type: str, headers: tuple[Header, ...]) -> None:
        kind = (("Content-Type", content_type),) if content_type else ()
        self.exchange.begin(status, [*self._headers, *kind, *headers])

    def answer(self, answer: Answer) -> None:
        kind = [("Content-Type", answer.content_type)] if answer.content_type else []
        self.exchange.reply(answer.status, [*self._headers, *kind, *answer.headers], answer.body)


class Stream:
    """A chunked answer, begun by its first bytes at the latest."""

    def __init__(
        self, call: Call, content_type: str, status: int, headers: tuple[Header, ...]
    ) -> None:
        self._call = call
        self._how = (status, content_type, headers)
        self.begun = False

    def begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._call.begin(*self._how)

    def write(self, data: bytes) -> None:
        """Sent at once. Raises Gone when the client has left."""
        self.begin()
        self._call.exchange.write(data)

    def json(self, value: Any) -> None:
        self.write(canonical(value) + b"\n")

    def report(self, event: Event) -> None:
        """An engine's callback."""
        self.write(progresslines.encode(event))

    def aux(self, value: dict[str, Any]) -> None:
        self.write(progresslines.aux(value))

    def end(self) -> None:
        self.begin()
        self._call.exchange.end()

    def is_gone(self) -> bool:
        return self._call.exchange.is_gone()

    def fileno(self) -> int:
        """To be polled for POLLRDHUP beside what the handler waits for."""
        return self._call.exchange.fileno()
