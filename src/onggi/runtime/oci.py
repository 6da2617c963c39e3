"""OCI runtime bundles: config.json (runtime-spec 1.x) read strictly into plans.

Errors name the field. What a container asks for and onggi does not do is refused, never ignored.
"""

import os

from ..errors import InvalidInput, Unsupported
from ..linux import capability, lsm, namespace, seccomp
from ..linux.cgroup import DeviceRule
from ..linux.cgroupextra import Extra
from ..spec.container import Resources
from ..spec.jsontext import loads_strict
from ..typed import Any, NamedTuple
from . import ociprocess, ociresources
from .plan import (
    PROPAGATION,
    BindRoot,
    Device,
    Hook,
    IdMap,
    InitPlan,
    InnerHooks,
    Listener,
    Maps,
    Namespace,
    PlanMount,
    ProcessPlan,
    Scheduling,
    to_outer,
)
from .reader import Reader

MAX_CONFIG_BYTES = 16 << 20
HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip


class Bundle(NamedTuple):
    """A bundle, understood. `hooks` are by their OCI name."""

    plan: InitPlan
    resources: Resources
    devices: tuple[DeviceRule, ...]
    extra: Extra
    cgroup_path: str
    hooks: dict[str, tuple[Hook, ...]]
    annotations: dict[str, str]
    root_path: str
    document: dict[str, Any]


def read_bundle(directory: str, config: str = "config.json") -> Bundle:
    path = os.path.join(directory, config)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError as error:
        raise InvalidInput(f"JSON specification file {path} not found") from error
    document = loads_strict(data, what="config.json", max_bytes=MAX_CONFIG_BYTES)
    return parse(document, os.path.abspath(directory))


def parse(document: Any, directory: str, *, compiled: bool = True) -> Bundle:
    """Raises InvalidInput naming the field, Unsupported for what onggi does not do. Not `compiled`
    is a bundle whose process there is already: its filter is left out, which takes 3 ms."""
    config = Reader(document, "")
    version = config.get("ociVersion", str, "")
    if not version.startswith("1."):
        raise config.error("ociVersion", f"is {version!r}, not 1.x")
    root, linux = config.object("root"), config.object("linux")
    linux.refuse("intelRdt")
    mount_label = linux.get("mountLabel", str, "")
    if mount_label and not lsm.is_on("selinux"):
        raise Unsupported("config.json: linux.mountLabel: this kernel does not have SELinux")
    root_path = os.path.join(directory, root.get("path", str, ""))
    if not root.has("path"):
        raise root.error("path", "is missing")
    if not config.has("process"):
        raise config.error("process", "is missing")
    hooks = _hooks(config.object("hooks"))
    limits = ociresources.parse(linux.object("resources"))
    process = ociprocess.parse_process(config.object("process"))
    process = process._replace(labels=process.labels._replace(mount=mount_label))
    plan = InitPlan(
        root=BindRoot(root_path),
        process=_with_filter(process, linux, compiled),
        namespaces=_namespaces(linux),
        mounts=tuple(_mount(item, directory) for item in config.objects("mounts")),
        masked_paths=_absolute(linux, "maskedPaths"),
        read_only_paths=_absolute(linux, "readonlyPaths"),
        devices=tuple(_device(item) for item in linux.objects("devices")),
        hostname=config.get("hostname", str, ""),
        domainname=config.get("domainname", str, ""),
        sysctls=tuple(linux.string_map("sysctl").items()),
        read_only=root.get("readonly", bool, False),
        make_cwd=True,
        hooks=InnerHooks(hooks["createContainer"], hooks["startContainer"])
        if hooks["createContainer"] or hooks["startContainer"]
        else None,
    )
    return Bundle(
        _with_linux(plan, linux), limits.resources, limits.devices, limits.extra,
        linux.get("cgroupsPath", str, ""), hooks, config.string_map("annotations"), root_path,
        document,
    )  # fmt: skip


def _with_linux(plan: InitPlan, linux: Reader) -> InitPlan:
    """User and time namespaces, propagation, execution domain."""
    kinds = {wanted.kind: wanted for wanted in plan.namespaces}
    uid_map, gid_map = _maps(linux, "uidMappings"), _maps(linux, "gidMappings")
    user = kinds.get("user")
    if (uid_map or gid_map) and user is None:
        raise linux.error("uidMappings", "needs a user namespace in linux.namespaces")
    if user is not None and user.is_new:
        for key, maps in (("uidMappings", uid_map), ("gidMappings", gid_map)):
            if to_outer(maps, 0) is None:
                raise linux.error(key, "must map the container's 0")
    offsets = _time_offsets(linux)
    if offsets and ("time" not in kinds or not kinds["time"].is_new):
        raise linux.error("timeOffsets", "needs a new time namespace in linux.namespaces")
    word = linux.get("rootfsPropagation", str, "")
    if word.removeprefix("r") not in ("", *PROPAGATION):
        raise linux.error("rootfsPropagation", f"is {word[:32]!r}, not a propagation")
    return plan._replace(
        process=_with_domain(plan.process, linux),
        uid_map=uid_map,
        gid_map=gid_map,
        time_offsets=offsets,
        propagation=PROPAGATION.get(word.removeprefix("r"), 0),
        propagation_recursive=word.startswith("r"),
    )


def _with_domain(process: ProcessPlan, linux: Reader) -> ProcessPlan:
    if not linux.has("personality"):
        return process
    personality = linux.object("personality")
    if personality.strings("flags"):
        raise personality.error("flags", "must be empty: there are none yet")
    domain = personality.choice("domain", {"LINUX": 0x0, "LINUX32": 0x8})
    scheduling = process.scheduling or Scheduling()
    return process._replace(scheduling=scheduling._replace(personality=domain))


def _time_offsets(linux: Reader) -> tuple[tuple[str, int, int], ...]:
    offsets = linux.object("timeOffsets")
    found = []
    for clock in offsets.names():
        if clock not in ("monotonic", "boottime"):
            raise offsets.error(clock, "is no clock: want monotonic or boottime")
        entry = offsets.object(clock)
        nanoseconds = entry.number("nanosecs", 0, 999_999_999)
        found.append((clock, entry.get("secs", int, 0), nanoseconds))
    return tuple(found)


def _maps(place: Reader, key: str) -> Maps:
    found: list[IdMap] = []
    for item in place.objects(key):
        inner, outer = (item.number(name, 0, 0xFFFFFFFE) for name in ("containerID", "hostID"))
        entry = IdMap(inner, outer, item.number("size", 1, 0xFFFFFFFF))
        for other in found:
            for mine, theirs in ((entry.inner, other.inner), (entry.outer, other.outer)):
                if mine < theirs + other.size and theirs < mine + entry.size:
                    raise item.error("size", "overlaps another mapping")
        found.append(entry)
    return tuple(found)


def _with_filter(process: ProcessPlan, linux: Reader, compiled: bool) -> ProcessPlan:
    """linux.seccomp, compiled."""
    profile = linux.get("seccomp", dict)
    if not profile:
        return process
    seccomp_ = linux.object("seccomp")
    names = frozenset(capability.names_of(process.capabilities.bounding))
    path = seccomp_.get("listenerPath", str, "")
    if path and not path.startswith("/"):
        raise seccomp_.error("listenerPath", "must be absolute")
    listener = Listener(path, seccomp_.get("listenerMetadata", str, "")) if path else None
    if not compiled:
        return process._replace(listener=listener)
    program, flags = seccomp.compile_with_flags(profile, names, listener=bool(path))
    return process._replace(seccomp_program=program, seccomp_flags=flags, listener=listener)


def _namespaces(linux: Reader) -> tuple[Namespace, ...]:
    found: dict[str, Namespace] = {}
    for item in linux.objects("namespaces"):
        kind, path = item.get("type", str, ""), item.get("path", str, "")
        if kind not in namespace.FLAGS:
            raise item.error("type", f"{kind[:64]!r} is no namespace")
        if kind in found:
            raise item.error("type", f"{kind!r} is given twice")
        if path and not path.startswith("/"):
            raise item.error("path", "must be absolute")
        found[kind] = Namespace(kind, path)
    if "mount" not in found:
        raise linux.error("namespaces", "must have a mount namespace")
    return tuple(found.values())


def _absolute(linux: Reader, key: str) -> tuple[str, ...]:
    paths = linux.strings(key)
    for path in paths:
        if not path.startswith("/"):
            raise linux.error(key, f"has {path[:64]!r}, which is not absolute")
    return tuple(os.path.normpath(path) for path in paths)


def _mount(item: Reader, directory: str) -> PlanMount:
    target, source = item.get("destination", str, ""), item.get("source", str, "")
    options = item.strings("options")
    kind = item.get("type", str, "")
    if not target:
        raise item.error("destination", "is missing")
    if "bind" in options or "rbind" in options or kind == "bind":
        kind, source = "bind", os.path.join(directory, source)
    if not kind:
        raise item.error("type", "is missing")
    if kind == "detached":
        raise item.error("type", "is no file system")
    if kind == "cgroup2":
        kind = "cgroup"
    uid_map, gid_map = _maps(item, "uidMappings"), _maps(item, "gidMappings")
    if bool(uid_map) != bool(gid_map):
        raise item.error("uidMappings", "and gidMappings must be given together")
    target = os.path.normpath("/" + target.lstrip("/"))
    return PlanMount(target, kind, source, options, uid_map, gid_map)


def _device(item: Reader) -> Device:
    kind = item.get("type", str, "")
    if kind not in ("c", "u", "b", "p"):
        raise item.error("type", f"{kind[:8]!r} is not supported")
    path = item.get("path", str, "")
    if not path.startswith("/"):
        raise item.error("path", "must be absolute")
    return Device(
        os.path.normpath(path),
        "c" if kind == "u" else kind,
        item.get("major", int, 0),
        item.get("minor", int, 0),
        item.get("fileMode", int, 0o666) & 0o7777,
        item.get("uid", int, 0),
        item.get("gid", int, 0),
    )


def _hooks(hooks: Reader) -> dict[str, tuple[Hook, ...]]:
    return {kind: tuple(_hook(item) for item in hooks.objects(kind)) for kind in HOOKS}


def _hook(item: Reader) -> Hook:
    path = item.get("path", str, "")
    if not path.startswith("/"):
        raise item.error("path", "must be absolute")
    timeout = item.get("timeout", int, None)
    if timeout is not None and timeout <= 0:
        raise item.error("timeout", "must be greater than zero")
    return Hook(path, item.strings("args") or (path,), item.strings("env"), timeout or 0)


def default_config() -> dict[str, Any]:
    """What `spec` writes: a shell with few rights on ./rootfs."""
    from .plan import MASKED_PATHS, READ_ONLY_PATHS, default_mounts

    few = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {"bounding": few, "effective": few, "permitted": few},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "onggi",
        "mounts": [
            {
                "destination": mount.target,
                "type": mount.kind,
                "source": mount.source,
                "options": list(mount.options),
            }
            for mount in default_mounts()
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READ_ONLY_PATHS),
        },
    }


def make_rootless(config: dict[str, Any], uid: int, gid: int) -> None:
    """Change a configuration into one that this user can run: one id, no group for terminals."""
    linux = config["linux"]
    linux["namespaces"].append({"type": "user"})
    for key, own in (("uidMappings", uid), ("gidMappings", gid)):
        linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]
    del linux["resources"]
    for wanted in config["mounts"]:
        wanted["options"] = [word for word in wanted["options"] if word != "gid=5"]
