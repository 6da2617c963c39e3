"""`-v` and `--tmpfs` as docker's daemon reads them, parsed strictly into mount requests. Pure."""

from posixpath import join, normpath

from ..errors import InvalidInput
from ..patterns import Pattern, is_name
from ..spec.mount import MountRequest

PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
PATH_STARTS = "/.~"
_LABELS = frozenset(("z", "Z"))  # SELinux relabelling: nothing to do where SELinux is off
_CONSISTENCY = frozenset(("consistent", "cached", "delegated"))  # of the Mac; ignored on Linux
_MODES = (
    frozenset(("ro", "rw")), PROPAGATIONS, _LABELS, _CONSISTENCY, frozenset(("nocopy",)),
    frozenset("U"),
)  # fmt: skip
_TMPFS_OPTIONS = Pattern(
    r"(?:size|nr_blocks|nr_inodes)=[0-9]+[kKmMgG%]?|mode=[0-7]{1,4}|(?:uid|gid)=[0-9]{1,10}"
    r"|mpol=[a-z0-9:,=-]+|huge=(?:never|always|within_size|advise)"
    r"|rw|ro|(?:no)?(?:exec|suid|dev|atime|diratime|relatime)|strictatime|sync|async"
)


def parse_volume(spec: str, cwd: str) -> MountRequest:
    """`[source:]target[:options]`; a source with a leading / or . is a host path."""
    parts = spec.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidInput(f"invalid volume specification: '{spec}'")
    if len(parts) == 1:
        return MountRequest("volume", "", _target(parts[0], spec))
    source, target = parts[0], _target(parts[1], spec)
    mode = parts[2] if len(parts) == 3 else ""
    words = _mode_words(mode)
    read_only, change_owner = "ro" in words, "U" in words
    spread = [word for word in words if word in PROPAGATIONS]
    if source[0] in PATH_STARTS:
        if "nocopy" in words:
            raise _extra_field(spec, "bind", "VolumeOptions")
        path = normpath(join(cwd, source))
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
    if is_name(name) and len(name) <= 255:
        return
    raise InvalidInput(
        f'create {name}: "{name}" includes invalid characters for a local volume name, only '
        '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
        "absolute path"
    )


def _target(path: str, spec: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(
            f"invalid volume specification: '{spec}': invalid mount config for type "
            f"\"{'bind' if spec.startswith('/') else 'volume'}\": invalid mount path: '{path}' "
            "mount path must be absolute"
        )
    if any(ord(c) < 32 for c in path):
        raise InvalidInput(f"invalid volume specification: {spec!r}: control characters in it")
    clean = normpath("/" + path.lstrip("/"))
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
