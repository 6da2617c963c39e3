"""gRPC on HTTP/2 streams: messages in frames of five bytes and more, a status at the end.

A server's method takes an `Incoming`; a client makes calls with `Caller`. Messages are bytes here.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, unquote

from ...errors import OnggiError
from ...httpd.exchange import Gone
from .http2 import Channel, Headers, Stream, first
from .messages_pb2 import Any, Status

MAX_MESSAGE = 16 << 20
OK, CANCELLED, UNKNOWN, NOT_FOUND, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 1, 2, 5, 12, 13, 14
_CONTENT = ("content-type", "application/grpc")


class Failed(OnggiError):
    """What a call ended with, other than well."""

    def __init__(self, code: int, message: str, details: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.details = tuple(details)


class Messages:
    """Whole messages of a stream's bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """None at the end. Raises Failed for what is no message, Gone."""
        while len(self._buffer) < 5:
            if not self._more():
                if self._buffer:
                    raise Failed(INTERNAL, "a message was cut short")
                return None
        if self._buffer[0]:
            raise Failed(UNIMPLEMENTED, "compressed messages are not supported")
        size = int.from_bytes(self._buffer[1:5], "big")
        if size > MAX_MESSAGE:
            raise Failed(8, f"a message of {size} bytes is larger than {MAX_MESSAGE}")
        while len(self._buffer) < 5 + size:
            if not self._more():
                raise Failed(INTERNAL, "a message was cut short")
        message = bytes(self._buffer[5 : 5 + size])
        del self._buffer[: 5 + size]
        return message

    def _more(self) -> bool:
        data = self._stream.read()
        self._buffer += data
        return bool(data)


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


# -- the server's side


class Incoming:
    """A call that a client makes."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._messages = Messages(stream)

    def metadata(self, name: str) -> str:
        return first(self.stream.headers, name)

    def receive(self) -> bytes | None:
        return self._messages.next()

    def one(self) -> bytes:
        """The message of a call that has one."""
        message = self.receive()
        if message is None:
            raise Failed(INTERNAL, "the request has no message")
        return message

    def send(self, message: bytes) -> None:
        self.stream.write(framed(message))


Method = Callable[[Incoming], None]


def serve(stream: Stream, methods: Mapping[str, Method], fault: Callable[[], None]) -> None:
    """Answer one call. `fault` is told of an exception that is no OnggiError, inside its handler.
    Raises Gone."""
    method = methods.get(first(stream.headers, ":path"))
    stream.begin([(":status", "200"), _CONTENT])
    try:
        if method is None:
            path = first(stream.headers, ":path")[:200]
            raise Failed(UNIMPLEMENTED, f"unknown method {path}")
        method(Incoming(stream))
    except Failed as error:
        status = Status(code=error.code, message=error.message, details=error.details)
    except OnggiError as error:
        status = Status(code=UNKNOWN, message=error.message)
    except Gone as error:
        if stream.lost:
            raise
        status = Status(code=UNAVAILABLE, message=f"the client's session has ended: {error}")
    except Exception:  # an entry loop: a fault of ours must not end the server
        fault()
        status = Status(code=INTERNAL, message="internal error: see the server's log")
    else:
        status = Status()
    stream.begin(_trailers(status), end=True)


def _trailers(status: Status) -> Headers:
    trailers = [("grpc-status", str(status.code))]
    if status.message:
        trailers.append(
            ("grpc-message", quote(status.message[:8192], safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}~"))
        )
    if status.details:
        encoded = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
        trailers.append(("grpc-status-details-bin", encoded))
    return trailers


# -- the client's side


class Outgoing:
    """A call of ours."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._messages = Messages(stream)

    def send(self, message: bytes) -> None:
        """Raises Gone, and Failed when the peer has said why it takes no more."""
        try:
            self._stream.write(framed(message))
        except Gone:
            if self._stream.ended:
                self._check()
            raise

    def end(self) -> None:
        """We have no more to say. Raises Gone."""
        self._stream.end()

    def close(self) -> None:
        """We have no more to say, which the peer may not care for any more."""
        try:
            self._stream.end()
        except Gone:
            pass

    def receive(self) -> bytes | None:
        """The next message; None when the call has ended well. Raises Failed, Gone."""
        message = self._messages.next()
        if message is None:
            self._check()
        return message

    def give_up(self) -> None:
        self._stream.reset()

    def _check(self) -> None:
        last = self._stream.trailers or self._stream.headers
        text = first(last, "grpc-status")
        if text == "0":
            return
        code = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else UNKNOWN
        details = _details(first(last, "grpc-status-details-bin"))
        raise Failed(code, unquote(first(last, "grpc-message")) or "no status", details)


class Caller:
    """Makes calls on a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def call(self, path: str, metadata: Headers | None = None) -> Outgoing:
        """Raises Gone."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            _CONTENT,
            ("te", "trailers"),
            *(metadata or ()),
        ]
        return Outgoing(self._channel.open(headers))

    def ask(self, path: str, message: bytes) -> bytes:
        """One message for one. Raises Failed, Gone."""
        call = self.call(path)
        call.send(message)
        call.close()  # it may have been answered already
        answer = call.receive()
        if answer is None:
            raise Failed(INTERNAL, f"{path} was answered with nothing")
        if call.receive() is not None:
            call.give_up()
            raise Failed(INTERNAL, f"{path} was answered more than once")
        return answer


def _details(text: str) -> list[Any]:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4))
        return list(Status.FromString(data).details)
    except (binascii.Error, ValueError):
        return []
