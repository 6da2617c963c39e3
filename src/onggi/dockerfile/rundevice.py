"""`RUN --device=NAME[,required]`: one value to a request. Pure; owns BuildKit's keys and texts."""

import csv

from ..errors import InvalidInput
from ..typed import NamedTuple
from .runmount import BOOLEANS
from .spelling import nearest

_KEYS = ("name", "required")


class Device(NamedTuple):
    """`name` is a CDI device (vendor/class=name), "vendor/class" for the first of a class,
    "vendor/class=*" for all of it, or the class that an annotation gives."""

    name: str
    required: bool = False


def parse_device(text: str) -> Device:
    """Raises InvalidInput naming the field."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidInput(f"failed to parse csv devices: {error}") from error
    found = Device("")
    for field in fields:
        found = _with(found, field)
    if not found.name:
        raise InvalidInput(f"RUN --device={text[:80]} names no device")
    return found


def _with(device: Device, field: str) -> Device:
    key, equals, value = field.partition("=")
    key = key.lower()
    if key == "required":
        if equals and value not in BOOLEANS:
            raise InvalidInput(f"invalid value for required: {value[:40]}")
        return device._replace(required=not equals or BOOLEANS[value])
    if key == "name" and equals:
        if device.name:
            raise InvalidInput(f"device name already set to {device.name[:80]}")
        return device._replace(name=value)
    if not device.name:
        return device._replace(name=field)
    if not equals:
        raise InvalidInput(f"invalid field '{field[:80]}' must be a key=value pair")
    guess = nearest(key, _KEYS)
    hint = f"did you mean {guess}" if guess else None
    raise InvalidInput(f"unexpected key '{key[:40]}' in '{field[:80]}'", hint=hint)
