"""`-v`, `--mount` and `--tmpfs`, parsed strictly into mount requests. Looks at no file."""

import os
import re

from ..errors import InvalidInput
from ..spec.mount import MountRequest
from ..units import parse_size
from .flags import parse_boolean
from .session import refusal

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_LABELS = frozenset(("z", "Z"))  # SELinux relabelling: nothing to do where SELinux is off
_CONSISTENCY = frozenset(("consistent", "cached", "delegated"))  # of the Mac; ignored on Linux
_MODES = (
    frozenset(("ro", "rw")), _PROPAGATIONS, _LABELS, _CONSISTENCY, frozenset(("nocopy",)),
    frozenset("U"),
)  # fmt: skip
_TMPFS_OPTIONS = re.compile(
    r"(?:size|nr_blocks|nr_inodes)=[0-9]+[kKmMgG%]?|mode=[0-7]{1,4}|(?:uid|gid)=[0-9]{1,10}"
    r"|mpol=[a-z0-9:,=-]+|huge=(?:never|always|within_size|advise)"
    r"|rw|ro|(?:no)?(?:exec|suid|dev|atime|diratime|relatime)|strictatime|sync|async",
    re.ASCII,
)
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
    if len(parts) == 1:
        return MountRequest("volume", "", _target(parts[0], spec))
    source, target = parts[0], _target(parts[1], spec)
    mode = parts[2] if len(parts) == 3 else ""
    words = _mode_words(mode)
    read_only, change_owner = "ro" in words, "U" in words
    spread = [word for word in words if word in _PROPAGATIONS]
    if source[0] in "/.~":
        if "nocopy" in words:
            raise _extra_field(spec, "bind", "VolumeOptions")
        path = os.path.normpath(os.path.join(cwd, source))
        propagation = spread[0] if spread else "rprivate"
        return MountRequest(
            "bind", path, target, read_only, propagation, create_source=True, mode=mode,
            change_owner=change_owner,
        )  # fmt: skip
    _check_volume_name(source, spec)
    if spread:
        raise _extra_field(spec, "volume", "BindOptions")
    return MountRequest(
        "volume", source, target, read_only, no_copy="nocopy" in words, mode=mode,
        change_owner=change_owner,
    )  # fmt: skip


def _mode_words(text: str) -> list[str]:
    """The options of -v: at most one of each kind, as docker has it. U is podman's."""
    words = text.split(",") if text else []
    for word in words:
        if not any(word in kind for kind in _MODES):
            raise InvalidInput(f"invalid mode: {word}")
    if any(sum(word in kind for word in words) > 1 for kind in _MODES):
        raise InvalidInput(f"invalid mode: {text}")
    return words


def _extra_field(spec: str, kind: str, field: str) -> InvalidInput:
    return InvalidInput(
        f"invalid volume specification: '{spec}': invalid mount config for type \"{kind}\": "
        f"field {field} must not be specified"
    )


def _check_volume_name(name: str, spec: str) -> None:
    if _VOLUME_NAME.fullmatch(name) and len(name) <= 255:
        return
    from .hints import hint

    advice = hint("not-a-path", near=f"./{spec}") if "/" in name else None
    raise InvalidInput(
        f'create {name}: "{name}" includes invalid characters for a local volume name, only '
        '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
        "absolute path",
        hint=advice,
    )


def _target(path: str, spec: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(
            f"invalid volume specification: '{spec}': invalid mount config for type "
            f"\"{'bind' if spec.startswith('/') else 'volume'}\": invalid mount path: '{path}' "
            "mount path must be absolute"
        )
    if any(ord(c) < 32 for c in path):
        raise refusal(f"invalid volume specification: {spec!r}: control characters in the path")
    clean = os.path.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise InvalidInput(
            f"invalid volume specification: '{spec}': invalid mount config for type "
            f'"{"bind" if spec.startswith("/") else "volume"}": invalid specification: '
            "destination can't be '/'"
        )
    return clean


def parse_tmpfs(spec: str) -> MountRequest:
    """`target[:options]`."""
    path, _, options = spec.partition(":")
    read_only = False
    for option in options.split(",") if options else ():
        if not _TMPFS_OPTIONS.fullmatch(option):
            shown = " ".join(f'"{part}"' for part in option.split("=", 1))
            raise InvalidInput(f"invalid tmpfs option [{shown}]")
        read_only = option == "ro" or (read_only and option != "rw")
    return MountRequest("tmpfs", "", _target(path, spec), read_only, tmpfs_options=options)


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
    if mount.propagation and mount.propagation not in _PROPAGATIONS:
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
    if mount.kind == "volume" and mount.source and not _VOLUME_NAME.fullmatch(mount.source):
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
    if not re.fullmatch("[0-7]{1,4}", value, re.ASCII):
        raise ValueError(f"invalid value for tmpfs-mode: {value}")
    return value
