"""The functions of docker's templates, and how Go prints values. Sans-IO."""

import json
from collections.abc import Callable, Mapping

from ..typed import Any

MAX_REPEAT = 1 << 20


class FunctionError(Exception):
    """A function's own complaint, in Go's words."""


def show(value: Any) -> str:
    """`{{value}}`: fmt's %v over JSON data."""
    if value is None:
        return "<no value>"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "<nil>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        inside = " ".join(f"{key}:{_plain(item)}" for key, item in sorted(value.items()))
        return f"map[{inside}]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_plain(item) for item in value) + "]"
    if callable(value):
        return "<func>"
    return str(value)


def _float(value: float) -> str:
    """Go's %v: shortest, with an exponent from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        sign, digits = exponent[0], exponent[1:]
        return f"{mantissa}e{sign if sign in '+-' else '+'}{digits.zfill(2)}"
    return text


def truthy(value: Any) -> bool:
    return bool(value)


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise FunctionError("index of untyped nil")
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise FunctionError(f"value has type {_kind(key)}; should be string")
            strings = all(isinstance(item, str) for item in value.values())
            value = value.get(key, "" if strings else None)
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or isinstance(key, bool):
                raise FunctionError(f"cannot index slice/array with type {_kind(key)}")
            if not 0 <= key < len(value):
                raise FunctionError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise FunctionError(f"can't index item of type {_kind(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (str, list)):
        raise FunctionError(f"can't slice item of type {_kind(value)}")
    if len(bounds) > 2:
        raise FunctionError(f"too many slice indexes: {len(bounds)}")
    for bound in bounds:
        if not isinstance(bound, int) or not 0 <= bound <= len(value):
            raise FunctionError(f"index out of range: {show(bound)}")
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if start > end:
        raise FunctionError(f"invalid slice index: {start} > {end}")
    return value[start:end]


def _len(value: Any) -> int:
    if not isinstance(value, (str, list, Mapping)):
        raise FunctionError("len of nil pointer" if value is None else
                            f"len of type {_kind(value)}")  # fmt: skip
    return len(value.encode()) if isinstance(value, str) else len(value)


def _kind(value: Any) -> str:
    return {str: "string", bool: "bool", int: "int", float: "float64", type(None): "nil"}.get(
        type(value), "map" if isinstance(value, Mapping) else "slice"
    )


def _comparable(left: Any, right: Any) -> None:
    numbers = (int, float)
    both_numbers = (
        isinstance(left, numbers) and isinstance(right, numbers)
        and not isinstance(left, bool) and not isinstance(right, bool)
    )  # fmt: skip
    if type(left) is not type(right) and not both_numbers and None not in (left, right):
        raise FunctionError("incompatible types for comparison")
    if isinstance(left, (list, dict)):
        raise FunctionError("non-comparable type " + show(left))


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    for other in others:
        _comparable(first, other)
        if first == other:
            return True
    return False


def _ne(left: Any, right: Any) -> bool:
    _comparable(left, right)
    return bool(left != right)


def _less(left: Any, right: Any) -> bool:
    _comparable(left, right)
    if left is None or right is None or isinstance(left, bool):
        raise FunctionError("invalid type for comparison")
    return bool(left < right)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FunctionError(f"wrong type for value; expected string; got {_kind(value)}")
    return value


def _join(value: Any, separator: str) -> str:
    if not isinstance(value, list):
        raise FunctionError(f"wrong type for value; expected []string; got {_kind(value)}")
    return _text(separator).join(_text(item) for item in value)


def _split(value: str, separator: str) -> list[str]:
    return _text(value).split(separator) if separator else list(_text(value))


def _pad(value: Any, before: int, after: int) -> str:
    text = _text(value)
    if not text:
        return text
    return " " * min(before, MAX_REPEAT) + text + " " * min(after, MAX_REPEAT)


def _truncate(value: Any, length: int) -> str:
    text = _text(value)
    return text[:length] if len(text) > length else text


def _title(value: Any) -> str:
    """strings.Title: the first letter of every word."""
    result, previous = [], " "
    for character in _text(value):
        boundary = not (previous.isalnum() or previous in "_'")
        result.append(character.upper() if boundary else character)
        previous = character
    return "".join(result)


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    result = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            result += " "
        result += _plain(value)
    return result


def _println(*values: Any) -> str:
    return " ".join(_plain(value) for value in values) + "\n"


def _printf(form: Any, *values: Any) -> str:
    """The verbs people use: %s %v %d %q %t %f %x %c %% with width, precision and -."""
    rest = list(values)
    result, position = "", 0
    text = _text(form)
    while position < len(text):
        start = text.find("%", position)
        if start < 0:
            return result + text[position:] + _extra(rest)
        result += text[position:start]
        end = start + 1
        while end < len(text) and text[end] in "-+# 0123456789.":
            end += 1
        flags, verb = text[start + 1 : end], text[end : end + 1]
        position = end + 1
        if verb == "%":
            result += "%"
        elif not verb:
            result += "%!(NOVERB)"
        elif not rest:
            result += f"%!{verb}(MISSING)"
        else:
            result += _verb(flags, verb, rest.pop(0))
    return result + _extra(rest)


def _extra(rest: list[Any]) -> str:
    if not rest:
        return ""
    shown = ", ".join(f"{_kind(value)}={_plain(value)}" for value in rest)
    return f"%!(EXTRA {shown})"


def _verb(flags: str, verb: str, value: Any) -> str:
    width_text, dot, precision = flags.partition(".")
    left = "-" in width_text
    digits = width_text.lstrip("-+# ")
    zero = digits.startswith("0")
    text = _converted(verb, value, precision if dot else "", "+" in width_text)
    width = min(int(digits or 0), MAX_REPEAT)
    if left:
        return text.ljust(width)
    if zero and verb in "dfx":
        return text.zfill(width)
    return text.rjust(width)


def _converted(verb: str, value: Any, precision: str, plus: bool) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if verb in "sv" and (verb == "v" or not number):
        text = _plain(value)
        return text[: int(precision)] if precision and verb == "s" else text
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return f"{value:+d}" if plus else str(value)
    if verb == "f" and number:
        return f"{float(value):{'+' if plus else ''}.{precision or 6}f}"
    if verb == "q" and isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if verb == "t" and isinstance(value, bool):
        return _plain(value)
    if verb == "x" and isinstance(value, (int, str)):
        return value.encode().hex() if isinstance(value, str) else f"{value:x}"
    if verb == "c" and isinstance(value, int):
        return chr(value)
    return f"%!{verb}({_kind(value)}={_plain(value)})"


_HTML = (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"))


def _html(*values: Any) -> str:
    text = _print(*values)
    for raw, escaped in _HTML:
        text = text.replace(raw, escaped)
    return text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "split": _split,
    "join": _join,
    "title": _title,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "pad": _pad,
    "truncate": _truncate,
    "index": _index,
    "slice": _slice,
    "len": _len,
    "eq": _eq,
    "ne": _ne,
    "lt": _less,
    "le": lambda left, right: _less(left, right) or _eq(left, right),
    "gt": lambda left, right: not _less(left, right) and not _eq(left, right),
    "ge": lambda left, right: not _less(left, right),
    "not": lambda value: not truthy(value),
    "print": _print,
    "println": _println,
    "printf": _printf,
    "html": _html,
}
