"""How a Dockerfile's mistake is told: docker's first line, the line of the file, a caret, a hint.

Owns the wording; decides nothing about what is wrong.
"""

import re

from ..errors import InvalidInput, OnggiError

_PLACED = re.compile(r"(.*)\n  line ([0-9]{1,9}) \| [^\n]*", re.DOTALL)
_AT_LINE = re.compile(
    r"(dockerfile parse error on line ([0-9]{1,9}): .*?)(?:\n  [0-9]+ \| .*)?", re.DOTALL
)
SHOWN = 160  # characters of a line worth showing


def at_line(
    message: str, line: int, text: str = "", *, near: str = "", hint: str | None = None
) -> InvalidInput:
    """The error for `line` (from 1) whose text is `text`; the caret marks `near` when it occurs."""
    first = f"dockerfile parse error on line {line}: {message}"
    shown = text.replace("\t", " ")[:SHOWN]
    if not shown:
        return InvalidInput(first, hint=hint)
    prefix = f"  {line} | "
    column = max(shown.find(near), 0) if near else len(shown) - len(shown.lstrip())
    width = len(near) if near and near in shown else 1
    caret = " " * (len(prefix) + column) + "^" * width
    return InvalidInput(f"{first}\n{prefix}{shown}\n{caret}", hint=hint)


def placed(error: OnggiError, line: int, text: str) -> OnggiError:
    """The same error, its message followed by the line it happened in. What `run` would answer
    with an exit code of its own becomes a plain error: a build that fails is 1."""
    shown = text.replace("\n", " ").replace("\t", " ")[:SHOWN]
    message = f"{error.message}\n  line {line} | {shown}"
    if error.exit_code is not None:
        return InvalidInput(message, hint=error.hint)
    error.message = message
    error.args = (message,)
    return error


def place_of(message: str) -> tuple[str, int]:
    """What `placed` and `at_line` put together, taken apart: the message alone, and the line, 0 for
    none; for frontends that show the line in a way of their own."""
    for pattern in (_PLACED, _AT_LINE):
        match = pattern.fullmatch(message)
        if match:
            return match[1], int(match[2])
    return message, 0
