"""Reading events: the past from both generations of the log, the future by inotify; filters.

A follower keeps the file it reads open, so that a rotation loses nothing: writers that hold the old
generation have ended before it is renamed.
"""

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import InvalidInput
from ..linux import inotify
from ..typed import Any
from .events import LOG, OLD, Events
from .filters import has_label

BLOCK = 1 << 16
LOOK_AGAIN_S = 60.0  # the clock may be set while we wait for a wall-clock time
KNOWN_FILTERS = frozenset(
    "config container daemon event image label network node plugin scope secret service type "
    "volume".split()
)
_OPEN_ENDED = ("health_status", "exec_create", "exec_start")  # what follows the colon is free
_COPIES = ("archive-path", "extract-to-dir")  # what docker's documentation calls copy
Event = dict[str, Any]
Filters = Mapping[str, Sequence[str]]


def read(
    events: Events,
    *,
    since_ns: int = 0,
    until_ns: int = 0,
    filters: Filters | None = None,
    waiting: Callable[[], None] = lambda: None,
    listener: int = -1,
    process: int = -1,
) -> Iterator[Event]:
    """Events in the order in which they happened. 0 is no bound: without both only those to come.
    `waiting` is called whenever everything so far has been given. `listener` is the socket of whom
    they are for: when its other end has gone they end, and when that of a `process` (its pidfd)
    has come. Raises InvalidInput."""
    chosen = filters or {}
    check(chosen)
    if since_ns and until_ns and since_ns > until_ns:
        raise InvalidInput(
            f"`since` time ({_seconds(since_ns)}) cannot be after "
            f"`until` time ({_seconds(until_ns)})"
        )
    os.makedirs(events.directory, 0o700, exist_ok=True)
    watch = inotify.watch(events.directory)
    try:
        for event in _stream(
            events.directory,
            watch,
            bool(since_ns or until_ns),
            until_ns,
            waiting,
            listener,
            process,
        ):
            moment = event["timeNano"]
            if moment >= since_ns and not 0 < until_ns < moment and includes(chosen, event):
                yield event
    finally:
        inotify.release(watch)


def _stream(
    directory: str,
    watch: int,
    past: bool,
    until_ns: int,
    waiting: Callable[[], None],
    listener: int,
    process: int,
) -> Iterator[Event]:
    reader = _Reader(directory, past)
    try:
        while True:
            yield from reader.news()
            remaining_s = (until_ns - time.time_ns()) / 1e9
            if until_ns and remaining_s <= 0:
                return
            waiting()
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            if listener >= 0:
                poll.register(listener, select.POLLRDHUP)
            if process >= 0:
                poll.register(process, select.POLLIN)
            limit_s = min(remaining_s, LOOK_AGAIN_S) if until_ns else None
            ready = poll.poll(None if limit_s is None else limit_s * 1000 + 1)
            if any(fd == listener for fd, _ in ready):
                return
            if any(fd == process for fd, _ in ready):
                yield from reader.news()
                return
            inotify.drain(watch)
    finally:
        reader.close()


class _Reader:
    """A position in the log that moves on to the next generation."""

    def __init__(self, directory: str, past: bool) -> None:
        self._path = f"{directory}/{LOG}"
        self._old = f"{directory}/{OLD}"
        self._fd = -1
        self._rest = b""
        if past:
            self._fd = _open(self._old)
        else:
            self._fd = _open(self._path)
            if self._fd >= 0:
                os.lseek(self._fd, 0, os.SEEK_END)

    def news(self) -> Iterator[Event]:
        while True:
            following = self._following()
            yield from self._events()  # after the look: the file is complete if it was renamed
            if following < 0:
                return
            self.close()
            self._fd, self._rest = following, b""

    def _following(self) -> int:
        """The generation after the one we read; -1 while that is the newest."""
        new = _open(self._path)
        if new < 0 or self._fd < 0:
            return new
        old = _open(self._old)
        following = new
        if self._is_ours(new):
            following = -1
        elif old >= 0 and not self._is_ours(old):
            following = old  # it was rotated twice
        for fd in {new, old} - {following, -1}:
            os.close(fd)
        return following

    def _is_ours(self, fd: int) -> bool:
        return os.path.samestat(os.fstat(fd), os.fstat(self._fd))

    def _events(self) -> Iterator[Event]:
        while self._fd >= 0 and (data := os.read(self._fd, BLOCK)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                event = _parsed(line)
                if event is not None:
                    yield event

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _parsed(line: bytes) -> Event | None:
    """None for a line that a full disk has torn: it never hides the others."""
    try:
        event = json.loads(line)
        if not (isinstance(event["timeNano"], int) and isinstance(event["Action"], str)):
            return None
        if not isinstance(event["Actor"]["Attributes"], dict):
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return dict(event)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def check(filters: Filters) -> None:
    for key in filters:
        if key not in KNOWN_FILTERS:
            raise InvalidInput(f"invalid filter '{key}'")


def includes(filters: Filters, event: Event) -> bool:
    """moby's rules (daemon/events/filter.go): AND between keys, OR between values, but for labels,
    which must all be there."""
    return all(_matches(key, values, event) for key, values in filters.items() if values)


def _matches(key: str, values: Sequence[str], event: Event) -> bool:
    actor, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]
    match key:
        case "event":
            return _action_matches(values, event["Action"])
        case "type":
            return event["Type"] in values
        case "scope":
            return event["scope"] in values
        case "label":
            return all(has_label(attributes, value) for value in values)
        case "image":
            name = attributes.get("name" if event["Type"] == "image" else "image", "")
            return bool({actor, name, _without_tag(actor), _without_tag(name)} & set(values))
        case _:
            name = attributes.get("name", "")
            return event["Type"] == key and any(
                actor.startswith(value) or name.startswith(value) for value in values
            )


def _action_matches(values: Sequence[str], action: str) -> bool:
    if any(value in _OPEN_ENDED for value in values):
        return any(action.startswith(value) for value in values)
    return action in values or ("copy" in values and action in _COPIES)


def _without_tag(name: str) -> str:
    repository, colon, tag = name.partition("@")[0].rpartition(":")
    return repository if colon and "/" not in tag else name.partition("@")[0]
