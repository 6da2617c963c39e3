"""`exec`."""

from ...engine.execs import ExecOptions
from ...errors import InvalidInput, NotFound
from .. import environment, limits, tty
from ..attaching import detach_sequence, refuse_false_terminal
from ..command import Command
from ..flags import Values, flag_table
from ..relay import Interrupted, Relay
from ..session import CommandError, Session


class ExecFailed(CommandError):
    """What only starting the command can tell: docker gives the bare text, and 126 or 127."""

    def __init__(self, error: InvalidInput) -> None:
        super().__init__(error.message, hint=error.hint)
        self.exit_code = error.exit_code or 126


def run(session: Session, values: Values, arguments: list[str]) -> int:
    name, command = arguments[0], tuple(arguments[1:])
    terminal, stdin = values.on("tty"), values.on("interactive")
    keys = detach_sequence(values)
    rows, columns = tty.size_of(0) if terminal else (0, 0)
    options = ExecOptions(
        args=command,
        env=environment.variables(session.environ, values.many("env-file"), values.many("env")),
        working_dir=limits.checked_work_directory(values.text("workdir")),
        user=limits.checked_user(values.text("user")),
        tty=terminal,
        stdin=stdin and not values.on("detach"),
        privileged=values.on("privileged"),
        rows=rows,
        columns=columns,
    )
    if not values.on("detach"):
        refuse_false_terminal(terminal, stdin)
    try:
        if values.on("detach"):
            session.engine.execs.start_detached(name, options)
            return 0
        stream = session.engine.execs.start(name, options)
    except NotFound as error:
        from .lifecycle import missing_hint

        raise missing_hint(session, error, name) from error
    except InvalidInput as error:
        raise ExecFailed(error) from error
    relay = Relay(stream, stdin=stdin, terminal=terminal, detach_keys=keys, forward=None)
    try:
        ended = relay.run()
    except Interrupted:
        return 130
    finally:
        stream.close()
    if not ended:
        session.err.line("read escape sequence")
        return 0
    return stream.exit_code if stream.exit_code is not None else 1


EXEC = Command(
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    summary="Execute a command in a running container",
    run=run,
    flags=flag_table("""
  -d, --detach               Detached mode: run command in the background
      --detach-keys string   Override the key sequence for detaching a container
  -e, --env list             Set environment variables
      --env-file list        Read in a file of environment variables
  -i, --interactive          Keep STDIN open even if not attached
      --privileged           Give extended privileges to the command
  -t, --tty                  Allocate a pseudo-TTY
  -u, --user string          Username or UID (format: "<name|uid>[:<group|gid>]")
  -w, --workdir string       Working directory inside the container
"""),
    least=2,
    most=-1,
    interspersed=False,
    checks={"env": environment.check_variable},
    aliases=("container exec", "exec"),
)
