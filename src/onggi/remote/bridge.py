"""Docker's streams to ours: what a monitor is for a container here, a thread is for one there.

relay <── our frames (streams) ──> socketpair <── Bridge ──> the hijacked connection
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial

from ..errors import OnggiError
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..streams import CLOSE_STDIN, EXITED, RESIZE, STDIN, STDOUT, FrameDecoder, frame
from ..typed import TypeVar

T = TypeVar("T")
BLOCK = 1 << 16
Resize = Callable[[int, int], None]


def attached(
    stream: socket.socket,
    early: bytes,
    *,
    tty: bool,
    stdin: bool,
    resize: Resize,
    exit_code: Callable[[], int | None],
) -> Attachment:
    """An attachment as an engine here gives it. `exit_code` waits for the end and tells it; it is
    asked when the streams have ended."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    bridge = _Bridge(_Wire(stream), theirs, tty, resize, exit_code)
    threading.Thread(target=bridge.output, args=(early,), daemon=True).start()
    threading.Thread(target=bridge.input, daemon=True).start()
    return Attachment(mine, OUTPUT | (INPUT if stdin else 0))


class _Wire:
    """A connection that one thread reads while another writes. TLS is not made for that: one of
    them is in it at a time, and nobody waits in there."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        if self._tls is not None:
            connection.setblocking(False)

    def receive(self) -> bytes:
        if self._tls is None:
            return self._connection.recv(BLOCK)
        tls = self._tls
        return self._patiently(lambda: tls.recv(BLOCK))

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self._connection.sendall(data)
            return
        tls, sent = self._tls, 0
        while sent < len(data):
            rest = data[sent:]
            sent += self._patiently(partial(tls.send, rest))

    def end(self) -> None:
        """We have nothing more to say; the other side may go on."""
        if self._tls is None:
            self._connection.shutdown(socket.SHUT_WR)
            return
        with self._lock:
            try:
                self._tls.unwrap()  # sends close_notify; the answer to it is read as the end
            except (ssl.SSLError, OSError):
                pass

    def _patiently(self, act: Callable[[], T]) -> T:
        while True:
            with self._lock:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    events = select.POLLIN
                except ssl.SSLWantWriteError:
                    events = select.POLLOUT
            poll = select.poll()
            poll.register(self._connection, events)
            poll.poll()


class _Bridge:
    def __init__(
        self,
        stream: _Wire,
        ours: socket.socket,
        tty: bool,
        resize: Resize,
        exit_code: Callable[[], int | None],
    ) -> None:
        self._stream = stream
        self._ours = ours
        self._tty = tty
        self._resize = resize
        self._exit_code = exit_code

    def output(self, early: bytes) -> None:
        """From the engine to us, until it ends; then the exit code."""
        decoder = FrameDecoder(max_frame=1 << 31)
        try:
            data = early or self._stream.receive()
            while data:
                if self._tty:
                    self._ours.sendall(frame(STDOUT, data))
                else:
                    for kind, payload in decoder.feed(data):
                        for start in range(0, len(payload), BLOCK):
                            self._ours.sendall(frame(kind, payload[start : start + BLOCK]))
                data = self._stream.receive()
        except OSError:
            pass  # either side has gone
        try:
            code = self._exit_code()
            if code is not None:
                self._ours.sendall(frame(EXITED, str(code).encode()))
        except (OnggiError, OSError):
            pass  # the reader sees an end without a code
        self._ours.shutdown(socket.SHUT_WR)

    def input(self) -> None:
        """From us to the engine, until we close."""
        decoder = FrameDecoder()
        try:
            while data := self._ours.recv(BLOCK):
                for kind, payload in decoder.feed(data):
                    self._pass(kind, payload)
        except (OSError, OnggiError):
            pass  # the end is told by the other direction

    def _pass(self, kind: int, payload: bytes) -> None:
        if kind == STDIN:
            self._stream.send(payload)
        elif kind == CLOSE_STDIN:
            self._stream.end()
        elif kind == RESIZE:
            rows, columns = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:], "big")
            self._resize(rows, columns)
