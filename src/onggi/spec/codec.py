"""Records to JSON objects and back, by their own annotations.

A record is a NamedTuple whose fields are str, int, float, bool, bytes-free nested records,
`tuple[X, ...]`, `dict[str, X]` or `X | None`. Unknown keys are ignored and missing ones take the
field's default, so that an older row can be read by a newer onggi and the other way round.
Modules that define records must not use `from __future__ import annotations`.
"""

from ..typed import Any, TypeVar, get_args

R = TypeVar("R", bound=tuple[Any, ...])
_UNION = type(int | str)
_plans: dict[type, dict[str, Any]] = {}


def encode(value: Any) -> Any:
    """What `json.dumps` takes. Fields equal to their default are left out."""
    fields = getattr(value, "_fields", None)
    if fields is not None:
        defaults = value._field_defaults
        return {
            name: encode(item)
            for name, item in zip(fields, value, strict=True)
            if name not in defaults or item != defaults[name]
        }
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(record: type[R], data: dict[str, Any]) -> R:
    """A record from `encode`'s output. Raises TypeError when a required field is gone."""
    plan = _plans.get(record)
    if plan is None:
        plan = _plans[record] = {
            name: converter
            for name, hint in record.__annotations__.items()
            if (converter := _converter(hint)) is not None
        }
    fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]  # a NamedTuple
    known = {name: data[name] for name in fields if name in data}
    for name, converter in plan.items():
        if name in known and known[name] is not None:
            known[name] = converter(known[name])
    return record(**known)


def _converter(hint: Any) -> Any:
    """A function that turns the JSON form of `hint` into the Python form; None for identity."""
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return lambda item: decode(hint, item)
    if isinstance(hint, type) and issubclass(hint, str) and hint is not str:
        return hint
    if isinstance(hint, _UNION):
        inner = [c for arg in get_args(hint) if (c := _converter(arg)) is not None]
        return inner[0] if inner else None
    origin = getattr(hint, "__origin__", None)
    if origin is tuple:
        args = get_args(hint)
        item = _converter(args[0])
        return tuple if item is None else lambda items: tuple(item(i) for i in items)
    if origin is dict:
        item = _converter(get_args(hint)[1])
        return None if item is None else lambda items: {k: item(v) for k, v in items.items()}
    return None
