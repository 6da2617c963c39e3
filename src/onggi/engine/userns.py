"""`--userns=auto`: a user namespace for one container. Pure: the plan with its ids mapped.

The container's ids 0 to 65,535 are a slot of the host's, given out once by the store. Layers,
volumes and binds are mounted id-mapped, so what is on the disk keeps the container's own numbers:
commit, diff and volumes see no difference.
"""

from ..errors import InvalidInput, Unsupported
from ..runtime.plan import IdMap, InitPlan, Namespace, PlanMount, ProcessPlan
from ..spec.container import HostOptions

SIZE = 65536
# Nobody's by systemd's table of ids (Users, Groups, UIDs and GIDs on systemd systems): the last
# 4,096 slots below 2 GiB, so that programs which take an id for signed live too.
FIRST = 0x7000_0000
SLOTS = 4096
MODES = ("auto", "private")
TTY = 5


def is_wanted(host: HostOptions) -> bool:
    return host.userns_mode in MODES


def base_of(slot: int) -> int:
    """The host's id of the container's root."""
    return FIRST + slot * SIZE


def check(host: HostOptions, own_runtime: bool) -> None:
    """Raises InvalidInput, in docker's words where it has some, for what cannot go together."""
    if host.userns_mode not in ("", "host", *MODES):
        raise InvalidInput(f"invalid userns mode: {host.userns_mode}")
    if not is_wanted(host):
        return
    if host.privileged:
        raise InvalidInput(
            "privileged mode is incompatible with user namespaces.  You must run the container in "
            "the host namespace when running privileged mode"
        )
    if host.network_mode == "host":
        raise InvalidInput(
            "cannot share the host's network namespace when user namespaces are enabled"
        )
    for kind, mode in (("PID", host.pid_mode), ("IPC", host.ipc_mode)):
        if mode == "host" or mode.startswith("container:"):
            raise InvalidInput(f"cannot share {kind} namespace when user namespaces are enabled")
    if not own_runtime:
        raise Unsupported(f"--userns={host.userns_mode} needs onggi's own runtime")


def mapped(plan: InitPlan, base: int) -> InitPlan:
    maps = (IdMap(0, base, SIZE),)
    return plan._replace(
        namespaces=(*plan.namespaces, Namespace("user")),
        uid_map=maps,
        gid_map=maps,
        mounts=tuple(_mount(wanted) for wanted in plan.mounts),
        sysctls=tuple(
            (path, f"0 {SIZE - 1}" if path.endswith("ping_group_range") else value)
            for path, value in plan.sysctls
        ),
    )


def limited(plan: InitPlan, ids: int) -> InitPlan:
    """The plan for an engine that is itself in a user namespace, with that many ids. The message
    queues of the host's IPC namespace are not ours to mount."""
    return plan._replace(
        nested=True,
        process=with_ids(plan.process, ids),
        mounts=tuple(
            _of_known_group(wanted, ids)
            for wanted in plan.mounts
            if wanted.kind != "mqueue" or any(n.kind == "ipc" for n in plan.namespaces)
        ),
        sysctls=tuple(
            (path, f"0 {ids - 1}" if path.endswith("ping_group_range") else value)
            for path, value in plan.sysctls
        ),
    )


def with_ids(process: ProcessPlan, ids: int) -> ProcessPlan:
    return process._replace(one_id=True) if ids == 1 else process


def _of_known_group(wanted: PlanMount, ids: int) -> PlanMount:
    """Terminals belong to the group tty, where there is one."""
    if wanted.kind != "devpts" or ids > TTY:
        return wanted
    kept = tuple(word for word in wanted.options if not word.startswith("gid="))
    return wanted._replace(options=kept)


def _mount(wanted: PlanMount) -> PlanMount:
    """What comes from the host shows the container's owners."""
    if wanted.kind not in ("bind", "detached"):
        return wanted
    word = "ridmap" if "rbind" in wanted.options else "idmap"
    return wanted._replace(options=(*wanted.options, word))
