"""What happened, one JSON line each, appended to RUN/events/log: there is no daemon to tell.

Emitting never fails a command and takes some 20 microseconds: an open, one append, a close. The
order of the lines is the order of the events, whatever the clock does. `eventlog` reads them.
"""

import fcntl
import os
import time
from collections.abc import Mapping

from .. import jsons
from ..spec.container import Container

MAX_BYTES = 1 << 20  # then the log becomes log.1, and the log.1 before it goes
DIRECTORY, LOG, OLD = "events", "log", "log.1"
_OF_PODS = {"create": "create", "start": "start", "die": "stop", "destroy": "remove"}
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Events:
    def __init__(self, run: str) -> None:
        self.directory = f"{run}/{DIRECTORY}"

    def emit(self, kind: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
        """`kind` is docker's Type: container, image, network or volume."""
        message = {
            **_deprecated(kind, action, actor, attributes),
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": attributes},
            "scope": "local",
        }
        now = time.time_ns()
        message["time"], message["timeNano"] = now // 1_000_000_000, now
        line = jsons.dumps(message, ascii=False) + "\n"
        try:
            self._append(line.encode("utf-8", "replace"))
        except OSError:
            pass  # a full disk or a foreign file there loses the event, never the command

    def container(self, container: Container, action: str, **more: str) -> None:
        """An event of a container; build steps are nobody's business."""
        options = container.config.options
        if options.purpose == "build":
            return
        if options.purpose == "pod":
            self._pod(container, action)
            return
        attributes = {
            **container.config.labels, **more, "image": options.image, "name": container.name
        }  # fmt: skip
        self.emit("container", action, container.id, attributes)

    def _pod(self, container: Container, action: str) -> None:
        """In podman's words, of what it has words for."""
        word = _OF_PODS.get(action)
        if word is not None:
            attributes = {**container.config.labels, "name": container.name.removeprefix("pod:")}
            self.emit("pod", word, container.id, attributes)

    def image(self, action: str, actor: str, name: str) -> None:
        self.emit("image", action, actor, {"name": name})

    def volume(self, action: str, name: str, **more: str) -> None:
        self.emit("volume", action, name, {**more, "driver": "local"})

    def network(self, action: str, network_id: str, name: str, driver: str, **more: str) -> None:
        self.emit("network", action, network_id, {**more, "name": name, "type": driver})

    def _append(self, line: bytes) -> None:
        path = f"{self.directory}/{LOG}"
        try:
            fd = os.open(path, _APPEND, 0o600)
        except FileNotFoundError:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            fd = os.open(path, _APPEND, 0o600)
        try:
            if _try_lock(fd, fcntl.LOCK_SH) and _renamed(fd, path):
                stale, fd = fd, os.open(path, _APPEND, 0o600)
                os.close(stale)  # another command rotated between our open and our lock
            os.write(fd, line)
            if os.fstat(fd).st_size >= MAX_BYTES:
                self._rotate(fd, path)
        finally:
            os.close(fd)

    def _rotate(self, fd: int, path: str) -> None:
        """By whoever gets the file alone: nobody is writing to it then."""
        if _try_lock(fd, fcntl.LOCK_EX) and not _renamed(fd, path):
            os.rename(path, f"{self.directory}/{OLD}")


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _renamed(fd: int, path: str) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return True


def _deprecated(
    kind: str, action: str, actor: str, attributes: Mapping[str, str]
) -> dict[str, object]:
    """The flat fields from before there was an Actor; docker still sends them."""
    if kind == "container":
        return {"status": action, "id": actor, "from": attributes.get("image", "")}
    return {"status": action, "id": actor} if kind == "image" else {}
