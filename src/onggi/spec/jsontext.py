"""Strict JSON for bytes from outside: what two parsers could read differently is refused."""

from .. import jsons
from ..errors import CorruptData
from ..typed import Any

MAX_BYTES = 4 << 20
MAX_DEPTH = 64


def loads_strict(data: bytes, *, what: str = "JSON document", max_bytes: int = MAX_BYTES) -> Any:
    """Parse UTF-8 JSON; refuse duplicate keys, keys that differ only in case, NaN and Infinity,
    lone surrogates, nesting over 64 and size over `max_bytes`. Raises CorruptData naming `what`."""
    if len(data) > max_bytes:
        raise CorruptData(f"{what} is larger than {max_bytes} bytes")
    if _too_deep(data):
        raise CorruptData(f"{what} is nested deeper than {MAX_DEPTH} levels")
    try:
        value = jsons.loads(data, pairs=_unique, constant=_no_constant)
        jsons.dumps(value, ascii=False).encode("utf-8")  # lone surrogates fail here
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{what} is not valid JSON: {error}") from error
    return value


def canonical(value: Any) -> bytes:
    """Compact UTF-8 JSON in the given key order: the bytes we sign with a digest."""
    return jsons.dumps(value, ascii=False).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key in an object")
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _too_deep(data: bytes) -> bool:
    """Whether brackets outside strings nest over MAX_DEPTH."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
