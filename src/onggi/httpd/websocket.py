"""A WebSocket on a hijacked connection, as one side of a byte stream. wsproto frames."""

import socket

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from .exchange import Exchange, Header
from .strict import Refused


def accept(exchange: Exchange, headers: list[Header]) -> tuple[socket.socket, bytes, "Codec"]:
    """Shake hands: the connection, bytes that have come already, and what reads and writes them.
    Raises Refused for what is no WebSocket request."""
    given = [(name.encode(), value.encode()) for name, value in exchange.request.headers.items()]
    machine = WSConnection(ConnectionType.SERVER)
    try:
        machine.initiate_upgrade_connection(given, exchange.request.target)
        events = list(machine.events())
        if not events or not isinstance(events[0], Request):
            raise Refused(400, "not a websocket handshake")
        extra = [(name.encode(), value.encode()) for name, value in headers]
        answer = machine.send(AcceptConnection(extra_headers=extra))
    except ProtocolError as error:
        raise Refused(400, f"not a websocket handshake: {error}") from error
    raw = exchange.hijack([], whole=answer)
    return raw.connection, raw.pending, Codec(machine)


class Codec:
    """Bytes of the connection to bytes of the stream and back."""

    def __init__(self, machine: WSConnection) -> None:
        self._machine = machine

    def decode(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """(what the peer says, what is to be answered at once, whether it has closed)."""
        said, reply, closed = bytearray(), bytearray(), False
        try:
            self._machine.receive_data(data or None)
            for event in self._machine.events():
                if isinstance(event, BytesMessage):
                    said += event.data
                elif isinstance(event, TextMessage):
                    said += event.data.encode()
                elif isinstance(event, Ping):
                    reply += self._machine.send(event.response())
                elif isinstance(event, CloseConnection):
                    closed = True
                    reply += self._machine.send(event.response())
        except ProtocolError:
            closed = True
        return bytes(said), bytes(reply), closed or not data

    def encode(self, stream: int, data: bytes) -> bytes:
        return self._machine.send(BytesMessage(data=data))

    def goodbye(self) -> bytes:
        try:
            return self._machine.send(CloseConnection(code=1000))
        except ProtocolError:
            return b""  # closed already
