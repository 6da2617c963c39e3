"""What a command is: its words, its flags, how many arguments it takes, and what runs it."""

from collections.abc import Callable, Mapping

from ..typed import NamedTuple
from .flags import Check, Flag, FlagError, FlagNotSupported, Values, parse
from .session import Session

Run = Callable[[Session, Values, list[str]], int]


class Command(NamedTuple):
    """One row of the table of commands. `most` -1 means any number of arguments."""

    usage: str  # what follows the command's name: "[OPTIONS] IMAGE [COMMAND] [ARG...]"
    summary: str
    run: Run
    flags: Mapping[str, Flag] = {}
    least: int = 0
    most: int = 0
    interspersed: bool = True
    checks: Mapping[str, Check] = {}
    aliases: tuple[str, ...] = ()
    failure_code: int = 1  # of what goes wrong after the flags: 125 for run
    description: str = ""  # the long text of --help; "" is the summary


class UsageError(Exception):
    """The command line is wrong. `lines` are printed as they are, then the usage."""

    def __init__(self, message: str, *, exit_code: int, see: str = "Run") -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.see = see


class NotSupportedYet(Exception):
    """A command or flag that docker has."""


def read(command: Command, path: str, words: list[str]) -> tuple[Values, list[str]]:
    """Values and arguments of `onggi PATH WORDS`; else UsageError, NotSupportedYet, HelpWanted."""
    try:
        values, arguments = parse(
            command.flags, words, interspersed=command.interspersed, checks=command.checks
        )
    except FlagNotSupported as error:
        raise NotSupportedYet(str(error)) from error
    except FlagError as error:
        raise UsageError(str(error), exit_code=125) from error
    problem = _count_problem(len(arguments), command.least, command.most)
    if problem:
        see = "See" if problem.startswith("requires at least") and command.most < 0 else "Run"
        raise UsageError(f"onggi: 'onggi {path}' {problem}", exit_code=1, see=see)
    return values, arguments


def _count_problem(count: int, least: int, most: int) -> str:
    if count >= least and (most < 0 or count <= most):
        return ""
    if most == 0:
        return "accepts no arguments"
    if most < 0:
        return f"requires at least {least} argument{'' if least == 1 else 's'}"
    if least == most:
        return f"requires {least} argument{'' if least == 1 else 's'}"
    if least == 0:
        return f"requires at most {most} argument{'' if most == 1 else 's'}"
    return f"requires at least {least} and at most {most} arguments"
