"""Which verb is allowed in which state. Pure: one table, docker's words for the refusals."""

from ..errors import Conflict, NotModified
from ..spec.container import Container, Status
from ..typed import Literal

Event = Literal["start", "exit", "stop", "kill", "pause", "unpause", "exec", "attach"]
NEXT: dict[tuple[Status, Event], Status] = {
    ("created", "start"): "running",
    ("exited", "start"): "running",
    ("dead", "start"): "running",
    ("running", "exit"): "exited",
    ("running", "stop"): "exited",
    ("running", "kill"): "running",
    ("running", "pause"): "paused",
    ("running", "exec"): "running",
    ("running", "attach"): "running",
    ("paused", "unpause"): "running",
    ("paused", "stop"): "exited",
    ("paused", "kill"): "paused",
    ("paused", "exit"): "exited",
    ("restarting", "stop"): "exited",
    ("restarting", "kill"): "restarting",
    ("restarting", "exit"): "restarting",
    ("created", "stop"): "created",
    ("exited", "stop"): "exited",
}


def require(container: Container, event: Event) -> Status:
    """The state that follows. Raises Conflict with docker's words when `event` is not allowed,
    NotModified for a start of what runs."""
    status = container.state.status
    if status == "running" and event == "start":
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
        case "start":
            return "cannot start a paused container, try unpause instead"
        case "pause":
            if paused:
                return f"Container {container.id} is already paused"
            return f"Container {container.id} is not running"
        case "unpause":
            return f"Container {container.id} is not paused"
        case "exec":
            if paused:
                return f"Container {container.name} is paused, unpause the container before exec"
            return f"container {container.id} is not running"
        case "attach":
            if paused:
                return "You cannot attach to a paused container, unpause it first"
            return "You cannot attach to a stopped container, start it first"
        case "kill":
            return (
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        case _:
            return f"container {container.id} is {container.state.status}"
