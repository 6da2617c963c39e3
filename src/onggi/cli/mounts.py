"""`-v`, `--mount` and `--tmpfs`, parsed strictly into mount requests. Looks at no file."""

import os

from ..engine import bindspec
from ..errors import InvalidInput
from ..patterns import Pattern, is_name
from ..spec.mount import MountRequest
from ..units import parse_size
from .flags import parse_boolean
from .session import refusal

_OCTAL = Pattern("[0-7]{1,4}")
_KINDS = ("bind", "volume", "tmpfs", "image")
_RECURSIONS = {
    "enabled": "",
    "disabled": "disabled",
    "writable": "writable",
    "readonly": "readonly",
}


def parse_volume(spec: str, cwd: str) -> MountRequest:
    """`[source:]target[:options]`; a source with a leading / or . is a host path."""
    if not spec:
        raise refusal("invalid empty volume spec")
    parts = spec.split(":")
    if len(parts) > 3:
        raise refusal(f"invalid spec: {spec}: too many colons")
    if not all(parts):
        raise refusal(f"invalid spec: {spec}: empty section between colons")
    target = parts[min(len(parts) - 1, 1)]
    if target.startswith("/") and any(ord(c) < 32 for c in target):
        raise refusal(f"invalid volume specification: {spec!r}: control characters in the path")
    try:
        return bindspec.parse_volume(spec, cwd)
    except InvalidInput as error:
        if len(parts) > 1 and "/" in parts[0] and parts[0][0] not in bindspec.PATH_STARTS:
            from .hints import hint

            error.hint = hint("not-a-path", near=f"./{spec}")
        raise


def csv_fields(text: str) -> list[str]:
    """One CSV record as Go's encoding/csv reads it; ValueError with its words."""
    fields: list[str] = []
    position = 0
    while True:
        if text[position : position + 1] == '"':
            value, position = _quoted_field(text, position + 1)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            value = text[position:end]
            if '"' in value:
                raise ValueError(
                    f"parse error on line 1, column {position + value.index(chr(34)) + 1}"
                    ': bare " in non-quoted-field'
                )
            if "\n" in value or "\r" in value:
                raise ValueError("parse error on line 1: more than one line")
            position = end
        fields.append(value)
        if position >= len(text):
            return fields
        position += 1


def _quoted_field(text: str, position: int) -> tuple[str, int]:
    value = ""
    while True:
        end = text.find('"', position)
        if end < 0:
            raise ValueError(
                f"parse error on line 1, column {len(text) + 1}: extraneous or "
                'missing " in quoted-field'
            )
        value += text[position:end]
        if text[end + 1 : end + 2] == '"':
            value, position = value + '"', end + 2
            continue
        if text[end + 1 : end + 2] not in ("", ","):
            raise ValueError(
                f'parse error on line 1, column {end + 2}: extraneous or missing " in quoted-field'
            )
        return value, end + 1


class _Mount:
    """The keys of one --mount while they are read."""

    def __init__(self) -> None:
        self.kind = "volume"
        self.source = self.target = self.subpath = self.size = self.mode = ""
        self.propagation = ""
        self.recursion = ""
        self.labels: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.driver = ""
        self.read_only = self.no_copy = False
        self.used: set[str] = set()  # prefixes of the options given: bind, volume, tmpfs

    def set(self, key: str, value: str, field: str) -> None:
        match key:
            case "type":
                if not value:
                    raise ValueError("type is required")
                self.kind = value.lower()
            case "source" | "src":
                self.source = value
            case "target" | "dst" | "destination":
                self.target = value
            case "readonly" | "ro":
                self.read_only = _flag(key, value)
            case "bind-propagation":
                self.propagation = value.lower()
            case "volume-nocopy":
                self.no_copy = _flag(key, value)
            case "bind-recursive":
                self.recursion = _recursion(value)
            case "bind-nonrecursive":
                self.recursion = "disabled" if _flag(key, value) else ""
            case "volume-subpath" | "image-subpath":
                self.subpath = value
            case "volume-label":
                name, _, text = value.partition("=")
                self.labels[name] = text
            case "volume-driver":
                self.driver = value
            case "volume-opt":
                name, equals, text = value.partition("=")
                if not name or not equals:
                    raise ValueError(f"invalid field '{field}' must be a key=value pair")
                self.options[name] = text
            case "tmpfs-size":
                self.size = _checked_size(value)
            case "tmpfs-mode":
                self.mode = _checked_mode(value)
            case "consistency":
                pass
            case _:
                raise ValueError(f"unexpected key '{key}' in '{field}'")


def _recursion(value: str) -> str:
    if value not in _RECURSIONS:
        raise ValueError(
            f"invalid value for bind-recursive: {value} "
            '(must be "enabled", "disabled", "writable", or "readonly")'
        )
    return _RECURSIONS[value]


def parse_mount(spec: str) -> MountRequest:
    """`type=bind,source=…,target=…`; ValueError in docker's words."""
    mount = _Mount()
    seen: set[str] = set()
    for field in csv_fields(spec):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        name = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}.get(
            key, key
        )
        if name in seen and name not in ("volume-label", "volume-opt"):
            raise ValueError(f"key '{key}' is given twice in '{spec}'")
        seen.add(name)
        mount.set(key, value if equals else "true", field)
    return _finish(mount, seen)


def _finish(mount: _Mount, seen: set[str]) -> MountRequest:
    if not mount.target:
        raise ValueError("target is required")
    if mount.kind not in _KINDS:
        raise ValueError(
            f'mount type unknown: "{mount.kind}": must be one of bind, image, tmpfs, volume'
        )
    for kind in _KINDS:
        if kind != mount.kind and any(key.startswith(f"{kind}-") for key in seen):
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount.kind}'")
    if not mount.target.startswith("/") or os.path.normpath(mount.target) in ("/", "//"):
        raise ValueError(f"invalid mount target, must be an absolute path: {mount.target}")
    if mount.propagation and mount.propagation not in bindspec.PROPAGATIONS:
        raise ValueError(f"invalid propagation mode: {mount.propagation}")
    if mount.recursion == "readonly" and not mount.read_only:
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"
        )
    if mount.recursion == "readonly" and mount.propagation != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified "
            "in conjunction"
        )
    if mount.kind == "image" and not mount.source:
        raise ValueError("source is required for an image mount")
    if mount.kind == "bind" and not mount.source:
        raise ValueError("source is required for a bind mount")
    if mount.kind == "tmpfs" and mount.source:
        raise ValueError("a tmpfs mount has no source")
    if mount.kind == "volume" and mount.source and not is_name(mount.source):
        raise ValueError(f"invalid volume name: {mount.source!r}")
    options = [
        f"{name}={value}" for name, value in (("size", mount.size), ("mode", mount.mode)) if value
    ]
    return MountRequest(
        _KINDS[_KINDS.index(mount.kind)],  # type: ignore[arg-type]
        mount.source, os.path.normpath(mount.target), mount.read_only,
        mount.propagation or "rprivate", mount.no_copy, False, ",".join(options), mount.subpath,
        mount.recursion, mount.labels, mount.options, mount.driver,  # type: ignore[arg-type]
        origin="mount",
    )  # fmt: skip


def _flag(key: str, value: str) -> bool:
    try:
        return parse_boolean(value)
    except ValueError as error:
        raise ValueError(f"invalid value for {key}: {value}") from error


def _checked_size(value: str) -> str:
    try:
        return str(parse_size(value))
    except ValueError as error:
        raise ValueError(f"invalid value for tmpfs-size: {value}") from error


def _checked_mode(value: str) -> str:
    if not _OCTAL.fullmatch(value):
        raise ValueError(f"invalid value for tmpfs-mode: {value}")
    return value
