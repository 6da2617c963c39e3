"""The Container Device Interface: named devices that a vendor's specification files describe.

Read from /etc/cdi and /var/run/cdi when a container starts; the later directory wins, two files of
one directory that define the same device conflict. Hooks are programs of the vendor on the host
that want a bundle to work on: onggi has none, so a device that needs them is refused, never half
made. PyYAML is loaded for files in YAML only.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence

from ..errors import CorruptData, InvalidInput, NotFound, Unsupported
from ..linux.cgroup import DeviceRule
from ..runtime.plan import Device, PlanMount
from ..typed import Any, NamedTuple
from .specgen import Edits

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
GPU = "nvidia.com/gpu"
CLASS_NOTE = "org.mobyproject.buildkit.device.class"
ALLOW_NOTE = "org.mobyproject.buildkit.device.autoallow"
_MAX_BYTES = 8 << 20
_YAML = (".yaml", ".yml")
_FAILED = "CDI device injection failed: "


class _Known(NamedTuple):
    """A device, and the edits that all devices of its file share."""

    device: Mapping[str, Any]
    common: Mapping[str, Any]
    file: str
    notes: Mapping[str, Any]  # the file's annotations, then the device's own


def edits(names: Sequence[str], directories: Sequence[str] = DIRECTORIES) -> Edits:
    """Everything that these devices ("vendor.com/class=name") add. Raises NotFound in docker's
    words, Unsupported for hooks, CorruptData naming the file."""
    if not names:
        return Edits()
    known = _devices(directories)
    missing = [name for name in names if name not in known]
    if missing:
        raise NotFound(
            f"{_FAILED}unresolvable CDI devices {', '.join(missing)}",
            hint=_where(missing[0], known, directories),
        )
    found = Edits()
    shared: set[str] = set()
    for name in names:
        one = known[name]
        if one.file not in shared:
            shared.add(one.file)
            found += _edits(one.common, one.file)
        found += _edits(one.device, one.file)
    return found


def matching(name: str, directories: Sequence[str] = DIRECTORIES) -> dict[str, bool]:
    """The devices that a Dockerfile's RUN --device means, in the order of their names, and whether
    their files allow them to every build: one device, the first or all ("*") of a class, or those
    that BuildKit's annotation puts in a class."""
    known = dict(sorted(_devices(directories).items()))
    kind, equals, which = name.partition("=")
    if not equals:
        found = [other for other in known if other.startswith(f"{kind}=")][:1]
    elif which == "*":
        found = [other for other in known if other.startswith(f"{kind}=")]
    else:
        found = [name] if name in known else []
    if not found:
        found = [other for other in known if known[other].notes.get(CLASS_NOTE) == name]
    return {one: str(known[one].notes.get(ALLOW_NOTE, "")).lower() == "true" for one in found}


def _notes(holder: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    notes = holder.get("annotations") or {}
    if not isinstance(notes, Mapping):
        raise CorruptData(f"{_FAILED}{path}: 'annotations' must be an object")
    return notes


def _where(name: str, known: Mapping[str, _Known], directories: Sequence[str]) -> str:
    kind = name.partition("=")[0]
    others = sorted(other for other in known if other.startswith(f"{kind}="))
    if others:
        return f"{kind} has: {', '.join(others[:8])}"
    return f"no file in {' or '.join(directories)} describes {kind}"


def gpus(asked: Sequence[str], directories: Sequence[str] = DIRECTORIES) -> list[str]:
    """--gpus as CDI names: "all", "count=N" and "device=NAME". Raises Unsupported without them."""
    if not asked:
        return []
    known = [name for name in _devices(directories) if name.startswith(f"{GPU}=")]
    if not known:
        raise Unsupported(
            'could not select device driver "" with capabilities: [[gpu]]',
            hint="describe the GPUs first: nvidia-ctk cdi generate --format=json "
            "--output=/etc/cdi/nvidia.json",
        )
    numbered = sorted(
        (name for name in known if name.partition("=")[2].isdigit()),
        key=lambda name: int(name.partition("=")[2]),
    )
    found: list[str] = []
    for word in asked:
        key, _, value = word.partition("=")
        if key == "count":
            if int(value) > len(numbered):
                raise InvalidInput(f"{value} GPUs are asked for, the host has {len(numbered)}")
            found += numbered[: int(value)]
        else:
            found.append(f"{GPU}={value or 'all'}")
    return found


def _devices(directories: Sequence[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    for directory in directories:
        here: dict[str, _Known] = {}
        for path in _files(directory):
            spec = _read(path)
            for device in _items(spec, "devices", path):
                name = f"{spec['kind']}={device.get('name')}"
                if name in here:
                    raise CorruptData(
                        f"{_FAILED}conflicting device {name!r}: {here[name].file}, {path}"
                    )
                notes = [_notes(spec, path), _notes(device, path)]
                here[name] = _Known(
                    device.get("containerEdits") or {},
                    spec.get("containerEdits") or {},
                    path,
                    {**notes[0], **notes[1]},
                )
        found |= here
    return found


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{directory}/{name}" for name in names if name.endswith((".json", *_YAML))]


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_BYTES)
        spec = _parse_yaml(text, path) if path.endswith(_YAML) else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptData(f"{_FAILED}{path}: {error}") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise CorruptData(f"{_FAILED}{path}: 'kind' is missing")
    return spec


def _parse_yaml(text: str, path: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _items(holder: Mapping[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    items = holder.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CorruptData(f"{_FAILED}{path}: {key!r} must be a list of objects")
    return items


def _edits(data: Mapping[str, Any], path: str) -> Edits:
    if not isinstance(data, Mapping):
        raise CorruptData(f"{_FAILED}{path}: 'containerEdits' must be an object")
    if data.get("hooks"):
        hook = _items(data, "hooks", path)[0]
        raise Unsupported(
            f"{_FAILED}{path} wants the hook {hook.get('path')!r}: onggi runs no vendor's hooks",
            hint="remove the hooks from the file; for NVIDIA, set LD_LIBRARY_PATH in its env",
        )
    if data.get("intelRdt"):
        raise Unsupported(f"{_FAILED}{path}: intelRdt is not supported")
    nodes = [_node(item, path) for item in _items(data, "deviceNodes", path)]
    return Edits(
        env=tuple(_texts(data, "env", path)),
        nodes=tuple(node for node, _ in nodes),
        rules=tuple(rule for _, rule in nodes),
        mounts=tuple(_mount(item, path) for item in _items(data, "mounts", path)),
        groups=_groups(data, path),
    )


def _groups(data: Mapping[str, Any], path: str) -> tuple[str, ...]:
    gids = data.get("additionalGids") or []
    if not isinstance(gids, list) or not all(isinstance(gid, int) for gid in gids):
        raise CorruptData(f"{_FAILED}{path}: 'additionalGids' must be a list of numbers")
    return tuple(map(str, gids))


def _texts(data: Mapping[str, Any], key: str, path: str) -> list[str]:
    texts = data.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CorruptData(f"{_FAILED}{path}: {key!r} must be a list of texts")
    return texts


def _number(item: Mapping[str, Any], key: str, path: str, default: int = 0) -> int:
    value = item.get(key)
    if value is None:
        return default
    if not isinstance(value, int):
        raise CorruptData(f"{_FAILED}{path}: {key!r} must be a number")
    return value


def _node(item: Mapping[str, Any], path: str) -> tuple[Device, DeviceRule]:
    """A node as the file describes it, its gaps filled from the host's own."""
    target = item.get("path")
    if not isinstance(target, str) or not target.startswith("/"):
        raise CorruptData(f"{_FAILED}{path}: a device node without an absolute path")
    status = None
    if not {"type", "major", "minor"} <= item.keys():
        try:
            status = os.stat(item.get("hostPath") or target)
        except OSError as error:
            raise NotFound(f"{_FAILED}failed to stat CDI host device {target!r}: "
                           f"{(error.strerror or str(error)).lower()}") from error  # fmt: skip
    kind = item.get("type") or ("b" if status and stat.S_ISBLK(status.st_mode) else "c")
    device = Device(
        target,
        "b" if kind == "b" else "c",
        _number(item, "major", path, os.major(status.st_rdev) if status else 0),
        _number(item, "minor", path, os.minor(status.st_rdev) if status else 0),
        _number(item, "fileMode", path) or (stat.S_IMODE(status.st_mode) if status else 0o666),
        _number(item, "uid", path),
        _number(item, "gid", path),
    )
    access = str(item.get("permissions") or "rwm")
    return device, DeviceRule(True, device.kind, device.major, device.minor, access)


def _mount(item: Mapping[str, Any], path: str) -> PlanMount:
    source, target = item.get("hostPath"), item.get("containerPath")
    if not isinstance(source, str) or not isinstance(target, str) or not target.startswith("/"):
        raise CorruptData(f"{_FAILED}{path}: a mount without hostPath and containerPath")
    options = tuple(_texts(item, "options", path)) or ("ro", "nosuid", "nodev", "rbind")
    if not {"bind", "rbind"} & set(options):
        options = ("rbind", *options)
    return PlanMount(target, "bind", source, (*options, "rprivate"))
