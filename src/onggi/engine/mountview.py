"""Docker's JSON of mounts: as they were asked for (HostConfig.Mounts), and as they are (Mounts)."""

from ..spec.container import ContainerConfig
from ..spec.mount import MountPoint, MountRequest
from ..typed import Any
from ..units import parse_size

_KEPT_EMPTY = ("Type", "Target")


def listed(config: ContainerConfig) -> list[dict[str, Any]]:
    """All but those of --tmpfs, which have a place of their own in HostConfig."""
    apart = {m.target for m in config.options.host.mounts if m.kind == "tmpfs" and not m.origin}
    return [mounted(p) for p in config.mounts if p.kind != "tmpfs" or p.target not in apart]


def mounted(point: MountPoint) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": point.kind}
    if point.kind in ("volume", "image") and point.name:
        found["Name"] = point.name
    found["Source"] = point.source
    found["Destination"] = point.target
    if point.kind == "volume":
        found["Driver"] = "local"
    found["Mode"] = point.mode
    found["RW"] = not point.read_only
    found["Propagation"] = point.propagation if point.kind == "bind" else ""
    return found


def asked(request: MountRequest) -> dict[str, Any]:
    """What is not asked for is left out, as docker's client leaves it out."""
    found = {
        "Type": request.kind,
        "Source": request.source,
        "Target": request.target,
        "ReadOnly": request.read_only,
        "BindOptions": _bind(request) if request.kind == "bind" else {},
        "VolumeOptions": _volume(request) if request.kind == "volume" else {},
        "ImageOptions": {"Subpath": request.subpath}
        if request.kind == "image" and request.subpath
        else {},
        "TmpfsOptions": _tmpfs(request) if request.kind == "tmpfs" else {},
    }
    return {name: value for name, value in found.items() if value or name in _KEPT_EMPTY}


def _bind(request: MountRequest) -> dict[str, Any]:
    spread = request.propagation if request.propagation != "rprivate" else ""
    found: dict[str, Any] = {
        "Propagation": spread,
        "NonRecursive": request.recursion == "disabled",
        "CreateMountpoint": request.create_source,
        "ReadOnlyNonRecursive": request.recursion == "writable",
        "ReadOnlyForceRecursive": request.recursion == "readonly",
    }
    return {name: value for name, value in found.items() if value}


def _volume(request: MountRequest) -> dict[str, Any]:
    driver: dict[str, Any] = {"Name": request.driver, "Options": dict(request.options)}
    found: dict[str, Any] = {
        "NoCopy": request.no_copy,
        "Labels": dict(request.labels),
        "Subpath": request.subpath,
        "DriverConfig": {name: value for name, value in driver.items() if value},
    }
    return {name: value for name, value in found.items() if value}


def _tmpfs(request: MountRequest) -> dict[str, Any]:
    words = dict(word.partition("=")[::2] for word in request.tmpfs_options.split(",") if word)
    found: dict[str, Any] = {}
    if "size" in words:
        found["SizeBytes"] = parse_size(words["size"])
    if "mode" in words:
        found["Mode"] = int(words["mode"], 8)
    return found
