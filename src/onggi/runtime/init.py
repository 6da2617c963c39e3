"""The first process of a container: `spawn` makes it wait before its command, `start` lets it run.

The caller is single-threaded. While the child joins its control groups and builds its mounts, the
parent brings the network in; see handshake.py for the order.
"""

import os
from collections.abc import Callable

from .. import trace
from ..errors import OnggiError
from ..linux import mount, namespace, process
from ..linux.cgroup import Cgroup
from ..typed import NoReturn
from . import become, child, cloning, guard, handshake, reaper, rootfs
from .child import Started, Step
from .plan import Hook, InitPlan, Listener
from .stdio import Streams

RunHooks = Callable[[str, tuple[Hook, ...], str], None]


class Created:
    """A container whose command has not been executed yet. `streams` are the caller's ends."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        streams: Streams,
        parent: handshake.ParentEnd,
        listener: Listener | None = None,
    ) -> None:
        self.pid = pid
        self.pid_start = process.start_time(pid) or 0
        self.pidfd = pidfd
        self.streams = streams
        self._parent = parent
        self._listener = listener

    def start(self) -> Started:
        """Execute the command. Raises CommandNotFound, CommandNotExecutable or OnggiError after
        having unwound everything."""
        try:
            self._parent.tell(handshake.START)
            self._parent.expect_exec(child.hand_over(self._listener, self.pid, self.pidfd))
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
    before_pivot: Callable[[int], None] | None = None,
    fifos: tuple[int, int] | None = None,
) -> Created:
    """Make the container, up to but not including its command.

    `prepare(pid)` runs in the parent when the namespaces exist and before the command can run: the
    place to bring a network in. `before_pivot(pid)` runs when the mounts are there and the root is
    still the host's. `fifos` are descriptors (open for reading and writing) over which another
    program will say START and hear the outcome, for `create` and `start` apart.
    Raises OnggiError, CommandNotFound and CommandNotExecutable included, and leaves nothing then.
    """
    birth = _Birth(plan, cgroup, before_pivot is not None, fifos)
    parent = birth.parent
    try:
        birth.open()
        pid, pidfd = cloning.clone(birth.plan, cgroup, birth.joined)
        if pid == 0:
            hidden = os.geteuid() == 0 or not birth.plan.uid_map
            child.run(birth.run_child, birth.end, birth.kept(), hidden=hidden)
    except BaseException:
        parent.close()
        birth.streams.close()
        raise
    finally:
        birth.close()
    trace.mark("container's process cloned")
    created = Created(pid, pidfd, birth.streams, parent, plan.process.listener)
    try:
        if birth.plan.uid_map:
            _admit(birth.plan, pid, parent, cgroup)
        _bring_up(pid, parent, prepare, before_pivot)
    except BaseException as error:
        _unwind(created, parent, error)
        raise
    return created


def _admit(plan: InitPlan, pid: int, parent: handshake.ParentEnd, cgroup: Cgroup | None) -> None:
    """Into its user namespace: the ids, and what only the host's root may set."""
    from ..linux import idmap

    if cloning.makes(plan, "user"):
        idmap.write_maps(pid, plan.uid_map, plan.gid_map)
    become.set_oom_score(plan.process.oom_score_adj, pid)
    if cgroup is not None and cgroup.version == 1:
        cgroup.add(pid)
    parent.tell(handshake.MAPPED)


def _bring_up(
    pid: int,
    parent: handshake.ParentEnd,
    prepare: Callable[[int], None] | None,
    before_pivot: Callable[[int], None] | None,
) -> None:
    """The parent's part, while the child mounts."""
    if prepare is not None:
        prepare(pid)
    if before_pivot is not None:
        parent.expect(handshake.BUILT)
        before_pivot(pid)
        parent.tell(handshake.PIVOT)
    parent.tell(handshake.GO)
    parent.expect(handshake.READY)
    trace.mark("container ready")


def _unwind(created: Created, parent: handshake.ParentEnd, error: BaseException) -> None:
    """Abort; when the parent's step failed because the child had failed, tell why it had."""
    child.reap(created.pid, created.pidfd)
    reason = None if isinstance(error, OnggiError) else parent.pending_error()
    created.abort()
    if reason is not None:
        raise reason from error


class _Birth:
    """One container on its way: what the parent opens for the child, and the child's steps."""

    def __init__(
        self, plan: InitPlan, cgroup: Cgroup | None, waits: bool, fifos: tuple[int, int] | None
    ) -> None:
        self.plan = plan
        self.streams = Streams(plan.process)
        self.parent, self.end = handshake.pair(handshake.CREATE_PREFIX)
        self.joined = cloning.Joined({})
        self._cgroup = cgroup
        self._waits = waits
        self._run_hooks: RunHooks | None = None
        self._fifos = fifos
        self._layers: list[int] = []
        self._preserved = range(0)
        self._proc_fd = -1
        self._parts = rootfs.Parts()

    def open(self) -> None:
        """What must be opened on the host, before there is a child."""
        self._preserved = child.preserved(self.plan.process)
        self.joined = cloning.open_namespaces(self.plan)
        self.plan = plan = cloning.with_maps(self.plan, self.joined)
        if plan.uid_map or any(wanted.is_mapped for wanted in plan.mounts):
            from . import mapped

            self._parts = mapped.gather(plan, self.joined.fds.get("user", -1))
            self.streams.owner = cloning.owner(plan.uid_map, plan.gid_map)
        elif plan.nested:
            self._parts = rootfs.Parts(binds_nodes=True)
        else:
            self.plan, self._layers = rootfs.mount_from_devices(plan)
        if plan.hooks is not None:
            from .hooks import run_inside

            self._run_hooks = run_inside
        if plan.process.tty:
            self.streams.open_new_terminal(plan)
        else:
            self.streams.open_pipes()

    def kept(self) -> tuple[int, ...]:
        return (
            *self.streams.child_side, *self.joined.fds.values(), *self._layers,
            *self._parts.fds(), *self._preserved, *self.plan.process.kept, *(self._fifos or ()),
            *(int(wanted.source) for wanted in self.plan.mounts if wanted.kind == "detached"),
        )  # fmt: skip

    def close(self) -> None:
        """The child's side, in the parent."""
        for fd in (self.end.go, self.end.report, *self._layers, *self._parts.fds()):
            os.close(fd)
        self.joined.close()
        self.streams.close_child_side()

    def run_child(self, step: Step) -> NoReturn:
        plan, end = self.plan, self.end
        os.umask(0)  # the modes that are asked for are the modes that are made
        if plan.uid_map:
            step.name = "enter the user namespace"
            end.wait(handshake.MAPPED)
            become.take_root()
        elif self._cgroup is not None:
            step.name = "join the control groups"
            self._cgroup.join()
            trace.mark("control groups joined")
        step.name = "join namespaces"
        cloning.join_rest(plan, self.joined)
        if not plan.uid_map:
            step.name = "set the OOM score"
            become.set_oom_score(plan.process.oom_score_adj)
        if plan.init:
            process.set_title(reaper.TITLE)
        self._proc_fd = become.open_proc(plan.process)
        tree = self._build(step)
        trace.mark("root file system")
        step.name = "pivot_root"
        guard.seal()
        os.fchdir(tree.root_fd)
        mount.pivot_root_here()
        if plan.propagation:
            mount.mount_setattr(
                tree.root_fd, propagation=plan.propagation, recursive=plan.propagation_recursive
            )
        trace.mark("pivoted")
        ready = self._get_ready(step, tree)
        step.name = "execute the command"
        if plan.init:
            reaper.fork_command(ready)
        trace.mark("told to go on")
        ready.execute(end)

    def _build(self, step: Step) -> rootfs.Tree:
        plan = self.plan
        step.name = "set up the root filesystem"
        tree = rootfs.build(plan, self._cgroup, self.streams, self._parts)
        _finish_tree(step, plan, tree)
        if self._waits:
            step.name = "wait for the hooks"
            self.end.tell(handshake.BUILT)
            self.end.wait(handshake.PIVOT)
        if plan.hooks and self._run_hooks:
            step.name = "run createContainer hooks"
            self._run_hooks("createContainer", plan.hooks.create_container, plan.hooks.state)
        return tree

    def _get_ready(self, step: Step, tree: rootfs.Tree) -> become.Ready:
        """From the container's root to the moment before its command."""
        plan, end = self.plan, self.end
        step.name = "wait for the parent"
        end.wait(handshake.GO)
        trace.mark("waited for the monitor")
        step.name = "unshare the cgroup namespace"
        if cloning.makes(plan, "cgroup"):
            namespace.unshare(namespace.CLONE_NEWCGROUP)
        step.name = "set up the process"
        ready = become.prepare(plan.process, tree.root_fd, self.streams.ends)
        ready.proc_fd = self._proc_fd
        trace.mark("user, capabilities, command found")
        end.tell(handshake.READY)
        if self._fifos is not None:
            end.go, end.report = self._fifos
        end.wait(handshake.START)
        if plan.hooks and self._run_hooks:
            step.name = "run startContainer hooks"
            self._run_hooks("startContainer", plan.hooks.start_container, plan.hooks.state)
        return ready


def _finish_tree(step: Step, plan: InitPlan, tree: rootfs.Tree) -> None:
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
