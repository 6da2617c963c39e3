"""Container logs in docker's json-file format, rotated by size.

One JSON object a line: {"log": text with its newline, "stream": name, "time": RFC 3339 with
nanoseconds}. A line longer than 16 KiB is cut into pieces without newline, as docker does. Invalid
UTF-8 becomes U+FFFD. The writer never reads the container's file system and never waits for a
reader.
"""

import os
import time
from _json import encode_basestring

MAX_PIECE = 16 << 10
DEFAULT_MAX_BYTES = 10 << 20
DEFAULT_MAX_FILES = 3


class LogWriter:
    """Appends to `path`; keeps at most `max_files` files of about `max_bytes` (0: no limit)."""

    def __init__(
        self, path: str, max_bytes: int = DEFAULT_MAX_BYTES, max_files: int = DEFAULT_MAX_FILES
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._partial = {"stdout": b"", "stderr": b""}
        self._second = -1
        self._prefix = ""

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o640)

    def write(self, stream: str, data: bytes) -> None:
        """Log what came on `stream` ("stdout" or "stderr"). An unfinished line waits for more."""
        lines = (self._partial[stream] + data).split(b"\n")
        rest = lines.pop()
        records = [piece for line in lines for piece in _pieces(line + b"\n")]
        while len(rest) > MAX_PIECE:
            cut = _boundary(rest, MAX_PIECE)
            records.append(rest[:cut])
            rest = rest[cut:]
        self._partial[stream] = rest
        self._append(stream, records)

    def close(self) -> None:
        """Write the unfinished lines and close."""
        for stream, rest in self._partial.items():
            if rest:
                self._append(stream, [rest])
        self._partial = {"stdout": b"", "stderr": b""}
        os.close(self._fd)

    def _append(self, stream: str, records: list[bytes]) -> None:
        if not records:
            return
        stamp = self._timestamp()
        tail = f',"stream":"{stream}","time":"{stamp}"}}\n'
        out = "".join(
            f'{{"log":{encode_basestring(record.decode("utf-8", "replace"))}{tail}'
            for record in records
        ).encode()
        self._write_all(out)
        self._size += len(out)
        if 0 < self._max_bytes <= self._size:
            self._rotate()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:
                return  # a full disk loses log lines, never the container

    def _rotate(self) -> None:
        os.close(self._fd)
        if self._max_files <= 1:
            os.unlink(self._path)
        for number in range(self._max_files - 1, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            try:
                os.rename(newer, older)
            except FileNotFoundError:
                continue
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def _timestamp(self) -> str:
        now = time.time_ns()
        second, nanos = divmod(now, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanos:09d}Z"


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_PIECE:
        return [line]
    pieces = []
    while len(line) > MAX_PIECE:
        cut = _boundary(line, MAX_PIECE)
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _boundary(data: bytes, limit: int) -> int:
    """The last position up to `limit` that does not split a UTF-8 sequence."""
    cut = limit
    while cut > limit - 4 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut if data[cut] & 0xC0 != 0x80 else limit
