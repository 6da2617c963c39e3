"""From an exchange to a handler and back: version, route, errors, headers, the access log.

The only place where an error becomes an HTTP status.
"""

import time
import traceback
from collections.abc import Callable, Mapping

from .. import __version__
from ..errors import Forbidden, InvalidInput, OnggiError
from ..httpd.exchange import Exchange, Gone
from ..httpd.strict import Refused
from ..spec.jsontext import canonical
from ..typed import TYPE_CHECKING
from . import access
from .call import Answer, Call, Version, json_answer
from .decode import Query, parse_query
from .metrics import CONTENT_TYPE, Counters
from .route import NEWEST, OLDEST, Found, Route, Table, split_path, version_of
from .routes import all_routes
from .shared import Shared

if TYPE_CHECKING:
    from ..engine.engine import Engine

SERVER = f"Onggi/{__version__} (linux)"
HEADERS = (
    ("Api-Version", f"{NEWEST[0]}.{NEWEST[1]}"),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", SERVER),
)
READ_ONLY = "read-only"  # the label of a listener
Log = Callable[[str], None]


class Service:
    """`log` gets a line for each request and each fault of ours. With `counters`, GET /metrics
    shows them. `hosts` are the names that a request on TCP may be for, `sockets` the paths of our
    own."""

    def __init__(
        self,
        engine: "Engine",
        *,
        log: Log,
        hosts: frozenset[str] = frozenset(),
        counters: Counters | None = None,
        sockets: frozenset[str] = frozenset(),
    ) -> None:
        self._engine = engine
        self._shared = Shared(engine.execs.notes, sockets, self._fault)
        extra = (Route("GET", "/metrics", self._metrics),) if counters else ()
        self._table = Table((*all_routes(), *extra))
        self._log = log
        self._hosts = hosts
        self._counters = counters

    def handle(self, exchange: Exchange) -> None:
        """Answer one request. Raises Gone, and Refused for what is wrong with its body's framing;
        the connection ends then."""
        started = time.monotonic()
        operation = "unknown"
        call = self._call(exchange, NEWEST, {}, Query())
        try:
            found, call = self._routed(exchange)
            operation = found.route.operation
            answer = found.route.handler(call)
        except OnggiError as error:
            answer = self._failed(exchange, error)
        except (Gone, Refused):
            raise
        except Exception:  # an entry loop: a fault of ours must not end the server
            self._fault()
            answer = self._failed(exchange, OnggiError("internal error: see the server's log"))
        finally:
            if exchange.status:
                self._finished(exchange, operation, exchange.status, started)
        if answer is not None:  # whoever has read it finds it in the log
            self._finished(exchange, operation, answer.status, started)
            call.answer(answer)

    def _fault(self) -> None:
        self._log("fault " + repr(traceback.format_exc()))

    def _routed(self, exchange: Exchange) -> tuple[Found, Call]:
        request = exchange.request
        self._check_origin(exchange)
        path, _, query = request.target.partition("?")
        text, segments = version_of(split_path(path))
        version = _checked(text)
        if request.label == READ_ONLY and (
            request.method not in ("GET", "HEAD") or segments[-1:] == ["ws"]
        ):
            raise Forbidden("this socket only answers what changes nothing")
        found = self._table.find(request.method, segments)
        if found is None or found.route.since > version:
            raise PageNotFound("page not found")
        return found, self._call(exchange, version, found.params, parse_query(query))

    def _call(
        self, exchange: Exchange, version: Version, params: Mapping[str, str], query: Query
    ) -> Call:
        return Call(self._engine, exchange, version, params, query, HEADERS, self._shared)

    def _check_origin(self, exchange: Exchange) -> None:
        """On TCP: no page of a browser may speak through its user's certificate, and no name that
        is not ours may lead here (DNS rebinding)."""
        request = exchange.request
        if request.is_local:
            return
        if request.header("origin"):
            raise WrongOrigin("requests with an Origin header are not served")
        if access.host_of(request.header("host")) not in self._hosts:
            raise WrongHost(f"misdirected request: no host of ours: {request.header('host')}")

    def _failed(self, exchange: Exchange, error: OnggiError) -> Answer | None:
        if exchange.status:  # in the middle of a stream: only cutting it can tell
            raise Gone(error.message)
        if error.http_status == 304:
            return Answer(304)
        return json_answer({"message": error.message}, error.http_status)

    def _finished(self, exchange: Exchange, operation: str, status: int, started: float) -> None:
        seconds = time.monotonic() - started
        self._log(access.line(exchange.request, status, seconds))
        if self._counters is not None:
            self._counters.count(operation, status, seconds)

    def _metrics(self, call: Call) -> Answer:
        assert self._counters is not None  # else there is no such route
        return Answer(200, self._counters.text(self._engine).encode(), CONTENT_TYPE)


class PageNotFound(OnggiError):
    http_status = 404


class WrongOrigin(OnggiError):
    http_status = 403


class WrongHost(OnggiError):
    http_status = 421


def refusal(refused: Refused) -> bytes:
    """The whole answer to a request that could not be read."""
    from http import HTTPStatus

    body = canonical({"message": refused.message}) + b"\n"
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        *(f"{name}: {value}" for name, value in HEADERS),
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _checked(text: str) -> Version:
    """The version asked for. Raises InvalidInput with docker's words for one that we lack."""
    if not text:
        return NEWEST
    major, _, minor = text.partition(".")
    asked = (int(major), int(minor))
    if asked < OLDEST:
        raise InvalidInput(
            f"client version {text} is too old. Minimum supported API version is "
            f"{OLDEST[0]}.{OLDEST[1]}, please upgrade your client to a newer version"
        )
    if asked > NEWEST:
        raise InvalidInput(
            f"client version {text} is too new. Maximum supported API version is "
            f"{NEWEST[0]}.{NEWEST[1]}"
        )
    return asked
