"""Docker's sizes, durations, CPU counts and times: text to int and back. No I/O but the clock.

Parsers raise ValueError with the words docker's client prints; what leaves them is an int whose
unit is in the name of whoever keeps it. Values that docker lets through by accident of Go's float
parser (NaN, more than 2**63) are refused.
"""

import time

from .patterns import Pattern

_SIZE_SUFFIX = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DIVISOR = Pattern("[1-9][0-9]{0,8}")
_UNIX_TIME = Pattern(r"[0-9]+(?:\.[0-9]{1,9})?")
_DURATION_PART = Pattern(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-zµμ]*)")
_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_RFC3339 = Pattern(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|[+-]\d\d:\d\d)?"
)
_INT63 = 1 << 63


def parse_size(text: str) -> int:
    """Bytes from "512", "64m", "1.5 GiB": the suffixes are powers of 1024."""
    end = max((i for i, c in enumerate(text) if c in "0123456789. "), default=-1)
    if end < 0 or text.startswith("-"):
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: end + 1].removesuffix(" "), text[end + 1 :].lower()
    if not _is_decimal(number):
        raise ValueError(f"invalid size: '{text}'")
    letter = suffix[:1]
    if letter not in _SIZE_SUFFIX or suffix[1:] not in (
        ("",) if letter == "b" else ("", "b", "ib")
    ):
        raise ValueError(f"invalid suffix: '{suffix}'")
    whole, _, fraction = number.partition(".")
    unit: int = 1024 ** _SIZE_SUFFIX[letter]
    size: int = int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
    if size >= _INT63:
        raise ValueError(f"invalid size: '{text}'")
    return size


def parse_cpus(text: str) -> int:
    """Billionths of a CPU from "1.5", ".25", "1/2"."""
    number, slash, divisor = text.partition("/")
    if not _is_decimal(number) or (slash and not _DIVISOR.fullmatch(divisor)):
        raise ValueError(f"failed to parse {text} as a rational number")
    whole, _, fraction = number.partition(".")
    scaled: int = int((whole or "0") + fraction) * 10**9
    divisor_all: int = 10 ** len(fraction) * int(divisor or "1")
    if scaled % divisor_all:
        raise ValueError("value is too precise")
    return scaled // divisor_all


def _is_decimal(text: str) -> bool:
    """ "1", "1.", "1.5", ".5"; without `re`, for every `run` reads some."""
    digits = text.replace(".", "", 1)
    return digits.isascii() and digits.isdigit()


def parse_duration(text: str) -> int:
    """Nanoseconds from Go's "1h30m", "1.5s", "-5ms", "0"."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest in ("0", "0s"):
        return 0
    total, position = 0, 0
    while position < len(rest):
        part = _DURATION_PART.match(rest, position)
        if part is None:
            break
        number, unit = part.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        whole, _, fraction = number.partition(".")
        total += int(whole or "0") * _NS[unit] + int(fraction or "0") * _NS[unit] // 10 ** len(
            fraction
        )
        position = part.end()
    if not rest or position < len(rest) or total >= _INT63:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def parse_time(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970 from an RFC 3339 time, a Unix time or a duration before now."""
    if _UNIX_TIME.fullmatch(text):
        seconds, _, fraction = text.partition(".")
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    try:
        return now_ns - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from error


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of "2026-11-24T10:48:34.123456789Z", or of its first parts; without a
    zone it is local time. Raises ValueError."""
    fields = _stamp(text)
    if fields is None:
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError(f"not a time: {text[:64]!r}")
        fields = match.groups()
    year, month, day, hour, minute, second = (int(field or "0") for field in fields[:6])
    fraction, zone = fields[6:]
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise ValueError(f"not a time: {text[:64]!r}")
    seconds = _days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if not zone:
        try:
            local = (year, month, day, hour, minute, second, 0, 0, -1)
            seconds = int(time.mktime(local))
        except OverflowError as error:
            raise ValueError(f"not a time: {text[:64]!r}") from error
    elif zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def _stamp(text: str) -> tuple[str, ...] | None:
    """The parts of a time as logs and images have it, without `re`; None for any other form."""
    end, fraction = text[19:], text[20:-1]
    if end != "Z" and not (end[:1] == "." and end[-1:] == "Z" and 1 <= len(fraction) <= 9):
        return None
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    digits = "".join((*parts, fraction))
    is_time = text[4:17:3] == "--T::" and digits.isascii() and digits.isdigit()
    return (*parts, fraction, "Z") if is_time else None


def _days_since_1970(year: int, month: int, day: int) -> int:
    """Of the Gregorian calendar; counting years from March puts the leap day last."""
    year -= month <= 2
    leaps = year // 4 - year // 100 + year // 400
    return 365 * year + leaps + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468


def format_size(size_bytes: float, digits: int = 4) -> str:
    """`digits` significant ones, powers of 1000, as docker shows sizes: 1.24GB, 512kB."""
    return _scaled(size_bytes, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def format_binary_size(size_bytes: float, digits: int = 4) -> str:
    """The same in powers of 1024: 1.5GiB."""
    return _scaled(size_bytes, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), digits)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while abs(size) >= base and index < len(units) - 1:
        size /= base
        index += 1
    text = f"{size:.{digits}g}"
    return (f"{size:.0f}" if "e" in text else text) + units[index]


def format_elapsed(seconds: float) -> str:
    """ "5 minutes", "About an hour", "3 weeks": how docker tells ages."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    for limit, text in (
        (1, "Less than a second"),
        (2, "1 second"),
        (60, f"{whole} seconds"),
        (120, "About a minute"),
        (3600, f"{minutes} minutes"),
    ):
        if seconds < limit:
            return text
    if hours <= 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def format_duration(nanoseconds: int) -> str:
    """Go's notation: 1h30m0s, 1.5s, 300ms, 0s."""
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if value >= size:
                return f"{sign}{_trim(value, size)}{unit}"
        return "0s"
    minutes, rest = divmod(value, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_trim(rest, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def _trim(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def format_rfc3339(ns: int) -> str:
    """UTC with nanoseconds, as `inspect` and `logs -t` write it; 0 is Go's zero time."""
    if not ns:
        return "0001-01-01T00:00:00Z"
    seconds, fraction = divmod(ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def format_rfc3339_local(ns: int) -> str:
    """With nanoseconds and the local zone's offset, "Z" for UTC, as `events` prints it."""
    seconds, fraction = divmod(ns, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if local.tm_gmtoff == 0 else f"{zone[:3]}:{zone[3:5]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09d}{shown}"


def format_local(ns: int) -> str:
    """The CreatedAt column: "2025-05-30 12:07:14 +0200 CEST"."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(ns // 10**9))
