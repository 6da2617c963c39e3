"""Getting a child into its namespaces: what the parent does around the clone.

New namespaces are made by the clone itself. An existing one is joined by the child, where it still
may; the parent goes there and comes back for what only counts for children (pid, time) and, when
the child starts in a user namespace, for all that such a child may no longer join.

A user namespace that exists already has no way back, and from inside of one no namespace that is
the host's. A go-between joins it and clones the child into all the rest, as its own sibling and so
as ours, tells us the number and ends:

    parent ──clone──> go-between ──setns(user), clone(CLONE_PARENT)──> child
"""

import os
from collections.abc import Callable

from ..errors import Conflict, InvalidInput
from ..linux import namespace, process
from ..linux.cgroup import Cgroup
from ..typed import NamedTuple
from .plan import IdMap, InitPlan, Maps, Namespace, to_outer

_BY_PARENT = ("pid", "time")
_BEFORE_USER = ("network", "ipc", "uts", "cgroup", *_BY_PARENT)


class Joined(NamedTuple):
    """Descriptors of the existing namespaces of a plan, by kind."""

    fds: dict[str, int]

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)


def open_namespaces(plan: InitPlan) -> Joined:
    """Raises Conflict when the process of one is gone."""
    found: dict[str, int] = {}
    try:
        for wanted in plan.namespaces:
            if not wanted.is_new:
                found[wanted.kind] = open_namespace(wanted)
    except BaseException:
        Joined(found).close()
        raise
    if "mount" in found and has_user_namespace(plan):
        Joined(found).close()
        raise InvalidInput("a mount namespace cannot be joined from a user namespace")
    return Joined(found)


def open_namespace(wanted: Namespace) -> int:
    """A descriptor of an existing namespace. Raises Conflict when its process is gone (B18)."""
    if not wanted.pid:
        return os.open(wanted.path, os.O_RDONLY | os.O_CLOEXEC)
    pidfd = process.open_process(wanted.pid, wanted.pid_start)
    if pidfd is None:
        raise Conflict(f"cannot join the {wanted.kind} namespace: its container is not running")
    try:
        path = f"/proc/{wanted.pid}/ns/{namespace.PROC_NAMES[wanted.kind]}"
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if process.pidfd_alive(pidfd):
            return fd
        os.close(fd)
        raise Conflict(f"cannot join the {wanted.kind} namespace: its container is not running")
    finally:
        os.close(pidfd)


def has_user_namespace(plan: InitPlan) -> bool:
    return any(wanted.kind == "user" for wanted in plan.namespaces)


def makes(plan: InitPlan, kind: str) -> bool:
    return any(wanted.kind == kind and wanted.is_new for wanted in plan.namespaces)


def with_maps(plan: InitPlan, joined: Joined) -> InitPlan:
    """The plan with the mappings of the user namespace that it joins."""
    if "user" not in joined.fds:
        return plan
    from ..linux import idmap

    uids, gids = idmap.maps_of(joined.fds["user"])
    return plan._replace(
        uid_map=tuple(IdMap(*entry) for entry in uids),
        gid_map=tuple(IdMap(*entry) for entry in gids),
    )


def owner(uid_map: Maps, gid_map: Maps) -> tuple[int, int]:
    """What root of the container is on the host; our own ids where it has none."""
    uid, gid = to_outer(uid_map, 0), to_outer(gid_map, 0)
    return os.getuid() if uid is None else uid, os.getgid() if gid is None else gid


def clone(plan: InitPlan, cgroup: Cgroup | None, joined: Joined) -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child."""
    flags = 0 if "mount" in joined.fds else namespace.CLONE_NEWNS
    for wanted in plan.namespaces:
        # The cgroup namespace comes when the group is joined, a time namespace before the clone.
        if wanted.is_new and wanted.kind not in ("cgroup", "time"):
            flags |= namespace.FLAGS[wanted.kind]
    cgroup_fd = cgroup.open_fd() if cgroup is not None else None
    try:
        if "user" in joined.fds or (plan.nested and "pid" in joined.fds):
            return _clone_through(flags, cgroup_fd, plan, joined)
        return _visiting(plan, joined, lambda: namespace.clone3(flags, cgroup_fd=cgroup_fd))
    finally:
        if cgroup_fd is not None:
            os.close(cgroup_fd)


def join_rest(plan: InitPlan, joined: Joined) -> None:
    """In the child: the namespaces that the parent did not visit."""
    visited = _BEFORE_USER if has_user_namespace(plan) else _BY_PARENT
    for kind, fd in joined.fds.items():
        if kind not in visited and kind != "user":
            namespace.setns(fd, namespace.FLAGS[kind])


def in_pid_namespace(fd: int | None, make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Fork into another pid namespace (of a namespace file or a pidfd): joining one only counts for
    children, so the parent joins, forks, and comes back, also when it could not fork: nothing it
    started later would live in a namespace whose first process is dead."""
    if fd is None:
        return make()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pid = -1
    try:
        namespace.setns(fd, namespace.CLONE_NEWPID)
        pid, pidfd = make()
        return pid, pidfd
    finally:
        if pid:
            try:
                namespace.setns(own, namespace.CLONE_NEWPID)
            except PermissionError:
                pass  # root of a user namespace stays; whoever joins has nothing else to start
        os.close(own)


def _visiting(
    plan: InitPlan, joined: Joined, make: Callable[[], tuple[int, int]]
) -> tuple[int, int]:
    """Fork where the child is to be born; the parent comes back, the child stays."""
    wanted = _BEFORE_USER if has_user_namespace(plan) else _BY_PARENT
    kinds = [kind for kind in joined.fds if kind in wanted]
    if makes(plan, "time"):
        kinds.append("time")
    own = [
        (os.open(f"/proc/self/ns/{namespace.PROC_NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC), kind)
        for kind in kinds
    ]
    pid = -1
    try:
        _go_there(plan, joined, kinds)
        pid, pidfd = make()
        return pid, pidfd
    finally:
        for fd, kind in own:
            if pid:
                namespace.setns(fd, namespace.FLAGS[kind])
            os.close(fd)


def _go_there(plan: InitPlan, joined: Joined, kinds: list[str]) -> None:
    for kind in kinds:
        if kind in joined.fds:
            namespace.setns(joined.fds[kind], namespace.FLAGS[kind])
    if makes(plan, "time"):
        namespace.unshare(namespace.CLONE_NEWTIME)  # ours stays: only children are born there
        lines = [f"{clock} {seconds} {nanos}\n" for clock, seconds, nanos in plan.time_offsets]
        if lines:
            fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, "".join(lines).encode())
            finally:
                os.close(fd)


def _clone_through(
    flags: int, cgroup_fd: int | None, plan: InitPlan, joined: Joined
) -> tuple[int, int]:
    """By the go-between; see above."""
    read, write = os.pipe()
    between, between_fd = namespace.clone3(cgroup_fd=cgroup_fd)
    if between == 0:
        os.close(read)
        return _go_between(flags, plan, joined, write)
    os.close(write)
    try:
        said = os.read(read, 64)
        os.waitpid(between, 0)
    finally:
        os.close(read)
        os.close(between_fd)
    kind, _, rest = said.partition(b" ")
    if kind != b"pid":
        code = int(rest or b"0")
        raise OSError(code, f"cannot join the user namespace: {os.strerror(code)}")
    return int(rest), process.pidfd_open(int(rest))


def _go_between(flags: int, plan: InitPlan, joined: Joined, report: int) -> tuple[int, int]:
    """Returns in the child only."""
    try:
        visited = _BEFORE_USER if "user" in joined.fds else _BY_PARENT
        _go_there(plan, joined, [kind for kind in joined.fds if kind in visited])
        if "user" in joined.fds:
            namespace.setns(joined.fds["user"], namespace.CLONE_NEWUSER)
        pid, pidfd = namespace.clone3(flags | namespace.CLONE_PARENT)
        if pid == 0:
            os.close(report)
            return 0, pidfd
        os.write(report, b"pid %d" % pid)
    except OSError as error:
        os.write(report, b"error %d" % (error.errno or 0))
    except BaseException:  # nothing of ours may run on in this process
        os._exit(1)
    os._exit(0)
