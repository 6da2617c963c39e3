"""The clients of one container's streams: who gets output, who gives input.

Both directions speak `streams` frames. A client's first frame is HELLO with the flags of what it
wants; a client without OUTPUT only learns of the end (EXITED).
"""

import _socket as socket  # `socket` itself takes 2 ms to import
import os
import select
import time
from collections.abc import Iterator

from ..streams import CLOSE_STDIN, EXITED, RESIZE, STDIN, FrameDecoder, FrameError, frame

HELLO = 32  # payload: one byte of flags
OUTPUT, INPUT = 1, 2
HIGH_WATER = 1 << 20  # bytes owed to a client before the container's output waits for it
STALL_S = 30.0


class Client:
    """One connection. `patient` clients (the foreground `run`) slow the container down as a pipe
    would; others are dropped when they take nothing for STALL_S seconds."""

    def __init__(self, connection: socket.socket, *, patient: bool = False) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.patient = patient
        self.flags = 0
        self.owed = bytearray()
        self.closing = False
        self._decoder = FrameDecoder()
        self._progress = time.monotonic()

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, stream: int, payload: bytes) -> None:
        if not self.owed:
            self._progress = time.monotonic()
        self.owed += frame(stream, payload)

    def flush(self) -> bool:
        """Push what is owed; False when the peer is gone."""
        while self.owed:
            try:
                sent = self.connection.send(self.owed)
            except BlockingIOError:
                return True
            except OSError:
                return False
            del self.owed[:sent]
            self._progress = time.monotonic()
        return True

    @property
    def behind(self) -> bool:
        return len(self.owed) > HIGH_WATER

    def stalled(self, now: float) -> bool:
        return self.behind and not self.patient and now - self._progress > STALL_S

    def receive(self) -> list[tuple[int, bytes]] | None:
        """Frames that arrived, [] for not yet, None when the peer is gone or talks nonsense."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            return self._decoder.feed(data)
        except FrameError:
            return None


class Attachment:
    """The client's side of the socket, blocking. Iterate `frames()` until the container ends."""

    def __init__(self, connection: socket.socket, flags: int) -> None:
        self._connection = connection
        self._decoder = FrameDecoder()
        self.exit_code: int | None = None
        self.kill_reason = ""  # spec.container.KillReason, when the monitor knew
        self.ended = False
        self._send(HELLO, bytes((flags,)))

    def fileno(self) -> int:
        return self._connection.fileno()

    def send_stdin(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            self._send(STDIN, data[start : start + (1 << 16)])

    def only_tell_end(self) -> None:
        """Give up output and input; the end is still told."""
        self._send(HELLO, b"\0")

    def close_stdin(self) -> None:
        self._send(CLOSE_STDIN, b"")

    def resize(self, rows: int, columns: int) -> None:
        self._send(RESIZE, rows.to_bytes(2, "big") + columns.to_bytes(2, "big"))

    def receive(self) -> list[tuple[int, bytes]]:
        """The next output frames (stream, data); waits. [] with `ended` set: nothing more comes."""
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            return []
        output = []
        for stream, payload in self._decoder.feed(data):
            if stream == EXITED:
                code, _, self.kill_reason = payload.decode().partition(" ")
                self.exit_code = int(code)
            else:
                output.append((stream, payload))
        return output

    def has_ended(self) -> bool:
        """Whether the end has been told, for a client without OUTPUT; never waits."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not self.ended and self.exit_code is None and poll.poll(0):
            self.receive()
        return self.ended or self.exit_code is not None

    def frames(self) -> Iterator[tuple[int, bytes]]:
        while not self.ended:
            yield from self.receive()

    def shut(self) -> None:
        """Wake a thread of ours that waits to send."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side has gone

    def close(self) -> None:
        self._connection.close()

    def _send(self, stream: int, payload: bytes) -> None:
        try:
            self._connection.sendall(frame(stream, payload))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the end of the container is told by receive()


def listen(directory_fd: int, name: str = "attach.sock") -> socket.socket:
    """A listening socket in a 0700 directory; bound through the directory's fd because a socket
    path may hold only 108 bytes (unix(7))."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.unlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        pass
    server.bind(f"/proc/self/fd/{directory_fd}/{name}")
    server.listen(64)
    server.setblocking(False)
    return server


def connect(directory: str, flags: int, name: str = "attach.sock") -> Attachment:
    """Attach to a running container. Raises OSError when no monitor listens."""
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        client.connect(f"/proc/self/fd/{directory_fd}/{name}")
    except OSError:
        client.close()
        raise
    finally:
        os.close(directory_fd)
    return Attachment(client, flags)
