"""--chmod: octal and symbolic modes, as chmod(1) without a umask reads them. Pure."""

import re
from collections.abc import Sequence

from ..errors import InvalidInput
from ..typed import NamedTuple

MAX_MODE = 0o7777
_OCTAL = re.compile(r"[0-7]{1,8}", re.ASCII)
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)", re.ASCII)
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)", re.ASCII)
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}
_SHIFT = {"u": 6, "g": 3, "o": 0}


class Action(NamedTuple):
    """`who` are the bits that may change; `sign` is one of + - =; `letters` say to what."""

    who: int
    sign: str
    letters: str


def parse(text: str) -> tuple[Action, ...] | int:
    """A mode to set, or the changes to make. Raises InvalidInput in BuildKit's words."""
    if _OCTAL.fullmatch(text) and int(text, 8) <= MAX_MODE:
        return int(text, 8)
    if text[:1].isdigit():
        raise InvalidInput(
            f"invalid chmod parameter: '{text[:40]}'. it should be octal string and between 0 and "
            "07777"
        )
    actions: list[Action] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InvalidInput(f"invalid chmod parameter: '{text[:40]}': invalid syntax")
        who = 0
        for letter in match[1] or "a":
            who |= _WHO[letter]
        actions += [Action(who, sign, letters) for sign, letters in _ACTION.findall(match[2])]
    return tuple(actions)


def changed(change: Sequence[Action] | int, mode: int, *, directory: bool) -> int:
    """The mode after the change. X is x for a directory, and for what somebody could
    execute before."""
    if isinstance(change, int):
        return change
    executable = directory or bool(mode & 0o111)
    for action in change:
        bits = _bits(action, mode, executable) & (action.who | 0o1000)
        if action.sign == "+":
            mode |= bits
        elif action.sign == "-":
            mode &= ~bits
        else:
            mode = mode & ~(action.who | bits & 0o1000) | bits
    return mode


def _bits(action: Action, mode: int, executable: bool) -> int:
    found = 0
    for letter in action.letters:
        if letter in _SHIFT:
            found |= (mode >> _SHIFT[letter] & 7) * 0o111
        elif letter == "X":
            found |= 0o111 if executable or action.sign == "-" else 0
        else:
            found |= _BITS[letter]
    return found
