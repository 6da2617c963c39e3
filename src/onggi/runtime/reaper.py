"""Process 1 for `--init`: passes signals on, reaps orphans, and ends as the command ends."""

import os
import signal

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
    signals: set[int] = {*_PASSED_ON, signal.SIGCHLD}
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
        status = _serve(pid, signals)
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


def _pass_on(command: int, number: int) -> None:
    try:
        os.kill(command, number)  # our own child, not reaped yet
    except ProcessLookupError:
        pass
