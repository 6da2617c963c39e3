"""The files of a log: its generations from the oldest to the newest, and entries in either order.

A generation may be compressed; it is then inflated, when it is asked for, into an unnamed file. Two
formats, json-file's lines and the local driver's frames, are read through the same four functions.
"""

import os
from collections.abc import Callable, Iterator

from .. import jsons
from ..monitor import locallog
from ..monitor.locallog import LENGTH, MAX_FRAME
from ..monitor.rotation import inode_in_header
from ..typed import NamedTuple, Protocol
from ..units import parse_rfc3339

BLOCK = 1 << 16
MAX_GENERATIONS = 1000


class LogEntry(NamedTuple):
    time_ns: int
    stream: str  # "stdout" or "stderr"
    data: bytes
    attributes: dict[str, str] = {}  # noqa: RUF012 - never mutated


class Format(Protocol):
    """How entries lie in a file."""

    def forwards(self, fd: int) -> Iterator[LogEntry]:
        """Complete entries from the current position, which is left behind the last of them."""

    def backwards(self, fd: int) -> Iterator[LogEntry]:
        """From the newest to the oldest; the position is not used."""

    def end(self, fd: int) -> int:
        """The offset behind the last complete entry."""


class Generation:
    """One file of a log. `inode` names it for as long as somebody holds it open."""

    def __init__(self, fd: int, *, compressed: bool) -> None:
        self._fd = fd
        self._compressed = compressed
        self._plain = -1 if compressed else fd
        self.inode = inode_in_header(os.pread(fd, 64, 0)) if compressed else os.fstat(fd).st_ino

    def plain(self, directory: str) -> int:
        """A descriptor of the content, at its start."""
        if self._plain < 0:
            self._plain = _inflated(self._fd, directory)
        return self._plain

    def close(self) -> None:
        os.close(self._fd)
        if self._compressed and self._plain >= 0:
            os.close(self._plain)


def _inflated(fd: int, directory: str) -> int:
    """The content in an unnamed file beside; what is damaged ends where the damage begins."""
    import zlib

    target = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        while data := os.read(fd, BLOCK):
            while data:
                _write_all(target, unpacker.decompress(data, 1 << 20))
                data = unpacker.unconsumed_tail
    except zlib.error:
        pass
    os.lseek(target, 0, os.SEEK_SET)
    return target


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def generations(path: str) -> list[Generation]:
    """The log's files, oldest first."""
    found: list[Generation] = []
    for number in range(MAX_GENERATIONS + 1):
        name = f"{path}.{number}" if number else path
        generation = _open(name, compressed=False)
        if generation is None and number:
            generation = _open(f"{name}.gz", compressed=True)
        if generation is not None and found and generation.inode == found[-1].inode:
            generation.close()  # a rotation came between: we have it under its name before
        elif generation is not None:
            found.append(generation)
        elif number:
            break
    return found[::-1]


def _open(name: str, *, compressed: bool) -> Generation | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    return Generation(fd, compressed=compressed)


# -- json-file


class JsonLines:
    def forwards(self, fd: int) -> Iterator[LogEntry]:
        rest = b""
        while data := os.read(fd, BLOCK):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield from _entry(line)
        if rest:
            os.lseek(fd, -len(rest), os.SEEK_CUR)

    def backwards(self, fd: int) -> Iterator[LogEntry]:
        position = self.end(fd)
        rest = b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            rest, *lines = (os.pread(fd, size, position) + rest).split(b"\n")
            for line in reversed(lines):
                yield from _entry(line)
        yield from _entry(rest)

    def end(self, fd: int) -> int:
        end = os.fstat(fd).st_size
        while end > 0:
            start = max(0, end - BLOCK)
            found = os.pread(fd, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


def _entry(line: bytes) -> Iterator[LogEntry]:
    """The entry of a line; a torn or foreign one never hides the others."""
    try:
        record = jsons.loads(line) if line else {}
        yield LogEntry(
            parse_rfc3339(record["time"]),
            record["stream"],
            record["log"].encode("utf-8"),
            record.get("attrs") or {},
        )
    except (ValueError, KeyError, TypeError):
        return


# -- local


class Frames:
    def forwards(self, fd: int) -> Iterator[LogEntry]:
        rest = b""
        while data := os.read(fd, BLOCK):
            rest += data
            used = 0
            for body in locallog.frames(rest):
                used += len(body) + 2 * LENGTH.size
                yield from _decoded(body)
            rest = rest[used:]
            if len(rest) > MAX_FRAME + 2 * LENGTH.size:
                return  # damaged: nothing behind can be told apart
        if rest:
            os.lseek(fd, -len(rest), os.SEEK_CUR)

    def backwards(self, fd: int) -> Iterator[LogEntry]:
        position = self.end(fd)
        while position >= 2 * LENGTH.size:
            (length,) = LENGTH.unpack(os.pread(fd, LENGTH.size, position - LENGTH.size))
            start = position - length - 2 * LENGTH.size
            if length > MAX_FRAME or start < 0:
                return
            yield from _decoded(os.pread(fd, length, start + LENGTH.size))
            position = start

    def end(self, fd: int) -> int:
        """Almost always the file's end; a frame that is being written is found from the start."""
        size = os.fstat(fd).st_size
        if size < 2 * LENGTH.size:
            return 0
        (length,) = LENGTH.unpack(os.pread(fd, LENGTH.size, size - LENGTH.size))
        start = size - length - 2 * LENGTH.size
        if length <= MAX_FRAME and start >= 0:
            (again,) = LENGTH.unpack(os.pread(fd, LENGTH.size, start))
            if again == length:
                return size
        return self._complete_end(fd, size)

    def _complete_end(self, fd: int, size: int) -> int:
        position = 0
        while position + 2 * LENGTH.size <= size:
            (length,) = LENGTH.unpack(os.pread(fd, LENGTH.size, position))
            following = position + length + 2 * LENGTH.size
            if length > MAX_FRAME or following > size:
                break
            position = following
        return position


def _decoded(body: bytes) -> Iterator[LogEntry]:
    found = locallog.decode(body)
    if found is not None:
        yield LogEntry(*found)


FORMATS: dict[str, Callable[[], Format]] = {"json-file": JsonLines}
"""By log driver; every other one that can be read keeps frames."""
