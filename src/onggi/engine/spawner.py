"""The spawner: what forks or changes namespaces, done for a program with threads by one without.

    program (threads)                    spawner (one thread, our modules loaded)
      call ── socketpair, one end ──────>  fork ─> worker (one thread)
              and descriptors by SCM_RIGHTS          reads the request from that end
      waits <── progress, then the answer ─────────  the operation, with an engine of its own
                                                     forks a monitor, builds, … ; ends

A worker is an ordinary single-threaded onggi process, so an operation is an ordinary engine call.
Nothing that it starts belongs to the spawner: when the program ends, however, the spawner ends, and
workers under way finish what they do unless they look for their caller.

Operations are functions of modules named `spawned`, `(engine, arguments, fds, report) -> value`.
Only JSON crosses (SECURITY 4.6), and errors by class and text.
"""

import _socket
import json
import os
import resource
import select
import socket
from _thread import allocate_lock
from array import array
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from .. import signals as signal
from ..errors import OnggiError, Unavailable
from ..linux import process, tools
from ..spec import codec
from ..spec.container import Container
from ..typed import Any, NamedTuple
from . import detach
from .engine import Engine
from .launch import Launcher
from .programs import command
from .run import Services
from .settings import Settings

OWNER = "onggi.owner"  # a label: the program that a container ends with
MAX_FDS = 250
MAX_MESSAGE = 64 << 20
PRELOADED = (
    "engine.spawned", "engine.launch", "engine.watch", "engine.run", "engine.wiring",
    "engine.execs", "engine.volumes", "engine.probe", "engine.initlayer", "engine.autostart",
    "runtime.init", "runtime.join", "runtime.reaper", "monitor.main", "monitor.rotation",
    "linux.seccomp_compiler", "linux.seccomp_profile", "linux.seccomp_default",
)  # fmt: skip
Json = Any
Report = Callable[[Json], None]
Operation = Callable[[Engine, dict[str, Json], Sequence[int], Report], Json]


class Abandoned(Unavailable):
    """Nobody waits for the answer any more."""


class _Beside(NamedTuple):
    """The process that runs beside the program, as the program holds it."""

    control: socket.socket
    pidfd: int
    pid: int

    def reap(self, timeout_s: float) -> None:
        """It ends when it sees the control socket close, or is made to."""
        self.control.close()
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            process.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


class Spawner:
    """The program's side. `call` may be used from any thread; a process that was killed is replaced
    by the next call."""

    def __init__(self, begin: Callable[[], _Beside]) -> None:
        self._begin = begin
        self._lock = allocate_lock()
        self._beside: _Beside | None = begin()

    def call(
        self,
        operation: str,
        arguments: Mapping[str, Json],
        *,
        fds: Sequence[int] = (),
        report: Report | None = None,
        listener: int = -1,
    ) -> Json:
        """The value of "package.spawned:function" in a fresh worker. Raises what it raises;
        Unavailable when there is no spawner any more. With the socket of whom it is for as
        `listener` it is given up when their end has gone, which raises Abandoned."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with mine:
            with theirs:
                self._hand_over([theirs.fileno(), *fds])
            _send(mine, {"operation": operation, "arguments": dict(arguments)})
            while True:
                if listener >= 0:
                    _await(mine.fileno(), listener)
                message = _receive(mine)
                if message is None:
                    raise OnggiError(f"the process that was to do {operation} has died")
                if "progress" in message:
                    if report is not None:
                        report(message["progress"])
                elif "error" in message:
                    raise detach.error_of(*message["error"])
                else:
                    return message["value"]

    def _hand_over(self, fds: Sequence[int]) -> None:
        beside = self._beside
        try:
            if beside is not None:
                socket.send_fds(beside.control, [b"."], list(fds))
                return
        except OSError:
            beside = self._replaced(beside)
        try:
            if beside is not None:
                socket.send_fds(beside.control, [b"."], list(fds))
                return
        except OSError:
            pass
        raise Unavailable("the process that starts containers is gone")

    def _replaced(self, dead: _Beside | None) -> _Beside | None:
        with self._lock:
            if self._beside is dead and dead is not None:
                self._beside = None
                dead.reap(10)
                self._beside = self._begin()
            return self._beside

    def close(self, *, timeout_s: float = 10) -> None:
        """The process ends when it sees this; waits for it."""
        with self._lock:
            beside, self._beside = self._beside, None
            if beside is not None:
                beside.reap(timeout_s)


def launch(root: str, run: str, settings: Settings, *, owner: str = "") -> Spawner:
    """A spawner in an interpreter of its own, small and with no thread of the caller's. When it
    ends, which it does however the program ends, it removes the containers whose label OWNER says
    `owner`. Raises Unavailable when it cannot be started."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # before the program asks for more
    told = json.dumps([root, run, codec.encode(settings), owner, files]).encode()
    spawner = Spawner(lambda: _begin(told))
    try:
        spawner.call("engine.spawned:ready", {})
    except OnggiError as error:
        spawner.close()
        raise Unavailable(f"the process that starts containers does not start: {error}") from error
    return spawner


def _begin(told: bytes) -> _Beside:
    """`told` is no argument: proxies hold passwords."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    argv = command("onggi-spawner")
    try:
        with theirs:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                pid = tools.start(argv, {3: theirs.fileno(), 0: null, 1: null})
            finally:
                os.close(null)
        beside = _Beside(mine, os.pidfd_open(pid), pid)
        mine.send(told)
    except OSError as error:
        mine.close()
        raise Unavailable(f"cannot start {argv[0]}: {error.strerror}") from error
    return beside


class SpawnedLauncher(Launcher):
    """Starts containers through the spawner."""

    def __init__(self, services: Services, spawner: Spawner) -> None:
        super().__init__(services)
        self._spawner = spawner

    def start(self, container: Container, client: _socket.socket | None) -> Container:
        fds = () if client is None else (client.fileno(),)
        self._spawner.call("engine.spawned:start", {"id": container.id}, fds=fds)
        return container


# -- the spawner's own process


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """`onggi-spawner`, with the control socket as descriptor 3."""
    control = socket.socket(fileno=3)
    process.close_range_cloexec(3)
    config = control.recv(1 << 16)
    if not config:
        return 0
    root, run, told, owner, files = json.loads(config)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    settings = codec.decode(Settings, told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps our workers
    for name in PRELOADED:
        import_module(f"onggi.{name}")
    _serve(control, lambda: Engine(root, run, settings=settings))
    if owner:
        _remove_owned(Engine(root, run, settings=settings), owner)
    return 0


def _remove_owned(engine: Engine, owner: str) -> None:
    for container in engine.containers.list(all=True, filters={"label": [f"{OWNER}={owner}"]}):
        try:
            engine.containers.remove(container.id, force=True, volumes=True)
        except OnggiError:
            pass  # somebody else removes it
    engine.close()


def _serve(control: socket.socket, engine: Callable[[], Engine]) -> None:
    """Fork a worker for each request, until the program is gone."""
    while True:
        data, fds, _flags, _address = _receive_fds(control)
        if not data:
            return
        try:
            pid = os.fork() if fds else -1
        except OSError:
            pid = -1  # no processes: the caller sees its end of the pair close
        if pid == 0:
            control.close()
            _work(fds, engine)
        for fd in fds:
            os.close(fd)


def _receive_fds(control: socket.socket) -> tuple[bytes, list[int], int, Any]:
    space = socket.CMSG_SPACE(MAX_FDS * 4)
    data, ancillary, flags, address = control.recvmsg(16, space, socket.MSG_CMSG_CLOEXEC)
    numbers = array("i")
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(raw[: len(raw) - len(raw) % numbers.itemsize])
    return data, list(numbers), flags, address


def _work(fds: list[int], make_engine: Callable[[], Engine]) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        channel = socket.socket(fileno=fds[0])
        request = _receive(channel)
        if request is not None:
            _answer(channel, request, fds[1:], make_engine())
    except OSError:
        pass  # the caller is gone
    finally:
        os._exit(0)


def _answer(
    channel: socket.socket, request: dict[str, Json], fds: Sequence[int], engine: Engine
) -> None:
    try:
        value = _operation(request["operation"])(
            engine, request["arguments"], fds, lambda event: _send(channel, {"progress": event})
        )
    except OnggiError as error:
        _send(channel, {"error": [type(error).__name__, error.message, error.hint]})
    except Exception as error:  # an entry loop: the caller must hear of it
        described = detach.described(error)
        _send(channel, {"error": ["OnggiError", f"internal error: {described}", None]})
    else:
        _send(channel, {"value": value})


def _operation(name: str) -> Operation:
    module, _, function = name.partition(":")
    if not module.endswith(".spawned"):
        raise OnggiError(f"no such operation: {name}")
    found: Operation = getattr(import_module(f"onggi.{module}"), function)
    return found


# -- messages: four bytes of length, then JSON


def _send(channel: socket.socket, message: dict[str, Json]) -> None:
    data = json.dumps(message).encode()
    channel.sendall(len(data).to_bytes(4, "big") + data)


def _receive(channel: socket.socket) -> dict[str, Json] | None:
    """None when the other end is gone."""
    head = _exactly(channel, 4)
    size = int.from_bytes(head, "big") if head else 0
    if not head or size > MAX_MESSAGE:
        return None
    data = _exactly(channel, size)
    return None if data is None else json.loads(data)


def _await(channel: int, listener: int) -> None:
    """Until the channel has news. Raises Abandoned when the listener goes first."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(listener, select.POLLRDHUP)
    if channel not in dict(poll.poll()):
        raise Abandoned("the client has gone")


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            more = channel.recv(min(size - len(data), 1 << 16))
        except ConnectionError:
            return None
        if not more:
            return None
        data += more
    return bytes(data)
