"""A further process in a running container: `join` returns when it executes its command.

One fork: the parent takes only the pid namespace for its child and comes back; the child enters the
others by the pidfd of the container's first process, so no namespace is looked up by path.
"""

import os

from .. import trace
from ..errors import Conflict, Forbidden, OnggiError
from ..linux import namespace, process, safefs
from ..linux.cgroup import Cgroup
from ..typed import NoReturn
from . import become, child, guard, handshake, reaper
from .child import Started
from .cloning import in_pid_namespace
from .plan import JoinPlan
from .stdio import Streams


def join(plan: JoinPlan, cgroup: Cgroup | None = None) -> Started:
    """Raises Conflict when the container is not running, CommandNotFound, CommandNotExecutable,
    InvalidInput; leaves nothing then."""
    preserved = child.preserved(plan.process)
    target = process.open_process(plan.pid, plan.pid_start)
    if target is None:
        raise Conflict("the container is not running")
    if plan.nested:
        plan = _without_our_own(plan)
    streams = Streams(plan.process)
    if plan.owner != (0, 0):
        streams.owner = plan.owner
    parent, end = handshake.pair(handshake.EXEC_PREFIX)
    try:
        if plan.process.tty:
            streams.open_terminal_of(plan.pid)
            if not process.pidfd_alive(target):  # its number may have been another's by then
                raise Conflict("the container is not running")
        else:
            streams.open_pipes()
        pid, pidfd = _clone(plan, cgroup, target)
        if pid == 0:
            keep = (*streams.child_side, target, *preserved)
            child.run(lambda step: _child(step, plan, streams, end, target, cgroup), end, keep)
    except BaseException:
        parent.close()
        streams.close()
        raise
    finally:
        for fd in (end.go, end.report, target):
            os.close(fd)
        streams.close_child_side()
    return _bring_up(plan, pid, pidfd, parent, streams, cgroup)


def _without_our_own(plan: JoinPlan) -> JoinPlan:
    """Namespaces of the host that the container shares: we are in them, and may not join them."""

    def differs(kind: str) -> bool:
        name = namespace.PROC_NAMES[kind]
        theirs, ours = (os.stat(f"/proc/{pid}/ns/{name}").st_ino for pid in (plan.pid, "self"))
        return theirs != ours

    return plan._replace(namespaces=tuple(kind for kind in plan.namespaces if differs(kind)))


def _bring_up(
    plan: JoinPlan,
    pid: int,
    pidfd: int,
    parent: handshake.ParentEnd,
    streams: Streams,
    cgroup: Cgroup | None,
) -> Started:
    """The parent's part; unwinds on failure, and tells the child's reason if it had one."""
    try:
        if cgroup is not None and cgroup.version == 1 and "user" in plan.namespaces:
            cgroup.add(pid)  # it has no right to move itself any more
        parent.tell(handshake.GO + handshake.START)
        parent.expect_exec(child.hand_over(plan.process.listener, pid, pidfd))
        trace.mark("command executed")
        return child.started(pid, process.start_time(pid) or 0, pidfd, streams)
    except BaseException as error:
        child.reap(pid, pidfd)
        os.close(pidfd)
        streams.close()
        reason = None if isinstance(error, OnggiError) else parent.pending_error()
        if reason is not None:
            raise reason from error
        raise
    finally:
        parent.close()


def _clone(plan: JoinPlan, cgroup: Cgroup | None, target: int) -> tuple[int, int]:
    cgroup_fd = cgroup.open_fd() if cgroup is not None else None
    try:
        return in_pid_namespace(
            target if "pid" in plan.namespaces else None,
            lambda: namespace.clone3(cgroup_fd=cgroup_fd),
        )
    except PermissionError as error:
        raise Forbidden(
            f"cannot enter the container's control group: {error.strerror}",
            hint="it was delegated to the session that started the container: run this there",
        ) from error
    except OSError as error:  # ESRCH, ENOMEM: the container's first process has just ended
        raise Conflict(f"the container is not running: {error.strerror}") from error
    finally:
        if cgroup_fd is not None:
            os.close(cgroup_fd)


def _child(
    step: child.Step,
    plan: JoinPlan,
    streams: Streams,
    end: handshake.ChildEnd,
    target: int,
    cgroup: Cgroup | None,
) -> NoReturn:
    step.name = "set the OOM score"
    become.set_oom_score(plan.process.oom_score_adj)
    if plan.reap:
        process.set_title(reaper.TITLE)  # it stays to be seen by the container
    wanted = plan.process.scheduling
    if wanted is not None and wanted.first_processors:
        os.sched_setaffinity(0, wanted.first_processors)
    if cgroup is not None and "user" not in plan.namespaces:
        step.name = "join the control groups"  # before the namespace that hides them
        cgroup.join()
    step.name = "join the container's namespaces"
    proc_fd = become.open_proc(plan.process)
    guard.seal()
    flags = sum(namespace.FLAGS[kind] for kind in plan.namespaces if kind != "pid")
    end.wait(handshake.GO)
    trace.mark("waited for the monitor")
    namespace.setns(target, flags)
    if "user" in plan.namespaces:
        become.take_root()
    os.close(target)
    root_fd = safefs.openat2(-100, "/", safefs.O_PATH_DIRECTORY)
    step.name = "set up the process"
    ready = become.prepare(plan.process, root_fd, streams.ends)
    ready.proc_fd = proc_fd
    trace.mark("namespaces, user, capabilities, command found")
    end.wait(handshake.START)
    step.name = "execute the command"
    if plan.reap:
        reaper.fork_check(ready)
    ready.execute(end)
