"""Reading what clients send: query strings, filters of every age, JSON with its fields' types.

Sans-IO. Rules are those of docker's server: keys of JSON objects match in any case, unknown ones
are ignored, null is the zero value, a wrong type is the client's error and names the field.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from ..errors import CorruptData, InvalidInput
from ..spec.jsontext import loads_strict
from ..typed import Any, NamedTuple

MAX_JSON = 8 << 20
MAX_PARAMETERS = 1000
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INT64 = 1 << 63
_FALSE = ("", "0", "no", "false", "none")


def unescaped(text: str, *, plus: bool = False) -> str:
    """Percent-decoded. Raises InvalidInput for a bad escape, NUL, and what is not UTF-8."""
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise InvalidInput(f'invalid URL escape "{bad[0]}"')
    raw = unquote_to_bytes(text.replace("+", " ") if plus else text)
    try:
        found = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("the request's target is not UTF-8") from error
    if "\0" in found:
        raise InvalidInput("the request's target holds a NUL byte")
    return found


class Query(NamedTuple):
    """The parameters behind the question mark; a repeated one has several values."""

    values: Mapping[str, Sequence[str]] = {}

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        """The first value."""
        return self.values[name][0] if name in self.values else default

    def many(self, name: str) -> Sequence[str]:
        return self.values.get(name, ())

    def flag(self, name: str, default: bool = False) -> bool:
        """Docker: everything is true but nothing, 0, no, false, none."""
        if name not in self.values:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """Raises InvalidInput with Go's words; an empty value is the default."""
        text = self.text(name)
        return parse_integer(text) if text else default

    def filters(self, name: str = "filters") -> dict[str, tuple[str, ...]]:
        """Both forms: {"label": ["a"]} of old clients and {"label": {"a": true}}."""
        return parse_filters(self.text(name))

    def json(self, name: str) -> Any:
        """A parameter that holds JSON; None when it is not there. Raises InvalidInput."""
        text = self.text(name)
        return parse_json(text.encode(), what=name) if text else None


def parse_query(text: str) -> Query:
    found: dict[str, list[str]] = {}
    pieces = [piece for piece in text.split("&") if piece]
    if len(pieces) > MAX_PARAMETERS:
        raise InvalidInput("too many parameters")
    for piece in pieces:
        if ";" in piece:
            raise InvalidInput("invalid semicolon separator in query")
        name, _, value = piece.partition("=")
        found.setdefault(unescaped(name, plus=True), []).append(unescaped(value, plus=True))
    return Query(found)


def parse_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise InvalidInput(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -_INT64 <= value < _INT64:
        raise InvalidInput(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_filters(text: str) -> dict[str, tuple[str, ...]]:
    if not text:
        return {}
    value = parse_json(text.encode("utf-8", "surrogatepass"), what="filters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput("invalid filter")
    return {name: _filter_values(name, given) for name, given in value.items()}


def _filter_values(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return tuple(dict.fromkeys(given))
    if isinstance(given, dict) and all(isinstance(item, bool) for item in given.values()):
        return tuple(given)  # docker: the key counts, also beside false
    raise InvalidInput(f"invalid filter '{name}'")


def parse_json(data: bytes, *, what: str = "request body", max_bytes: int = MAX_JSON) -> Any:
    """Raises InvalidInput."""
    try:
        return loads_strict(data, what=what, max_bytes=max_bytes)
    except CorruptData as error:
        raise InvalidInput(f"invalid JSON: {error.message}") from error


class Fields:
    """A JSON object whose fields are read with their types. Missing and null are the zero value."""

    def __init__(self, value: Any, path: str = "") -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise _wrong(path, value, "an object")
        self.path = path
        self.raw: dict[str, Any] = value
        self._folded = {name.lower(): item for name, item in value.items()}

    def get(self, name: str) -> Any:
        """The bare value, None when it is missing."""
        return self._folded.get(name.lower())

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise _wrong(self._of(name), value, "a string")
        return _clean(value, self._of(name))

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.optional_flag(name)
        return default if found is None else found

    def optional_flag(self, name: str) -> bool | None:
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(self._of(name), value, "true or false")
        return value

    def integer(self, name: str, default: int = 0) -> int:
        found = self.optional_integer(name)
        return default if found is None else found

    def optional_integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(self._of(name), value, "a whole number")
        if not -_INT64 <= value < _INT64:
            raise InvalidInput(f"invalid JSON: {self._of(name)}: {value} does not fit 64 bits")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        found = self.optional_strings(name)
        return () if found is None else found

    def optional_strings(self, name: str) -> tuple[str, ...] | None:
        """A list of strings; None for a missing one and null."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise _wrong(self._of(name), value, "a list of strings")
        return tuple(self._string(name, index, item) for index, item in enumerate(value))

    def words(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, or one string that stands for a list of it (Cmd, Entrypoint)."""
        value = self.get(name)
        if isinstance(value, str):
            return (_clean(value, self._of(name)),)
        return self.optional_strings(name)

    def string_map(self, name: str) -> dict[str, str]:
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(self._of(name), value, "an object of strings")
        return {
            _clean(key, self._of(name)): self._string(name, key, "" if item is None else item)
            for key, item in value.items()
        }

    def object(self, name: str) -> "Fields":
        """A nested object, empty when it is missing."""
        return Fields(self.get(name), self._of(name))

    def objects(self, name: str) -> Sequence["Fields"]:
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise _wrong(self._of(name), value, "a list of objects")
        return [Fields(item, f"{self._of(name)}[{index}]") for index, item in enumerate(value)]

    def members(self, name: str) -> Iterator[tuple[str, "Fields"]]:
        """The (key, object) pairs of an object of objects."""
        inner = self.object(name)
        for key, item in inner.raw.items():
            yield _clean(key, inner.path), Fields(item, f"{inner.path}.{key}")

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys of an object whose values say nothing: ExposedPorts, Volumes."""
        return tuple(_clean(key, self._of(name)) for key in self.object(name).raw)

    def _string(self, name: str, place: int | str, value: Any) -> str:
        path = (
            f"{self._of(name)}[{place}]" if isinstance(place, int) else f"{self._of(name)}.{place}"
        )
        if not isinstance(value, str):
            raise _wrong(path, value, "a string")
        return _clean(value, path)

    def _of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _clean(text: str, path: str) -> str:
    """NUL ends a string in the kernel: none of docker's fields may hold it."""
    if "\0" in text:
        raise InvalidInput(f"invalid JSON: {path} holds a NUL character")
    return text


def _wrong(path: str, value: Any, wanted: str) -> InvalidInput:
    kinds = {
        bool: "true or false",
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    got = kinds.get(type(value), json.dumps(value)[:20])
    where = path or "the request's body"
    return InvalidInput(f"invalid JSON: {where} is {got}, wanted {wanted}")
