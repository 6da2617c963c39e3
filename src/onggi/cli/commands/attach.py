"""`attach`, and the attached forms of `start`."""

from ... import trace
from ...errors import OnggiError
from ...spec.container import Container
from .. import ending
from ..attaching import detach_sequence, refuse_false_terminal
from ..command import Command
from ..flags import Values, flag_table
from ..relay import Interrupted, Relay, Stream
from ..session import Session, refusal


def attach(session: Session, values: Values, arguments: list[str]) -> int:
    containers = session.engine.containers
    keys = detach_sequence(values)
    container = containers.get(arguments[0])
    status = container.state.status
    if status == "paused":
        raise refusal("You cannot attach to a paused container, unpause it first")
    if status == "restarting":
        raise refusal("You cannot attach to a restarting container, wait until it is running")
    if status != "running":
        raise refusal("You cannot attach to a stopped container, start it first")
    options = container.config.options
    stdin = options.open_stdin and not values.on("no-stdin")
    refuse_false_terminal(options.tty, stdin)
    stream = containers.attach(container.id, stdin=stdin)
    return relay(session, values, container, stream, stdin=stdin, keys=keys)


def start_attached(session: Session, values: Values, name: str) -> int:
    containers = session.engine.containers
    keys = detach_sequence(values)
    container = containers.get(name)
    options = container.config.options
    stdin = options.open_stdin and values.on("interactive")
    refuse_false_terminal(options.tty, stdin)
    if container.state.status == "running":
        stream = containers.attach(container.id, stdin=stdin)
    else:
        stream = containers.start_attached(container.id, stdin=stdin)
    return relay(session, values, container, stream, stdin=stdin, keys=keys)


def relay(
    session: Session,
    values: Values,
    container: Container,
    stream: Stream,
    *,
    stdin: bool,
    keys: bytes,
    outputs: frozenset[str] | None = None,
) -> int:
    """Copy until the container ends or the user leaves; the exit code."""

    def forward(name: str) -> None:
        try:
            session.engine.containers.kill(container.id, name)
        except OnggiError:
            pass  # it has just ended

    loop = Relay(
        stream,
        stdin=stdin,
        terminal=container.config.options.tty,
        detach_keys=keys,
        forward=forward if values.on("sig-proxy") else None,
        outputs=outputs,
    )
    try:
        ended = loop.run()
        trace.mark("container's end heard")
    except Interrupted:
        if not values.on("sig-proxy"):
            return 130
        session.err.line("got 3 SIGTERM/SIGINTs, forcefully exiting")
        return 1
    finally:
        stream.close()
    if not ended:
        session.err.line("read escape sequence")
        return 0
    return ending.exit_code(session, container, stream)


ATTACH = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Attach local standard input, output, and error streams to a running container",
    run=attach,
    flags=flag_table("""
      --detach-keys string   Override the key sequence for detaching a container
      --no-stdin             Do not attach STDIN
      --sig-proxy            Proxy all received signals to the process (default true)
"""),
    least=1,
    most=1,
    aliases=("container attach", "attach"),
)
