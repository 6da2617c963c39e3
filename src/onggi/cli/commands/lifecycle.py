"""start, stop, restart, kill, rm, wait, pause, unpause, rename."""

from ...errors import Conflict, NotFound, NotModified, OnggiError
from ...spec.container import Container
from .. import ending, limits
from ..command import Command
from ..flags import Values, flag_table
from ..hints import hint, nearest
from ..session import Session, each, message_of, refusal

CONTAINERS = "CONTAINER [CONTAINER...]"


def missing_hint(session: Session, error: OnggiError, name: str) -> OnggiError:
    """A NotFound with the nearest container name as its hint."""
    if isinstance(error, NotFound) and not error.hint:
        names = [c.name for c in session.engine.containers.list(all=True)]
        near = nearest(name, names)
        if near:
            error.hint = hint("container", session.language, near=near)
    return error


def container_named(session: Session, name: str) -> Container:
    """The container; a wrong name is answered with the nearest one."""
    try:
        return session.engine.containers.get(name)
    except NotFound as error:
        raise missing_hint(session, error, name) from error


def named(session: Session, name: str) -> str:
    """The name, unless it is empty: docker's client asks nothing about nobody."""
    if not name.strip():
        raise refusal("container name cannot be empty")
    return name


def start(session: Session, values: Values, arguments: list[str]) -> int:
    if values.on("attach") or values.on("interactive"):
        if len(arguments) > 1:
            raise refusal("you cannot start and attach multiple containers at once")
        from .attach import start_attached

        return start_attached(session, values, arguments[0])

    def one(name: str) -> str:
        try:
            container = session.engine.containers.start(named(session, name))
        except NotModified:
            return name
        except NotFound as error:
            raise missing_hint(session, error, name) from error
        ending.loopback_hints(session, container)
        return name

    code = each(session, arguments, one)
    if code:
        session.err.line("Error: failed to start containers: " + ", ".join(arguments))
    return code


def timeout_of(values: Values) -> int | None:
    """`--time` is the old name of `--timeout`."""
    for name in ("timeout", "time"):
        if values.given(name):
            return values.number(name)
    return None


def stop(session: Session, values: Values, arguments: list[str]) -> int:
    containers = session.engine.containers
    timeout_s, signal = timeout_of(values), limits.checked_signal(values.text("signal"))

    def one(name: str) -> str:
        try:
            before = containers.get(named(session, name))
            containers.stop(name, timeout_s=timeout_s, signal=signal)
        except NotModified:
            return name
        except NotFound as error:
            raise missing_hint(session, error, name) from error
        waited = timeout_s if timeout_s is not None else before.config.options.stop_timeout_s
        ending.stop_note(session, before, 10 if waited is None else waited)
        return name

    return each(session, arguments, one)


def restart(session: Session, values: Values, arguments: list[str]) -> int:
    timeout_s, signal = timeout_of(values), limits.checked_signal(values.text("signal"))

    def one(name: str) -> str:
        try:
            session.engine.containers.restart(
                named(session, name), timeout_s=timeout_s, signal=signal
            )
        except NotFound as error:
            raise missing_hint(session, error, name) from error
        return name

    return each(session, arguments, one)


def kill(session: Session, values: Values, arguments: list[str]) -> int:
    signal = values.text("signal") or "KILL"

    def one(name: str) -> str:
        try:
            session.engine.containers.kill(named(session, name), signal)
        except NotFound as error:
            error.message = f"cannot kill container: {name}: {error.message}"
            raise missing_hint(session, error, name) from error
        return name

    return each(session, arguments, one)


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    force = values.on("force")

    def one(name: str) -> str | None:
        try:
            session.engine.containers.remove(
                named(session, name), force=force, volumes=values.on("volumes")
            )
        except NotFound as error:
            if force:  # docker: said, but what is gone is no failure of a forced removal
                session.err.line(message_of(error))
                return None
            raise missing_hint(session, error, name) from error
        except Conflict as error:
            if not force and not error.hint:
                error.hint = hint("running", session.language, name=name)
            raise
        return name

    return each(session, arguments, one)


def wait(session: Session, values: Values, arguments: list[str]) -> int:
    def one(name: str) -> str:
        return str(session.engine.containers.wait(named(session, name)).exit_code)

    return each(session, arguments, one)


def pause(session: Session, values: Values, arguments: list[str]) -> int:
    def one(name: str) -> str:
        session.engine.containers.pause(named(session, name))
        return name

    return each(session, arguments, one)


def unpause(session: Session, values: Values, arguments: list[str]) -> int:
    def one(name: str) -> str:
        session.engine.containers.unpause(named(session, name))
        return name

    return each(session, arguments, one)


def rename(session: Session, values: Values, arguments: list[str]) -> int:
    old, new = arguments[0].strip(), arguments[1].strip()
    if not old or not new:
        raise refusal("Error: Neither old nor new names may be empty")
    session.engine.containers.rename(old, new)
    return 0


START = Command(
    usage=f"[OPTIONS] {CONTAINERS}",
    summary="Start one or more stopped containers",
    run=start,
    flags=flag_table(
        """
  -a, --attach                  Attach STDOUT/STDERR and forward signals
      --detach-keys string      Override the key sequence for detaching a container
  -i, --interactive             Attach container's STDIN
      --sig-proxy               (default true)
""",
        "checkpoint:string checkpoint-dir:string",
    ),
    least=1,
    most=-1,
    aliases=("container start", "start"),
)
STOP_FLAGS = flag_table("""
  -s, --signal string   Signal to send to the container
  -t, --timeout int     Seconds to wait before killing the container
      --time int
""")
STOP = Command(
    usage=f"[OPTIONS] {CONTAINERS}",
    summary="Stop one or more running containers",
    run=stop,
    flags=STOP_FLAGS,
    least=1,
    most=-1,
    aliases=("container stop", "stop"),
)
RESTART = Command(
    usage=f"[OPTIONS] {CONTAINERS}",
    summary="Restart one or more containers",
    run=restart,
    flags=STOP_FLAGS,
    least=1,
    most=-1,
    aliases=("container restart", "restart"),
)
KILL = Command(
    usage=f"[OPTIONS] {CONTAINERS}",
    summary="Kill one or more running containers",
    run=kill,
    flags=flag_table("  -s, --signal string   Signal to send to the container"),
    least=1,
    most=-1,
    aliases=("container kill", "kill"),
)
RM = Command(
    usage=f"[OPTIONS] {CONTAINERS}",
    summary="Remove one or more containers",
    run=rm,
    flags=flag_table(
        """
  -f, --force      Force the removal of a running container (uses SIGKILL)
  -v, --volumes    Remove anonymous volumes associated with the container
""",
        "l/link",
    ),
    least=1,
    most=-1,
    aliases=("container rm", "container remove", "rm"),
)
WAIT = Command(
    usage=CONTAINERS,
    summary="Block until one or more containers stop, then print their exit codes",
    run=wait,
    least=1,
    most=-1,
    aliases=("container wait", "wait"),
)
PAUSE = Command(
    usage=CONTAINERS,
    summary="Pause all processes within one or more containers",
    run=pause,
    least=1,
    most=-1,
    aliases=("container pause", "pause"),
)
UNPAUSE = Command(
    usage=CONTAINERS,
    summary="Unpause all processes within one or more containers",
    run=unpause,
    least=1,
    most=-1,
    aliases=("container unpause", "unpause"),
)
RENAME = Command(
    usage="CONTAINER NEW_NAME",
    summary="Rename a container",
    run=rename,
    least=2,
    most=2,
    aliases=("container rename", "rename"),
)
