"""Process 1 for `--init`: passes signals on, reaps orphans, and ends as the command ends. And the
small one above a health check, which kills and reaps what the check leaves."""

import os
from collections.abc import Callable

from .. import signals as signal
from ..linux import process
from . import become
from .become import Ready

TITLE = "onggi-init"
_PASSED_ON: list[int] = [
    number
    for number in signal.valid_signals()
    if number
    not in (signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS,
            signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
            signal.SIGTTIN, signal.SIGTTOU)
]  # fmt: skip


def fork_command(ready: Ready) -> None:
    """Returns in the child, which executes the command. The parent stays as process 1, under the
    same filter and with the command's capabilities, and never returns."""
    _fork_below(ready, _serve, {*_PASSED_ON, signal.SIGCHLD})


def fork_check(ready: Ready) -> None:
    """The same for a health check. The reaper is not process 1: SIGTERM makes it kill the command's
    process group, which has ended, and been reaped, when it ends itself. Many a process 1 reaps
    nothing, and a check that hangs twice a minute would fill the process table."""
    process.set_subreaper()
    _fork_below(ready, _serve_check, {signal.SIGTERM, signal.SIGCHLD})


def _fork_below(ready: Ready, serve: Callable[[int, set[int]], int], signals: set[int]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    status = 1
    try:
        process.close_range(0)  # the command's streams are the command's alone
        process.set_no_new_privileges()  # it executes nothing; the filter needs no capability then
        become.drop_set_up_rights(ready.plan, os.getuid())
        become.load_filter(ready.plan)
        status = serve(pid, signals)
    finally:
        os._exit(status)


def _serve(command: int, signals: set[int]) -> int:
    """The command's status, as a shell says it."""
    while True:
        number = signal.sigwaitinfo(signals).si_signo
        if number != signal.SIGCHLD:
            _pass_on(command, number)
            continue
        while True:  # SIGCHLDs coalesce
            pid, status = os.waitpid(-1, os.WNOHANG)  # every orphan of the container is ours
            if pid == command:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def _serve_check(command: int, signals: set[int]) -> int:
    while True:
        if signal.sigwaitinfo(signals).si_signo == signal.SIGTERM:
            _kill_group(command)
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == command:
                return _bury_group(command)
            os.waitpid(ended.si_pid, 0)


def _bury_group(command: int) -> int:
    """The command's status, with all of its process group reaped. A zombie still holds its number,
    so the group is killed before the command is reaped."""
    _kill_group(command)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    try:
        while True:  # a dead process's children are ours before it can be reaped
            os.waitpid(-command, 0)
    except ChildProcessError:
        return code if code >= 0 else 128 - code


def _kill_group(command: int) -> None:
    try:
        os.killpg(command, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _pass_on(command: int, number: int) -> None:
    try:
        os.kill(command, number)  # our own child, not reaped yet
    except ProcessLookupError:
        pass
