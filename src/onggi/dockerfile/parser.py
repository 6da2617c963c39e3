"""Logical lines to nodes: keyword, flags, arguments, by docker's word rules. No meaning yet.

Owns quoting at word level and the JSON form; `instructions` gives the nodes their types.
"""

import json
import re

from ..typed import NamedTuple
from .lexer import Heredoc, Lexed, Line
from .problem import at_line
from .spelling import nearest

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
    "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_JSON_FORM = ("CMD", "ENTRYPOINT", "RUN", "SHELL", "HEALTHCHECK")
_JSON_OR_WORDS = ("ADD", "COPY", "VOLUME")
_SPACES = re.compile(r"[\t\v\f\r ]+")


class Source(NamedTuple):
    """Where an instruction stands: lines from 1, its text with continuations joined, and the
    comments directly above it."""

    line: int
    last_line: int
    text: str
    comments: tuple[str, ...] = ()


class Node(NamedTuple):
    """`rest` is everything after the flags; `words` what the keyword's own rule makes of it;
    `json` whether it was a JSON list; `json_failed` whether it looked like one and was not."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    words: tuple[str, ...]
    json: bool
    json_failed: bool
    heredocs: tuple[Heredoc, ...]
    at: Source


def parse(lexed: Lexed) -> list[Node]:
    """Raises InvalidInput with line and caret."""
    return [node(line, lexed.escape) for line in lexed.lines]


def node(line: Line, escape: str) -> Node:
    text = line.text.strip()
    at = Source(line.first, line.last, text, line.comments)
    word, rest = (*_SPACES.split(text, maxsplit=1), "")[:2]
    keyword = word.upper()
    if keyword not in KEYWORDS:
        raise _unknown(word, at)
    flags, rest = split_flags(rest, escape)
    is_json, failed, words = False, False, None
    if keyword in _JSON_FORM or keyword in _JSON_OR_WORDS:
        # HEALTHCHECK's JSON form follows its first word
        head, tail = (*rest.split(maxsplit=1), "", "")[:2] if keyword == "HEALTHCHECK" else ("", "")
        candidate = tail if keyword == "HEALTHCHECK" else rest
        words = json_words(candidate, at)
        is_json, failed = words is not None, words is None and candidate.lstrip().startswith("[")
        if keyword == "HEALTHCHECK":
            plain = [tail] if tail else []
            words = [head, *(words if words is not None else plain)] if head else []
    if words is None:
        words = _plain_words(keyword, rest, escape)
    return Node(keyword, flags, rest, tuple(words), is_json, failed, line.heredocs, at)


def _unknown(word: str, at: Source) -> Exception:
    guess = nearest(word, KEYWORDS)
    return at_line(
        f"unknown instruction: {word[:60]}" + (f" (did you mean {guess}?)" if guess else ""),
        at.line,
        at.text,
        near=word,
        hint=f"did you mean {guess}{at.text[len(word):][:80]}" if guess else None,
    )  # fmt: skip


def _plain_words(keyword: str, rest: str, escape: str) -> list[str]:
    if keyword in ("ENV", "LABEL", "ARG"):
        return quoted_words(rest, escape)
    if keyword in ("FROM", "EXPOSE", *_JSON_OR_WORDS):
        return [word for word in _SPACES.split(rest) if word]
    return [rest] if rest else []


def json_words(text: str, at: Source) -> list[str] | None:
    """The strings of a JSON list; None when `text` is none (docker then takes the shell form)."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        message = "when using JSON array syntax, arrays must be comprised of strings only"
        raise at_line(message, at.line, at.text, near="[")
    return [item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in value]


def _no_constant(text: str) -> None:
    raise ValueError(text)


def quoted_words(text: str, escape: str) -> list[str]:
    """Words split at white space outside quotes; quotes and escapes stay for `expand`."""
    words: list[str] = []
    word: list[str] = []
    quote, at, begun = "", 0, False
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            if begun:
                words.append("".join(word))
            word, begun = [], False
            at += 1
            continue
        begun = True
        if char == escape and quote != "'":
            if at + 1 < len(text):  # an escape at the very end is dropped
                word.append(char + text[at + 1])
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        word.append(char)
        at += 1
    if word:
        words.append("".join(word))
    return words


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Leading `--flag=value` words, quotes and escapes removed, and the text after them."""
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return tuple(flags), text[at:].strip()
        word, at = _flag_word(text, at, escape)
        if word == "--":
            return tuple(flags), text[at:].strip()
        flags.append(word)


def _flag_word(text: str, at: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            break
        at += 1
        if char == escape:
            word.append(text[at : at + 1])
            at += 1
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word.append(char)
    return "".join(word), at
