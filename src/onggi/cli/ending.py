"""How a container's end, and what it listens on, is told to the user."""

from ..errors import NotFound, OnggiError
from ..spec.container import Container, ContainerState
from ..typed import TYPE_CHECKING
from .hints import hint, memory_limit
from .session import Session

if TYPE_CHECKING:
    from .relay import Stream

KILLED = 137


def exit_code(session: Session, container: Container, told: "Stream") -> int:
    """The code `run` and `start -a` end with. `told` came with the end of the streams: by now the
    container may be gone, or run again. Explains a 137."""
    if told.exit_code is None:  # its monitor was killed
        state = session.engine.containers.wait(container.id)
    elif told.exit_code != KILLED:
        return told.exit_code  # nothing to explain, nor a module more to load: 0.4 ms
    else:
        from ..engine.control import ended_state

        state = ended_state(container, told.exit_code, told.kill_reason)
    if state.exit_code == KILLED:
        session.out.flush()
        session.err.line(why_killed(session, container, state))
    return state.exit_code


def why_killed(session: Session, container: Container, state: ContainerState) -> str:
    limit = container.config.options.host.resources.memory_bytes
    if state.oom_killed:
        shown = memory_limit(limit) if limit else "the host's memory"
        return hint("oom", session.language, limit=shown)
    key = "killed-by-stop" if state.kill_reason == "stop timeout" else "killed"
    return hint(key, session.language)


def stop_note(session: Session, before: Container, timeout_s: int) -> None:
    """After `stop`: say when it took a SIGKILL."""
    try:
        state = session.engine.containers.get(before.id).state
    except NotFound:
        return
    if timeout_s and state.kill_reason == "stop timeout" and state.status == "exited":
        signal = before.config.stop_signal or "SIGTERM"
        session.err.line(
            hint(
                "stop-timeout", session.language, name=before.name, seconds=timeout_s, signal=signal
            )
        )


def loopback_hints(session: Session, container: Container) -> None:
    """Published ports whose app listens on the container's own 127.0.0.1 only."""
    if not container.config.options.host.ports and not container.config.options.host.publish_all:
        return
    try:
        ports = session.engine.containers.loopback_only_ports(container)
    except (OnggiError, OSError):
        return  # advice is never a reason to fail
    session.out.flush()
    for port in dict.fromkeys(binding.container_port for binding in ports):
        session.err.line(hint("loopback", session.language, name=container.name, port=port))
