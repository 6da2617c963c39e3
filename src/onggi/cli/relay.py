"""Between the user's terminal and a container's streams: one poll loop, no threads.

    stdin  -> detach keys -> frames owed -> the attachment's socket   (non-blocking: we must go on
    stdout <- frames        <-                                         reading while we write)
    signals -> a pipe -> resize, or proxied to the container

Ends when the container's streams end, or when the user detaches. Never decides exit codes.
"""

import os
import select
from collections.abc import Callable
from types import FrameType

from .. import signals as signal
from ..monitor.detachkeys import DetachScanner
from ..streams import CLOSE_STDIN, RESIZE, STDERR, STDIN, frame
from ..typed import Protocol
from . import tty
from .session import write_all

CHUNK = 1 << 16
ENOUGH_OWED = 1 << 18  # read no more input while this much has not been taken
FORCED_AFTER = 3  # interrupts that the container did not end on
_NOT_PROXIED = ("SIGCHLD", "SIGPIPE", "SIGURG", "SIGKILL", "SIGSTOP", "SIGWINCH", "SIGTSTP",
                "SIGTTIN", "SIGTTOU", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGCONT",
                "SIGPROF", "SIGVTALRM")  # fmt: skip


class Stream(Protocol):
    """What the engine's attachments and exec sessions share."""

    ended: bool
    exit_code: int | None
    kill_reason: str

    def fileno(self) -> int: ...

    def receive(self) -> list[tuple[int, bytes]]: ...

    def close(self) -> None: ...


class Interrupted(Exception):
    """The user insisted: three interrupts, or one that is not passed on."""


class Relay:
    """Copies until the end. `forward` sends a signal's name to the container; None: not proxied.
    `outputs` names the streams that are shown; None is both."""

    def __init__(
        self,
        stream: Stream,
        *,
        stdin: bool,
        terminal: bool,
        detach_keys: bytes,
        forward: Callable[[str], None] | None,
        outputs: frozenset[str] | None = None,
    ) -> None:
        self._stream = stream
        self._terminal = terminal  # the container has one: our size is its size
        self._input = stdin
        self._scanner = DetachScanner(detach_keys if terminal and stdin else b"")
        self._forward = forward
        self._owed = bytearray()
        wanted = {"stdout", "stderr"} if outputs is None else outputs
        self._unwanted = {fd for fd, name in ((1, "stdout"), (2, "stderr")) if name not in wanted}
        self._interrupts = 0

    def run(self) -> bool:
        """True when the container's streams ended, False when the user detached."""
        raw = tty.RawTerminal(0) if self._terminal and self._input and os.isatty(0) else None
        os.set_blocking(self._stream.fileno(), False)
        with _Signals() as signals:
            if raw is None:
                return self._loop(signals)
            with raw:
                return self._loop(signals)

    def _loop(self, signals: "_Signals") -> bool:
        if self._terminal:
            self._resize()
        while not self._stream.ended:
            self._wait(signals)
            if self._scanner.found:
                self._push()
                return False
        return True

    def _wait(self, signals: "_Signals") -> None:
        socket_fd = self._stream.fileno()
        poll = select.poll()
        poll.register(socket_fd, select.POLLIN | (select.POLLOUT if self._owed else 0))
        poll.register(signals.fd, select.POLLIN)
        if self._input and len(self._owed) < ENOUGH_OWED:
            poll.register(0, select.POLLIN)
        for fd, events in poll.poll():
            if fd == signals.fd:
                for name in signals.take():
                    self._signal(name)
            elif fd == 0:
                self._read_input()
            elif fd == socket_fd:
                if events & select.POLLOUT:
                    self._push()
                if events & ~select.POLLOUT:
                    self._deliver()

    def _read_input(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal is gone, or we are in the background
            data = b""
        if not data:
            self._input = False
            self._owed += frame(CLOSE_STDIN, b"")
        else:
            passed = self._scanner.feed(data)
            if passed:
                self._owed += frame(STDIN, passed)
        self._push()

    def _push(self) -> None:
        while self._owed:
            try:
                sent = os.write(self._stream.fileno(), self._owed)
            except BlockingIOError:
                return
            except OSError:  # the other side ended; receive() tells how
                self._owed.clear()
                self._input = False
                return
            del self._owed[:sent]

    def _deliver(self) -> None:
        try:
            frames = self._stream.receive()
        except BlockingIOError:
            return
        for number, data in frames:
            self._write(2 if number == STDERR else 1, data)

    def _write(self, fd: int, data: bytes) -> None:
        """When the reader of stdout went away (`| head`) we end; the container goes on, as with
        docker. A lost stderr ends nothing."""
        if fd in self._unwanted:
            return
        try:
            write_all(fd, data)
        except BrokenPipeError:
            if fd == 1:
                raise
            self._unwanted.add(2)

    def _resize(self) -> None:
        rows, columns = tty.size_of(0)
        if not rows:
            rows, columns = tty.size_of(1)
        if rows and columns:
            payload = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
            self._owed += frame(RESIZE, payload)
            self._push()

    def _signal(self, name: str) -> None:
        if name == "SIGWINCH":
            if self._terminal:
                self._resize()
            return
        if self._forward is None:
            raise Interrupted(name)
        if name in ("SIGINT", "SIGTERM"):
            self._interrupts += 1
            if self._interrupts > FORCED_AFTER:
                raise Interrupted(name)
        self._forward(name)


class _Signals:
    """Every signal that is proxied, as names from a pipe, while the block runs."""

    def __init__(self) -> None:
        self.fd, self._writer = -1, -1
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Signals":
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number, name in signal.NAMES.items():
            if name not in _NOT_PROXIED or number == signal.SIGWINCH:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup
                try:
                    self._before[number] = signal.signal(number, _noted)
                except OSError:
                    continue
        return self

    def take(self) -> list[str]:
        try:
            data = os.read(self.fd, 4096)
        except BlockingIOError:
            return []
        return [signal.NAMES[number] for number in data]

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._writer)


def _noted(number: int, where: FrameType | None) -> None:
    """The wake-up pipe holds the number already."""
