"""The grammar of gotemplate: text to nodes, by recursive descent over tokens. Sans-IO.

A template is a tuple of nodes; each node is a small named tuple.
"""

import re

from ..typed import Any, NamedTuple
from .gotemplate_functions import FUNCTIONS

_TOKEN = re.compile(
    r"\s+|(?P<string>\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`)|(?P<char>'(?:[^'\\\n]|\\.)+')"
    r"|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<variable>\$[A-Za-z0-9_]*)|(?P<field>\.[A-Za-z_][A-Za-z0-9_]*)|(?P<dot>\.)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>:=|[=|(),])|(?P<bad>.)",
    re.ASCII,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_KEYWORDS = frozenset("if else end range with break continue define template block".split())
_SPACES = (" ", "\t", "\r", "\n")
MAX_DEPTH = 100


class TemplateError(Exception):
    """Go's message: `template: :1:3: …`."""


class Token(NamedTuple):
    kind: str
    text: str


class Command(NamedTuple):
    """One step of a pipeline: a head and its arguments, each an operand."""

    operands: tuple[Any, ...]
    text: str


class Pipe(NamedTuple):
    """`$x, $y := commands`. `declares` says := rather than =."""

    variables: tuple[str, ...]
    declares: bool
    commands: tuple[Command, ...]


class Text(NamedTuple):
    text: str


class Action(NamedTuple):
    pipe: Pipe


class Branch(NamedTuple):
    kind: str  # if, with, range
    pipe: Pipe
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


class Jump(NamedTuple):
    kind: str  # break, continue


class Literal(NamedTuple):
    value: Any


class Field(NamedTuple):
    """`.A.B` of the dot, of a variable or of a parenthesis; `base` None is the dot."""

    base: Any
    names: tuple[str, ...]


class Variable(NamedTuple):
    name: str


class Word(NamedTuple):
    """A function's name."""

    name: str


def syntax_error(text: str, where: str = "1") -> TemplateError:
    return TemplateError(f"template: :{where}: {text}")


# -- text to actions


def _pieces(text: str) -> list[tuple[str, str]]:
    """("text", …) and ("action", …) in order, white space trimmed by {{- and -}}."""
    pieces: list[tuple[str, str]] = []
    position, trim_next = 0, False
    while True:
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        if trim_next:
            plain = plain.lstrip(" \t\r\n")
        if start < 0:
            pieces.append(("text", plain))
            return pieces
        inner = start + 2
        if text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in (
            " ",
            "\t",
            "\r",
            "\n",
        ):
            plain = plain.rstrip(" \t\r\n")
            inner += 2
        pieces.append(("text", plain))
        end = _action_end(text, inner)
        body = text[inner:end]
        trim_next = body.endswith("-") and body[-2:-1] in _SPACES
        pieces.append(("action", body[:-1] if trim_next else body))
        position = end + 2


def _action_end(text: str, start: int) -> int:
    """The position of the }} that closes the action; quotes and comments may hold braces."""
    stripped = text[start:].lstrip()
    if stripped.startswith("/*"):
        end = text.find("*/", start)
        close = text.find("}}", end) if end >= 0 else -1
        if close < 0:
            raise syntax_error("unclosed comment")
        return close
    position = start
    while position < len(text):
        if text.startswith("}}", position):
            return position
        if text[position] in "\"`'":
            quote = text[position]
            position += 1
            while position < len(text) and text[position] != quote:
                position += 2 if text[position] == "\\" and quote != "`" else 1
            if position >= len(text):
                raise syntax_error("unterminated quoted string")
        position += 1
    raise syntax_error("unclosed action")


def _tokens(text: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "bad":
            raise syntax_error(f'unexpected "{match[0]}" in operand')
        if kind is None:
            found.append(Token("space", match[0]))
        else:
            found.append(Token(kind, match[0]))
    return found


class Parser:
    def __init__(self, text: str) -> None:
        self._pieces = _pieces(text)
        self._at = 0
        self._depth = 0
        self._loops = 0

    def template(self) -> tuple[Any, ...]:
        nodes, ending = self._list(())
        if ending:
            raise syntax_error(f"unexpected {{{{{ending}}}}}")
        return nodes

    def _list(self, endings: tuple[str, ...]) -> tuple[tuple[Any, ...], str]:
        """Nodes up to one of the ending keywords, and that action's text."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise syntax_error("template nested too deeply")
        nodes: list[Any] = []
        while self._at < len(self._pieces):
            kind, text = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                if text:
                    nodes.append(Text(text))
                continue
            stripped = text.strip()
            if stripped.startswith("/*"):
                continue
            if not stripped:
                raise syntax_error("missing value for command")
            word = re.match(r"[a-z]*", stripped)
            key = word[0] if word else ""
            if key in endings and not re.match(r"[A-Za-z0-9_.]", stripped[len(key) : len(key) + 1]):
                self._depth -= 1
                return tuple(nodes), stripped
            nodes.append(self._action(key, stripped))
        if endings:
            raise syntax_error("unexpected EOF")
        self._depth -= 1
        return tuple(nodes), ""

    def _action(self, key: str, text: str) -> Any:
        rest = text[len(key) :]
        if key not in _KEYWORDS or re.match(r"[A-Za-z0-9_]", rest[:1]):
            return Action(_PipeParser(_tokens(text), "command").pipe())
        if key in ("if", "with", "range"):
            return self._branch(key, rest)
        if key in ("break", "continue"):
            if not self._loops:
                raise syntax_error(f"{{{{{key}}}}} outside {{{{range}}}}")
            return Jump(key)
        if key in ("define", "template", "block"):
            raise syntax_error(f"{{{{{key}}}}} is not supported")
        raise syntax_error(f"unexpected {{{{{key}}}}}")

    def _branch(self, kind: str, text: str) -> Branch:
        pipe = _PipeParser(_tokens(text), kind).pipe(range_=kind == "range")
        self._loops += kind == "range"
        body, ending = self._list(("end", "else"))
        self._loops -= kind == "range"
        otherwise: tuple[Any, ...] = ()
        if ending.startswith("else"):
            chained = ending[4:].strip()
            if chained:
                key, _, rest = chained.partition(" ")
                if key not in ("if", "with") or kind == "range":
                    raise syntax_error(f'unexpected "{chained}" in else clause')
                return Branch(kind, pipe, body, (self._branch(key, rest),))
            otherwise, _ = self._list(("end",))
        return Branch(kind, pipe, body, otherwise)


class _PipeParser:
    """The tokens of one action to a Pipe."""

    def __init__(self, tokens: list[Token], context: str) -> None:
        while tokens and tokens[0].kind == "space":
            tokens = tokens[1:]
        while tokens and tokens[-1].kind == "space":
            tokens = tokens[:-1]
        self._tokens = tokens
        self._at = 0
        self._context = context

    def pipe(self, *, range_: bool = False) -> Pipe:
        variables, declares = self._declaration(range_)
        pipe = self._pipeline(closing=False)
        return Pipe(variables, declares, pipe)

    def _peek(self, offset: int = 0) -> Token:
        index = self._at + offset
        return self._tokens[index] if index < len(self._tokens) else Token("end", "")

    def _skip_space(self) -> None:
        while self._peek().kind == "space":
            self._at += 1

    def _declaration(self, range_: bool) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =`, `$i, $x :=`; nothing is consumed when there is none."""
        start, names = self._at, []
        while self._peek().kind == "variable":
            names.append(self._peek().text)
            self._at += 1
            self._skip_space()
            sign = self._peek().text
            if sign in (":=", "="):
                self._at += 1
                self._skip_space()
                return tuple(names), sign == ":="
            if sign == "," and range_ and len(names) == 1:
                self._at += 1
                self._skip_space()
                continue
            break
        self._at = start
        return (), False

    def _pipeline(self, *, closing: bool) -> tuple[Command, ...]:
        commands: list[Command] = []
        while True:
            self._skip_space()
            commands.append(self._command())
            token = self._peek()
            if token.text == "|" and token.kind == "sign":
                self._at += 1
                continue
            if token.kind == "end" and not closing:
                return tuple(commands)
            if token.text == ")" and closing:
                self._at += 1
                return tuple(commands)
            if token.kind == "end":
                raise syntax_error("unclosed left paren")
            raise syntax_error(f'unexpected "{token.text}" in {self._context}')

    def _command(self) -> Command:
        operands: list[Any] = []
        start = self._at
        while True:
            self._skip_space()
            token = self._peek()
            if token.kind == "end" or token.text in ("|", ")"):
                break
            operands.append(self._operand())
        if not operands:
            raise syntax_error(f"missing value for {self._context}")
        if len(operands) > 1 and isinstance(operands[0], Literal):
            shown = self._tokens[start].text
            raise syntax_error(f"can't give argument to non-function {shown}")
        text = "".join(token.text for token in self._tokens[start : self._at]).strip()
        return Command(tuple(operands), text)

    def _operand(self) -> Any:
        base = self._term()
        names = []
        while self._peek().kind == "field":
            names.append(self._peek().text[1:])
            self._at += 1
        if not names:
            return base
        if isinstance(base, Field):
            return Field(base.base, (*base.names, *names))
        if isinstance(base, (Literal, Word)):
            raise syntax_error(f"unexpected . after term {names[0]!r}")
        return Field(base, tuple(names))

    def _term(self) -> Any:
        token = self._peek()
        self._at += 1
        match token.kind:
            case "field":
                return Field(None, (token.text[1:],))
            case "dot":
                return Field(None, ())
            case "variable":
                return Variable(token.text)
            case "string":
                return Literal(_unquoted(token.text))
            case "char":
                return Literal(ord(_unquoted('"' + token.text[1:-1] + '"')[:1] or "\0"))
            case "number":
                return Literal(_number(token.text))
            case "word":
                return _word(token.text)
            case _ if token.text == "(":
                return Pipe((), False, self._pipeline(closing=True))
        raise syntax_error(f'unexpected "{token.text}" in operand')


def _word(text: str) -> Any:
    if text in ("true", "false"):
        return Literal(text == "true")
    if text == "nil":
        return Literal(None)
    if text not in FUNCTIONS and text not in ("and", "or"):
        raise syntax_error(f'function "{text}" not defined')
    return Word(text)


def _number(text: str) -> int | float:
    try:
        return int(text, 0) if "x" in text.lower() else int(text)
    except ValueError:
        return float(text)


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]

    def escape(match: re.Match[str]) -> str:
        body = match[1]
        if body[0] in "xuU":
            return chr(min(int(body[1:], 16), 0x10FFFF))
        return _ESCAPES.get(body, body)

    pattern = r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
    return re.sub(pattern, escape, text[1:-1], flags=re.ASCII)
