"""A command in a root filesystem without any isolation: proot, where the kernel gives nothing else.

proot (from the distribution) traces the command and changes the paths of its system calls. Nothing
is kept from the command that the user may do: it sees the host's processes and network, and it is
no security boundary. `spawn` has init's interface, so that all around it is as ever.

    monitor ──fork──> we stay: pass signals on, end as it ended ──fork──> proot ──ptrace──> command
"""

import os
import select
import time
from collections.abc import Callable

from .. import signals as signal
from ..errors import Unavailable, Unsupported
from ..linux import answers, mount, process, safefs, tools
from ..typed import NoReturn
from . import become, child, command, handshake, identity, init
from .plan import InitPlan, PlanMount, ProcessPlan
from .stdio import Ends, Streams

TITLE = "onggi: passes signals to a command under proot"
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
              signal.SIGUSR2, signal.SIGCONT, signal.SIGWINCH)  # fmt: skip
_FIRST_CHILD_S = 2.0
_HOST_PATHS = ("/dev", "/proc", "/sys")


def find() -> str:
    """The program. Raises Unavailable with the package that has it."""
    try:
        return tools.find("proot")
    except Unavailable as error:
        raise Unavailable(f"no isolation is to be had here, and {error.message}",
                          hint=error.hint) from error  # fmt: skip


def spawn(plan: InitPlan, scratch: str, prepare: Callable[[int], None] | None) -> init.Created:
    """See init.spawn. `scratch` is a directory for what proot and tmpfs mounts need."""
    root = mount.mount_overlay(plan.root)  # type: ignore[arg-type]
    try:
        binds = _binds(plan.mounts, scratch)
        if plan.make_cwd:
            os.close(safefs.mkdirs_in_root(root, plan.process.cwd))
        return _spawn(plan.process, root, binds, scratch, prepare, handshake.CREATE_PREFIX)
    finally:
        os.close(root)


def join(
    plan: ProcessPlan, root: str, mounts: tuple[PlanMount, ...], scratch: str
) -> child.Started:
    """Another command in the same tree."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        binds = _binds(mounts, scratch)
        return _spawn(plan, fd, binds, scratch, None, handshake.EXEC_PREFIX).start()
    finally:
        os.close(fd)


def _binds(mounts: tuple[PlanMount, ...], scratch: str) -> list[str]:
    """proot's words for what can be had of a plan's mounts."""
    words = [f"--bind={path}" for path in _HOST_PATHS]
    for index, wanted in enumerate(mounts):
        source = wanted.source
        if wanted.kind == "detached":
            source = os.readlink(f"/proc/self/fd/{source}")
            if not source.startswith("/"):
                raise Unsupported(f"{wanted.target}: without isolation nothing can be mounted")
        elif wanted.kind == "tmpfs" and not wanted.target.startswith("/dev"):
            source = f"{scratch}/tmpfs-{index}"  # noqa: S108 - a directory of ours
            os.makedirs(source, 0o755, exist_ok=True)
        elif wanted.kind != "bind":
            continue
        words.append(f"--bind={source}:{wanted.target}")
    return words


def _spawn(
    plan: ProcessPlan,
    root: int,
    binds: list[str],
    scratch: str,
    prepare: Callable[[int], None] | None,
    prefix: str,
) -> init.Created:
    program = find()
    process.set_subreaper()  # what proot leaves behind comes to us, to be ended
    streams = Streams(plan)
    parent, end = handshake.pair(prefix)
    try:
        _open(streams, plan)
        ready = _Ready(program, plan, root, binds, scratch, streams.ends)
        pid = os.fork()
        if pid == 0:
            keep = (*streams.child_side, root)
            child.run(lambda step: ready.run(step, end), end, keep, hidden=False)
    except BaseException:
        parent.close()
        streams.close()
        raise
    finally:
        os.close(end.go)
        os.close(end.report)
        streams.close_child_side()
    created = init.Created(pid, process.pidfd_open(pid), streams, parent)
    try:
        if prepare is not None:
            prepare(pid)
        parent.tell(handshake.GO)
        parent.expect(handshake.READY)
    except BaseException:
        created.abort()
        raise
    return created


def _open(streams: Streams, plan: ProcessPlan) -> None:
    if plan.tty:
        streams.open_host_terminal()
    else:
        streams.open_pipes()


class _Ready:
    def __init__(
        self, program: str, plan: ProcessPlan, root: int, binds: list[str], scratch: str, ends: Ends
    ) -> None:
        self._plan = plan
        self._root = root
        self._ends = ends
        self._program = program
        self._tree = os.readlink(f"/proc/self/fd/{root}")
        self._binds = binds
        self._scratch = scratch

    def run(self, step: child.Step, end: handshake.ChildEnd) -> NoReturn:
        plan = self._plan
        step.name = "set up the process"
        end.wait(handshake.GO)
        who = become.look_up(plan, self._root)
        env = become.environment(plan, who.home)
        become.limit(plan)
        path = command.find_below(plan.args[0], env, self._root, plan.cwd or "/")
        argv = [*self._words(who), path, *plan.args[1:]]
        end.tell(handshake.READY)
        end.wait(handshake.START)
        step.name = "execute the command"
        become.attach(self._ends, plan.preserve_fds)
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
        pid = os.fork()
        if pid == 0:
            process.set_parent_death_signal(signal.SIGKILL)
            self._take_foreground()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            process.set_no_new_privileges()
            answers.newer_than_proot()
            os.execve(self._program, argv, {**env, "PROOT_TMP_DIR": self._scratch})  # noqa: S606
        _stand_by(pid, end)

    def _take_foreground(self) -> None:
        """What the terminal says goes to the command alone, not to who passes signals on, too."""
        os.setpgid(0, 0)
        if self._ends.is_terminal:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)

    def _words(self, who: identity.Identity) -> list[str]:
        return [
            self._program, "--verbose=-1", f"--change-id={who.uid}:{who.gid}",
            f"--rootfs={self._tree}", f"--cwd={self._plan.cwd or '/'}", *self._binds,
        ]  # fmt: skip


def _stand_by(proot: int, end: handshake.ChildEnd) -> NoReturn:
    """Pass signals on to the command, which proot itself does not; when it has ended, end what it
    left behind, which proot would wait for; end as it did."""
    os.close(end.report)
    process.set_title(TITLE)
    for number in (0, 1, 2):
        os.close(number)  # the streams are the command's alone: they end with it
    wake = _wake_for((*_PASSED_ON, signal.SIGCHLD))
    command_fd = _command_of(proot)
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if command_fd >= 0:
        poll.register(command_fd, select.POLLIN)
    else:
        _kill_traced(proot)
    while True:
        for fd, _ in poll.poll():
            if fd == command_fd:
                poll.unregister(command_fd)
                _kill_traced(proot)
                continue
            for number in os.read(wake, 64):
                if number != signal.SIGCHLD:
                    _send(command_fd, number)
                    continue
                done, status = os.waitpid(proot, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                    os._exit(code if code >= 0 else 128 - code)


def _wake_for(numbers: tuple[int, ...]) -> int:
    """A descriptor from which the numbers of these signals are read."""
    wake, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return wake


def _command_of(proot: int) -> int:
    """A pidfd of its first child; -1 when that has ended so soon that nobody saw it."""
    deadline = time.monotonic() + _FIRST_CHILD_S
    while time.monotonic() < deadline:
        for pid in process.children(proot)[:1]:
            try:
                return process.pidfd_open(pid)
            except OSError:
                return -1
        if os.waitid(os.P_PID, proot, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return -1
        time.sleep(0.002)
    return -1


def _send(pidfd: int, number: int) -> None:
    try:
        process.pidfd_send_signal(pidfd, number)
    except OSError:
        pass  # it has ended


def _kill_traced(proot: int) -> None:
    mark = f"TracerPid:\t{proot}\n"
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            pidfd = process.pidfd_open(int(name))
        except OSError:
            continue
        try:
            with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file:
                if mark in file.read():
                    process.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            continue
        finally:
            os.close(pidfd)


def end_rest() -> None:
    """Kill what the commands have left behind. Only where every child of ours is a command."""
    for _ in range(64):
        left = process.children(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                pidfd = process.pidfd_open(pid)
            except OSError:
                continue
            try:
                process.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            finally:
                os.close(pidfd)
