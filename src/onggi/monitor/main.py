"""The monitor's loop: one small single-threaded process per container or exec.

It owns the container's stdio (pipes or pty), writes the log, serves the attach socket and waits for
the process by pidfd. It decides nothing: what follows the end (network, --rm, the row) is the
engine's callback.

    container stdout/stderr/pty ──> log, every client with OUTPUT
    client STDIN frames ──────────> container stdin/pty
    a door readable ──────────────> the relay of published ports is started, until it ends again
    pidfd readable ───────────────> drain, on_exit(code), EXITED to every client, return
"""

import _socket as socket  # `socket` itself takes 2 ms to import
import fcntl
import os
import select
import struct
import termios
import time
from collections.abc import Callable

from .. import shelf
from .. import signals as signal
from ..streams import CLOSE_STDIN, EXITED, RESIZE, STDERR, STDIN, STDOUT
from ..typed import NamedTuple, Protocol
from .attach import HELLO, INPUT, OUTPUT, Client
from .log import Log

READ_BYTES = 1 << 16
STDIN_HIGH_WATER = 1 << 18
DRAIN_S = 0.2  # how long a grandchild that holds the pipe may keep us after the process ended
SETTLED_S = 0.1
GOODBYE_S = 5.0  # how long clients may take to read the rest


class Doors(Protocol):
    """Sockets of published ports at which nobody answers before somebody knocks."""

    @property
    def doors(self) -> tuple[int, ...]: ...

    def start(self) -> int:
        """A pidfd of who answers; -1 for nobody, now and later."""

    def ended(self) -> bool:
        """After the pidfd told so: whether another is to answer the next knock."""


class Task(NamedTuple):
    """A started process. File descriptors are -1 where there is none; the loop closes them."""

    pidfd: int
    stdin_fd: int = -1
    stdout_fd: int = -1
    stderr_fd: int = -1
    pty_fd: int = -1
    close_stdin_with_client: bool = False  # docker's StdinOnce
    kill_with_client: bool = False  # a build step ends when its builder goes
    resized: Callable[[int, int], None] | None = None  # told (rows, columns) of its terminal
    oom_fd: int = -1  # readable when its control group has run out of memory
    out_of_memory: Callable[[], None] | None = None  # told then
    settled: Callable[[], None] | None = None  # told once when it has run for SETTLED_S
    relay: Doors | None = None


def supervise(
    task: Task,
    *,
    log: Log | None = None,
    server: socket.socket | None = None,
    first_client: socket.socket | None = None,
    on_exit: Callable[[int], str],
) -> int:
    """Run until the process has ended and `on_exit(exit_code)` returned; returns the exit code
    (128 + n for signal n). What `on_exit` returns, why it was killed or "", is told to clients."""
    shelf.close()
    loop = _Loop(task, log, server)
    if first_client is not None:
        client = Client(first_client, patient=True)
        loop.add_client(client)
        loop.serve(client, select.POLLIN)  # its HELLO came before the process: it misses no byte
    loop.run()
    code = exit_code(task.pidfd)
    end = str(code)
    try:
        if log is not None:
            log.close()
        end = f"{code} {on_exit(code)}".rstrip()
    finally:
        loop.say_goodbye(end)  # whatever fails behind the end: who waits learns the code
    return code


def exit_code(pidfd: int) -> int:
    """Reap the process behind `pidfd`, our child: its status, or 128 + n when signal n ended it."""
    info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if info is None:
        return 255
    return info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status


class _Loop:
    def __init__(self, task: Task, log: Log | None, server: socket.socket | None) -> None:
        self.task = task
        self.log = log
        self.server = server
        self.clients: dict[int, Client] = {}
        self.input = bytearray()
        self.stdin_fd = task.pty_fd if task.pty_fd >= 0 else task.stdin_fd
        self.terminal_fd = task.pty_fd
        self.oom_fd = task.oom_fd
        self.relay_fd = -1  # a pidfd of it
        self.doors = task.relay.doors if task.relay is not None else ()
        self.stdin_closing = False
        self.sources: dict[int, int] = {}
        for fd, stream in (
            (task.pty_fd, STDOUT),
            (task.stdout_fd, STDOUT),
            (task.stderr_fd, STDERR),
        ):
            if fd >= 0:
                os.set_blocking(fd, False)
                self.sources[fd] = stream
        if self.stdin_fd >= 0:
            os.set_blocking(self.stdin_fd, False)
        self.alive = True
        self.drain_until = 0.0
        self.settled = task.settled
        self.settled_at = time.monotonic() + SETTLED_S

    def add_client(self, client: Client) -> None:
        self.clients[client.fileno()] = client

    # -- the loop

    def run(self) -> None:
        while self.alive or self.sources:
            now = time.monotonic()
            if not self.alive and now >= self.drain_until:
                break
            if self.settled is not None and now >= self.settled_at:
                self.settled()
                self.settled = None
            for fd, events in self._wait(now):
                self._dispatch(fd, events)
            self._drop_stalled()
        for fd in tuple(self.sources):
            self._close_source(fd)
        self._close_stdin()
        if self.oom_fd >= 0:
            self._out_of_memory(select.POLLIN)  # of what has just ended
        self._close_oom_fd()
        if self.terminal_fd >= 0:
            os.close(self.terminal_fd)
            self.terminal_fd = -1

    def _wait(self, now: float) -> list[tuple[int, int]]:
        wanted: dict[int, int] = {}
        held_up = any(client.behind for client in self.clients.values())
        if not held_up:
            wanted.update(dict.fromkeys(self.sources, select.POLLIN))
        if self.stdin_fd >= 0 and self.input:
            wanted[self.stdin_fd] = wanted.get(self.stdin_fd, 0) | select.POLLOUT
        if self.alive:
            wanted[self.task.pidfd] = select.POLLIN
            if self.oom_fd >= 0:
                wanted[self.oom_fd] = select.POLLIN
            doors = self.doors if self.relay_fd < 0 else (self.relay_fd,)
            wanted.update(dict.fromkeys(doors, select.POLLIN))
        if self.server is not None:
            wanted[self.server.fileno()] = select.POLLIN
        if self.log is not None and self.log.waiting() >= 0:
            wanted[self.log.waiting()] = select.POLLOUT
        hungry = len(self.input) < STDIN_HIGH_WATER
        for fd, client in self.clients.items():
            events = select.POLLIN if hungry else 0
            wanted[fd] = events | (select.POLLOUT if client.owed else 0)
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        timeout_s = 5.0 if held_up else None
        if not self.alive:
            timeout_s = max(0.0, self.drain_until - now)
        elif self.settled is not None:
            timeout_s = max(0.0, self.settled_at - now)
        return poll.poll(None if timeout_s is None else timeout_s * 1000)

    def _dispatch(self, fd: int, events: int) -> None:
        if fd == self.stdin_fd and events & (select.POLLOUT | select.POLLERR):
            self._write_stdin()
        if fd in self.sources and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read_source(fd)
        elif fd == self.oom_fd:
            self._out_of_memory(events)
        elif fd == self.task.pidfd and self.alive:
            self.alive = False
            self.drain_until = time.monotonic() + DRAIN_S
        elif self.server is not None and fd == self.server.fileno():
            self._accept(self.server)
        elif fd in self.clients:
            self.serve(self.clients[fd], events)
        elif self.log is not None and fd == self.log.waiting():
            self.log.flush()
        elif self.task.relay is not None:
            self._relay(fd, self.task.relay)

    def _relay(self, fd: int, relay: Doors) -> None:
        if fd in self.doors and self.relay_fd < 0:
            self.relay_fd = relay.start()
            if self.relay_fd < 0:
                self.doors = ()
        elif fd == self.relay_fd:
            self.relay_fd = -1
            if not relay.ended():
                self.doors = ()

    def _out_of_memory(self, events: int) -> None:
        try:
            told = os.read(self.oom_fd, READ_BYTES) if events & select.POLLIN else b""
        except BlockingIOError:
            return
        if not told:
            self._close_oom_fd()
        elif self.task.out_of_memory is not None:
            self.task.out_of_memory()

    def _close_oom_fd(self) -> None:
        if self.oom_fd >= 0:
            os.close(self.oom_fd)
            self.oom_fd = -1

    # -- output

    def _read_source(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: every slave end of the pty is closed
            data = b""
        if not data:
            self._close_source(fd)
            return
        stream = self.sources[fd]
        if self.log is not None:
            self.log.write("stderr" if stream == STDERR else "stdout", data)
        for client in tuple(self.clients.values()):
            if client.flags & OUTPUT:
                client.send(stream, data)
                if not client.flush():
                    self._drop(client)
        if not self.alive:
            self.drain_until = time.monotonic() + DRAIN_S

    def _close_source(self, fd: int) -> None:
        del self.sources[fd]
        if fd == self.task.pty_fd:
            if self.alive:
                return  # a process may open its terminal again; keep the master
            self.stdin_fd = self.terminal_fd = -1
        os.close(fd)

    # -- input

    def _write_stdin(self) -> None:
        try:
            written = os.write(self.stdin_fd, self.input[:READ_BYTES])
        except BlockingIOError:
            return
        except OSError:
            self.input.clear()
            self.stdin_closing = True
        else:
            del self.input[:written]
        if self.stdin_closing and not self.input:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self.stdin_fd >= 0 and self.stdin_fd != self.task.pty_fd:
            os.close(self.stdin_fd)
            self.stdin_fd = -1
        self.input.clear()

    def _end_of_input(self) -> None:
        self.stdin_closing = True
        if not self.input:
            self._close_stdin()

    # -- clients

    def _accept(self, server: socket.socket) -> None:
        try:
            fd, _ = server._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        self.add_client(Client(socket.socket(fileno=fd)))

    def serve(self, client: Client, events: int) -> None:
        if events & select.POLLOUT and not client.flush():
            self._drop(client)
            return
        if not events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return
        frames = client.receive()
        if frames is None:
            self._drop(client)
            return
        for stream, payload in frames:
            if stream == HELLO and payload:
                client.flags = payload[0]
            elif stream == STDIN and client.flags & INPUT and self.stdin_fd >= 0:
                self.input += payload
                self._write_stdin()
            elif stream == CLOSE_STDIN and client.flags & INPUT:
                self._end_of_input()
            elif stream == RESIZE and len(payload) == 4:
                self._resize(*struct.unpack(">HH", payload))

    def _resize(self, rows: int, columns: int) -> None:
        if self.terminal_fd < 0:
            return
        try:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self.terminal_fd, termios.TIOCSWINSZ, size)
        except OSError:
            return  # the terminal is gone; its process is about to be
        if self.task.resized is not None:
            self.task.resized(rows, columns)

    def _drop(self, client: Client) -> None:
        self.clients.pop(client.fileno(), None)
        client.connection.close()
        if client.flags & INPUT and self.task.close_stdin_with_client:
            self._end_of_input()
        if client.patient and self.task.kill_with_client and self.alive:
            signal.pidfd_send_signal(self.task.pidfd, signal.SIGKILL)

    def _drop_stalled(self) -> None:
        now = time.monotonic()
        for client in tuple(self.clients.values()):
            if client.stalled(now):
                self._drop(client)

    def say_goodbye(self, end: str) -> None:
        """Tell every client the end, give them GOODBYE_S to read what they are owed."""
        if self.server is not None:
            self.server.close()
        for client in self.clients.values():
            client.send(EXITED, end.encode())
        deadline = time.monotonic() + GOODBYE_S
        waiting = dict(self.clients)
        while waiting:
            for fd, client in tuple(waiting.items()):
                if not client.flush() or not client.owed:
                    del waiting[fd]
            patient = any(client.patient for client in waiting.values())
            remaining = deadline - time.monotonic()
            if not waiting or (remaining <= 0 and not patient):
                break
            poll = select.poll()
            for fd in waiting:
                poll.register(fd, select.POLLOUT)
            poll.poll(None if patient else remaining * 1000)
        for client in self.clients.values():
            client.connection.close()
