"""Wildcards as Go's path.Match knows them, plus docker's `**`; matching is linear in the text.

A pattern is a list of tokens. With few wildcards it becomes a regular expression; with more, a
bit-parallel automaton, because `re` backtracks and a pattern comes from outside (SECURITY 4.6).
"""

import re
from collections.abc import Callable, Iterator

from ..typed import NamedTuple

Matches = Callable[[str], bool]
_REGEX_WILDCARDS = 2  # at most: then backtracking costs O(length ** 2)


class BadPattern(ValueError):
    """What Go calls ErrBadPattern: an open class, an empty class, a lone backslash at the end."""


class Token(NamedTuple):
    """`kind` is: literal (`text` one character), class (`ranges`, `negated`), one (`?`), star
    (`*`), dirs (docker's `**/`: any number of whole directories), tail (a last `**`)."""

    kind: str
    text: str = ""
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False


def tokens(pattern: str, *, double_star: bool = False) -> list[Token]:
    """Raises BadPattern."""
    found: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if double_star and pattern.startswith("**", at):
            at += 2
            at += pattern.startswith("/", at)
            found.append(Token("dirs" if at < len(pattern) else "tail"))
            continue
        at += 1
        if char == "*":
            found.append(Token("star"))
        elif char == "?":
            found.append(Token("one"))
        elif char == "[":
            token, at = _class(pattern, at)
            found.append(token)
        elif char == "\\":
            if at == len(pattern):
                raise BadPattern("syntax error in pattern")
            found.append(Token("literal", pattern[at]))
            at += 1
        else:
            found.append(Token("literal", char))
    return found


def _class(pattern: str, at: int) -> tuple[Token, int]:
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_character(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_character(pattern, at + 1)
        ranges.append((low, high))
    return Token("class", ranges=tuple(ranges), negated=negated), at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at : at + 1]
    if char in ("", "-", "]"):
        raise BadPattern("syntax error in pattern")
    if char == "\\":
        at += 1
        char = pattern[at : at + 1]
    if not char or at + 1 >= len(pattern):
        raise BadPattern("syntax error in pattern")
    return char, at + 1


def has_wildcards(pattern: str) -> bool:
    at = 0
    while at < len(pattern):
        if pattern[at] in "*?[":
            return True
        at += 2 if pattern[at] == "\\" else 1
    return False


def literal(parsed: list[Token]) -> str | None:
    """The one text the pattern matches, None when it has wildcards."""
    if any(token.kind != "literal" for token in parsed):
        return None
    return "".join(token.text for token in parsed)


def matcher(parsed: list[Token], *, slash: bool = False) -> Matches:
    """Whether a whole text matches; `slash`: `*` and `?` match "/" too (a shell variable's rule).

    Consecutive equal stars are one."""
    kept = [
        token
        for token, before in zip(parsed, [None, *parsed], strict=False)
        if token.kind not in ("star", "dirs", "tail") or token != before
    ]
    if sum(token.kind in ("star", "dirs", "tail") for token in kept) <= _REGEX_WILDCARDS:
        compiled = re.compile("".join(_regex(token, slash) for token in kept), re.DOTALL)
        return lambda text: compiled.fullmatch(text) is not None
    automaton = Automaton(kept, slash=slash)
    return automaton.matches


def _regex(token: Token, slash: bool) -> str:
    if token.kind == "class":
        body = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in token.ranges
                       if low <= high)  # fmt: skip
        if not body:  # only reversed ranges: Go matches nothing
            return "." if token.negated else "(?!)"
        return f"[{'^' if token.negated else ''}{body}]"
    character = "." if slash else "[^/]"
    simple = {"one": character, "star": f"{character}*", "dirs": "(?:.*/)?", "tail": ".*"}
    return simple.get(token.kind) or re.escape(token.text)


class Automaton:
    """All positions a pattern can be in, as bits of one integer. `dirs` takes two: "not begun" and
    "inside a directory name"."""

    def __init__(self, parsed: list[Token], *, slash: bool = False) -> None:
        self.slash = slash
        self.places: list[Token] = []
        self.skip_one = self.skip_two = 0  # moves that consume nothing
        for token in parsed:
            bit = 1 << len(self.places)
            if token.kind == "dirs":
                self.skip_two |= bit
                self.places.append(Token("begin"))
            self.skip_one |= bit if token.kind in ("star", "dirs", "tail") else 0
            self.places.append(token)
        self.accept = 1 << len(self.places)
        self.moves: dict[str, tuple[int, int]] = {}
        self.start = self._close(1)

    def matches(self, text: str) -> bool:
        active = self.start
        for char in text:
            active = self.step(active, char)
            if not active:
                return False
        return bool(active & self.accept)

    def prefixes(self, text: str) -> Iterator[int]:
        """The lengths, rising, of the prefixes of `text` that match."""
        active = self.start
        if active & self.accept:
            yield 0
        for size, char in enumerate(text, 1):
            active = self.step(active, char)
            if not active:
                return
            if active & self.accept:
                yield size

    def step(self, active: int, char: str) -> int:
        move = self.moves.get(char)
        if move is None:
            move = self.moves[char] = self._moves(char)
        return self._close(((active & move[0]) << 1) | (active & move[1]))

    def _close(self, active: int) -> int:
        while True:
            wider = active | ((active & self.skip_one) << 1) | ((active & self.skip_two) << 2)
            if wider == active:
                return active
            active = wider

    def _moves(self, char: str) -> tuple[int, int]:
        """(places `char` leads on from, places it stays in)."""
        forward = stay = 0
        for index, token in enumerate(self.places):
            bit = 1 << index
            kind = token.kind
            if kind == "literal":
                forward |= bit if char == token.text else 0
            elif kind == "class":
                inside = any(low <= char <= high for low, high in token.ranges)
                forward |= bit if inside != token.negated else 0
            elif kind == "one":
                forward |= bit if self.slash or char != "/" else 0
            elif kind == "star":
                stay |= bit if self.slash or char != "/" else 0
            elif kind in ("dirs", "tail"):
                stay |= bit
                forward |= bit if kind == "dirs" and char == "/" else 0
        return forward, stay
