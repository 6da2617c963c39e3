"""JSON by the C half of the standard module `json`, whose other half takes 2 ms to import (it wants
regular expressions). What is not well formed goes to the whole module for its errors."""

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

from .typed import Any

_SPACE = " \t\n\r"


class _Rules:
    """What the scanner asks of a JSONDecoder."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    def __init__(self, pairs: Any, constant: Any) -> None:
        self.object_pairs_hook = pairs
        self.parse_constant = constant


_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def _scanner(pairs: Any, constant: Any) -> Any:
    rules: Any = _Rules(pairs, constant)
    return make_scanner(rules)


_scan = _scanner(None, _CONSTANTS.__getitem__)


def loads(text: str | bytes, *, pairs: Any = None, constant: Any = None) -> Any:
    """As json.loads does it. `pairs` makes an object's value, `constant` that of NaN and the
    infinities. Raises ValueError."""
    if not isinstance(text, str):
        text = text.decode("utf-8")
    scan = _scan
    if pairs is not None or constant is not None:
        scan = _scanner(pairs, constant or _CONSTANTS.__getitem__)
    try:
        value, end = scan(text, len(text) - len(text.lstrip(_SPACE)))
    except (StopIteration, SystemError):  # the latter where it misses the error's class
        end = 0
    if end and (end == len(text) or not text[end:].strip(_SPACE)):
        return value
    import json

    return json.loads(text)  # raises


def dumps(value: Any, *, ascii: bool = True, compact: bool = True) -> str:
    """As json.dumps does it; `compact` is without spaces, `ascii` escapes everything else."""
    between, after = (",", ":") if compact else (", ", ": ")
    escaped = encode_basestring_ascii if ascii else encode_basestring
    encoder = make_encoder({}, _refuse, escaped, None, after, between, False, False, True)
    return "".join(encoder(value, 0))


def indented(value: Any, margin: str = "\n") -> str:
    """As json.dumps(value, indent=4, ensure_ascii=False) does it; keys are strings."""
    inner = f"{margin}    "
    if isinstance(value, dict) and value:
        items = [f"{encode_basestring(key)}: {indented(value[key], inner)}" for key in value]
        return f"{{{inner}{f',{inner}'.join(items)}{margin}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{inner}{f',{inner}'.join([indented(item, inner) for item in value])}{margin}]"
    return dumps(value, ascii=False)


def _refuse(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
