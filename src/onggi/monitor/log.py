"""What a log is to the monitor, and the json-file one: docker's format, rotated by size.

One JSON object a line: {"log": text with its newline, "stream": name, "attrs": {...}, "time": RFC
3339 with nanoseconds}. Invalid UTF-8 becomes U+FFFD. A writer never reads the container's file
system and never waits for a reader.
"""

import time
from _json import encode_basestring
from collections.abc import Mapping, Sequence

from .. import jsons
from ..typed import Protocol
from .lines import Lines
from .rotation import RotatedFile

DEFAULT_MAX_BYTES = 10 << 20
DEFAULT_MAX_FILES = 3


class Log(Protocol):
    """Where a container's output is kept."""

    def write(self, stream: str, data: bytes) -> None:
        """Log what came on `stream` ("stdout" or "stderr"). An unfinished line waits for more."""

    def waiting(self) -> int:
        """A descriptor to be polled for writing, -1 while nothing waits to be sent."""

    def flush(self) -> None:
        """Send what waits, as far as that goes at once."""

    def close(self) -> None:
        """Write the unfinished lines and close."""


class Clock:
    """RFC 3339 with nanoseconds, cheaply."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def stamp(self) -> str:
        second, nanos = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanos:09d}Z"


class FileLog:
    """The part that logs in files have in common."""

    def __init__(self, file: RotatedFile) -> None:
        self._file = file
        self._lines = Lines()

    def write(self, stream: str, data: bytes) -> None:
        records = self._lines.feed(stream, data)
        if not records:
            return
        whole = self.encode(stream, records)
        if self._file.has_room(len(whole)):
            self._file.append(whole)
            return
        for record in records:  # a rotation comes between records
            self._file.append(self.encode(stream, [record]))

    def encode(self, stream: str, records: Sequence[bytes]) -> bytes:
        raise NotImplementedError

    def waiting(self) -> int:
        return -1

    def flush(self) -> None:
        pass

    def close(self) -> None:
        for stream, rest in self._lines.finish():
            self._file.append(self.encode(stream, [rest]))
        self._file.close()


class LogWriter(FileLog):
    """json-file. `attributes` are the labels and variables that --log-opt asks for."""

    def __init__(
        self,
        path: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_files: int = DEFAULT_MAX_FILES,
        *,
        compress: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(RotatedFile(path, max_bytes, max_files, compress=compress))
        self._clock = Clock()
        text = jsons.dumps(dict(attributes)) if attributes else ""
        self._attributes = f',"attrs":{text}' if text else ""

    def encode(self, stream: str, records: Sequence[bytes]) -> bytes:
        stamp = self._clock.stamp()
        tail = f',"stream":"{stream}"{self._attributes},"time":"{stamp}"}}\n'
        return "".join(
            f'{{"log":{encode_basestring(record.decode("utf-8", "replace"))}{tail}'
            for record in records
        ).encode()
