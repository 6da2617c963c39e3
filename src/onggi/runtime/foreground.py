"""A foreground `run` or `exec` of onggi-runtime: the caller's terminal, signals, and the exit code.

Single-threaded: one poll loop over the terminal, the pty, the process and a signal pipe.
"""

import errno
import os
import select
import sys

from .. import signals as signal
from ..linux import process, pty
from .child import Started

_FORWARDED = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip
_CHUNK = 65536


class Signals:
    """Catches what is to be passed on, from before the process runs: none may end us instead."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = [(number, signal.signal(number, _nothing)) for number in _FORWARDED]
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def __enter__(self) -> "Signals":
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before:
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._write)


def wait(started: Started, signals: Signals) -> int:
    """Stay until the process ends; its exit code as a shell says it. The descriptors of `started`
    are closed then."""
    terminal = None
    try:
        if started.pty_fd >= 0 and os.isatty(0):
            terminal = pty.set_raw(0)
            _resize(started.pty_fd)
        _relay(started, signals.fd)
        return _status(started.pid)
    finally:
        if terminal is not None:
            pty.restore(0, terminal)
        for fd in (started.pidfd, started.pty_fd):
            if fd >= 0:
                os.close(fd)


def _nothing(number: int, frame: object) -> None:
    """Only the number in the wake-up pipe counts."""


def _relay(started: Started, wake: int) -> None:
    poll = select.poll()
    sources = [wake, started.pidfd]
    if started.pty_fd >= 0:
        sources += [started.pty_fd, 0]
    for fd in sources:
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake in ready:
            _forward(started, os.read(wake, 512))
        if started.pty_fd in ready and not _copy(started.pty_fd, 1):
            poll.unregister(started.pty_fd)
        if 0 in ready and not _type(started.pty_fd):
            poll.unregister(0)
        if started.pidfd in ready:
            while started.pty_fd >= 0 and process.wait_readable(started.pty_fd, 0):
                if not _copy(started.pty_fd, 1):
                    break
            return


def _forward(started: Started, numbers: bytes) -> None:
    for number in numbers:
        if number == signal.SIGWINCH:
            if started.pty_fd >= 0:
                _resize(started.pty_fd)
            continue
        try:
            process.pidfd_send_signal(started.pidfd, number)
        except ProcessLookupError:
            return


def _resize(pty_fd: int) -> None:
    try:
        pty.set_size(pty_fd, *pty.get_size(0))
    except OSError:  # our own input is no terminal
        return


def _copy(source: int, target: int) -> bool:
    """One chunk; False at the end. A pty whose other end is closed says EIO."""
    try:
        data = memoryview(os.read(source, _CHUNK))
    except OSError:
        return False
    while data:
        data = data[os.write(target, data) :]
        if not data:
            return True
    return False


def _type(pty_fd: int) -> bool:
    """What was typed; False when there is no more, or nobody to read it: the process is ending."""
    try:
        return _copy(0, pty_fd)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False


def _status(pid: int) -> int:
    sys.stdout.flush()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
