"""Between a client's hijacked connection and a container's streams: one poll loop, one thread.

    client -> codec -> detach keys -> frames owed to the monitor
    client <- codec <- frames of the monitor

Reads no more from one side than the other takes. A client that shuts its writing side down closes
the container's stdin; one that vanishes leaves.
"""

import os
import select
import socket
import ssl
import threading

from ..httpd.exchange import Gone
from ..monitor.attach import Attachment
from ..monitor.detachkeys import DetachScanner
from ..streams import CLOSE_STDIN, RESIZE, STDERR, STDIN, STDOUT, frame
from ..typed import Literal, Protocol

CHUNK = 1 << 16
ENOUGH = 1 << 18  # owed to one side: read no more from the other
FAREWELL_S = 30.0
QUIET_S = 0.2
End = Literal["ended", "detached", "gone"]
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Codec(Protocol):
    """How the stream lies on the connection."""

    def decode(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """(what the client says, an answer to send at once, whether it says no more)."""

    def encode(self, stream: int, data: bytes) -> bytes: ...

    def goodbye(self) -> bytes: ...


class Bare:
    """Bytes as they are; with `framed` the container's in docker's 8-byte frames."""

    def __init__(self, *, framed: bool) -> None:
        self._framed = framed

    def decode(self, data: bytes) -> tuple[bytes, bytes, bool]:
        return data, b"", not data

    def encode(self, stream: int, data: bytes) -> bytes:
        return frame(stream, data) if self._framed else data

    def goodbye(self) -> bytes:
        return b""


class Relay:
    """`run` copies until the end; then the caller says `farewell` to a client that is still there,
    or has the relay `leave` what goes on. `outputs` are the streams that the client wants. Where
    the end of its input is not the end of the container's (`closes_stdin`), it leaves with it, as
    docker has it."""

    def __init__(
        self,
        client: socket.socket,
        pending: bytes,
        codec: Codec,
        attachment: Attachment,
        *,
        stdin: bool,
        closes_stdin: bool = True,
        outputs: frozenset[int] = frozenset((STDOUT, STDERR)),
        detach_keys: bytes = b"",
    ) -> None:
        self._client = client
        self._pending = pending
        self._codec = codec
        self._attachment = attachment
        self._stdin = stdin
        self._closes_stdin = closes_stdin
        self._left = False
        self._outputs = outputs
        self._scanner = DetachScanner(detach_keys)
        self._listens = True  # to the client
        self._to_client = bytearray()
        self._to_container = bytearray()
        self._lock = threading.Lock()  # of the sizes that other threads leave
        self._sizes: list[tuple[int, int]] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def resize(self, rows: int, columns: int) -> None:
        """From another thread."""
        with self._lock:
            self._sizes.append((rows, columns))
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def say(self, stream: int, data: bytes) -> None:
        """Something of ours for the client, ahead of the container's."""
        self._to_client += self._codec.encode(stream, data)

    def run(self) -> End:
        self._client.setblocking(False)
        os.set_blocking(self._attachment.fileno(), False)
        try:
            if self._pending:
                self._heard(self._pending)
            while True:
                end = self._step()
                if end:
                    return end
        except Gone:
            return "gone"
        finally:
            with self._lock:
                os.close(self._wake)
                self._wake = -1

    def _step(self) -> End | Literal[""]:
        self._send_client()
        self._send_container()
        if self._scanner.found or (self._left and not self._to_container):
            return "detached"
        if self._attachment.ended:
            return "ended"
        self._wait()
        return ""

    def _wait(self) -> None:
        poll = select.poll()
        container = self._attachment.fileno()
        wanted = select.POLLOUT if self._to_client else 0
        if self._listens and len(self._to_container) < ENOUGH:
            wanted |= select.POLLIN
        poll.register(self._client, wanted)
        wanted = select.POLLOUT if self._to_container else 0
        if len(self._to_client) < ENOUGH:
            wanted |= select.POLLIN
        poll.register(container, wanted)
        poll.register(self._wake, select.POLLIN)
        for fd, events in poll.poll():
            if fd == self._wake:
                self._take_sizes()
            elif fd == container:
                if events & ~select.POLLOUT:
                    self._deliver()
            elif events & (select.POLLHUP | select.POLLERR) and not events & select.POLLIN:
                raise Gone("the client has gone")
            elif events & select.POLLIN:
                self._listen()

    def _take_sizes(self) -> None:
        os.eventfd_read(self._wake)
        with self._lock:
            sizes, self._sizes = self._sizes, []
        for rows, columns in sizes:
            payload = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
            self._to_container += frame(RESIZE, payload)

    def _listen(self) -> None:
        """All that has come: what TLS holds back is not seen by poll."""
        while self._listens and len(self._to_container) < ENOUGH:
            try:
                data = self._client.recv(CHUNK)
            except _AGAIN:
                return
            except OSError as error:
                raise Gone(str(error)) from error
            self._heard(data)

    def _heard(self, data: bytes) -> None:
        said, reply, closed = self._codec.decode(data)
        self._to_client += reply
        if said and self._stdin:
            passed = self._scanner.feed(said)
            if passed:
                self._to_container += frame(STDIN, passed)
        if closed:
            self._listens = False
            if self._stdin and self._closes_stdin:
                self._to_container += frame(CLOSE_STDIN, b"")
            elif self._stdin:
                self._left = True

    def _deliver(self) -> None:
        try:
            frames = self._attachment.receive()
        except BlockingIOError:
            return
        for stream, data in frames:
            if stream in self._outputs:
                self._to_client += self._codec.encode(stream, data)

    def _send_client(self) -> None:
        while self._to_client:
            try:
                sent = self._client.send(self._to_client)
            except _AGAIN:
                return
            except OSError as error:
                raise Gone(str(error)) from error
            del self._to_client[:sent]

    def _send_container(self) -> None:
        while self._to_container:
            try:
                sent = os.write(self._attachment.fileno(), self._to_container)
            except BlockingIOError:
                return
            except OSError:  # it has ended; receive() tells how
                self._to_container.clear()
                self._stdin = False
                return
            del self._to_container[:sent]

    def leave(self) -> None:
        """The client is gone, its attachment stays to tell of the end: what is half sent is sent,
        and what the container still owed is taken, so that nothing waits for us."""
        if self._stdin and self._listens:
            self._to_container += frame(CLOSE_STDIN, b"")
        attachment = self._attachment
        os.set_blocking(attachment.fileno(), True)
        poll = select.poll()
        poll.register(attachment.fileno(), select.POLLOUT)
        while self._to_container and poll.poll(FAREWELL_S * 1000):
            del self._to_container[: os.write(attachment.fileno(), self._to_container[:CHUNK])]
        attachment.only_tell_end()
        poll.register(attachment.fileno(), select.POLLIN)
        while not attachment.ended and poll.poll(QUIET_S * 1000):
            attachment.receive()

    def farewell(self) -> None:
        """What is still owed to the client, then the end."""
        self._to_client += self._codec.goodbye()
        self._client.settimeout(FAREWELL_S)
        try:
            self._client.sendall(self._to_client)
            self._client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone
