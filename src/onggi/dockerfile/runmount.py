"""`RUN --mount=…`: one value to a typed mount. Pure; owns BuildKit's keys, defaults and texts."""

import csv
import posixpath
import re
from collections.abc import Callable, Iterator

from ..errors import InvalidInput
from ..typed import Literal, NamedTuple, get_args
from ..units import parse_size
from .spelling import nearest

Kind = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly",
            "rw": "readwrite"}  # fmt: skip
_FLAGS = ("readonly", "readwrite", "required")
_KEYS = {
    "bind": ("from", "source", "target", "readonly", "readwrite"),
    "cache": ("from", "source", "target", "readonly", "readwrite", "id", "sharing", "mode", "uid",
              "gid"),
    "tmpfs": ("target", "size"),
    "secret": ("id", "source", "target", "required", "mode", "uid", "gid", "env"),
    "ssh": ("id", "target", "required", "mode", "uid", "gid"),
}  # fmt: skip
# what BuildKit takes and does nothing with
_IDLE = {
    "bind": ("id", "env"),
    "cache": ("env",),
    "tmpfs": ("readonly", "readwrite", "id", "env"),
    "secret": ("readonly", "readwrite"),
    "ssh": ("readonly", "readwrite", "env"),
}
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SECRETS = "/run/secrets"
AGENTS = "/run/buildkit/ssh_agent"
Expand = Callable[[str], str]


class Mount(NamedTuple):
    """One mount of a RUN, variables expanded. `target` is as written and may be relative, or ""
    where it depends on the other mounts (ssh, a secret that is only a variable)."""

    kind: Kind = "bind"
    target: str = ""
    source: str = ""  # a path in the origin
    origin: str = ""  # from=: a stage, an image or a named context
    read_only: bool = True
    id: str = ""
    sharing: Sharing = "shared"
    size_bytes: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    required: bool = False
    env: str = ""


def origin_of(text: str) -> str:
    """The name after from=, which decides what stages a build needs. Raises InvalidInput."""
    for key, value in _pairs(text):
        if key == "from":
            if re.search(r"\$.", value or ""):
                raise InvalidInput(
                    "'from' doesn't support variable expansion, define alias stage instead"
                )
            return value or ""
    return ""


def parse_mount(text: str, expand: Expand) -> Mount:
    """Raises InvalidInput naming the key."""
    given = {key: value if value is None else expand(value) for key, value in _pairs(text)}
    kind = _kind(given.pop("type", "bind"))
    for key in tuple(given):
        if key in _IDLE[kind]:
            del given[key]
        elif key not in _KEYS[kind]:
            raise _unexpected(key, kind, text)
    if kind == "secret" and given.get("source") and given.get("id"):
        raise InvalidInput("both source and id can't be set")
    read_only = kind == "bind"
    if "readonly" in given:
        read_only = _boolean("readonly", given["readonly"])
    if "readwrite" in given:
        read_only = not _boolean("readwrite", given["readwrite"])
    mount = Mount(
        kind=kind,
        target=given.get("target") or "",
        source=given.get("source") or "",
        origin=given.get("from") or "",
        read_only=read_only,
        id=given.get("id") or "",
        sharing=_sharing(given.get("sharing", "shared")),
        size_bytes=_size(given.get("size")),
        mode=_number("mode", given.get("mode"), _DEFAULT_MODE.get(kind, 0), 8),
        uid=_number("uid", given.get("uid"), 0, 10),
        gid=_number("gid", given.get("gid"), 0, 10),
        required="required" in given and _boolean("required", given["required"]),
        env=_variable(given.get("env")),
    )
    return _named(mount)


_DEFAULT_MODE = {"cache": 0o755, "secret": 0o400, "ssh": 0o600}


def _pairs(text: str) -> Iterator[tuple[str, str | None]]:
    """The fields, keys in their long form; None for a key without a value."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidInput(f"failed to parse csv mounts: {error}") from error
    for field in fields:
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if not equals and key not in _FLAGS:
            raise InvalidInput(f"invalid field '{field[:80]}' must be a key=value pair")
        yield key, value if equals else None


def _kind(text: str | None) -> Kind:
    for kind in KINDS:
        if kind == (text or "").lower():
            return kind
    guess = nearest(text or "", KINDS)
    hint = f"did you mean type={guess}" if guess else None
    raise InvalidInput(f'unsupported mount type "{(text or "")[:40]}"', hint=hint)


def _unexpected(key: str, kind: Kind, text: str) -> InvalidInput:
    if (kind, key) == ("ssh", "source"):
        return InvalidInput("ssh does not support source")
    everywhere = {name for names in _KEYS.values() for name in names}
    if key in everywhere:
        return InvalidInput(f"unexpected key '{key}' for mount type '{kind}'")
    guess = nearest(key, (*_KEYS[kind], "type"))
    hint = f"did you mean {guess}" if guess else None
    return InvalidInput(f"unexpected key '{key[:40]}' in '{text[:120]}'", hint=hint)


def _boolean(key: str, value: str | None) -> bool:
    if value is None:
        return True
    if value not in BOOLEANS:
        raise InvalidInput(f"invalid value for {key}: {value[:40]}")
    return BOOLEANS[value]


def _sharing(value: str | None) -> Sharing:
    for sharing in SHARINGS:
        if sharing == (value or "").lower():
            return sharing
    guess = nearest(value or "", SHARINGS)
    hint = f"did you mean {guess}" if guess else f"one of {', '.join(SHARINGS)}"
    raise InvalidInput(f"unsupported sharing value {(value or '')[:40]!r}", hint=hint)


def _size(value: str | None) -> int:
    if not value:
        return 0
    try:
        return parse_size(value)
    except ValueError as error:
        raise InvalidInput(f"invalid value for size: {value[:40]}") from error


def _number(key: str, value: str | None, default: int, base: int) -> int:
    if value is None:
        return default
    digits = "01234567" if base == 8 else "0123456789"
    if not value or len(value) > 10 or not set(value) <= set(digits):
        raise InvalidInput(f"invalid value {value[:40]!r} for {key}: not a number of base {base}")
    number = int(value, base)
    if number > (0o7777 if base == 8 else 2**32 - 2):
        raise InvalidInput(f"invalid value {value[:40]!r} for {key}: out of range")
    return number


def _variable(value: str | None) -> str:
    if value and not _NAME.fullmatch(value):
        raise InvalidInput(f"invalid value for env: {value[:40]!r} is not a variable's name")
    return value or ""


def _named(mount: Mount) -> Mount:
    """The defaults of id and target."""
    if mount.kind in ("bind", "cache", "tmpfs") and not mount.target:
        mount = mount._replace(target=".")  # the working directory
    if mount.kind == "cache" and not mount.id:
        return mount._replace(id=posixpath.normpath(mount.target))
    if mount.kind == "secret":
        name = mount.id or mount.source or posixpath.basename(mount.target)
        if not name:
            raise InvalidInput("invalid secret mount: it needs an id, a source or a target")
        target = mount.target or ("" if mount.env else f"{SECRETS}/{posixpath.basename(name)}")
        return mount._replace(id=name, source="", target=target)
    if mount.kind == "ssh":
        return mount._replace(id=mount.id or "default")
    return mount
