"""Devices of a container: --device, --device-cgroup-rule, CDI names and --gpus, made concrete.

Looked up on the host when the container starts: numbers may differ from boot to boot.
"""

import os
import stat

from ..errors import InvalidInput, NotFound
from ..linux.cgroup import DeviceRule
from ..runtime.plan import Device
from ..spec.container import DeviceMapping, HostOptions
from .specgen import Edits

_NOT_GIVEN = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_ADDING = 'error gathering device information while adding custom device "{}": {}'


def asked(host: HostOptions) -> Edits:
    """What the device flags add. Raises NotFound, InvalidInput and Unsupported in docker's words.

    A privileged container may use every device already; it still gets the nodes it asks for.
    """
    found = Edits()
    for mapping in host.devices:
        nodes = _nodes(mapping)
        rules = tuple(DeviceRule(True, n.kind, n.major, n.minor, mapping.access) for n in nodes)
        found += Edits(nodes=nodes, rules=rules)
    found += Edits(rules=tuple(parse_rule(text) for text in host.device_cgroup_rules))
    if not host.cdi_devices and not host.gpus:
        return found
    from . import cdi

    names = (*host.cdi_devices, *cdi.gpus(host.gpus))
    return found + cdi.edits(tuple(dict.fromkeys(names)))


def _nodes(mapping: DeviceMapping) -> tuple[Device, ...]:
    path = mapping.host_path
    try:
        status = os.stat(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NotFound(_ADDING.format(path, reason)) from error
    if is_node(status):
        return (node(mapping.path, status),)
    if stat.S_ISDIR(status.st_mode):
        found = tuple(_below(path, mapping.path))
        if found:
            return found
    raise InvalidInput(_ADDING.format(path, "not a device node"))


def _below(directory: str, target: str) -> list[Device]:
    """Every node of a directory and those below, links not followed."""
    found: list[Device] = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            status = entry.stat(follow_symlinks=False)
            place = f"{target.rstrip('/')}/{entry.name}"
            if stat.S_ISDIR(status.st_mode) and entry.name not in _NOT_GIVEN:
                found += _below(entry.path, place)
            elif is_node(status) and entry.name != "console":
                found.append(node(place, status))
    return found


def is_node(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)


def node(path: str, status: os.stat_result) -> Device:
    """The same device, mode and owner at `path`."""
    return Device(
        path,
        "c" if stat.S_ISCHR(status.st_mode) else "b",
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
    )


def parse_rule(text: str) -> DeviceRule:
    """`c 13:* rwm`. Raises InvalidInput with docker's words."""
    words = text.split(" ")
    major, colon, minor = words[1].partition(":") if len(words) == 3 else ("", "", "")
    numbers = all(n == "*" or (n.isascii() and n.isdigit()) for n in (major, minor))
    if not colon or not numbers or words[0] not in ("a", "b", "c") or not _access(words[2]):
        raise InvalidInput(f"invalid device cgroup format '{text}'")
    if words[0] == "a":
        return DeviceRule(True, "a")
    return DeviceRule(
        True,
        words[0],
        -1 if major == "*" else int(major),
        -1 if minor == "*" else int(minor),
        words[2],
    )


def _access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm")
