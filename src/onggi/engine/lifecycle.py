"""Which verb is allowed in which state. Pure: one table, docker's words for the refusals."""

from enum import Enum

from ..errors import Conflict, NotModified
from ..spec.container import Container, Status


class Event(Enum):
    START = "start"
    EXIT = "exit"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EXEC = "exec"
    ATTACH = "attach"


NEXT: dict[tuple[Status, Event], Status] = {
    ("created", Event.START): "running",
    ("exited", Event.START): "running",
    ("dead", Event.START): "running",
    ("running", Event.EXIT): "exited",
    ("running", Event.STOP): "exited",
    ("running", Event.KILL): "running",
    ("running", Event.PAUSE): "paused",
    ("running", Event.EXEC): "running",
    ("running", Event.ATTACH): "running",
    ("paused", Event.UNPAUSE): "running",
    ("paused", Event.STOP): "exited",
    ("paused", Event.KILL): "paused",
    ("paused", Event.EXIT): "exited",
    ("restarting", Event.STOP): "exited",
    ("restarting", Event.KILL): "restarting",
    ("restarting", Event.EXIT): "restarting",
    ("created", Event.STOP): "created",
    ("exited", Event.STOP): "exited",
}


def require(container: Container, event: Event) -> Status:
    """The state that follows. Raises Conflict with docker's words when `event` is not allowed,
    NotModified for a start of what runs."""
    status = container.state.status
    if status == "running" and event is Event.START:
        raise NotModified(f"container {container.id} is already running")
    following = NEXT.get((status, event))
    if following is None:
        raise Conflict(_refusal(container, event))
    return following


def is_restarting(container: Container) -> str:
    return f"Container {container.id} is restarting, wait until the container is running"


def _refusal(container: Container, event: Event) -> str:
    paused = container.state.status == "paused"
    if container.state.status == "restarting":
        return is_restarting(container)
    match event:
        case Event.START:
            return "cannot start a paused container, try unpause instead"
        case Event.PAUSE:
            if paused:
                return f"Container {container.id} is already paused"
            return f"Container {container.id} is not running"
        case Event.UNPAUSE:
            return f"Container {container.id} is not paused"
        case Event.EXEC:
            if paused:
                return f"Container {container.name} is paused, unpause the container before exec"
            return f"container {container.id} is not running"
        case Event.ATTACH:
            if paused:
                return "You cannot attach to a paused container, unpause it first"
            return "You cannot attach to a stopped container, start it first"
        case Event.KILL:
            return (
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        case _:
            return f"container {container.id} is {container.state.status}"
