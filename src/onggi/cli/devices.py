"""Device flags of run and create: --device, the block I/O limits, --gpus; docker's checks."""

from ..patterns import Pattern
from ..spec.container import DeviceMapping, DeviceRate
from ..units import parse_size
from .mounts import csv_fields
from .session import refusal

_RULE = Pattern(r"[acb] (?:[0-9]+|\*):(?:[0-9]+|\*) [rwm]{1,3}")
_CDI = Pattern(
    r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
    r"=[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?"
)
_GPU_KEYS = ("driver", "count", "device", "capabilities", "options")


def is_cdi(text: str) -> bool:
    """Whether a --device names one of the Container Device Interface: vendor.com/class=name."""
    return _CDI.fullmatch(text) is not None


def parse_device(text: str) -> DeviceMapping:
    """`host[:container][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise refusal(f"bad format for path: {text}")
    path, access = parts[0], "rwm"
    if len(parts) == 3:
        path, access = parts[1], parts[2]
        if not _is_access(access):
            raise refusal(f"bad mode specified: {access}")
    elif len(parts) == 2 and _is_access(parts[1]):
        access = parts[1]
    elif len(parts) == 2:
        path = parts[1]
    for one in (path, parts[0]):
        if not one.startswith("/"):
            raise refusal(f"{one} is not an absolute path")
    return DeviceMapping(parts[0], path.rstrip("/") or "/", access)


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def check_rule(text: str) -> None:
    if not _RULE.fullmatch(text):
        raise ValueError(f"invalid device cgroup format '{text}'")


def parse_weight(text: str) -> DeviceRate:
    """`path:weight`."""
    path, weight = _split(text)
    if not weight.isascii() or not weight.isdigit() or not (weight == "0" or _in_range(weight)):
        raise ValueError(f"invalid weight for device: {text}")
    return DeviceRate(path, int(weight))


def _in_range(weight: str) -> bool:
    return 10 <= int(weight) <= 1000


def parse_bps(text: str) -> DeviceRate:
    """`path:number[unit]`, bytes a second."""
    path, rate = _split(text)
    try:
        return DeviceRate(path, parse_size(rate))
    except ValueError as error:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional "
            "and can be kb, mb, or gb"
        ) from error


def parse_iops(text: str) -> DeviceRate:
    """`path:number`, operations a second."""
    path, rate = _split(text)
    if not rate.isascii() or not rate.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return DeviceRate(path, int(rate))


def _split(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path or not value:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def parse_gpus(text: str) -> tuple[str, ...]:
    """`all`, a number, or keys: what is asked, as "all", "count=2" or "device=NAME" words."""
    found: dict[str, str] = {}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", key
        if key not in _GPU_KEYS:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        if key in found:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        found[key] = value
    if found.get("driver", "nvidia") not in ("nvidia", "cdi"):
        driver = found["driver"]
        raise ValueError(f'could not select device driver "{driver}" with capabilities: [[gpu]]')
    if "device" in found:
        return tuple(f"device={name}" for name in found["device"].split(",") if name)
    count = found.get("count", "1")
    if count in ("all", "-1"):
        return ("all",)
    if not count.isascii() or not count.isdigit():
        raise ValueError(
            f'invalid count ({count}): value must be either "all" or an integer: invalid syntax'
        )
    return (f"count={count}",)


def parse_uint16(text: str) -> int:
    """Go's strconv.ParseUint with 16 bits."""
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 9 or int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
