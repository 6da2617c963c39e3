"""What every command that attaches checks first: the keys that detach, and that -it has a terminal.

Apart from `run`, whose hundred flags an `exec` need not load.
"""

import os

from ..monitor import detachkeys
from .flags import Values
from .session import CommandError, refusal


class StdinNotTerminal(CommandError):
    """`-it` without a terminal: docker's words and exit code, for run as well."""

    exit_code = 1


def detach_sequence(values: Values) -> bytes:
    text = values.text("detach-keys") if values.given("detach-keys") else detachkeys.DEFAULT
    try:
        return detachkeys.parse_keys(text)
    except ValueError as error:
        raise refusal(str(error)) from error


def refuse_false_terminal(tty: bool, stdin: bool) -> None:
    if tty and stdin and not os.isatty(0):
        raise StdinNotTerminal("the input device is not a TTY")
