"""Nodes to typed instructions and stages: argument counts, flags, the values that need no variable.

Owns docker's texts for wrong arguments. Variables are still unexpanded here.
"""

import re
from collections.abc import Callable

from ..errors import InvalidInput, OnggiError
from ..spec.image import Healthcheck
from ..typed import NamedTuple
from ..units import parse_duration
from .lexer import Check, Heredoc, Line, heredoc_header, lex
from .parser import Node, Source, node, parse
from .problem import at_line
from .rundevice import Device, parse_device
from .spelling import nearest

MAX_STAGES = 500
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*", re.ASCII)
_BOOLEANS = ("link", "parents", "keep-git-dir", "unpack")
_REPEATED = ("exclude", "mount", "device")
_FLAGS = {
    "FROM": ("platform",),
    "COPY": ("chown", "chmod", "from", "link", "exclude", "parents"),
    "ADD": ("chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"),
    "RUN": ("mount", "network", "security", "device"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}


class From(NamedTuple):
    at: Source
    image: str
    name: str
    platform: str


class Arg(NamedTuple):
    at: Source
    pairs: tuple[tuple[str, str | None], ...]


class Env(NamedTuple):
    """ENV. `legacy` is the form `ENV name value`."""

    at: Source
    pairs: tuple[tuple[str, str], ...]
    legacy: bool


class Label(NamedTuple):
    at: Source
    pairs: tuple[tuple[str, str], ...]
    legacy: bool


class Copy(NamedTuple):
    """COPY and ADD. `inline` are the heredocs among the sources, by name."""

    at: Source
    keyword: str
    sources: tuple[str, ...]
    destination: str
    inline: tuple[Heredoc, ...]
    stage: str = ""  # --from
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    unpack: bool | None = None
    keep_git_dir: bool = False


class Run(NamedTuple):
    at: Source
    args: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...]
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[Device, ...] = ()


class Command(NamedTuple):
    """CMD, ENTRYPOINT, SHELL. `shell` is the shell form."""

    at: Source
    keyword: str
    args: tuple[str, ...]
    shell: bool


class Value(NamedTuple):
    """WORKDIR, USER, STOPSIGNAL, MAINTAINER, ONBUILD: one text."""

    at: Source
    keyword: str
    value: str


class Values(NamedTuple):
    """EXPOSE, VOLUME: several words."""

    at: Source
    keyword: str
    values: tuple[str, ...]


class Health(NamedTuple):
    at: Source
    check: Healthcheck


Instruction = From | Arg | Env | Label | Copy | Run | Command | Value | Values | Health


class Stage(NamedTuple):
    base: From
    instructions: tuple[Instruction, ...]


class Dockerfile(NamedTuple):
    arguments: tuple[Arg, ...]  # before the first FROM
    stages: tuple[Stage, ...]
    escape: str
    warnings: tuple[str, ...]
    check: Check = Check()
    empty_continuations: tuple[int, ...] = ()


def read(data: bytes) -> Dockerfile:
    """The whole file, checked as far as it can be without variables. Raises InvalidInput."""
    lexed = lex(data)
    warnings = list(lexed.warnings)
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for item in parse(lexed):
        typed = instruction(item)
        if item.json_failed:
            warnings.append(
                f"line {item.at.line}: {item.keyword} looks like a JSON list but is not valid "
                "JSON, so it is taken as text for the shell"
            )
        if isinstance(typed, From):
            stages.append((typed, []))
            if len(stages) > MAX_STAGES:
                raise at_line(f"more than {MAX_STAGES} build stages", item.at.line)
        elif stages:
            stages[-1][1].append(typed)
        elif isinstance(typed, Arg):
            arguments.append(typed)
        else:
            raise at_line(
                "no build stage in current context: the first instruction must be FROM "
                f"(or ARG), not {item.keyword}",
                item.at.line, item.at.text, near=item.keyword,
                hint="begin the file with a line like: FROM python:3.13",
            )  # fmt: skip
    if not stages:
        raise InvalidInput("dockerfile contains no stages to build: it has no FROM")
    frozen = tuple(Stage(base, tuple(body)) for base, body in stages)
    return Dockerfile(
        tuple(arguments), frozen, lexed.escape, tuple(warnings), lexed.check,
        lexed.empty_continuations,
    )  # fmt: skip


def read_lines(text: str) -> tuple[Instruction, ...]:
    """Instructions without a FROM around them."""
    return tuple(map(instruction, parse(lex(text.encode("utf-8", "surrogateescape")))))


def trigger(text: str, line: int) -> Instruction:
    """One instruction from an image's ONBUILD list; errors name the FROM's line."""
    lexed = lex(text.encode("utf-8", "surrogateescape"))
    if len(lexed.lines) != 1:
        raise at_line("onbuild trigger should be a single expression", line, text)
    first = lexed.lines[0]
    return instruction(node(Line(first.text, line, line, first.heredocs), lexed.escape))


def instruction(item: Node) -> Instruction:
    build = _BUILDERS[item.keyword]
    try:
        return build(item, flags_of(item))
    except OnggiError as error:
        if error.message.startswith("dockerfile parse error"):
            raise
        raise at_line(error.message, item.at.line, item.at.text, hint=error.hint) from error


def flags_of(item: Node) -> dict[str, list[str]]:
    """The instruction's flags, checked against what the keyword takes."""
    known = _FLAGS.get(item.keyword, ())
    found: dict[str, list[str]] = {}
    for flag in item.flags:
        name, equals, value = flag[2:].partition("=")
        if name not in known:
            guess = nearest(name, known)
            hint = f"did you mean --{guess}" if guess else None
            raise InvalidInput(f"unknown flag: --{name[:60]}", hint=hint)
        if name in found and name not in _REPEATED:
            raise InvalidInput(f"duplicate flag specified: --{name}")
        if name in _BOOLEANS:
            value = "true" if not equals else value.lower()
            if value not in ("true", "false"):
                raise InvalidInput(
                    f"expecting boolean value for flag --{name}, not: {value[:60]}"
                    if value
                    else f"missing a value on flag: --{name}"
                )
        elif not equals:
            raise InvalidInput(f"missing a value on flag: --{name}")
        found.setdefault(name, []).append(value)
    return found


Flags = dict[str, list[str]]


def _one(flags: Flags, name: str) -> str:
    return flags.get(name, [""])[0]


def _from(item: Node, flags: Flags) -> From:
    words = item.words
    name = ""
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise InvalidInput(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or '
                "contain symbols"
            )
    elif len(words) != 1:
        raise InvalidInput("FROM requires either one or three arguments")
    return From(item.at, words[0], name, _one(flags, "platform"))


def _arg(item: Node, flags: Flags) -> Arg:
    if not item.words:
        raise InvalidInput("ARG requires at least one argument")
    pairs: list[tuple[str, str | None]] = []
    for word in item.words:
        name, equals, value = word.partition("=")
        if not name:
            raise InvalidInput("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(item.at, tuple(pairs))


def _pairs(item: Node) -> tuple[tuple[tuple[str, str], ...], bool]:
    """The pairs of ENV and LABEL, and whether they were written `name value`."""
    if not item.words:
        raise InvalidInput(f"{item.keyword} requires at least one argument")
    if "=" not in item.words[0]:
        parts = item.rest.split(maxsplit=1)
        if len(parts) < 2:
            raise InvalidInput(f"{item.keyword} must have two arguments")
        return ((parts[0], parts[1]),), True
    pairs: list[tuple[str, str]] = []
    for word in item.words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidInput(
                f'Syntax error - can\'t find = in "{word[:80]}". Must be of the form: name=value'
            )
        if not name:
            raise InvalidInput(f"{item.keyword} names can not be blank")
        pairs.append((name, value))
    return tuple(pairs), False


def _env(item: Node, flags: Flags) -> Env:
    return Env(item.at, *_pairs(item))


def _label(item: Node, flags: Flags) -> Label:
    return Label(item.at, *_pairs(item))


def _copy(item: Node, flags: Flags) -> Copy:
    if len(item.words) < 2:
        only = item.words[0] if item.words else "."
        raise InvalidInput(
            f"{item.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            hint=f"say where it goes in the image, for example: {item.keyword} {only[:80]} /app/",
        )
    *sources, destination = item.words
    if heredoc_header(destination):
        raise InvalidInput(f"{item.keyword} cannot accept a heredoc as a destination")
    unpack = _one(flags, "unpack")
    return Copy(
        item.at,
        item.keyword,
        tuple(source for source in sources if not (item.heredocs and heredoc_header(source))),
        destination,
        item.heredocs,
        stage=_one(flags, "from"),
        chown=_one(flags, "chown"),
        chmod=_one(flags, "chmod"),
        link=_one(flags, "link") == "true",
        parents=_one(flags, "parents") == "true",
        excludes=tuple(flags.get("exclude", ())),
        checksum=_one(flags, "checksum"),
        unpack=None if not unpack else unpack == "true",
        keep_git_dir=_one(flags, "keep-git-dir") == "true",
    )


def _run(item: Node, flags: Flags) -> Run:
    words = item.words if item.json else item.words or ("",)  # docker runs the shell with nothing
    return Run(
        item.at, words, not item.json, item.heredocs, tuple(flags.get("mount", ())),
        _one(flags, "network"), _one(flags, "security"),
        tuple(map(parse_device, flags.get("device", ()))),
    )  # fmt: skip


def _command(item: Node, flags: Flags) -> Command:
    if item.keyword == "SHELL":
        if item.json and not item.words:
            raise InvalidInput("SHELL requires at least one argument")
        if not item.json:
            raise InvalidInput(
                f"SHELL requires the arguments to be in JSON form: {item.rest[:80]}",
                hint='for example: SHELL ["/bin/bash", "-c"]',
            )
    return Command(item.at, item.keyword, item.words, not item.json)


def _value(item: Node, flags: Flags) -> Value:
    if len(item.words) != 1 or not item.words[0]:
        raise InvalidInput(f"{item.keyword} requires exactly one argument")
    return Value(item.at, item.keyword, item.words[0])


def _values(item: Node, flags: Flags) -> Values:
    words = tuple(word.strip() for word in item.words)
    if not words:
        raise InvalidInput(f"{item.keyword} requires at least one argument")
    if "" in words:
        raise InvalidInput(f"{item.keyword} specified can not be an empty string")
    return Values(item.at, item.keyword, words)


def _on_build(item: Node, flags: Flags) -> Value:
    if not item.rest:
        raise InvalidInput("ONBUILD requires at least one argument")
    inner = node(Line(item.rest, item.at.line, item.at.last_line, item.heredocs), "\\")
    if inner.keyword == "ONBUILD":
        raise InvalidInput("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if inner.keyword in ("FROM", "MAINTAINER"):
        raise InvalidInput(f"{inner.keyword} isn't allowed as an ONBUILD trigger")
    instruction(inner)
    bodies = "".join(f"\n{doc.content}{doc.name}" for doc in item.heredocs)
    return Value(item.at, "ONBUILD", item.rest + bodies)


def _health(item: Node, flags: Flags) -> Health:
    if not item.words:
        raise InvalidInput("HEALTHCHECK requires at least one argument")
    kind, args = item.words[0].upper(), item.words[1:]
    if kind == "NONE":
        if args:
            raise InvalidInput("HEALTHCHECK NONE takes no arguments")
        return Health(item.at, Healthcheck(("NONE",)))
    if kind != "CMD":
        raise InvalidInput(f'Unknown type "{kind[:40]}" in HEALTHCHECK (try CMD)')
    if not any(args):
        raise InvalidInput("Missing command after HEALTHCHECK CMD")
    retries = _one(flags, "retries") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", retries):
        raise InvalidInput(f"--retries must be a number that is not negative ({retries[:40]})")
    test = ("CMD" if item.json else "CMD-SHELL", *args)
    interval, timeout, start, start_interval = (
        _interval(flags, name) for name in ("interval", "timeout", "start-period", "start-interval")
    )
    check = Healthcheck(test, interval, timeout, start, int(retries), start_interval)
    return Health(item.at, check)


def _interval(flags: Flags, name: str) -> int:
    text = _one(flags, name)
    try:
        duration_ns = parse_duration(text) if text else 0
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    if duration_ns < 1_000_000 and duration_ns:
        raise InvalidInput(f'Interval "{name}" cannot be less than 1ms')
    return duration_ns


_BUILDERS: dict[str, Callable[[Node, Flags], Instruction]] = {
    "FROM": _from, "ARG": _arg, "ENV": _env, "LABEL": _label, "COPY": _copy, "ADD": _copy,
    "RUN": _run, "CMD": _command, "ENTRYPOINT": _command, "SHELL": _command, "WORKDIR": _value,
    "USER": _value, "STOPSIGNAL": _value, "MAINTAINER": _value, "ONBUILD": _on_build,
    "EXPOSE": _values, "VOLUME": _values, "HEALTHCHECK": _health,
}  # fmt: skip
