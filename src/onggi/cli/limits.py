"""Resource and identity flags of run and create: their checks, with docker's words."""

from ..errors import InvalidInput
from ..patterns import Pattern
from ..spec.container import Ulimit
from ..units import parse_size
from .flags import parse_integer
from .session import refusal

ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack".split()
)
_NAMED_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)
_SYSCTL = Pattern(r"[a-z0-9_]+(?:[./][A-Za-z0-9_-]+)+")
_DOMAIN = Pattern(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?\.?"
)
_HOSTNAME = Pattern(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]{0,62})")
_USER_PART = Pattern(r"[a-zA-Z0-9_.][a-zA-Z0-9_.@-]{0,255}\$?")
_REAL_TIME = Pattern(r"RT(?:MIN(?:\+[0-9]{1,2})?|MAX(?:-[0-9]{1,2})?)")
_MAX_ID = 2**31 - 1  # docker's own limit for numeric ids


def parse_ulimit(text: str) -> Ulimit:
    """`name=soft[:hard]`; -1 is unlimited."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(
            f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        )
    numbers = [parse_integer(part) for part in parts]
    if min(numbers) < -1:
        raise ValueError(f"invalid ulimit value: {text}: -1 is unlimited, less is nothing")
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        shown = f"soft: -1 (unlimited), hard: {hard}" if soft == -1 else f"{soft} > {hard}"
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {shown}")
    return Ulimit(name, soft, hard)


def parse_sysctl(text: str) -> tuple[str, str]:
    """Only names that belong to a namespace of the container: net.*, fs.mqueue.*, the SysV ones."""
    name, equals, value = text.partition("=")
    allowed = name in _NAMED_SYSCTLS or name.startswith(("net.", "fs.mqueue."))
    if not equals or not allowed or not _SYSCTL.fullmatch(name):
        raise ValueError(f"sysctl '{text}' is not allowed")
    if any(ord(c) < 32 and c != "\t" for c in value):
        raise ValueError(f"sysctl {text!r} is not allowed: control characters")
    return name, value


def check_address(text: str) -> None:
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")


def is_address(text: str) -> bool:
    import _socket

    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except OSError:
        return False
    return True


def parse_extra_host(text: str) -> str:
    """`name:ip`, `name=ip`, `name:[v6]` or host-gateway, as "name:ip"."""
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address[:1] == "[" and address[-1:] == "]":
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    if any(c.isspace() for c in name):
        raise ValueError(f"bad format for add-host: {text!r}")
    return f"{name}:{address}"


def check_domain(text: str) -> None:
    if text.strip() != "." and not _DOMAIN.fullmatch(text):
        raise ValueError(f"{text} is not a valid domain")


def check_stream(text: str) -> None:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def check_swap(text: str) -> None:
    if text != "-1":
        parse_size(text)


def parse_unsigned(text: str) -> int:
    """Go's strconv.ParseUint with 64 bits."""
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text[:30])


def swap_bytes(text: str) -> int:
    return -1 if text == "-1" else parse_size(text) if text else 0


def checked_user(text: str) -> str:
    """`user[:group]`, names or numbers; who they are is decided in the container."""
    for part in text.split(":", 1) if text else ():
        number = part.isascii() and part.isdigit()
        if number and (len(part) > 10 or int(part) > _MAX_ID):
            raise InvalidInput(f"uids and gids must be in range 0-{_MAX_ID}")
        if (not number and not _USER_PART.fullmatch(part)) or ("_" in part and _digits(part)):
            raise refusal(f"invalid user {text!r}: want NAME|UID[:GROUP|GID]")
    return text


def _digits(text: str) -> bool:
    return text.replace("_", "").isdigit()


def checked_hostname(text: str, flag: str) -> str:
    if text and not _HOSTNAME.fullmatch(text):
        raise refusal(
            f"invalid value {text!r} for --{flag}: letters, digits, dot, dash, at most 63"
        )
    return text


def checked_work_directory(text: str) -> str:
    if text and (not text.startswith("/") or "\0" in text):
        raise InvalidInput(
            f"the working directory '{text}' is invalid, it needs to be an absolute path"
        )
    return text


def checked_signal(text: str, flag: str = "signal") -> str:
    """A signal's name or number, as given."""
    from ..signals import NUMBERS

    name = text.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and 0 < int(text[:4]) <= 64:
        return text
    if text and f"SIG{name}" not in NUMBERS and not _REAL_TIME.fullmatch(name):  # fmt: skip
        raise InvalidInput(f"invalid {flag}: {text}")
    return text
