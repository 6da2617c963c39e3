"""Docker's flag rules (pflag's), sans-IO: a table of flags and arguments in, values out.

The table is text in the layout of `--help`, so one text feeds the parser and the help:
`  -e, --env list   Set environment variables`. A line that starts with `|` continues the help of
the flag above on a new line, any other deeper line on the same one. A boolean has no word for its
value; a default other than empty, false or zero stands at the end as "(default x)".
"""

from collections.abc import Callable, Mapping, Sequence

from ..patterns import Pattern
from ..typed import NamedTuple
from ..units import parse_cpus, parse_duration, parse_size

_MANY = frozenset(("list", "map", "strings", "filter", "mount", "network", "ulimit", "gpu-request"))
_INTEGER = Pattern(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9](?:_?[0-9])*)")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))

Check = Callable[[str], object]


class FlagError(Exception):
    """The command line is not what the table allows; the text is docker's."""


class FlagNotSupported(FlagError):
    """Docker has this flag; onggi does not do it yet and never ignores it in silence."""


class HelpWanted(Exception):
    """`--help` stood among the flags."""


class Flag(NamedTuple):
    name: str
    short: str = ""
    kind: str = ""  # "" is a boolean
    text: str = ""
    supported: bool = True

    @property
    def default(self) -> str:
        _, found, default = self.text.rpartition("(default ")
        return default[:-1].strip('"') if found and default[-1:] == ")" else ""

    @property
    def shown(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Values:
    """What the flags of one command line came to."""

    __slots__ = ("_flags", "_given")

    def __init__(self, flags: Mapping[str, Flag], given: Mapping[str, list[str]]) -> None:
        self._flags = flags
        self._given = given

    def given(self, name: str) -> bool:
        return name in self._given

    def all_given(self) -> Mapping[str, list[str]]:
        """By flag, as they were given."""
        return self._given

    def on(self, name: str) -> bool:
        found = self._given.get(name)
        return found[-1] in _TRUE if found else self._flags[name].default == "true"

    def text(self, name: str) -> str:
        found = self._given.get(name)
        return found[-1] if found else self._flags[name].default

    def many(self, name: str) -> list[str]:
        """Every occurrence in order; comma-separated kinds are split already."""
        return list(self._given.get(name, ()))

    def number(self, name: str) -> int:
        text = self.text(name)
        return parse_integer(text) if text else 0


def flag_table(text: str, not_yet: str = "") -> dict[str, Flag]:
    """Flags by name from a help-like table, and from `x/name:kind` words for those that docker has
    and we do not do yet."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped[:1] == "-":
            rows.append(_row(stripped))
        elif rows and stripped:
            joint = "\n" if stripped[0] == "|" else " "
            rows[-1][3] += joint + stripped.removeprefix("|")
    table = {row[0]: Flag._make((*row, True)) for row in rows}  # a hundred: no arguments to sort
    for word in not_yet.split():
        names, _, kind = word.partition(":")
        short, slash, name = names.rpartition("/")
        table[name] = Flag(name, short if slash else "", kind, "", supported=False)
    return table


def _row(text: str) -> list[str]:
    """Name, letter, kind and help of `-e, --env list   Set environment variables`."""
    letter = ""
    if text[1] != "-":
        letter, text = text[1], text[4:]
    shown, _, help_ = text.partition("  ")
    name, _, kind = shown.removeprefix("--").partition(" ")
    return [name, letter, kind, help_.lstrip()]


def parse(
    flags: Mapping[str, Flag],
    words: Sequence[str],
    *,
    interspersed: bool = True,
    checks: Mapping[str, Check] | None = None,
) -> tuple[Values, list[str]]:
    """Values and positional arguments. Raises FlagError, FlagNotSupported or HelpWanted.

    `interspersed` false stops at the first positional, as run and exec need.
    """
    return _Parser(flags, checks or {}).run(words, interspersed)


class _Parser:
    def __init__(self, flags: Mapping[str, Flag], checks: Mapping[str, Check]) -> None:
        self._flags = flags
        self._checks = checks
        self._shorts = {flag.short: flag for flag in flags.values() if flag.short}
        self._given: dict[str, list[str]] = {}

    def run(self, words: Sequence[str], interspersed: bool) -> tuple[Values, list[str]]:
        rest: list[str] = []
        index = 0
        while index < len(words):
            word = words[index]
            index += 1
            if word == "--":
                rest.extend(words[index:])
                break
            if len(word) < 2 or word[0] != "-":
                rest.append(word)
                if not interspersed:
                    rest.extend(words[index:])
                    break
            elif word[1] == "-":
                index += self._long(word, words, index)
            else:
                index += self._cluster(word, words, index)
        return Values(self._flags, self._given), rest

    def _long(self, word: str, words: Sequence[str], index: int) -> int:
        """Take `--name`, `--name=value` or `--name value`; how many further words were used."""
        name, equals, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise FlagError(f"bad flag syntax: {word}")
        flag = self._flags.get(name)
        if flag is None:
            if name == "help":
                raise HelpWanted
            raise FlagError(f"unknown flag: --{name}")
        if equals:
            self._set(flag, value)
        elif not flag.kind:
            self._set(flag, "true")
        elif index < len(words):
            self._set(flag, words[index])
            return 1
        else:
            raise FlagError(f"flag needs an argument: --{name}")
        return 0

    def _cluster(self, word: str, words: Sequence[str], index: int) -> int:
        """Take `-it`, `-p80:80`, `-p=80:80`, `-p 80:80`; how many further words were used."""
        letters = word[1:]
        while letters:
            letter, tail = letters[0], letters[1:]
            flag = self._shorts.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpWanted
                raise FlagError(f"unknown shorthand flag: {_quoted(letter)} in -{letters}")
            if tail[:1] == "=" and len(tail) > 1:
                self._set(flag, tail[1:])
                return 0
            if not flag.kind:
                self._set(flag, "true")
                letters = tail
                continue
            if tail:
                self._set(flag, tail)
                return 0
            if index >= len(words):
                raise FlagError(f"flag needs an argument: {_quoted(letter)} in -{letters}")
            self._set(flag, words[index])
            return 1
        return 0

    def _set(self, flag: Flag, value: str) -> None:
        if not flag.supported:
            from .refused import flag_text

            raise FlagNotSupported(flag_text(flag.name))
        check = self._checks.get(flag.name) or _CHECKS.get(flag.kind)
        if check is not None:
            try:
                check(value)
            except ValueError as error:
                raise FlagError(
                    f'invalid argument "{value}" for "{flag.shown}" flag: {error}'
                ) from error
        if flag.kind == "strings":  # fields stay together: build --cache-from type=…,ref=…
            parts = [value] if "=" in value else value.split(",")
            self._given.setdefault(flag.name, []).extend(parts)
        elif flag.kind in _MANY:
            self._given.setdefault(flag.name, []).append(value)
        else:
            self._given[flag.name] = [value]


def parse_integer(text: str) -> int:
    """Go's strconv.ParseInt with base 0, 64 bits."""
    plain = text[1:] if text[:1] in ("-", "+") else text
    decimal = plain.isascii() and plain.isdigit() and len(plain) < 18 and plain[0] != "0"
    if decimal or plain == "0":  # what it nearly always is: without `re`
        return int(text)
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    if digits[0] == "0" and digits[1:2].isdigit():
        digits = "0o" + digits[1:]
    value = sign * int(digits, 0) if len(digits) < 80 else 1 << 63
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_boolean(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_filter(text: str) -> tuple[str, str]:
    """`name=value` of a --filter."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def _quoted(letter: str) -> str:
    return "'\\''" if letter == "'" else f"'{letter}'"


_CHECKS: dict[str, Check] = {
    "": parse_boolean,
    "int": parse_integer,
    "bytes": parse_size,
    "decimal": parse_cpus,
    "duration": parse_duration,
    "filter": parse_filter,
}
