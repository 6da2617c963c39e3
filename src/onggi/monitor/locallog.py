"""The local log driver: a compact file of frames, rotated by size, older generations compressed.

    frame   length u32, time ns u64, stream u8, data …, length u32   (big endian)

`length` counts what stands between its two copies, so that the file can be read from both ends.
"""

import time
from collections.abc import Iterator, Sequence
from struct import Struct

from .log import FileLog
from .rotation import RotatedFile

DEFAULT_MAX_BYTES = 20 << 20
DEFAULT_MAX_FILES = 5
LENGTH = Struct(">I")
HEAD = Struct(">QB")
MAX_FRAME = 1 << 20  # far above any record: what claims more is damaged
_STREAMS = {"stdout": 1, "stderr": 2}
_NAMES = {number: name for name, number in _STREAMS.items()}


class LocalWriter(FileLog):
    def __init__(
        self,
        path: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_files: int = DEFAULT_MAX_FILES,
        *,
        compress: bool = True,
    ) -> None:
        super().__init__(RotatedFile(path, max_bytes, max_files, compress=compress))

    def encode(self, stream: str, records: Sequence[bytes]) -> bytes:
        head = HEAD.pack(time.time_ns(), _STREAMS[stream])
        parts: list[bytes] = []
        for record in records:
            length = LENGTH.pack(len(head) + len(record))
            parts += (length, head, record, length)
        return b"".join(parts)


def decode(body: bytes) -> tuple[int, str, bytes] | None:
    """(time ns, stream, data) of what stands between a frame's lengths; None when damaged."""
    if len(body) < HEAD.size:
        return None
    time_ns, number = HEAD.unpack_from(body)
    if number not in _NAMES:
        return None
    return time_ns, _NAMES[number], body[HEAD.size :]


def frames(buffer: bytes) -> Iterator[bytes]:
    """The bodies of the complete frames at the start of `buffer`."""
    position = 0
    while len(buffer) - position >= 4:
        (length,) = LENGTH.unpack_from(buffer, position)
        if length > MAX_FRAME or len(buffer) - position < length + 8:
            return
        yield buffer[position + 4 : position + 4 + length]
        position += length + 8
