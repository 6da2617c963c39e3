"""Docker's shell words: quotes, escapes and `$x ${x:-y} ${x:+y} ${x:?y} ${x#p} ${x%p} ${x/p/r}`.

Owns the grammar and the output limit; where the variables come from is the caller's business.
"""

from collections.abc import Mapping

from ..errors import InvalidInput
from .glob import Automaton, Token, literal

MAX_OUTPUT = 1 << 20
MAX_DEPTH = 32
MAX_SEARCHED = 4096  # characters a ${x/pattern/} with wildcards looks through: O(length ** 2)
_SPECIAL = "@*#?-$!0"


class ExpansionError(InvalidInput):
    """The word cannot be expanded; the text says why, in docker's words."""


def expand(
    word: str, variables: Mapping[str, str], escape: str = "\\", *, quotes: bool = True
) -> str:
    """`word` with variables replaced and quotes removed (`quotes=False`: quotes are plain text, as
    in heredoc bodies). Raises ExpansionError."""
    return "".join(_Expansion(word, variables, escape, quotes).until("")[0])


def expand_words(word: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """As `expand`, then split at white space that was not quoted. Raises ExpansionError."""
    return _Expansion(word, variables, escape, True).until("")[1]


class _Words:
    """Collects pieces into words; only unquoted white space ends one."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.current: list[str] = []

    def add(self, piece: str) -> None:
        for char in piece:
            if not char.isspace():
                self.current.append(char)
            elif self.current:
                self.finish()

    def add_quoted(self, piece: str) -> None:
        self.current.append(piece)

    def finish(self) -> list[str]:
        word = "".join(self.current)
        if word:
            self.done.append(word)
        self.current = []
        return self.done


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, quotes: bool) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.at = 0
        self.size = 0
        self.depth = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def fail(self, why: str) -> ExpansionError:
        return ExpansionError(f"failed to process {self.text[:200]!r}: {why}")

    def grow(self, piece: str) -> str:
        self.size += len(piece)
        if self.size > MAX_OUTPUT:
            raise ExpansionError(f"variable expansion is larger than {MAX_OUTPUT} bytes")
        return piece

    def until(self, stop: str, keep_escapes: bool = False) -> tuple[list[str], list[str]]:
        """(pieces, words) up to the unquoted `stop` character ("" for the end)."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"substitutions are nested deeper than {MAX_DEPTH}")
        pieces: list[str] = []
        words = _Words()
        while char := self.peek():
            if stop and char == stop:
                self.at += 1
                self.depth -= 1
                return pieces, words.finish()
            if char == "$":
                piece = self.grow(self.dollar())
                words.add(piece)
            elif self.quotes and char in "'\"":
                piece = self.grow(self.single() if char == "'" else self.double(keep_escapes))
                words.add_quoted(piece)
            else:
                piece = self.grow(self.plain(words, keep_escapes))
            pieces.append(piece)
        if stop:
            raise self.fail(f"unexpected end of statement while looking for matching {stop}")
        self.depth -= 1
        return pieces, words.finish()

    def plain(self, words: _Words, keep_escapes: bool) -> str:
        char = self.next()
        if char != self.escape:
            words.add(char)
            return char
        piece = self.next()
        if keep_escapes:
            piece = char + piece
        words.add_quoted(piece)
        return piece

    def single(self) -> str:
        self.at += 1
        end = self.text.find("'", self.at)
        if end < 0:
            raise self.fail("unexpected end of statement while looking for matching single-quote")
        piece = self.text[self.at : end]
        self.at = end + 1
        return piece

    def double(self, keep_escapes: bool) -> str:
        self.at += 1
        pieces: list[str] = []
        while char := self.peek():
            if char == '"':
                self.at += 1
                return "".join(pieces)
            if char == "$":
                pieces.append(self.dollar())
                continue
            self.at += 1
            if char == self.escape:
                if keep_escapes:
                    pieces.append(char)
                following = self.peek()
                if not following:
                    break
                if following in ('"', "$", self.escape):
                    char = self.next()
            pieces.append(char)
        raise self.fail("unexpected end of statement while looking for matching double-quote")

    def name(self) -> str:
        start = self.at
        first = self.peek()
        if first.isdigit():
            while self.peek().isdigit():
                self.at += 1
        elif first and first in _SPECIAL:
            self.at += 1
        else:
            while (char := self.peek()) and (char.isalnum() or char == "_"):
                self.at += 1
        return self.text[start : self.at]

    def dollar(self) -> str:
        self.at += 1
        if self.peek() != "{":
            name = self.name()
            return self.variables.get(name, "") if name else "$"
        self.at += 1
        if not self.peek():
            raise self.fail("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise self.fail("syntax error: bad substitution")
        name = self.name()
        operator = self.next()
        if operator == "}":
            return self.variables.get(name, "")
        colon = operator == ":"
        if colon:
            operator = self.next()
        if operator and operator in "+-?#%":
            return self.modified(name, operator, colon)
        if operator == "/" and not colon:
            return self.replaced(name)
        if not operator:
            raise self.fail("syntax error: missing '}'")
        raise self.fail(f"unsupported modifier ({':' if colon else ''}{operator}) in substitution")

    def argument(self, stop: str, keep_escapes: bool) -> str:
        try:
            return "".join(self.until(stop, keep_escapes)[0])
        except ExpansionError as error:
            if self.at < len(self.text) or "looking for matching" not in error.message:
                raise
            raise self.fail(f"syntax error: missing '{stop}'") from error

    def modified(self, name: str, operator: str, colon: bool) -> str:
        word = self.argument("}", operator in "#%")
        value = self.variables.get(name)
        given = bool(value) if colon else value is not None
        if operator == "-":
            return value or "" if given else word
        if operator == "+":
            return word if given else ""
        if operator == "?":
            if not given:
                state = "unset" if value is None else "empty"
                raise self.fail(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        return self.trimmed(value or "", operator, word)

    def trimmed(self, value: str, operator: str, pattern: str) -> str:
        longest = pattern.startswith(operator)
        parsed = self.pattern(pattern[1:] if longest else pattern)
        backward = operator == "%"
        if backward:
            parsed.reverse()
        text = value[::-1] if backward else value
        sizes = Automaton(parsed, slash=True).prefixes(text)
        size = max(sizes, default=0) if longest else next(sizes, 0)
        return value[: len(value) - size] if backward else value[size:]

    def replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.at += 1
        pattern = self.argument("/", True)
        replacement = self.argument("}", True)
        value = self.variables.get(name, "")
        parsed = self.pattern(pattern)
        fixed = literal(parsed)
        if not parsed:
            return value
        if fixed is None:
            return self.replace_matches(
                value, Automaton(parsed, slash=True), replacement, everywhere
            )
        count = value.count(fixed) if everywhere else min(value.count(fixed), 1)
        if len(value) + count * len(replacement) > MAX_OUTPUT:
            raise ExpansionError(f"variable expansion is larger than {MAX_OUTPUT} bytes")
        return value.replace(fixed, replacement, count)

    def replace_matches(
        self, value: str, automaton: Automaton, replacement: str, everywhere: bool
    ) -> str:
        """Leftmost longest matches; an empty match replaces nothing."""
        if len(value) > MAX_SEARCHED:
            raise self.fail(f"a wildcard search in more than {MAX_SEARCHED} characters")
        out: list[str] = []
        at = 0
        while at < len(value):
            size = max(automaton.prefixes(value[at:]), default=0)
            if size:
                out.append(self.grow(replacement))
                at += size
                if not everywhere:
                    break
            else:
                out.append(value[at])
                at += 1
        return "".join(out) + value[at:]

    def pattern(self, text: str) -> list[Token]:
        """`*` and `?` as a shell's; a backslash escapes them, itself, `}` and `/`."""
        parsed: list[Token] = []
        at = 0
        while at < len(text):
            char = text[at]
            kind = {"*": "star", "?": "one"}.get(char, "literal")
            if char == "\\":
                at += 1
                char = text[at : at + 1]
                if char not in ("*", "?", "\\", "}", "/"):
                    raise self.fail(f"invalid pattern ({text}) in substitution")
            parsed.append(Token(kind, char if kind == "literal" else ""))
            at += 1
        return parsed
