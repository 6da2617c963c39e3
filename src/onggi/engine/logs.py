"""Reading container logs: across rotations, backwards for --tail, following.

Followers keep the file they read open, so a rotation loses nothing; they wait by inotify and end
when the container's monitor is gone.
"""

import os
import select
import time
from collections.abc import Callable, Iterator

from ..linux import inotify, process
from ..spec.container import Container
from ..typed import NamedTuple
from . import logdriver, logfiles
from .logfiles import Format, Generation, LogEntry
from .paths import Paths
from .reaper import ACTIVE

__all__ = ["LogEntry", "LogFilter", "Logs", "detail_text"]


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
        waiting: Callable[[], None] = lambda: None,
        listener: int = -1,
    ) -> Iterator[LogEntry]:
        """Entries oldest first; `tail` counts back from the newest. A follower calls `waiting`
        whenever everything so far has been given, and stops when the other end of `listener`, the
        socket of whom they are for, has gone. Raises NotFound, and
        InvalidInput when the log driver keeps nothing that can be read."""
        container = self._find(reference)
        path = logdriver.path_of(self._paths, container)
        driver = container.config.options.host.log_driver
        layout = logfiles.FORMATS.get(driver, logfiles.Frames)()
        monitor = _monitor_of(container) if follow else None
        chosen = LogFilter(tail, since_ns, until_ns)
        return _Reader(path, layout, chosen, waiting, listener).entries(monitor)


def _monitor_of(container: Container) -> int | None:
    state = container.state
    if state.status not in ACTIVE:
        return None
    return process.open_process(state.monitor_pid, state.monitor_start)


class _Reader:
    """One reading of a log."""

    def __init__(
        self,
        path: str,
        layout: Format,
        chosen: LogFilter,
        waiting: Callable[[], None],
        listener: int,
    ) -> None:
        self._path = path
        self._waiting = waiting
        self._listener = listener
        self._directory = os.path.dirname(path)
        self._format = layout
        self._chosen = chosen

    def entries(self, monitor: int | None) -> Iterator[LogEntry]:
        """Entries oldest first; with a `monitor` (its pidfd, closed here) until it has ended."""
        watch = inotify.watch(self._directory) if monitor is not None else -1
        try:
            files = logfiles.generations(self._path)
            try:
                yield from self._history(files)
                if monitor is not None and files:
                    yield from self._follow(files[-1], monitor, watch)
            finally:
                _close(files)
        finally:
            if watch >= 0:
                inotify.release(watch)
            if monitor is not None:
                os.close(monitor)

    def _history(self, files: list[Generation]) -> Iterator[LogEntry]:
        tail = self._chosen.tail
        if tail is None:
            for file in files:
                yield from self._admitted(self._format.forwards(file.plain(self._directory)))
            return
        newest: list[LogEntry] = []
        for file in reversed(files):
            if len(newest) >= tail:
                break
            for entry in self._admitted(self._format.backwards(file.plain(self._directory))):
                if len(newest) >= tail:
                    break
                newest.append(entry)
        if files:
            fd = files[-1].plain(self._directory)
            os.lseek(fd, self._format.end(fd), os.SEEK_SET)
        yield from reversed(newest)

    def _admitted(self, entries: Iterator[LogEntry]) -> Iterator[LogEntry]:
        return filter(self._chosen.admits, entries)

    def _follow(self, newest: Generation, monitor: int, watch: int) -> Iterator[LogEntry]:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        poll.register(monitor, select.POLLIN)
        if self._listener >= 0:
            poll.register(self._listener, select.POLLRDHUP)
        inode = newest.inode
        current = os.dup(newest.plain(self._directory))
        try:
            ended = False
            while True:
                yield from self._admitted(self._format.forwards(current))
                following = self._after(inode)
                if following is not None:
                    yield from self._admitted(self._format.forwards(current))
                    os.close(current)
                    inode, current = following
                    continue
                left_ms = self._left_ms()
                if ended or left_ms == 0:
                    return
                self._waiting()
                ready = {fd for fd, _ in poll.poll(left_ms)}
                if self._listener in ready:
                    return
                ended = monitor in ready
                inotify.drain(watch)
        finally:
            os.close(current)

    def _left_ms(self) -> float | None:
        """How long something that is asked for can still come: 0 is the end, None is for ever."""
        until_ns = self._chosen.until_ns
        if not until_ns:
            return None
        left_ns = until_ns - time.time_ns()
        return left_ns / 1e6 + 1 if left_ns > 0 else 0

    def _after(self, inode: int) -> tuple[int, int] | None:
        """(inode, descriptor) of the generation after that one; None while it is the newest."""
        files = logfiles.generations(self._path)
        try:
            # The newest of that number: an older file may have had it before, and be compressed.
            places = [place for place, file in enumerate(files) if file.inode == inode]
            following = places[-1] + 1 if places else 0
            if following >= len(files):
                return None
            return files[following].inode, os.dup(files[following].plain(self._directory))
        finally:
            _close(files)


def _close(files: list[Generation]) -> None:
    for file in files:
        file.close()


def detail_text(attributes: dict[str, str]) -> str:
    """`name=value,…` in URL encoding, sorted, as --details shows them."""
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in sorted(attributes.items()))
