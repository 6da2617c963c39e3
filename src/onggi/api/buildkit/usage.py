"""The build cache as BuildKit tells of it, and its filters. Sans-IO."""

import re
from collections.abc import Callable, Iterable

from ...build.pruning import Item
from ...errors import InvalidInput
from .messages_pb2 import Timestamp, UsageRecord

_CONDITION = re.compile(r"([a-z]+)(==|!=|~=)?(.*)", re.DOTALL)
_FACTS: dict[str, Callable[[Item], str]] = {
    "id": lambda item: item.id,
    "type": lambda item: item.kind,
    "description": lambda item: item.description,
    "inuse": lambda item: _truth(item.in_use),
    "shared": lambda item: _truth(item.shared),
    "private": lambda item: _truth(not item.shared),
    "mutable": lambda item: "",
    "immutable": lambda item: "true",
}


def record(item: Item) -> UsageRecord:
    seconds, nanos = divmod(item.last_used_ns, 1_000_000_000)
    used = Timestamp(seconds=seconds, nanos=nanos)
    return UsageRecord(
        ID=item.id,
        Size=item.size_bytes,
        LastUsedAt=used,
        CreatedAt=used,
        Description=item.description,
        RecordType=item.kind,
        Shared=item.shared,
        InUse=item.in_use,
    )


def wanted(filters: Iterable[str]) -> Callable[[Item], bool]:
    """Whether one of the filters, each of conditions with commas, chooses an item; without filters
    all are chosen. Raises InvalidInput."""
    tests = [_all(text) for text in filters if text]
    return lambda item: not tests or any(test(item) for test in tests)


def _all(text: str) -> Callable[[Item], bool]:
    tests = [_test(condition) for condition in text.split(",")]
    return lambda item: all(test(item) for test in tests)


def _test(text: str) -> Callable[[Item], bool]:
    match = _CONDITION.fullmatch(text)
    if match is None or match[1] not in _FACTS:
        raise InvalidInput(f"invalid filter {text[:80]!r}")
    fact, operator, value = _FACTS[match[1]], match[2], match[3]
    if operator is None:
        if value:
            raise InvalidInput(f"invalid filter {text[:80]!r}")
        return lambda item: bool(fact(item))
    if operator == "~=":
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise InvalidInput(f"invalid filter {text[:80]!r}: {error}") from error
        return lambda item: bool(pattern.search(fact(item)))
    return lambda item: (fact(item) == value) == (operator == "==")


def _truth(value: bool) -> str:
    return "true" if value else ""
