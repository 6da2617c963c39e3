"""Log messages on their way to another program: a socket and a bounded queue before it.

A receiver that is slow or gone never holds the container up for more than a second: after that, and
until it takes something again, what does not fit is counted as lost. The count is told to the
receiver itself as soon as it listens again.
"""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

QUEUE_BYTES = 1 << 20
PATIENCE_S = 1.0
RETRY_S = 1.0


class Delivery:
    """`connect` makes a connected socket, or raises OSError; it is called anew when the receiver
    went away. `note` words the loss of that many messages."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        note: Callable[[int], bytes],
        *,
        queue_bytes: int = QUEUE_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._connect = connect
        self._note = note
        self._limit = queue_bytes
        self._patience_s = patience_s
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sent = 0  # bytes of the first message that are gone already
        self._stuck = False
        self._retry_at = 0.0
        self.lost = 0  # since the last note
        self._socket: socket.socket | None = connect()
        self._socket.setblocking(False)

    def send(self, message: bytes) -> None:
        if self._queued + len(message) > self._limit:
            self.flush()
            if self._queued + len(message) > self._limit and not self._stuck:
                self._wait_for_room(len(message))
            if self._queued + len(message) > self._limit:
                self._stuck = self._patience_s > 0
                self.lost += 1
                return
        self._queue.append(message)
        self._queued += len(message)
        self.flush()

    def _wait_for_room(self, size: int) -> None:
        deadline = time.monotonic() + self._patience_s
        while self._queued + size > self._limit:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._wait_writable(remaining):
                return
            self.flush()

    def _wait_writable(self, timeout_s: float) -> bool:
        if self._socket is None:
            time.sleep(min(timeout_s, 0.05))  # nothing to wait on: the receiver is gone
            self.flush()
            return self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(timeout_s * 1000))

    def waiting(self) -> int:
        return self._socket.fileno() if self._queue and self._socket is not None else -1

    def flush(self) -> None:
        while self._queue:
            if self._socket is None and not self._reconnect():
                return
            assert self._socket is not None
            try:
                self._take(self._socket.send(memoryview(self._queue[0])[self._sent :]))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if not self._failed(error):
                    return

    def _take(self, sent: int) -> None:
        self._sent += sent
        if self._sent < len(self._queue[0]):
            return
        self._sent = 0
        self._queued -= len(self._queue.popleft())
        self._stuck = False
        if self.lost and self._queued < self._limit // 2:
            note, self.lost = self._note(self.lost), 0
            self._queue.append(note)
            self._queued += len(note)

    def _failed(self, error: OSError) -> bool:
        """Whether to go on at once."""
        if error.errno == errno.EMSGSIZE:
            self._queued -= len(self._queue.popleft())
            self.lost += 1
            return True
        if error.errno == errno.ENOBUFS:
            return False
        if self._socket is not None and self._socket.type == socket.SOCK_DGRAM and (
            self._socket.family != socket.AF_UNIX
        ):  # fmt: skip
            self._queued -= len(self._queue.popleft())  # the answer to a datagram before this one
            self.lost += 1
            return True
        self._drop_socket()
        return self._reconnect()

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._sent = 0  # a message that was cut is sent whole again

    def _reconnect(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_S
        try:
            self._socket = self._connect()
        except OSError:
            return False
        self._socket.setblocking(False)
        return True

    def close(self) -> int:
        """Send what waits, for a second at most; how many messages were lost and never noted."""
        deadline = time.monotonic() + PATIENCE_S
        self.flush()
        while self._queue:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            self._wait_writable(remaining)
            self.flush()
        self._drop_socket()
        return self.lost + len(self._queue)


def append_note(path: str, text: str) -> None:
    """A line into the monitor's own log. Best effort."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError:
        return
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)
