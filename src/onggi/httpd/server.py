"""Serving connections: a thread each, bounded in number, a deadline for every head, a graceful end.

A connection's thread ends with its connection; the accepting thread is the caller's.
"""

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable

from ..typed import NamedTuple
from .exchange import BLOCK, Exchange, Gone
from .strict import Refused, end_of_head

HEAD_DEADLINE_S = 30.0
IDLE_S = 300.0
LINGER_S = 2.0
MAX_CONNECTIONS = 1024
BACKLOG = 512
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))

Handler = Callable[[Exchange], None]  # answers the exchange; raises Refused, Gone
Refuse = Callable[[Refused], bytes]  # the whole answer to a request that could not be read


class Listener(NamedTuple):
    """A listening socket; with `tls` its connections are wrapped. `label` comes with each of their
    requests."""

    server: socket.socket
    tls: ssl.SSLContext | None = None
    label: str = ""


class Server:
    """`run` serves until `stop`, which any thread or a signal handler may call."""

    def __init__(
        self,
        listeners: Iterable[Listener],
        handler: Handler,
        refuse: Refuse,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listeners = list(listeners)
        self._handler = handler
        self._refuse = refuse
        self._max = max_connections
        self._lock = threading.Lock()
        self._active: set[_Connection] = set()
        self._ended = threading.Condition(self._lock)
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.stopping = False

    @property
    def connections(self) -> int:
        return len(self._active)

    def stop(self) -> None:
        self.stopping = True
        try:
            os.write(self._wake_writer, b".")
        except BlockingIOError:
            pass

    def run(self, *, grace_s: float = 10.0) -> None:
        """Accept until `stop`; then let answers under way finish for `grace_s`, and cut the rest:
        streams that would never end."""
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        by_fd = {listener.server.fileno(): listener for listener in self._listeners}
        for fd in by_fd:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        while not self.stopping:
            for fd, _event in poll.poll():
                if fd in by_fd:
                    self._accept(by_fd[fd])
        self._close(grace_s)

    def _accept(self, listener: Listener) -> None:
        try:
            connection, address = listener.server.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(0.05)  # no descriptors: those of ending connections come free
            return
        if len(self._active) >= self._max:
            _last_words(connection, self._refuse(Refused(503, "too many connections")))
            return
        peer = ""
        if connection.family != socket.AF_UNIX:
            peer = str(address[0])
            _keep_alive(connection)
        started = _Connection(self, connection, listener, peer)
        with self._lock:
            self._active.add(started)
        try:
            threading.Thread(target=started.serve, daemon=True).start()
        except RuntimeError:  # no thread to be had
            self.ended(started)
            _last_words(connection, self._refuse(Refused(503, "cannot start a thread")))

    def handle(self, exchange: Exchange) -> None:
        self._handler(exchange)

    def refusal(self, refused: Refused) -> bytes:
        return self._refuse(refused)

    def ended(self, connection: "_Connection") -> None:
        with self._lock:
            self._active.discard(connection)
            self._ended.notify_all()

    def _close(self, grace_s: float) -> None:
        for listener in self._listeners:
            listener.server.close()
        deadline = time.monotonic() + grace_s
        with self._lock:
            for connection in self._active:
                if connection.idle:
                    connection.cut()
            while self._active and (left := deadline - time.monotonic()) > 0:
                self._ended.wait(left)
            for connection in self._active:
                connection.cut()
            self._ended.wait_for(lambda: not self._active, timeout=2.0)
        os.close(self._wake_reader)
        os.close(self._wake_writer)


class _Connection:
    def __init__(
        self,
        server: Server,
        connection: socket.socket,
        listener: Listener,
        peer: str,
    ) -> None:
        self._server = server
        self._connection = connection
        self._tls = listener.tls
        self._label = listener.label
        self._peer = peer
        self._buffered = bytearray()
        self.idle = True

    def serve(self) -> None:
        """The thread's whole life."""
        try:
            self._connection.settimeout(HEAD_DEADLINE_S)
            if self._tls is not None:
                self._connection = self._tls.wrap_socket(self._connection, server_side=True)
            while not self._server.stopping and self._serve_one():
                self.idle = True
        except (Gone, OSError):
            pass  # the peer's business
        except Refused as refused:
            _last_words(self._connection, self._server.refusal(refused))
        finally:
            self._connection.close()
            self._server.ended(self)

    def _serve_one(self) -> bool:
        head = self._head()
        if not head:
            return False
        self.idle = False
        exchange = Exchange(self._connection, self._buffered, head, self._peer, self._label)
        try:
            self._server.handle(exchange)
        except Refused:
            if exchange.status:
                return False  # in the middle of an answer: nothing but the end can tell
            raise
        goes_on = exchange.finish()
        if not goes_on and not exchange.hijacked:
            _linger(self._connection)
        return goes_on

    def _head(self) -> bytes:
        """The next request's head; b"" when the peer has left between two requests. A peer may be
        silent between requests for long, but not within a head."""
        deadline = 0.0
        while not (end := end_of_head(self._buffered)):
            if self._buffered and not deadline:
                deadline = time.monotonic() + HEAD_DEADLINE_S
            left = deadline - time.monotonic() if deadline else IDLE_S
            self._connection.settimeout(max(left, 0.001))
            try:
                data = self._connection.recv(BLOCK)
            except TimeoutError as error:
                if not self._buffered:
                    return b""
                raise Refused(408, "the request's head did not come in time") from error
            if not data:
                return b""
            self._buffered += data
            while self._buffered[:2] == b"\r\n":  # RFC 9112, 2.2: empty lines before a request
                del self._buffered[:2]
        head = bytes(self._buffered[:end])
        del self._buffered[:end]
        return head

    def cut(self) -> None:
        """From another thread: whatever it waits for fails now."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _last_words(connection: socket.socket, answer: bytes) -> None:
    """An answer to a peer that may still be sending: closed so that it can read it."""
    try:
        connection.settimeout(LINGER_S)
        connection.sendall(answer)
        _linger(connection)
    except OSError:
        pass
    finally:
        connection.close()


def _linger(connection: socket.socket) -> None:
    """Take what the peer is still sending, for a moment: closed at once, the kernel would throw our
    answer away before it is read."""
    try:
        connection.settimeout(LINGER_S)
        connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_S
        while time.monotonic() < deadline and connection.recv(BLOCK):
            pass
    except OSError:
        pass


def _keep_alive(connection: socket.socket) -> None:
    """A peer whose host has vanished is found out within a minute."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
