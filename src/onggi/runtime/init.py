"""The first process of a container: `spawn` makes it wait before its command, `start` lets it run.

The caller is single-threaded. While the child builds its mounts, the parent joins the control
groups (10 ms on an idle cgroup v1 host) and brings the network in; see handshake.py for the order.
"""

import os
from collections.abc import Callable
from typing import NoReturn

from ..errors import Conflict, OnggiError
from ..linux import mount, namespace, process
from ..linux.cgroup import Cgroup
from . import become, child, guard, handshake, reaper, rootfs
from .child import Started
from .plan import InitPlan, Namespace
from .stdio import Streams


class Created:
    """A container whose command has not been executed yet. `streams` are the caller's ends."""

    def __init__(self, pid: int, pidfd: int, streams: Streams, parent: handshake.ParentEnd) -> None:
        self.pid = pid
        self.pid_start = process.start_time(pid) or 0
        self.pidfd = pidfd
        self.streams = streams
        self._parent = parent

    def start(self) -> Started:
        """Execute the command. Raises CommandNotFound, CommandNotExecutable or OnggiError after
        having unwound everything."""
        try:
            self._parent.tell(handshake.START)
            self._parent.expect_exec()
        except BaseException:
            self.abort()
            raise
        self._parent.close()
        return child.started(self.pid, self.pid_start, self.pidfd, self.streams)

    def release(self) -> Started:
        """Give the waiting process up to another program, which starts it through the fifos."""
        self._parent.close()
        return child.started(self.pid, self.pid_start, self.pidfd, self.streams)

    def abort(self) -> None:
        """Leave nothing: process, descriptors. The control group is the caller's."""
        if self.pidfd < 0:
            return
        child.reap(self.pid, self.pidfd)
        os.close(self.pidfd)
        self.pidfd = -1
        self._parent.close()
        self.streams.close()


def spawn(
    plan: InitPlan,
    *,
    cgroup: Cgroup | None = None,
    prepare: Callable[[int], None] | None = None,
    fifos: tuple[int, int] | None = None,
) -> Created:
    """Make the container, up to but not including its command.

    `prepare(pid)` runs in the parent when the namespaces exist and before the command can run: the
    place to bring a network in. `fifos` are descriptors (open for reading and writing) over which
    another program will say START and hear the outcome, for `create` and `start` apart.
    Raises OnggiError, CommandNotFound and CommandNotExecutable included, and leaves nothing then.
    """
    streams = Streams(plan.process)
    parent, end = handshake.pair(handshake.CREATE_PREFIX)
    joined: list[tuple[str, int]] = []
    layers: list[int] = []
    try:
        plan, layers = rootfs.mount_from_devices(plan)
        if plan.process.tty:
            streams.open_new_terminal(plan)
        else:
            streams.open_pipes()
        joined = [(n.kind, open_namespace(n)) for n in plan.namespaces if not n.is_new]
        pid, pidfd = _clone(plan, cgroup, dict(joined))
        if pid == 0:
            lent = (int(wanted.source) for wanted in plan.mounts if wanted.kind == "detached")
            keep = (*streams.child_side, *(fd for _, fd in joined), *layers, *(fifos or ()), *lent)
            child.run(
                lambda step: _child(step, plan, cgroup, streams, joined, end, fifos), end, keep
            )
    except BaseException:
        parent.close()
        streams.close()
        raise
    finally:
        for fd in (end.go, end.report, *(fd for _, fd in joined), *layers):
            os.close(fd)
        streams.close_child_side()
    created = Created(pid, pidfd, streams, parent)
    try:
        _bring_up(pid, parent, cgroup, prepare)
    except BaseException as error:
        _unwind(created, parent, error)
        raise
    return created


def _bring_up(
    pid: int,
    parent: handshake.ParentEnd,
    cgroup: Cgroup | None,
    prepare: Callable[[int], None] | None,
) -> None:
    """The parent's part, while the child mounts."""
    if cgroup is not None and cgroup.version != 2:
        cgroup.add(pid)
    if prepare is not None:
        prepare(pid)
    parent.tell(handshake.GO)
    parent.expect_ready()


def _unwind(created: Created, parent: handshake.ParentEnd, error: BaseException) -> None:
    """Abort; when the parent's step failed because the child had failed, tell why it had."""
    child.reap(created.pid, created.pidfd)
    reason = None if isinstance(error, OnggiError) else parent.pending_error()
    created.abort()
    if reason is not None:
        raise reason from error


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


def _clone(plan: InitPlan, cgroup: Cgroup | None, joined: dict[str, int]) -> tuple[int, int]:
    flags = namespace.CLONE_NEWNS
    for wanted in plan.namespaces:
        if wanted.is_new and wanted.kind != "cgroup":  # that one when the group is joined
            flags |= namespace.FLAGS[wanted.kind]
    cgroup_fd = cgroup.open_fd() if cgroup is not None else None
    try:
        return in_pid_namespace(
            joined.get("pid"), lambda: namespace.clone3(flags, cgroup_fd=cgroup_fd)
        )
    finally:
        if cgroup_fd is not None:
            os.close(cgroup_fd)


def in_pid_namespace(fd: int | None, make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Fork into another pid namespace (of a namespace file or a pidfd): joining one only counts for
    children, so the parent joins, forks, and comes back."""
    if fd is None:
        return make()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.setns(fd, namespace.CLONE_NEWPID)
        pid, pidfd = make()
        if pid:
            namespace.setns(own, namespace.CLONE_NEWPID)
        return pid, pidfd
    finally:
        os.close(own)


def _child(
    step: child.Step,
    plan: InitPlan,
    cgroup: Cgroup | None,
    streams: Streams,
    joined: list[tuple[str, int]],
    end: handshake.ChildEnd,
    fifos: tuple[int, int] | None,
) -> NoReturn:
    os.umask(0)  # the modes that are asked for are the modes that are made
    step.name = "join namespaces"
    for kind, fd in joined:
        if kind != "pid":
            namespace.setns(fd, namespace.FLAGS[kind])
    step.name = "set the OOM score"
    become.set_oom_score(plan.process.oom_score_adj)
    if plan.init:
        process.set_title(reaper.TITLE)
    step.name = "set up the root filesystem"
    tree = rootfs.build(plan, cgroup, streams.devpts_fd, streams.terminal_name)
    _finish_tree(step, plan, tree)
    step.name = "pivot_root"
    guard.seal()
    os.fchdir(tree.root_fd)
    mount.pivot_root_here()
    step.name = "wait for the parent"
    end.wait(handshake.GO)
    step.name = "unshare the cgroup namespace"
    if any(wanted.is_new and wanted.kind == "cgroup" for wanted in plan.namespaces):
        namespace.unshare(namespace.CLONE_NEWCGROUP)
    step.name = "set up the process"
    ready = become.prepare(plan.process, tree.root_fd, streams.ends)
    end.tell(handshake.READY)
    if fifos is not None:
        end.go, end.report = fifos
    end.wait(handshake.START)
    step.name = "execute the command"
    if plan.init:
        reaper.fork_command(ready)
    ready.execute()


def _finish_tree(step: child.Step, plan: InitPlan, tree: rootfs.Tree) -> None:
    """What still needs a writable root and the host's rights."""
    step.name = "set names"
    _set_names(plan)
    if plan.make_cwd:
        _make_working_directory(tree, plan.process.cwd)
    if plan.read_only:
        mount.mount_setattr(tree.root_fd, set_attributes=mount.RDONLY)


def _make_working_directory(tree: rootfs.Tree, path: str) -> None:
    try:
        os.close(tree.make(path, directory=True))
    except OSError as error:
        raise become.cwd_error(path, error) from error


def _set_names(plan: InitPlan) -> None:
    if plan.hostname:
        namespace.sethostname(plan.hostname)
    if plan.domainname:
        namespace.setdomainname(plan.domainname)
