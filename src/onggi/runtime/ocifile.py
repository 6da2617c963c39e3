"""A plan as the config.json of a bundle: for another OCI runtime to carry out.

Pure. What only the root filesystem knows (the user's numbers, the home) has been looked up by then.
"""

from collections.abc import Iterable, Sequence

from ..errors import Unsupported
from ..linux import capability, rlimit
from ..linux.cgroup import DeviceRule
from ..linux.namespace import PROC_NAMES
from ..linux.seccomp_profile import Profile, Rule, action_of, flag_names
from ..spec.container import Resources
from ..typed import Any
from .plan import DEFAULT_NODES, Capabilities, Device, InitPlan, Namespace, PlanMount, ProcessPlan

_VERSION = "1.0.2"  # what the runtimes of Debian 12 read


def document(
    plan: InitPlan,
    process: dict[str, Any],
    *,
    rootfs: str,
    cgroup_path: str,
    resources: Resources,
    devices: Sequence[DeviceRule],
    seccomp: dict[str, Any] | None,
) -> dict[str, Any]:
    """`process` is `process_document`'s. Raises Unsupported for what the format cannot say."""
    if plan.init:
        raise Unsupported("--init needs onggi's own runtime")
    linux: dict[str, Any] = {
        "namespaces": [_namespace(wanted) for wanted in plan.namespaces],
        "cgroupsPath": f"/{cgroup_path}",
        "resources": {**_resources(resources), "devices": [_rule(rule) for rule in devices]},
        "devices": [_device(device) for device in plan.devices if device not in DEFAULT_NODES],
        "maskedPaths": list(plan.masked_paths),
        "readonlyPaths": list(plan.read_only_paths),
        "sysctl": {path.replace("/", "."): value for path, value in plan.sysctls},
    }
    if seccomp is not None:
        linux["seccomp"] = seccomp
    if plan.process.labels.mount:
        linux["mountLabel"] = plan.process.labels.mount
    if plan.uid_map:
        for key, maps in (("uidMappings", plan.uid_map), ("gidMappings", plan.gid_map)):
            names = ("containerID", "hostID", "size")
            linux[key] = [dict(zip(names, entry, strict=True)) for entry in maps]
    return {
        "ociVersion": _VERSION,
        "root": {"path": rootfs, "readonly": plan.read_only},
        "hostname": plan.hostname,
        **({"domainname": plan.domainname} if plan.domainname else {}),
        "process": process,
        "mounts": [_mount(wanted) for wanted in plan.mounts],
        "linux": linux,
    }


def process_document(
    plan: ProcessPlan, uid: int, gid: int, groups: Iterable[int], env: dict[str, str]
) -> dict[str, Any]:
    """Also what `exec --process` reads."""
    limits = rlimit.clamp(plan.rlimits)[0]
    found: dict[str, Any] = {
        "terminal": plan.tty,
        "user": {"uid": uid, "gid": gid, "additionalGids": list(groups), "umask": plan.umask},
        "args": list(plan.args),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": plan.cwd or "/",
        "capabilities": _capabilities(plan.capabilities, uid),
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": _unlimited(soft), "hard": _unlimited(hard)}
            for name, soft, hard in limits
        ],
        "noNewPrivileges": plan.no_new_privileges,
    }
    if plan.labels.apparmor:
        found["apparmorProfile"] = plan.labels.apparmor
    if plan.labels.selinux:
        found["selinuxLabel"] = plan.labels.selinux
    if plan.oom_score_adj is not None:
        found["oomScoreAdj"] = plan.oom_score_adj
    if plan.tty and plan.rows and plan.columns:
        found["consoleSize"] = {"height": plan.rows, "width": plan.columns}
    return found


def seccomp_document(
    profile: Profile, rules: Iterable[Rule], architectures: Sequence[str]
) -> dict[str, Any]:
    """`linux.seccomp` with the rules that apply here."""
    action, errno = action_of(profile.default_result)
    found: dict[str, Any] = {"defaultAction": action, "architectures": list(architectures)}
    if profile.flags:
        found["flags"] = flag_names(profile.flags)
    if profile.listener_path:
        found["listenerPath"] = profile.listener_path
    if profile.listener_metadata:
        found["listenerMetadata"] = profile.listener_metadata
    if errno is not None:
        found["defaultErrnoRet"] = errno
    found["syscalls"] = [_seccomp_rule(rule) for rule in rules]
    return found


def _seccomp_rule(rule: Rule) -> dict[str, Any]:
    action, errno = action_of(rule.result)
    found: dict[str, Any] = {"names": list(rule.names), "action": action}
    if errno is not None:
        found["errnoRet"] = errno
    if rule.arguments:
        found["args"] = [
            {
                "index": argument.position,
                "op": argument.operator,
                "value": argument.value,
                "valueTwo": argument.value_two,
            }
            for argument in rule.arguments
        ]
    return found


def _capabilities(sets: Capabilities, uid: int) -> dict[str, list[str]]:
    """A user other than root has none in effect: docker's way, and the kernel's on execve."""
    if uid:
        sets = sets._replace(effective=sets.ambient, permitted=sets.ambient)
    return {
        key: [f"CAP_{name}" for name in capability.names_of(getattr(sets, key))]
        for key in Capabilities._fields
    }


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value == rlimit.UNLIMITED else value


def _namespace(wanted: Namespace) -> dict[str, str]:
    if wanted.is_new:
        return {"type": wanted.kind}
    path = wanted.path or f"/proc/{wanted.pid}/ns/{PROC_NAMES[wanted.kind]}"
    return {"type": wanted.kind, "path": path}


def _mount(wanted: PlanMount) -> dict[str, Any]:
    source, options = wanted.source or wanted.kind, list(wanted.options)
    if wanted.kind == "bind" and "rbind" not in options:
        options.insert(0, "bind")
    return {
        "destination": wanted.target,
        "type": wanted.kind,
        "source": source,
        "options": options,
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
        "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
    }  # fmt: skip


def _rule(rule: DeviceRule) -> dict[str, Any]:
    numbers = {"major": rule.major, "minor": rule.minor}
    known = {key: number for key, number in numbers.items() if number >= 0}
    return {"allow": rule.allow, "type": rule.kind, "access": rule.access, **known}


def _resources(wanted: Resources) -> dict[str, Any]:
    """What every runtime sets; the engine has set the same already, so nothing here is lost where
    a runtime knows less."""
    found: dict[str, Any] = {}
    if wanted.memory_bytes:
        found["memory"] = {"limit": wanted.memory_bytes}
    if wanted.pids_limit:
        found["pids"] = {"limit": wanted.pids_limit}
    if wanted.cpu_shares:
        found["cpu"] = {"shares": wanted.cpu_shares}
    return found
