"""--filter of `builder prune` and `builder du`: BuildKit's, where our cache has what they ask."""

from collections.abc import Callable, Mapping, Sequence

from ..build.pruning import Item
from ..typed import Any
from ..units import parse_time
from .flags import parse_boolean
from .session import refusal

KNOWN = ("until", "unused-for", "id", "type", "description", "inuse", "shared", "private")
_TIMES = ("until", "unused-for")


def until_ns(filters: Mapping[str, Sequence[str]], now_ns: int) -> int:
    """The moment since when used entries stay; 0 for none."""
    moments = [value for name in _TIMES for value in filters.get(name, ())]
    if len(moments) > 1:
        raise refusal("more than one until filter specified")
    try:
        return parse_time(moments[0], now_ns) if moments else 0
    except ValueError as error:
        raise refusal(str(error)) from error


def wanted(filters: Mapping[str, Sequence[str]]) -> Callable[[Item], bool]:
    """Whether all filters but those of time choose an entry. Raises CommandError."""
    tests: list[Callable[[Item], bool]] = []
    for name, values in filters.items():
        if name not in KNOWN:
            raise refusal(f"invalid filter '{name}'", f"known: {', '.join(KNOWN)}")
        tests += [_test(name, value) for value in values if name not in _TIMES]
    return lambda item: all(test(item) for test in tests)


def _test(name: str, value: str) -> Callable[[Item], bool]:
    if name in ("inuse", "shared", "private"):
        try:
            on = parse_boolean(value)
        except ValueError as error:
            raise refusal(f"invalid filter '{name}={value}': {error}") from error
        facts: dict[str, Callable[[Item], Any]] = {
            "inuse": lambda item: item.in_use,
            "shared": lambda item: item.shared,
            "private": lambda item: not item.shared,
        }
        return lambda item: bool(facts[name](item)) == on
    if name == "id":
        return lambda item: item.id.startswith(value)
    if name == "type":
        return lambda item: item.kind == value
    return lambda item: value in item.description
