"""The last part of a process's way into the container, common to `init` and `join`.

From a child with the host's root credentials inside the container's namespaces to execve of the
command: limits, directory, user, capabilities, terminal, seccomp filter.

Order: the filter is loaded last and needs CAP_SYS_ADMIN (unless no_new_privs is set), so that one
capability stays in the permitted and effective sets until execve, which removes it by itself: the
bounding set no longer has it, and for a user other than root only the ambient set survives. Nothing
but execve runs under the filter, so a filter may forbid everything that set-up needs.
"""

import errno
import fcntl
import os
import termios

from .. import signals as signal
from ..errors import InvalidInput, OnggiError
from ..linux import (
    answers,
    capability,
    landlock,
    lsm,
    process,
    rlimit,
    safefs,
    seccomp,
    springboard,
)
from ..linux.libc import syscall
from ..typed import NoReturn
from . import command, handshake, identity
from .plan import ProcessPlan, Scheduling
from .stdio import Ends

LIBRARY_SIGNALS = (32, 33)  # glibc: cancellation and setxid (nptl/pthreadP.h)
_EVERY_SIGNAL = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]


class Ready:
    """A process all set to execute its command."""

    def __init__(self, plan: ProcessPlan, path: str, env: dict[str, str], ends: Ends) -> None:
        self.plan = plan
        self.path = path
        self.env = env
        self.ends = ends
        self.writable: list[int] | None = None
        self.proc_fd = -1  # where the labels are set

    def execute(self, end: handshake.ChildEnd) -> NoReturn:
        """Session, terminal, descriptors, filter, execve."""
        attach(self.ends, self.plan.preserve_fds, self.plan.kept)
        spring = open_springboard(self.plan, end)
        set_labels(self.plan, self.proc_fd)
        if self.plan.one_id:
            answers.owners()
        if self.plan.landlock is not None:
            landlock.restrict(self.plan.landlock.scopes, self.writable)
        if self.plan.listener is None:
            load_filter(self.plan)
        else:  # the parent must take the listener first: under the filter anything may wait for it
            flags = self.plan.seccomp_flags | seccomp.NEW_LISTENER
            fd = seccomp.load(self.plan.seccomp_program, flags)
            end.tell(handshake.LISTENER + b"%d" % fd)
            end.wait(handshake.TAKEN)
        if spring >= 0:
            fcntl.fcntl(end.report, fcntl.F_SETFD, 0)  # it reports, and sets it again
            try:
                os.execve(spring, (self.path, *self.plan.args), self.env)  # noqa: S606
            except OSError:
                fcntl.fcntl(end.report, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        try:
            os.execve(self.path, self.plan.args, self.env)  # noqa: S606
        except OSError as error:
            raise command.exec_refusal(self.path, error) from error


def reset_signals() -> None:
    """Default actions and an empty mask. Called first thing in a child: a handler of the parent's
    must not run here, and ignored signals would stay ignored in the container. Two signals the C
    library keeps from us; whoever started us may have ignored them all the same."""
    signal.set_wakeup_fd(-1)
    for number in _EVERY_SIGNAL:
        signal.signal(number, signal.SIG_DFL)
    for number in LIBRARY_SIGNALS:
        syscall("rt_sigaction", number, bytes(32), None, 8)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def set_oom_score(adjustment: int | None, pid: int | str = "self") -> None:
    """Through the host's /proc, so before pivot_root. Lowering it may be refused: best effort."""
    if adjustment is None:
        return
    fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(adjustment).encode())
    except PermissionError:
        pass
    finally:
        os.close(fd)


def take_root() -> None:
    """Be root of the user namespace that we are in. A namespace without a root, or one that may
    not set groups, leaves us what we are."""
    try:
        os.setgroups(())
    except PermissionError:
        pass
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    process.set_dumpable(False)


def schedule(wanted: Scheduling) -> None:
    """Before the capabilities go that this needs."""
    if wanted.processors:
        os.sched_setaffinity(0, wanted.processors)
    if wanted.policy is not None:
        process.set_scheduler(*wanted.policy)
    if wanted.io_priority is not None:
        process.set_io_priority(*wanted.io_priority)
    if wanted.personality is not None:
        process.set_personality(wanted.personality)


def prepare(plan: ProcessPlan, root_fd: int, ends: Ends) -> Ready:
    """Everything that may still fail with a message; the process is the user's afterwards."""
    if plan.scheduling is not None:
        schedule(plan.scheduling)
    who = look_up(plan, root_fd)
    if plan.one_id:
        who = identity.Identity(0, 0, (), who.home)
    env = environment(plan, who.home)
    writable = None
    if plan.landlock is not None and plan.landlock.writable is not None:
        writable = [safefs.open_in_root(root_fd, p, os.O_PATH) for p in plan.landlock.writable]
    rlimit.apply(rlimit.clamp(plan.rlimits)[0])
    process.join_new_session_keyring()
    give(ends, who.uid)
    enter_directory(plan.cwd, root_fd)
    if plan.no_new_privileges:
        process.set_no_new_privileges()
    take_credentials(plan, who)
    process.set_dumpable(False)  # a change of user made it what fs.suid_dumpable says
    os.umask(plan.umask)
    path = command.find(plan.args[0], env, root_fd)
    ready = Ready(plan, path, env, ends)
    ready.writable = writable
    return ready


def limit(plan: ProcessPlan) -> None:
    """What a process may have that is the user's own otherwise."""
    rlimit.apply(rlimit.clamp(plan.rlimits)[0])
    os.umask(plan.umask)


def look_up(plan: ProcessPlan, root_fd: int) -> identity.Identity:
    files = []
    for path in ("/etc/passwd", "/etc/group"):
        try:
            files.append(safefs.read_file_in_root(root_fd, path, identity.MAX_FILE_BYTES))
        except OSError as error:
            if not plan.user and not plan.group_add:
                files.append(None)  # root needs no file
                continue
            text = (error.strerror or "").lower()
            raise InvalidInput(
                f"unable to find user {plan.user}: {path} of the image: {text}"
            ) from error
    return identity.resolve(plan.user, plan.group_add, *files)


def environment(plan: ProcessPlan, home: str) -> dict[str, str]:
    """K=V strings as a dictionary; the last of a name wins. HOME as docker sets it."""
    env: dict[str, str] = {}
    for entry in plan.env:
        name, equals, value = entry.partition("=")
        if name and equals:
            env[name] = value
    if plan.set_home and not env.get("HOME"):
        env["HOME"] = home
    return env


def give(ends: Ends, uid: int) -> None:
    """The user owns its pipes and terminal: programs reopen /dev/stdout by path."""
    for fd in ends.owned:
        try:
            os.fchown(fd, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                raise


def enter_directory(path: str, root_fd: int) -> None:
    """Refuses magic links such as /proc/self/fd/N and anything outside the root (A2)."""
    try:
        fd = safefs.open_in_root(root_fd, path or "/", safefs.O_PATH_DIRECTORY)
        os.fchdir(fd)
        os.close(fd)
        if not os.getcwd().startswith("/"):
            raise OSError(errno.EXDEV, "it is outside of the container")
    except OSError as error:
        raise cwd_error(path, error) from error


def cwd_error(path: str, error: OSError) -> OnggiError:
    text = (error.strerror or "").lower()
    return InvalidInput(f'chdir to cwd ("{path}") set in config.json failed: {text}')


def take_credentials(plan: ProcessPlan, who: identity.Identity) -> None:
    """See the module's text for why SYS_ADMIN stays a little longer."""
    wanted, present = plan.capabilities, capability.held()
    bounding = wanted.bounding & present
    capability.drop_bounding(bounding)
    set_groups(who)
    os.setresgid(who.gid, who.gid, who.gid)
    process.set_keep_capabilities(True)
    os.setresuid(who.uid, who.uid, who.uid)
    process.set_keep_capabilities(False)
    filters = bool(plan.seccomp_program or plan.landlock or plan.one_id)
    filter_needs = capability.SYS_ADMIN & present if filters else 0
    permitted = wanted.permitted & present
    ambient = wanted.ambient & permitted & wanted.inheritable
    # Looking for the command must not use rights that the command will not have.
    effective = wanted.effective & permitted if who.uid == 0 else ambient
    capability.capset(
        effective | filter_needs, permitted | filter_needs, wanted.inheritable & bounding
    )
    capability.set_ambient(ambient)


def set_groups(who: identity.Identity) -> None:
    """A user namespace of an unprivileged user has no groups to set, only its own one."""
    try:
        os.setgroups(who.groups)
    except PermissionError:
        if not {*who.groups} <= {who.gid}:
            raise


def drop_set_up_rights(plan: ProcessPlan, uid: int) -> None:
    """For a process that stays and never executes: what execve would have done."""
    wanted, present = plan.capabilities, capability.held()
    keep = wanted.permitted & present if uid == 0 else wanted.ambient & present
    capability.capset(keep, keep, wanted.inheritable & present)


def attach(ends: Ends, preserve_fds: int = 0, kept: tuple[int, ...] = ()) -> None:
    """A session of its own, the terminal, and descriptors 0, 1 and 2; the rest closes at execve."""
    os.setsid()
    for number, fd in enumerate((ends.stdin, ends.stdout, ends.stderr)):
        if fd >= 0:
            os.dup2(fd, number)
        else:  # inherited
            fcntl.fcntl(number, fcntl.F_SETFD, 0)
    if ends.is_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for fd in range(3, 3 + preserve_fds):
        fcntl.fcntl(fd, fcntl.F_SETFD, 0)
    process.close_range_cloexec(3 + preserve_fds)
    for fd in kept:
        fcntl.fcntl(fd, fcntl.F_SETFD, 0)


def open_springboard(plan: ProcessPlan, end: handshake.ChildEnd) -> int:
    """What is executed first, so that the command's name cannot come to mean our interpreter (A1);
    -1 where that cannot be: then only the look at the name before stands in the way. SELinux lets
    a label begin with files of certain types only, and a memory file has none of them."""
    if plan.labels.selinux:
        return -1
    try:
        return springboard.make(end.report) if springboard.passes(plan.seccomp_program) else -1
    except OSError:
        return -1


def set_labels(plan: ProcessPlan, proc_fd: int) -> None:
    for module, label in plan.labels.of_process:
        lsm.set_exec_label(proc_fd, module, label)


def open_proc(plan: ProcessPlan) -> int:
    """For `set_labels`; opened while the host's mounts are there. -1 where nothing is to be set."""
    return lsm.open_proc() if plan.labels.of_process else -1


def load_filter(plan: ProcessPlan) -> None:
    if plan.seccomp_program:
        seccomp.load(plan.seccomp_program, plan.seccomp_flags)
