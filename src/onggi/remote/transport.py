"""HTTP to an engine: one connection a request, over a socket, TLS or ssh.

Errors of the engine come back as ours, chosen by status; docker's texts are kept.
"""

import http.client
import json
import shlex
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote, urlencode

from .. import errors
from ..errors import InvalidInput, OnggiError, Unavailable
from ..linux import tools
from ..typed import Any
from .address import Address, Tls

NEWEST, OLDEST = (1, 51), (1, 24)
BLOCK = 1 << 16
CONNECT_TIMEOUT_S = 30
Query = Mapping[str, Any]  # None is left out, a tuple is the parameter several times
Body = bytes | Iterable[bytes] | None
_BY_STATUS = {
    kind.http_status: kind
    for kind in (
        errors.InvalidInput, errors.Unauthorized, errors.Forbidden, errors.NotFound,
        errors.NotModified, errors.Conflict, errors.Unsupported, errors.Unavailable,
    )
}  # fmt: skip


class Connection(http.client.HTTPConnection):
    """A connection whose socket somebody else opens."""

    def __init__(self, host: str, open_socket: Callable[[], socket.socket]) -> None:
        super().__init__(host)
        self._open_socket = open_socket

    def connect(self) -> None:
        self.sock = self._open_socket()


class Transport:
    def __init__(self, address: Address, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is what ssh gets."""
        self.address = address
        self._environ = environ or {}
        self._version = ""

    def json(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The answer's document; None for an empty one. `body` is sent as JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with self.answer(method, path, query, data, headers) as response:
            text = response.read()
        return json.loads(text) if text.strip() else None

    def answer(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """An answer that can be read; closing it ends the connection. Raises what the engine says,
        Unavailable when there is none."""
        connection = self._connection()
        try:
            try:
                connection.request(
                    method, self._target(path, query), body, dict(headers or {}),
                    encode_chunked=body is not None and not isinstance(body, bytes),
                )  # fmt: skip
            except (BrokenPipeError, ConnectionResetError):
                if body is None or isinstance(body, bytes):
                    raise
                # it wants no more of a long body, and may have said why
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        if response.status >= 300:
            with response:
                raise error_of(response.status, response.read())
        return response

    def documents(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """JSON documents, a line each, as they come."""
        with self.answer(method, path, query, body, headers) as response:
            for line in iter(response.readline, b""):
                if line.strip():
                    yield json.loads(line)

    def hijack(
        self, path: str, query: Query | None = None, body: Any = None
    ) -> tuple[socket.socket, bytes]:
        """A POST whose connection becomes a stream: the socket, and what has come already."""
        connection = self._connection()
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
        try:
            connection.request("POST", self._target(path, query), data, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        if response.status not in (101, 200):
            with response:
                raise error_of(response.status, response.read())
        wire = connection.sock
        wire.setblocking(False)
        try:
            early = response.fp.peek()
        except (BlockingIOError, ssl.SSLWantReadError):
            early = b""
        wire.setblocking(True)
        return wire, bytes(early)

    @property
    def version(self) -> str:
        """The newest version that both sides speak: "1.47"."""
        if not self._version:
            connection = self._connection()
            try:
                connection.request("GET", "/_ping")
                with connection.getresponse() as response:
                    response.read()
                    told = response.headers.get("Api-Version", "1.24")
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            major, _, minor = told.partition(".")
            newest = min((int(major), int(minor)), NEWEST)
            if newest < OLDEST:
                raise Unavailable(f"the engine at {self.address} speaks only API {told}")
            self._version = f"{newest[0]}.{newest[1]}"
        return self._version

    def _target(self, path: str, query: Query | None) -> str:
        found = [
            (name, _text(item))
            for name, value in (query or {}).items()
            for item in (value if isinstance(value, tuple) else (value,))
            if item is not None
        ]
        return f"/v{self.version}{path}" + (f"?{urlencode(found)}" if found else "")

    def _connection(self) -> Connection:
        host = "docker" if self.address.kind == "unix" else self.address.place
        return Connection(host, self._open)

    def _open(self) -> socket.socket:
        kind, place = self.address.kind, self.address.place
        if kind == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.connect(place)
            except OSError:
                made.close()
                raise
            return made
        if kind == "ssh":
            return _through_ssh(self.address, self._environ)
        host, _, port = place.rpartition(":")
        plain = socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S)
        plain.settimeout(None)
        if self.address.tls is None:
            return plain
        return _tls(self.address.tls).wrap_socket(plain, server_hostname=host.strip("[]"))

    def _unreachable(self, error: Exception) -> OnggiError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unavailable(
            f"Cannot connect to the engine at {self.address}: {reason.lower()}",
            hint="is `onggi serve` (or dockerd) running there?",
        )


def escaped(name: str) -> str:
    """A name as one or more segments of a path."""
    return quote(name, safe="/:@")


def error_of(status: int, body: bytes) -> OnggiError:
    """Ours for an answer that is an error."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace").strip() or f"HTTP status {status}"
    # Docker's client decides by these texts too, and has nothing better.
    if "unable to start container process" in message:
        if "executable file not found" in message or "no such file or directory" in message:
            return errors.CommandNotFound(message)
        if "permission denied" in message or "is a directory" in message:
            return errors.CommandNotExecutable(message)
    return _BY_STATUS.get(status, OnggiError)(message)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value)


def _tls(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.authority or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"could not load the TLS files: {error}") from error
    return context


def _through_ssh(address: Address, environ: Mapping[str, str]) -> socket.socket:
    """docker's way: ssh runs the program there that connects its streams to the socket. It has no
    terminal to ask at: keys only."""
    words = shlex.split(environ.get("ONGGI_SSH") or "ssh")
    words[0] = tools.find(words[0])
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    port = ["-p", str(address.port)] if address.port else []
    there = "if command -v onggi >/dev/null 2>&1; then exec onggi system dial-stdio; fi; "
    there += "exec docker system dial-stdio"
    with theirs:
        tools.start(
            [*words, "-T", *port, "-o", "ConnectTimeout=30", "--", address.place, there],
            {0: theirs.fileno(), 1: theirs.fileno()},
            env=environ,
        )
    return mine
