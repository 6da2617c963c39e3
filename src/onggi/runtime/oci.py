"""OCI runtime bundles: config.json (runtime-spec 1.x) read strictly into plans.

Errors name the field. What a container asks for and onggi does not do is refused, never ignored.
"""

import json
import os
from typing import Any, NamedTuple

from ..errors import InvalidInput, Unsupported
from ..linux import capability, namespace, rlimit, seccomp
from ..linux.cgroup import DEFAULT_DEVICES, DeviceRule
from ..spec.container import Resources
from ..spec.jsontext import loads_strict
from .plan import (
    BindRoot,
    Capabilities,
    Device,
    InitPlan,
    Namespace,
    PlanMount,
    ProcessPlan,
    Stdio,
)

MAX_CONFIG_BYTES = 16 << 20
HOST_HOOKS = ("prestart", "createRuntime", "poststart", "poststop")
_INNER_HOOKS = ("createContainer", "startContainer")


class Hook(NamedTuple):
    path: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    timeout_s: float


class Bundle(NamedTuple):
    """A bundle, understood. `hooks` are by their OCI name."""

    plan: InitPlan
    resources: Resources
    devices: tuple[DeviceRule, ...]
    cgroup_path: str
    hooks: dict[str, tuple[Hook, ...]]
    annotations: dict[str, str]
    root_path: str
    document: dict[str, Any]


class Reader:
    """A JSON object and its name, for errors that say where."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidInput(f"config.json: {where} must be an object")
        self._value = value
        self._where = where

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self._value.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            names = kind.__name__ if isinstance(kind, type) else kind[0].__name__
            raise InvalidInput(f"config.json: {self._where}.{key} must be of type {names}")
        return value

    def object(self, key: str) -> "Reader":
        return Reader(self._value.get(key) or {}, f"{self._where}.{key}")

    def has(self, key: str) -> bool:
        return bool(self._value.get(key))

    def objects(self, key: str) -> "list[Reader]":
        items = self.get(key, list, [])
        return [Reader(item, f"{self._where}.{key}[{i}]") for i, item in enumerate(items)]

    def strings(self, key: str) -> tuple[str, ...]:
        items = self.get(key, list, [])
        for index, item in enumerate(items):
            if not isinstance(item, str) or "\0" in item:
                raise InvalidInput(f"config.json: {self._where}.{key}[{index}] must be a string")
        return tuple(items)

    def string_map(self, key: str) -> dict[str, str]:
        items = self.get(key, dict, {})
        for name, item in items.items():
            if not isinstance(item, str):
                raise InvalidInput(f"config.json: {self._where}.{key}.{name} must be a string")
        return dict(items)

    def error(self, key: str, text: str) -> InvalidInput:
        return InvalidInput(f"config.json: {self._where}.{key} {text}")

    def refuse(self, *keys: str) -> None:
        for key in keys:
            if self.has(key):
                raise Unsupported(f"config.json: {self._where}.{key} is not supported")


def read_bundle(directory: str) -> Bundle:
    path = os.path.join(directory, "config.json")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError as error:
        raise InvalidInput(f"JSON specification file {path} not found") from error
    document = loads_strict(data, what="config.json", max_bytes=MAX_CONFIG_BYTES)
    return parse(document, os.path.abspath(directory))


def parse(document: Any, directory: str) -> Bundle:
    """Raises InvalidInput naming the field, Unsupported for what onggi does not do."""
    config = Reader(document, "")
    version = config.get("ociVersion", str, "")
    if not version.startswith("1."):
        raise config.error("ociVersion", f"is {version!r}, not 1.x")
    root, linux = config.object("root"), config.object("linux")
    linux.refuse("uidMappings", "gidMappings", "intelRdt", "mountLabel", "timeOffsets")
    root_path = root.get("path", str, "")
    if not root_path:
        raise root.error("path", "is missing")
    if not config.has("process"):
        raise config.error("process", "is missing")
    plan = InitPlan(
        root=BindRoot(os.path.join(directory, root_path)),
        process=_with_filter(parse_process(config.object("process")), linux),
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
    )
    resources = linux.object("resources")
    return Bundle(
        plan, parse_resources(resources), _device_rules(resources),
        linux.get("cgroupsPath", str, ""), _hooks(config.object("hooks")),
        config.string_map("annotations"), os.path.join(directory, root_path), document,
    )  # fmt: skip


def _with_filter(process: ProcessPlan, linux: Reader) -> ProcessPlan:
    """linux.seccomp, compiled. What is said there on top of docker's format is refused."""
    profile = linux.get("seccomp", dict)
    if not profile:
        return process
    linux.object("seccomp").refuse("listenerPath", "listenerMetadata")
    names = frozenset(capability.names_of(process.capabilities.bounding))
    program = seccomp.compile_now(json.dumps(profile), names)
    return process._replace(seccomp_program=program)


def parse_process(process: Reader) -> ProcessPlan:
    """Also the `process.json` of exec."""
    process.refuse("apparmorProfile", "selinuxLabel", "scheduler", "ioPriority")
    args = process.strings("args")
    if not args:
        raise process.error("args", "must not be empty")
    cwd = process.get("cwd", str, "")
    if not cwd.startswith("/"):
        raise process.error("cwd", "must be an absolute path")
    user = process.object("user")
    uid, gid = user.get("uid", int, 0), user.get("gid", int, 0)
    tty = process.get("terminal", bool, False)
    size = process.object("consoleSize")
    stdio: Stdio = "inherit"
    return ProcessPlan(
        args=args,
        env=process.strings("env"),
        cwd=cwd,
        user=f"{uid}:{gid}",
        group_add=tuple(str(number) for number in user.get("additionalGids", list, [])),
        capabilities=_capabilities(process.object("capabilities")),
        no_new_privileges=process.get("noNewPrivileges", bool, False),
        rlimits=_rlimits(process),
        oom_score_adj=process.get("oomScoreAdj", int, None),
        umask=user.get("umask", int, 0o022),
        tty=tty,
        rows=size.get("height", int, 0),
        columns=size.get("width", int, 0),
        stdin=stdio,
        output=stdio,
    )


def _capabilities(sets: Reader) -> Capabilities:
    def mask(key: str) -> int:
        return capability.mask_of(capability.parse(name) for name in sets.strings(key))

    return Capabilities(*map(mask, Capabilities._fields))


def _rlimits(process: Reader) -> tuple[tuple[str, int, int], ...]:
    limits: list[rlimit.Limit] = []
    for item in process.objects("rlimits"):
        name = item.get("type", str, "").removeprefix("RLIMIT_").lower()
        soft, hard = (_unlimited(item.get(key, int, 0)) for key in ("soft", "hard"))
        rlimit.check((name, soft, hard))
        if any(name == known for known, _, _ in limits):
            raise item.error("type", f"RLIMIT_{name.upper()} is given twice")
        limits.append((name, soft, hard))
    return tuple(limits)


def _unlimited(value: int) -> int:
    return rlimit.UNLIMITED if value >= 1 << 63 else value


def _namespaces(linux: Reader) -> tuple[Namespace, ...]:
    found: dict[str, Namespace] = {}
    for item in linux.objects("namespaces"):
        kind, path = item.get("type", str, ""), item.get("path", str, "")
        if kind in ("user", "time"):
            raise Unsupported(f"config.json: a {kind} namespace is not supported")
        if kind not in namespace.FLAGS:
            raise item.error("type", f"{kind[:64]!r} is no namespace")
        if kind in found:
            raise item.error("type", f"{kind!r} is given twice")
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
    item.refuse("uidMappings", "gidMappings")
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
    return PlanMount(os.path.normpath("/" + target.lstrip("/")), kind, source, options)


def _device(item: Reader) -> Device:
    kind = item.get("type", str, "")
    if kind not in ("c", "u", "b"):
        raise item.error("type", f"{kind[:8]!r} is not supported")
    path = item.get("path", str, "")
    if not path.startswith("/"):
        raise item.error("path", "must be absolute")
    return Device(
        os.path.normpath(path),
        "b" if kind == "b" else "c",
        item.get("major", int, 0),
        item.get("minor", int, 0),
        item.get("fileMode", int, 0o666) & 0o7777,
        item.get("uid", int, 0),
        item.get("gid", int, 0),
    )


def _device_rules(resources: Reader) -> tuple[DeviceRule, ...]:
    """The bundle's rules and then the devices that the specification always allows."""
    rules = [_device_rule(item) for item in resources.objects("devices")]
    if not rules or (rules[-1].allow and rules[-1].kind == "a"):
        return ()
    return (*rules, *(rule for rule in DEFAULT_DEVICES if rule.allow))


def _device_rule(item: Reader) -> DeviceRule:
    kind, access = item.get("type", str, "a"), item.get("access", str, "rwm")
    if kind not in ("a", "b", "c") or not set(access) <= set("rwm"):
        raise item.error("type", "or access is invalid")
    major, minor = item.get("major", int, -1), item.get("minor", int, -1)
    return DeviceRule(item.get("allow", bool, False), kind, major, minor, access or "rwm")


def parse_resources(resources: Reader) -> Resources:
    memory, cpu = resources.object("memory"), resources.object("cpu")
    pids = resources.object("pids")
    return Resources(
        memory_bytes=max(0, memory.get("limit", int, 0)),
        memory_swap_bytes=memory.get("swap", int, 0),
        memory_reservation_bytes=max(0, memory.get("reservation", int, 0)),
        cpu_shares=cpu.get("shares", int, 0),
        cpu_period_us=cpu.get("period", int, 0),
        cpu_quota_us=cpu.get("quota", int, 0),
        cpuset_cpus=cpu.get("cpus", str, ""),
        cpuset_mems=cpu.get("mems", str, ""),
        pids_limit=pids.get("limit", int, 0),
    )


def _hooks(hooks: Reader) -> dict[str, tuple[Hook, ...]]:
    hooks.refuse(*_INNER_HOOKS)
    return {kind: tuple(_hook(item) for item in hooks.objects(kind)) for kind in HOST_HOOKS}


def _hook(item: Reader) -> Hook:
    path = item.get("path", str, "")
    if not path.startswith("/"):
        raise item.error("path", "must be absolute")
    timeout = item.get("timeout", int, 60)
    if timeout <= 0:
        raise item.error("timeout", "must be greater than zero")
    return Hook(path, item.strings("args") or (path,), item.strings("env"), timeout)


def default_config() -> dict[str, Any]:
    """What `spec` writes: a shell with few rights on ./rootfs."""
    from .plan import MASKED_PATHS, READ_ONLY_PATHS, default_mounts

    few = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
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
