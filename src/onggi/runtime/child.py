"""A forked child on its way into a container: the frame around `init`'s and `join`'s own steps.

Owns what both need: the child keeps only the descriptors it was given, is not dumpable, never
returns into the parent's code, and turns any failure into one message to the parent.
"""

import fcntl
import os
from collections.abc import Callable, Iterable

from .. import trace
from ..errors import InvalidInput
from ..linux import process
from ..typed import NamedTuple, NoReturn
from . import become, handshake
from .plan import Listener, ProcessPlan
from .stdio import Streams


class Started(NamedTuple):
    """A running process. The descriptors are the caller's; -1 means there is none."""

    pid: int
    pid_start: int
    pidfd: int
    stdin_fd: int
    stdout_fd: int
    stderr_fd: int
    pty_fd: int


class Step:
    """The name of what is being done, for the error message."""

    def __init__(self) -> None:
        self.name = "start"


def run(
    body: Callable[[Step], NoReturn],
    channel: handshake.ChildEnd,
    keep: Iterable[int],
    *,
    hidden: bool = True,
) -> NoReturn:
    """The whole life of the child; `body` ends in execve or raises. Not `hidden` is a child whose
    parent, not root, has yet to write its ids: that needs the right to look at it."""
    trace.born("container")
    step = Step()
    try:
        become.reset_signals()
        process.set_dumpable(not hidden)
        close_others({channel.go, channel.report, *keep, *trace.descriptors()})
        trace.mark("signals, descriptors")
        body(step)
    except BaseException as error:  # the child's entry loop: nothing may pass it
        channel.tell(handshake.pack_error(error, step.name))
    finally:
        os._exit(1)


def preserved(plan: ProcessPlan) -> range:
    """The caller's descriptors that the command gets. Raises InvalidInput when one is not open:
    all that we open ourselves is close-on-exec, so what is not was handed to us."""
    numbers = range(3, 3 + plan.preserve_fds)
    for fd in numbers:
        try:
            ours = fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            ours = True
        if ours:
            raise InvalidInput(f"cannot preserve descriptor {fd}: it is not open")
    return numbers


def close_others(keep: set[int]) -> None:
    """Close everything but the standard streams and `keep`: the child may wait for long, and must
    not hold the parent's locks, sockets or databases meanwhile."""
    first = 3
    for fd in sorted(fd for fd in keep if fd >= 3):
        process.close_range(first, fd - 1)
        first = fd + 1
    process.close_range(first)


def started(pid: int, pid_start: int, pidfd: int, streams: Streams) -> Started:
    return Started(
        pid, pid_start, pidfd,
        streams.stdin_fd, streams.stdout_fd, streams.stderr_fd, streams.pty_fd,
    )  # fmt: skip


def hand_over(wanted: Listener | None, pid: int, pidfd: int) -> Callable[[int], None] | None:
    """What to do with the seccomp listener that a process tells."""
    if wanted is None:
        return None

    def act(number: int) -> None:
        from . import listener

        listener.hand_over(wanted, pid, pidfd, number)

    return act


def reap(pid: int, pidfd: int) -> None:
    """Kill our own unreaped child and take its status; done already is no error."""
    try:
        process.pidfd_send_signal(pidfd, 9)
    except ProcessLookupError:
        pass
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
