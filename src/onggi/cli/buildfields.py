"""`key=value,key=value` of the flags of build, as Go's csv reader takes it."""

from .flags import parse_boolean
from .session import refusal


def fields_of(text: str, flag: str) -> dict[str, str]:
    """Keys in lower case. Raises CommandError in docker's words."""
    import csv

    try:
        words = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise refusal(f"failed to parse csv {flag}: {error}") from error
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise refusal(f"invalid field '{word}' must be a key=value pair")
        found[key.lower()] = value
    return found


def boolean(fields: dict[str, str], key: str, *, default: bool) -> bool:
    text = fields.get(key)
    if text is None:
        return default
    try:
        return parse_boolean(text)
    except ValueError as error:
        raise refusal(f"non-bool value {text!r} of {key}") from error
