"""Reading container logs: the json-file format across rotations, backwards for --tail, following.

Followers keep the file they read open, so a rotation loses nothing; they wait by inotify and end
when the container's monitor is gone.
"""

import json
import os
import select
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import InvalidInput
from ..linux import inotify, process
from ..spec.container import Container
from ..units import parse_rfc3339
from .paths import Paths

BLOCK = 1 << 16


class LogEntry(NamedTuple):
    time_ns: int
    stream: str  # "stdout" or "stderr"
    data: bytes


class LogFilter(NamedTuple):
    tail: int | None = None
    since_ns: int = 0
    until_ns: int = 0

    def admits(self, entry: LogEntry) -> bool:
        return entry.time_ns >= self.since_ns and (
            not self.until_ns or entry.time_ns <= self.until_ns
        )


class Logs:
    def __init__(self, paths: Paths, find: Callable[[str], Container]) -> None:
        self._paths = paths
        self._find = find

    def read(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
    ) -> Iterator[LogEntry]:
        """Entries oldest first; `tail` counts back from the newest. Raises NotFound."""
        container = self._find(reference)
        chosen = LogFilter(tail, since_ns, until_ns)
        return _read(self._paths.container(container.id), container, chosen, follow)


def _read(
    directory: str, container: Container, chosen: LogFilter, follow: bool
) -> Iterator[LogEntry]:
    """Entries oldest first; with `follow` until the container ends."""
    if container.config.options.host.log_driver == "none":
        raise InvalidInput("configured logging driver does not support reading")
    path = f"{directory}/{container.id}-json.log"
    monitor = _monitor_of(container) if follow else None
    watch = inotify.watch(directory) if monitor is not None else -1
    try:
        files = _open_generations(path)
        try:
            yield from _history(files, chosen)
            if monitor is not None and files:
                yield from _follow(path, files[-1], monitor, watch, chosen)
        finally:
            for fd in files:
                os.close(fd)
    finally:
        for opened in (watch, monitor):
            if opened is not None and opened >= 0:
                os.close(opened)


def _monitor_of(container: Container) -> int | None:
    state = container.state
    if state.status not in ("running", "paused", "restarting"):
        return None
    return process.open_process(state.monitor_pid, state.monitor_start)


def _open_generations(path: str) -> list[int]:
    """The log's files, oldest first, as fds."""
    fds = []
    number = 0
    while True:
        try:
            name = f"{path}.{number}" if number else path
            fds.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except FileNotFoundError:
            if number:
                return fds[::-1]
        number += 1
        if number > 1000:
            return fds[::-1]


def _history(fds: list[int], chosen: LogFilter) -> Iterator[LogEntry]:
    if chosen.tail is None:
        for fd in fds:
            yield from filter(chosen.admits, _entries(_lines(fd)))
        return
    newest: list[LogEntry] = []
    for fd in reversed(fds):
        if len(newest) >= chosen.tail:
            break
        for line in _lines_backwards(fd):
            if len(newest) >= chosen.tail:
                break
            newest.extend(filter(chosen.admits, _entries(iter((line,)))))
    if fds:
        os.lseek(fds[-1], _complete_end(fds[-1]), os.SEEK_SET)
    yield from reversed(newest)


def _lines(fd: int) -> Iterator[bytes]:
    """Complete lines from the current position; leaves the position behind the last of them."""
    rest = b""
    while data := os.read(fd, BLOCK):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        os.lseek(fd, -len(rest), os.SEEK_CUR)


def _lines_backwards(fd: int) -> Iterator[bytes]:
    position = _complete_end(fd)
    rest = b""
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        rest, *lines = (os.pread(fd, size, position) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
    if rest:
        yield rest


def _complete_end(fd: int) -> int:
    """The offset behind the last newline."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _entries(lines: Iterator[bytes]) -> Iterator[LogEntry]:
    for line in lines:
        try:
            record = json.loads(line)
            yield LogEntry(
                parse_rfc3339(record["time"]), record["stream"], record["log"].encode("utf-8")
            )
        except (ValueError, KeyError, TypeError):
            continue  # a torn or foreign line never hides the others


def _follow(path: str, fd: int, monitor: int, watch: int, chosen: LogFilter) -> Iterator[LogEntry]:
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    poll.register(monitor, select.POLLIN)
    current = os.dup(fd)
    try:
        ended = False
        while True:
            yield from filter(chosen.admits, _entries(_lines(current)))
            replacement = _rotated(path, current)
            if replacement is not None:
                yield from filter(chosen.admits, _entries(_lines(current)))
                os.close(current)
                current = replacement
                continue
            if ended:
                return
            ended = any(ready == monitor for ready, _ in poll.poll())
            inotify.drain(watch)
    finally:
        os.close(current)


def _rotated(path: str, fd: int) -> int | None:
    """An fd of the generation after the one behind `fd`; None while it is the newest."""
    generations = _open_generations(path)
    here = os.fstat(fd)
    places = [n for n, other in enumerate(generations) if os.path.samestat(os.fstat(other), here)]
    following = places[0] + 1 if places else 0
    for place, other in enumerate(generations):
        if place != following:
            os.close(other)
    return generations[following] if following < len(generations) else None
