"""One request and its answer on a connection, as a handler sees it. Blocking.

    exchange.body(limit)                 the whole body
    exchange.read()                      its next piece, b"" at the end
    exchange.reply(status, headers, b)   a whole answer
    exchange.begin(status, headers)      a chunked one: write(data) sends at once, end()
    exchange.hijack(status, …)           the bare connection, for ever

Knows nothing of what is served.
"""

import select
import socket
from collections.abc import Iterable, Mapping

import h11

from ..typed import NamedTuple
from .strict import ChunkGuard, Refused, check_head

Header = tuple[str, str]
BLOCK = 64 << 10
MAX_UNASKED = 64 << 10  # of a body in front of a stream
BODY_STALL_S = 300.0


class Gone(Exception):
    """The peer has left, or takes nothing any more."""


class Request(NamedTuple):
    """`target` is as sent; header names are lower case, the values of a repeated one joined."""

    method: str
    target: str
    headers: Mapping[str, str]
    http_version: str
    peer: str = ""  # its address, "" on a unix socket
    is_local: bool = True  # came by a unix socket
    label: str = ""  # of the listener

    def header(self, name: str, default: str = "") -> str:
        return self.headers.get(name.lower(), default)


class Raw(NamedTuple):
    """A hijacked connection. `pending` are bytes of the stream that have come already."""

    connection: socket.socket
    pending: bytes


class Exchange:
    def __init__(
        self,
        connection: socket.socket,
        buffered: bytearray,
        head: bytes,
        peer: str = "",
        label: str = "",
    ) -> None:
        """`buffered` holds what came behind the head; what is left in it afterwards belongs to the
        next request. Raises Refused."""
        self._connection = connection
        self._buffered = buffered
        self._length = check_head(head)
        self._guard = ChunkGuard() if self._length is None else None
        self._taken = 0
        self._machine = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._waits = False  # for "100 Continue"
        self._finished = False
        self.status = 0  # of the answer, 0 before it is begun
        self.hijacked = False
        self.request = self._parse(head, peer, label)

    def _parse(self, head: bytes, peer: str, label: str) -> Request:
        try:
            self._machine.receive_data(head)
            event = self._machine.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, str(error)) from error
        if not isinstance(event, h11.Request):
            raise Refused(400, "malformed request")
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("utf-8", "replace")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._waits = self._machine.they_are_waiting_for_100_continue
        return Request(
            event.method.decode("ascii"),
            event.target.decode("ascii"),
            headers,
            event.http_version.decode("ascii"),
            peer,
            self._connection.family == socket.AF_UNIX,
            label,
        )

    # -- the body

    def read(self) -> bytes:
        """The next bytes of the body; b"" at its end. Raises Refused, Gone."""
        while True:
            try:
                event = self._machine.next_event()
            except h11.RemoteProtocolError as error:
                raise Refused(400, str(error)) from error
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._finished = True
            if self._finished:
                return b""
            if event is h11.NEED_DATA:
                self._feed()

    def body(self, limit: int) -> bytes:
        """All of it. Raises Refused with 413 above `limit` bytes, before reading what is announced
        to be longer."""
        if self._length is not None and self._length > limit:
            raise Refused(413, f"the request's body is larger than {limit} bytes")
        parts = bytearray()
        while data := self.read():
            parts += data
            if len(parts) > limit:
                raise Refused(413, f"the request's body is larger than {limit} bytes")
        return bytes(parts)

    @property
    def has_body(self) -> bool:
        return self._length != 0

    def _feed(self) -> None:
        if self._waits:
            self._waits = False
            self._send(self._machine.send(h11.InformationalResponse(status_code=100, headers=[])))
        while not (ready := self._ready()):
            data = self._receive()
            if not data:
                raise Refused(400, "unexpected EOF in the request's body")
            self._buffered += data
        self._machine.receive_data(bytes(self._buffered[:ready]))
        del self._buffered[:ready]

    def _ready(self) -> int:
        """How many of the buffered bytes are the body's."""
        if self._guard is not None:
            return self._guard.take(self._buffered)
        size = min(len(self._buffered), (self._length or 0) - self._taken)
        self._taken += size
        return size

    def _receive(self) -> bytes:
        self._connection.settimeout(BODY_STALL_S)
        try:
            return self._connection.recv(BLOCK)
        except TimeoutError as error:
            raise Refused(408, "the request's body did not come in time") from error
        except OSError as error:
            raise Gone(str(error)) from error

    # -- the answer

    def reply(self, status: int, headers: Iterable[Header], body: bytes = b"") -> None:
        """A whole answer. The body of a HEAD request's answer is only counted."""
        fields = list(headers)
        if status not in (204, 304):
            fields.append(("Content-Length", str(len(body))))
        data = self._head(status, fields)
        if body and self.request.method != "HEAD" and status not in (204, 304):
            data += self._machine.send(h11.Data(data=body)) or b""
        self._send(data + (self._machine.send(h11.EndOfMessage()) or b""))

    def begin(self, status: int, headers: Iterable[Header]) -> None:
        """The head of a chunked answer, sent at once."""
        self._send(self._head(status, list(headers)))

    def write(self, data: bytes) -> None:
        """Raises Gone."""
        if data:
            self._send(self._machine.send(h11.Data(data=data)))

    def end(self) -> None:
        self._send(self._machine.send(h11.EndOfMessage()))

    def _head(self, status: int, headers: list[Header]) -> bytes:
        self.status = status
        if self._unread():
            headers.append(("Connection", "close"))
        event = h11.Response(status_code=status, headers=headers, reason=_reason(status))
        return self._machine.send(event) or b""

    def _unread(self) -> bool:
        """Whether much of the body is left: then the connection is given up rather than drained."""
        if self._finished or self._length == 0:
            return False
        rest = None if self._length is None else self._length - self._taken
        return self._waits or rest is None or rest > BLOCK

    def hijack(
        self, headers: Iterable[Header], *, whole: bytes = b"", protocol: str = "tcp"
    ) -> Raw:
        """Give the connection up to the handler: after 101 for a client that asks for an upgrade to
        `protocol`, else after the 200 of docker's first clients, whose body never ends; or after
        `whole`, an answer as it is. A small body that nobody asked for is passed over: dockerode
        sends its parameters twice. Raises Refused for a large one."""
        left = MAX_UNASKED
        while data := self.read():
            left -= len(data)
            if left < 0:
                raise Refused(400, "a stream cannot begin before the end of the request's body")
        asks = "upgrade" in self.request.header("connection").lower()
        upgrade = bool(whole) or (asks and bool(self.request.header("upgrade")))
        lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK"]
        lines += [f"{name}: {value}" for name, value in headers]
        if upgrade:
            lines += ["Connection: Upgrade", f"Upgrade: {protocol}"]
        self.hijacked = True
        self.status = 101 if upgrade else 200
        self._send(whole or "\r\n".join([*lines, "", ""]).encode("latin-1"))
        pending = bytes(self._buffered)
        self._buffered.clear()
        return Raw(self._connection, pending)

    def _send(self, data: bytes | None) -> None:
        if not data:
            return
        self._connection.settimeout(None)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    # -- between requests, and the other end

    def finish(self) -> bool:
        """Read what is left of the body; whether the connection serves another request."""
        if self.hijacked or self._machine.our_state is not h11.DONE:
            return False
        try:
            while not self._finished and self.read():
                pass
            self._machine.start_next_cycle()
        except (Refused, Gone, h11.LocalProtocolError):
            return False
        return True

    def fileno(self) -> int:
        """To poll for the peer's leaving, beside what a handler waits for."""
        return self._connection.fileno()

    def is_gone(self) -> bool:
        """Whether the peer has left. One that only has no more to say counts: nobody who waits for
        an answer shuts its side down."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | select.POLLRDHUP)
        for _fd, event in poll.poll(0):
            if event & (select.POLLHUP | select.POLLERR | select.POLLRDHUP):
                return True
        return False


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
