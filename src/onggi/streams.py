"""Docker's 8-byte stdio frames, sans-IO: [stream u8][0 0 0][length u32 big-endian][payload].

The monitor's attach socket speaks the same framing in both directions; the stream numbers above
STDERR are ours and never leave that socket.
"""

STDIN, STDOUT, STDERR = 0, 1, 2
RESIZE = 16  # payload: rows u16 BE, columns u16 BE
CLOSE_STDIN = 17  # the client has no more input
EXITED = 18  # payload: exit code, decimal; behind a space why it was killed, when we know
MAX_FRAME = 1 << 20


class FrameError(ValueError):
    """The peer sent something that is not a frame."""


def frame(stream: int, payload: bytes) -> bytes:
    """One frame. `payload` at most 4 GiB - 1."""
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


class FrameDecoder:
    """Bytes in, (stream, payload) out. Frames above `max_frame` bytes raise FrameError."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max = max_frame

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= 8:
            size = int.from_bytes(buffer[start + 4 : start + 8], "big")
            if size > self._max or buffer[start + 1 : start + 4] != b"\0\0\0":
                raise FrameError(f"bad frame header {bytes(buffer[start : start + 8]).hex()}")
            end = start + 8 + size
            if len(buffer) < end:
                break
            frames.append((buffer[start], bytes(buffer[start + 8 : end])))
            start = end
        del buffer[:start]
        return frames
