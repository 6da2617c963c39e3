"""Reads the command line, finds the command, decides the exit code.

Exit codes: the error's own, else 125 for wrong flags and for run, else 1; 130 for an interrupt.
No traceback is shown unless --debug.
"""

import os

from .. import __version__, boot, trace
from ..engine import tier
from ..errors import OnggiError
from ..typed import TYPE_CHECKING, Any
from . import tree
from .command import Command, NotSupportedYet, UsageError, read
from .flags import Flag, FlagError, FlagNotSupported, HelpWanted, Values, flag_table, parse
from .session import CommandError, Session, WriteError, WrongFlags, message_of, os_error_text

if TYPE_CHECKING:
    from ..remote.address import Address

GLOBAL_FLAGS = """
  -c, --context string     Name of the context to use to connect to an engine elsewhere (overrides
                           ONGGI_HOST and the context set with "onggi context use")
  -D, --debug              Enable debug mode
  -H, --host list          An engine elsewhere: unix://PATH, tcp://HOST:PORT, ssh://USER@HOST
  -l, --log-level string   Set the logging level ("debug", "info", "warn", "error", "fatal")
        (default "info")
      --root string        Directory of images and containers (default "/var/lib/onggi")
      --run-root string    Directory of the state of what runs (default "/run/onggi")
      --tls                Use TLS; implied by --tlsverify
      --tlscacert string   Trust certs signed only by this CA (default "~/.docker/ca.pem")
      --tlscert string     Path to TLS certificate file (default "~/.docker/cert.pem")
      --tlskey string      Path to TLS key file (default "~/.docker/key.pem")
      --tlsverify          Use TLS and verify the remote
      --trace              Print where the time went
  -v, --version            Print version information and quit
"""
GLOBAL_NOT_YET = "config:string"
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "panic", "trace")


def guarded(session: Session, argv: list[str]) -> int:
    """`dispatch`, with everything that can go wrong told in one line."""
    try:
        code = dispatch(session, argv)
        show_trace(session)
        return code
    except (BrokenPipeError, WriteError):
        raise
    except KeyboardInterrupt:
        return 130
    except NotSupportedYet as error:
        return fail(session, f"onggi: {error}", 125 if str(error).startswith("flag ") else 1)
    except CommandError as error:
        return fail(session, error.message, error.exit_code or 1, error.hint)
    except OnggiError as error:
        show_traceback(session)
        return fail(session, message_of(error), error.exit_code or 1, error.hint)
    except PermissionError as error:
        show_traceback(session)
        return permission_denied(session, error, argv)
    except OSError as error:
        show_traceback(session)
        return fail(session, f"onggi: {os_error_text(error)}", 1)
    except ModuleNotFoundError as error:
        show_traceback(session)
        message = f"onggi: the Python package {error.name!r} is missing"
        return fail(session, message, 1, "reinstall onggi with pip, which brings what it needs")
    except Exception as error:  # the entry loop: a bug of ours is one line, not a traceback
        show_traceback(session)
        return fail(
            session,
            f"onggi: internal error: {type(error).__name__}: {error}"
            " (run with --debug to see where)",
            1,
        )


def fail(session: Session, message: str, code: int, hint: str | None = None) -> int:
    session.out.flush()
    session.err.line(message)
    if hint:
        session.err.line(hint)
    return code


def show_trace(session: Session) -> None:
    rows = trace.table()
    if rows:
        session.out.flush()
        session.err.line(f"{'AT MS':>8}{'TOOK MS':>9}  {'PROCESS':<10} PHASE")
    for at, took, who, phase in rows:
        session.err.line(f"{at:8.1f}{took:9.2f}  {who:<10} {phase}")


def show_traceback(session: Session) -> None:
    if session.debug:
        import traceback

        session.err.write(traceback.format_exc())


def permission_denied(session: Session, error: PermissionError, argv: list[str]) -> int:
    from .hints import hint

    advice = None
    if os.geteuid() != 0:
        advice = hint("root", session.language, words=" ".join(argv))
    return fail(session, f"onggi: {os_error_text(error)}", 1, advice)


def dispatch(session: Session, argv: list[str]) -> int:
    """Find the command and run it."""
    flags = flag_table(GLOBAL_FLAGS, GLOBAL_NOT_YET) if argv[:1] and argv[0][:1] == "-" else {}
    rest = argv
    if flags:
        try:
            values, rest = parse(flags, argv, interspersed=False)
        except HelpWanted:
            return show_top_help(session)
        except FlagNotSupported as error:
            raise NotSupportedYet(str(error)) from error
        except FlagError as error:
            usage = "Usage:  onggi [OPTIONS] COMMAND [ARG...]"
            return fail(session, f"{error}\n\n{usage}\n\n{more('')}", 125)
        if values.on("version"):
            session.out.line(f"onggi version {__version__}")
            return 0
        apply_global(session, values)
    session.retry = " ".join(rest)
    path, used = tree.find(rest)
    if not path:
        if rest and rest[0] == "help":
            return show_help(session, rest[1:])
        return unknown_command(session, rest) if rest else show_top_help(session)
    if path in tree.NOT_YET:
        raise NotSupportedYet(refused_text(path))
    if path in tree.GROUPS:
        return in_group(session, path, rest[used:])
    return run_command(session, path, rest[used:])


def apply_global(session: Session, values: Values) -> None:
    level = values.text("log-level")
    if level not in LOG_LEVELS:
        raise CommandError(f"Unable to parse logging level: {level}")
    session.debug = values.on("debug")
    if values.on("trace"):
        trace.start(boot.BEGAN_NS, boot.USED_NS)
    if any(values.given(name) for name in ("host", "context")):
        from . import elsewhere

        elsewhere.choose(session, values)
    session.root = values.text("root") if values.given("root") else session.root
    session.run = values.text("run-root") if values.given("run-root") else session.run


def refused_text(path: str) -> str:
    from .refused import command_text

    return command_text(path)


def load(path: str) -> Command:
    module, _, name = tree.COMMANDS[path].partition(":")
    commands: Any = __import__(f"commands.{module}", globals(), level=1)
    loaded = getattr(commands, module)
    command: Command = getattr(loaded, name)
    return command


def run_command(session: Session, path: str, words: list[str]) -> int:
    command = load(path)
    trace.mark("command's modules loaded")
    try:
        values, arguments = read(command, path, words)
        trace.mark("command line read")
    except HelpWanted:
        return show_help(session, path.split())
    except UsageError as error:
        return wrong_usage(session, command, path, error, words)
    here = path in tree.HERE or path.partition(" ")[0] in tree.HERE
    if session.elsewhere is None and not here:
        session.elsewhere = default_engine(session)
    if session.elsewhere is not None and not here:
        from . import elsewhere

        elsewhere.check(path)
    elif tier.is_limited():
        from .prelude import become_root

        become_root(session)
    try:
        return command.run(session, values, arguments)
    except OnggiError as error:
        early = isinstance(error, WrongFlags)
        if error.exit_code == 1 or (command.failure_code == 1 and not early):
            raise
        show_traceback(session)
        code = error.exit_code or command.failure_code
        return fail(session, f"onggi: {message_of(error)}\n\n{more(path)}", code, error.hint)
    except OSError as error:
        if command.failure_code == 1 or isinstance(error, BrokenPipeError):
            raise
        show_traceback(session)
        return fail(session, f"onggi: {os_error_text(error)}", command.failure_code)


def default_engine(session: Session) -> "Address | None":
    """What the environment or `context use` says; None, and nothing loaded, when neither does."""
    named = session.environ.get("ONGGI_HOST") or session.environ.get("ONGGI_CONTEXT")
    if not named and not os.path.exists(session.chosen_context):
        return None
    from . import elsewhere

    return elsewhere.default(session)


def wrong_usage(
    session: Session, command: Command, path: str, error: UsageError, words: list[str]
) -> int:
    """Docker's text, usage and pointer to the help, then what was probably meant."""
    from .help import usage_line
    from .hints import hint, nearest

    advice = None
    if error.message.startswith("unknown flag: --"):
        near = nearest(
            error.message.removeprefix("unknown flag: --"),
            (name for name, flag in command.flags.items() if flag.supported),
        )
        advice = hint("flag", session.language, near=f"--{near}") if near else None
    elif command.run.__module__.endswith(".build") and not any(
        word in (".", "-") for word in words
    ):
        typed = "".join(f"{word} " for word in words)
        advice = hint("context", session.language, words=typed)
    pointer = more(path).replace("Run", error.see, 1)
    text = f"{error.message}\n\n{usage_line(command, path)}\n\n{pointer}"
    return fail(session, text, error.exit_code, advice)


def in_group(session: Session, group: str, words: list[str]) -> int:
    if not words or words[0] == "--help":
        return show_help(session, [group])
    if words[0].startswith("-"):
        usage = f"Usage:  onggi {group} COMMAND"
        return fail(session, f"unknown flag: {words[0]}\n\n{usage}\n\n{more(group)}", 125)
    return unknown_command(session, words, group)


def unknown_command(session: Session, words: list[str], group: str = "") -> int:
    from .hints import hint, nearest

    near = nearest(words[0], tree.names(group))
    lines = [f"onggi: unknown command: onggi {group + ' ' if group else ''}{words[0]}"]
    if near:
        lines.append(hint("command", session.language, word=words[0], near=near))
    if group:
        lines += ["", f"Usage:  onggi {group}"]
    return fail(session, "\n".join([*lines, "", more(group)]), 1)


def more(path: str) -> str:
    name = f"onggi {path}" if path else "onggi"
    return f"Run '{name} --help' for more information"


def show_help(session: Session, words: list[str]) -> int:
    from . import help as helps

    path, _ = tree.find(words)
    if not words:
        return show_top_help(session)
    if path in tree.GROUPS:
        summaries = {name: load(f"{path} {name}").summary for name in tree.names(path)}
        session.out.write(helps.group_help(path, summaries))
    elif path in tree.COMMANDS:
        session.out.write(helps.command_help(load(path), path, columns()))
    elif path:
        raise NotSupportedYet(refused_text(path))
    else:
        return fail(session, f"unknown help topic: {' '.join(words)}", 1)
    return 0


def show_top_help(session: Session) -> int:
    from . import help as helps

    flags: dict[str, Flag] = flag_table(GLOBAL_FLAGS)
    summaries = {name: load(name).summary for name in tree.names() if name not in tree.GROUPS}
    session.out.write(helps.top_help(summaries, flags, columns()))
    return 0


def columns() -> int:
    try:
        return os.get_terminal_size(0).columns or 80
    except OSError:
        return 80
