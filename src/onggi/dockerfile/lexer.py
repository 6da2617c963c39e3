"""Dockerfile text to logical lines: directives, comments, continuations, heredoc bodies.

Owns everything about line ends; knows no instruction except which ones may carry heredocs.
"""

import re

from ..errors import InvalidInput
from ..typed import NamedTuple
from .problem import at_line

MAX_FILE_BYTES = 8 << 20
MAX_LINE_BYTES = 1 << 20
_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*", re.ASCII)
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)[ \t]*([^<]*)", re.ASCII)
_MAY_HOLD_HEREDOCS = re.compile(r"(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b", re.IGNORECASE | re.ASCII)
_SYNTAX = re.compile(
    r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


class Heredoc(NamedTuple):
    """One `<<NAME` with its body. `expand` is false when the name was quoted."""

    name: str
    content: str
    expand: bool
    strip_tabs: bool

    @property
    def text(self) -> str:
        """The body as it is used: `<<-` takes the tabs at line starts away."""
        if not self.strip_tabs:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


class Line(NamedTuple):
    """One instruction's text, continuations joined; `first` and `last` count from 1; `comments`
    are those directly above it."""

    text: str
    first: int
    last: int
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()


class Check(NamedTuple):
    """`# check=`: lint rules to skip, in lower case ("all" for every one), whether a finding ends
    the build, and the experimental rules that are on."""

    skip: frozenset[str] = frozenset()
    error: bool = False
    experimental: frozenset[str] = frozenset()


def parse_check(value: str) -> tuple[Check, list[str]]:
    """`skip=A,B;error=true;experimental=all`, and the parts that are not known."""
    check, unknown = Check(), []
    for part in value.split(";"):
        key, _, words = (word.strip() for word in part.partition("="))
        names = frozenset(word.strip().lower() for word in words.split(","))
        if key == "skip":
            check = check._replace(skip=names)
        elif key == "error":
            check = check._replace(error=words.lower() in ("true", "1"))
        elif key == "experimental":
            check = check._replace(experimental=names)
        else:
            unknown.append(part.strip())
    return check, unknown


class Lexed(NamedTuple):
    lines: tuple[Line, ...]
    escape: str
    warnings: tuple[str, ...]
    check: Check = Check()
    empty_continuations: tuple[int, ...] = ()  # lines of instructions with an empty line inside


def lex(data: bytes) -> Lexed:
    """Raises InvalidInput naming the line."""
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput(f"the Dockerfile is larger than {MAX_FILE_BYTES >> 20} MiB")
    if b"\0" in data:
        raise InvalidInput("the Dockerfile holds a NUL byte: is it a text file?")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    raw = text.split("\n")
    if raw and raw[-1] == "":
        raw.pop()
    return _Lexer(raw).run()


class _Lexer:
    """A cursor over the raw lines. `at` is the number of lines consumed. A carriage return at a
    line's end is no part of an instruction, but of a heredoc's body."""

    def __init__(self, raw: list[str]) -> None:
        self.raw = raw
        self.at = 0
        self.escape = "\\"
        self.warnings: list[str] = []
        self.check = Check()
        self.empty: list[int] = []
        self.comments: list[str] = []
        self.directives = 0

    def run(self) -> Lexed:
        self._directives()
        lines: list[Line] = []
        while self.at < len(self.raw):
            line = self._logical_line()
            if line is not None:
                lines.append(line)
        if not lines:
            raise InvalidInput("file with no instructions")
        return Lexed(tuple(lines), self.escape, tuple(self.warnings), self.check, tuple(self.empty))

    def _directives(self) -> None:
        seen: set[str] = set()
        for number, line in enumerate(self.raw, 1):
            match = _DIRECTIVE.fullmatch(line.strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _KNOWN_DIRECTIVES:
                return
            if name in seen:
                raise at_line(f"only one {name} parser directive can be used", number, line)
            seen.add(name)
            self.directives = number
            self._directive(name, match[2], number, line)

    def _directive(self, name: str, value: str, number: int, line: str) -> None:
        if name == "escape":
            if value not in ("\\", "`"):
                message = f"invalid escape token '{value}' does not match ` or \\"
                raise at_line(message, number, line, near=value)
            self.escape = value
        elif name == "syntax" and not is_dockers_syntax(value.partition(" ")[0]):
            raise at_line(
                f"custom frontends are not run: {value[:200]}",
                number,
                line,
                near=value,
                hint="remove the `# syntax=` line or use docker/dockerfile:1",
            )
        elif name == "check":
            self._set_check(value, number)

    def _set_check(self, value: str, number: int) -> None:
        self.check, unknown = parse_check(value)
        for part in unknown:
            self.warnings.append(f"line {number}: unknown check option {part[:80]!r}")

    def _logical_line(self) -> Line | None:
        text = self._next().rstrip("\r").lstrip()
        if text.startswith("#"):
            comment = text[1:].strip()
            if not comment:
                self.comments = []  # what stands above it describes nothing
            elif self.at > self.directives:
                self.comments.append(comment)
            return None
        comments, self.comments = tuple(self.comments), []
        if not text:
            return None
        first = self.at
        text, more = self._continued(text)
        parts, size, empty = [text], len(text), False
        while more and self.at < len(self.raw):
            text = self._next().rstrip("\r")
            stripped = text.lstrip()
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty = True
                continue
            text, more = self._continued(text)
            parts.append(text)
            size += len(text)
            if size > MAX_LINE_BYTES:
                raise at_line(f"line greater than max allowed size of {MAX_LINE_BYTES}", first)
        if empty:
            self.empty.append(first)
        joined = "".join(parts)
        if not joined.strip():
            return None
        heredocs = self._heredocs(joined, first)
        return Line(joined, first, self.at, heredocs, comments)

    def _next(self) -> str:
        line = self.raw[self.at]
        self.at += 1
        if len(line) > MAX_LINE_BYTES:
            raise at_line(f"line greater than max allowed size of {MAX_LINE_BYTES}", self.at)
        return line

    def _continued(self, text: str) -> tuple[str, bool]:
        """Docker's rule: a last escape character that no other escape character precedes."""
        bare = text.rstrip(" \t")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return text, False

    def _heredocs(self, text: str, first: int) -> tuple[Heredoc, ...]:
        if "<<" not in text or not _MAY_HOLD_HEREDOCS.match(text):
            return ()
        found: list[Heredoc] = []
        for word in _shell_words(text):
            header = heredoc_header(word)
            if header is not None:
                found.append(self._body(*header, first))
        return tuple(found)

    def _body(self, name: str, expand: bool, strip_tabs: bool, first: int) -> Heredoc:
        body: list[str] = []
        while self.at < len(self.raw):
            line = self._next()
            bare = line.rstrip("\r")
            if (bare.lstrip("\t") if strip_tabs else bare) == name:
                content = "".join(f"{item}\n" for item in body)
                return Heredoc(name, content, expand, strip_tabs)
            body.append(line)
        raise at_line(f"unterminated heredoc: no line holds only {name!r}", first)


def is_dockers_syntax(name: str) -> bool:
    """Whether it is an image of docker's own frontend, which we are; others are code of somebody
    (SECURITY D3, D6)."""
    return _SYNTAX.fullmatch(name) is not None


def heredoc_header(word: str) -> tuple[str, bool, bool] | None:
    """(name, expand, strip tabs) when `word` is `<<NAME`, `<<-NAME`, `<<"NAME"`, `3<<NAME`."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    name = match[3].replace("'", "").replace('"', "").replace("\\", "")
    if not name or len(match[3].split()) != 1:
        return None
    return name, not any(quote in match[3] for quote in "'\""), bool(match[2])


def _shell_words(text: str) -> list[str]:
    """Words split at unquoted white space, quotes kept: good enough to find `<<` operators."""
    words: list[str] = []
    word, quote, skip = "", "", False
    for char in text:
        if skip:
            skip = False
        elif char == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            words.append(word)
            word = ""
            continue
        word += char
    return [item for item in [*words, word] if item]
