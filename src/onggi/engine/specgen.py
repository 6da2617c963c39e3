"""A container's configuration to the runtime's plan. Pure: decides, touches nothing.

This is where docker's defaults stand: namespaces, mounts, masks, capabilities, devices, limits.
"""

from collections.abc import Mapping

from ..errors import InvalidInput
from ..linux import capability, rlimit
from ..linux.cgroup import DEFAULT_DEVICES, DeviceRule
from ..runtime import plan
from ..runtime.plan import (
    BindRoot,
    Capabilities,
    Device,
    InitPlan,
    JoinPlan,
    Landlock,
    Namespace,
    PlanMount,
    ProcessPlan,
)
from ..spec.container import Container, ContainerConfig, HostOptions
from ..spec.mount import MountPoint, RootFilesystem
from ..spec.network import Protocol
from ..typed import Any, NamedTuple
from . import merge, security, userns
from .tier import EVERY_ID

HOST_FILES = ("resolv.conf", "hostname", "hosts")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the container's
OWN_RUNTIMES = frozenset(("", "onggi-runtime", "io.containerd.runc.v2"))
SHARED = ("pid", "ipc", "uts")  # namespaces with a --KIND flag of their own


class Edits(NamedTuple):
    """What devices add to a container."""

    env: tuple[str, ...] = ()
    nodes: tuple[Device, ...] = ()
    rules: tuple[DeviceRule, ...] = ()
    mounts: tuple[PlanMount, ...] = ()
    groups: tuple[str, ...] = ()

    def __add__(self, other: tuple[Any, ...]) -> "Edits":
        return Edits(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Surroundings(NamedTuple):
    """What the host says: `directory` holds the hostname, hosts and resolv.conf files,
    another container's when its network is shared. `held` are the capabilities we have
    to give. `joined` is the container behind each
    namespace kind that is shared with one."""

    directory: str
    cpus: int
    held: int
    joined: Mapping[str, Container]
    devices: tuple[Device, ...] = ()  # every node of the host, for --privileged
    edits: Edits = Edits()  # what the device flags add
    ipv6: bool = False  # whether the kernel has it
    detached: Mapping[str, int] = {}  # mounts that are made already: descriptors by target


def init_plan(
    container: Container, root: RootFilesystem | BindRoot, around: Surroundings, seccomp: bytes
) -> InitPlan:
    config = container.config
    host = config.options.host
    has_own_names = not _shares(host, "uts") and "uts" not in around.joined
    masked = plan.masked_paths(around.cpus)
    thermal = masked[len(plan.MASKED_PATHS) :]
    return InitPlan(
        root=root,
        process=_edited(process_plan(config, around.held, seccomp), around.edits),
        namespaces=namespaces(host, around.joined),
        mounts=mounts(config, around.directory, around.detached) + around.edits.mounts,
        masked_paths=security.masks(host, masked, thermal),
        read_only_paths=security.read_only(host, plan.READ_ONLY_PATHS),
        devices=nodes(host, around),
        hostname=config.hostname if has_own_names else "",
        domainname=config.options.domainname if has_own_names else "",
        sysctls=sysctls(host, around.ipv6),
        read_only=host.read_only,
        volatile=host.auto_remove or config.options.purpose == "build",
        init=host.init,
    )


def nodes(host: HostOptions, around: Surroundings) -> tuple[Device, ...]:
    """The default or the host's, then those that are asked for: of one path the last."""
    base = around.devices if host.privileged else plan.DEFAULT_NODES
    return tuple({device.path: device for device in (*base, *around.edits.nodes)}.values())


def _edited(process: ProcessPlan, edits: Edits) -> ProcessPlan:
    names = {entry.partition("=")[0] for entry in edits.env}
    kept = tuple(entry for entry in process.env if entry.partition("=")[0] not in names)
    return process._replace(env=(*kept, *edits.env), group_add=(*process.group_add, *edits.groups))


def process_plan(config: ContainerConfig, held: int, seccomp: bytes) -> ProcessPlan:
    host, process = config.options.host, config.process
    return ProcessPlan(
        args=process.args,
        env=process.env,
        cwd=process.working_dir,
        user=process.user,
        group_add=host.group_add,
        capabilities=Capabilities.same(capabilities(host, held)),
        no_new_privileges=security.options(host).no_new_privileges,
        seccomp_program=seccomp,
        landlock=_landlock(config),
        rlimits=limits(host),
        oom_score_adj=host.oom_score_adj or None,
        tty=config.options.tty,
        stdin="pipe" if config.options.open_stdin else "null",
    )


def _landlock(config: ContainerConfig) -> Landlock | None:
    """Under strict nothing is written but what is mounted to be written."""
    host = config.options.host
    if not security.uses_landlock(host):
        return None
    if host.security != "strict":
        return Landlock(security.scopes(host))
    writable = ["/dev"] + [point.target for point in config.mounts if not point.read_only]
    return Landlock(security.scopes(host), tuple(writable))


def exec_plan(
    container: Container,
    args: tuple[str, ...],
    *,
    env: tuple[str, ...],
    working_dir: str,
    user: str,
    tty: bool,
    stdin: bool,
    privileged: bool,
    size: tuple[int, int],
    held: int,
    seccomp: bytes,
    ids: int = EVERY_ID,
) -> JoinPlan:
    """A process beside the container's first one, in the same sandbox."""
    config = container.config
    host = config.options.host
    if privileged:
        host = host._replace(privileged=True)
    base = process_plan(config, held, seccomp)
    if base.landlock is not None:
        # A domain of its own with scopes could reach nothing of the container's first one.
        unscoped = base.landlock._replace(scopes=0)
        base = base._replace(landlock=unscoped if unscoped.writable is not None else None)
    merged = merge.environment(config.process.env, env, config.hostname, tty)
    process = base._replace(
        args=args,
        env=merged,
        cwd=working_dir or config.process.working_dir,
        user=user or config.process.user,
        capabilities=Capabilities.same(capabilities(host, held)),
        tty=tty,
        stdin="pipe" if stdin else "null",
        rows=size[0],
        columns=size[1],
    )
    process = userns.with_ids(process, ids)
    root = container.state.id_base
    joined = JoinPlan(
        container.state.pid,
        container.state.pid_start,
        process,
        owner=(root, root),
        nested=ids != EVERY_ID,
    )
    return joined._replace(namespaces=(*joined.namespaces, "user")) if root else joined


def capabilities(host: HostOptions, held: int) -> int:
    """Docker's set after --cap-add and --cap-drop, never more than we hold ourselves."""
    if host.privileged:
        dropped = map(capability.parse, host.cap_drop)
        return held & ~capability.mask_of(name for name in dropped if name != "ALL")
    return (
        capability.resolve(host.cap_add, host.cap_drop, security.default_capabilities(host)) & held
    )


def namespaces(host: HostOptions, joined: Mapping[str, Container]) -> tuple[Namespace, ...]:
    found = [Namespace("mount")]
    if host.cgroupns_mode != "host":
        found.append(Namespace("cgroup"))
    for kind in ("network", *SHARED):
        other = joined.get(kind)
        if other is not None:
            found.append(Namespace(kind, "", other.state.pid, other.state.pid_start))
        elif not _shares(host, kind):
            found.append(Namespace(kind))
    return tuple(found)


def mode_of(host: HostOptions, kind: str) -> str:
    """What --network, --pid, --ipc or --uts said."""
    modes = {
        "network": host.network_mode,
        "pid": host.pid_mode,
        "ipc": host.ipc_mode,
        "uts": host.uts_mode,
    }
    return modes[kind]


def _shares(host: HostOptions, kind: str) -> bool:
    """Whether the container uses the host's own namespace."""
    return mode_of(host, kind) == "host"


def mounts(
    config: ContainerConfig, directory: str, detached: Mapping[str, int]
) -> tuple[PlanMount, ...]:
    """The system's, then the user's and the three host files, parents before children: a volume on
    /etc does not hide /etc/hosts."""
    host = config.options.host
    taken = {point.target for point in config.mounts}
    system = tuple(
        mount
        for base in plan.default_mounts(host.shm_bytes, privileged=host.privileged)
        for mount in _shared_memory(base, host, detached)
    )
    files = tuple(
        PlanMount(f"/etc/{name}", "bind", f"{directory}/{name}", ("rw", "rprivate"))
        for name in HOST_FILES
    )
    found = [_hardened(_mount(point, detached), host) for point in config.mounts]
    found += [mount for mount in files if mount.target not in taken]
    found.sort(key=lambda mount: mount.target.count("/"))
    return (*(mount for mount in system if mount.target not in taken), *found)


def _shared_memory(
    base: PlanMount, host: HostOptions, detached: Mapping[str, int]
) -> tuple[PlanMount, ...]:
    """What belongs to the IPC namespace: the host's, another container's, none, or our own."""
    if base.target != SHARED_MEMORY:
        return (base,)
    flags = ("nosuid", "noexec", "nodev", "rprivate")
    if host.ipc_mode == "host":
        return (PlanMount(SHARED_MEMORY, "bind", SHARED_MEMORY, ("rbind", *flags)),)
    if SHARED_MEMORY in detached:
        return (PlanMount(SHARED_MEMORY, "detached", str(detached[SHARED_MEMORY]), flags),)
    return () if host.ipc_mode == "none" else (base,)


def _hardened(wanted: PlanMount, host: HostOptions) -> PlanMount:
    if host.security != "strict":
        return wanted
    return wanted._replace(options=(*wanted.options, "nosuid", "nodev"))


def _mount(point: MountPoint, detached: Mapping[str, int]) -> PlanMount:
    if point.kind == "tmpfs":
        words = ",ro" if point.read_only else ""
        return plan.tmpfs_mount(point.target, point.tmpfs_options + words)
    recursive = () if point.recursion == "writable" else ("rro",)
    access = ("ro", *recursive) if point.read_only else ("rw",)
    spread = point.propagation or "rprivate"
    if point.options and not point.read_only:
        access = ()  # the volume's own options say it
    if point.target in detached:
        return PlanMount(point.target, "detached", str(detached[point.target]), (*access, spread))
    bind = "bind" if point.recursion == "disabled" else "rbind"
    return PlanMount(point.target, "bind", point.source, (bind, *access, spread))


def sysctls(host: HostOptions, ipv6: bool = False) -> tuple[tuple[str, str], ...]:
    """Docker's two (unprivileged ping and low ports) where the network is the container's own, no
    routes from whoever claims to be a router, then the user's."""
    own = frozenset(
        kind
        for kind in ("network", *SHARED)
        if mode_of(host, kind) in ("", "private", "shareable", "none")
    )
    if host.network_mode != "host" and not host.network_mode.startswith("container:"):
        own |= {"network"}
    chosen = dict(host.sysctls)
    if "network" in own:
        chosen.setdefault("net.ipv4.ping_group_range", "0 2147483647")
        chosen.setdefault("net.ipv4.ip_unprivileged_port_start", "0")
        if ipv6 and host.security != "docker":
            for key in security.NO_ROUTER_ADVERTISEMENTS:
                chosen.setdefault(key, "0")
    return tuple(plan.check_sysctl(key, value, own) for key, value in chosen.items())


def limits(host: HostOptions) -> tuple[tuple[str, int, int], ...]:
    return tuple((limit.name, limit.soft, limit.hard) for limit in host.ulimits)


def device_rules(config: ContainerConfig, edits: Edits) -> tuple[DeviceRule, ...]:
    """What the device cgroup allows; () is everything."""
    return () if config.options.host.privileged else DEFAULT_DEVICES + edits.rules


def protocol(text: str) -> Protocol:
    """Raises InvalidInput for anything but tcp, udp and sctp."""
    match text or "tcp":
        case "tcp":
            return "tcp"
        case "udp":
            return "udp"
        case "sctp":
            return "sctp"
    raise InvalidInput(f"invalid proto: {text}")


def check(config: ContainerConfig) -> None:
    """Everything above that can refuse a user's value, at create time."""
    host = config.options.host
    security.options(host)
    for flag, names in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        try:
            capability.resolve(names, (), ())
        except InvalidInput as error:
            raise InvalidInput(f"invalid {flag}: {error.message}") from error
    sysctls(host)
    userns.check(host, host.runtime in OWN_RUNTIMES)
    for limit in limits(host):
        rlimit.check(limit)
    for point in config.mounts:
        _mount(point, {})
    for kind in SHARED:
        mode = mode_of(host, kind)
        known = mode in ("", "host", "private", "shareable") or mode.startswith("container:")
        known = known or (kind == "ipc" and mode == "none")
        if not known:
            raise InvalidInput(f"--{kind}: invalid {kind.upper()} mode")
