"""The resolver of user-defined networks: one process that answers at 127.0.0.11 in every container.

    engine ── writes `table` (who is called what), renames it into place
       └──── control socket: a container's id with two sockets opened in its network namespace
    container ── question ─> its socket ─> here: the table knows ─> answer
                                             └ nobody's name ─> the servers that know the rest

It has no rights but those sockets: another user, no capabilities, no new privileges, nothing it
may write. Questions are hostile (dnsmessage); so are answers: each is asked for from a port and by
an id of its own. It ends when the table has no client left.
"""

import errno
import json
import os
import select
import socket
import time
from array import array
from collections.abc import Callable, Mapping

from ..linux import cgroup, inotify, landlock, process, rights, rlimit
from ..spec import codec
from ..typed import Any, NamedTuple
from . import names
from .dnsmessage import Reply, failure, question_of, reply

CONTROL_FD, DIRECTORY_FD = 3, 4
TABLE = "table"
NOBODY = 65534
_MAX_TABLE = 16 << 20
_MAX_PENDING = 1024  # questions that others are being asked, of all containers
_MAX_PENDING_EACH = 128
_MAX_CONNECTIONS_EACH = 32
_ATTEMPT_S, _ATTEMPTS = 2.0, 3
_IDLE_S = 10.0  # a TCP connection that says nothing
_BATCH = 32
_FILES = 16384
_MAX_FAULTS = 100  # lines in the log


class Pending(NamedTuple):
    """A question that another server is asked."""

    container: str
    query: bytes
    answer: Callable[[bytes], None]
    over_tcp: bool
    servers: tuple[str, ...]
    attempt: int
    number: int  # the id we asked with


class Door(NamedTuple):
    """A container's two sockets."""

    udp: socket.socket
    tcp: socket.socket


class Stream:
    """A TCP connection, of a container that asks or to a server: messages with their lengths."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.incoming = bytearray()
        self.outgoing = bytearray()

    def messages(self) -> list[bytes] | None:
        """What has come; None at its end."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.incoming += data
        found = []
        while len(self.incoming) >= 2:
            length = int.from_bytes(self.incoming[:2], "big")
            if len(self.incoming) < 2 + length:
                break
            found.append(bytes(self.incoming[2 : 2 + length]))
            del self.incoming[: 2 + length]
        return found

    def send(self, message: bytes) -> bool:
        """False when the other end is gone."""
        self.outgoing += len(message).to_bytes(2, "big") + message
        return self.flush()

    def flush(self) -> bool:
        try:
            while self.outgoing:
                del self.outgoing[: self.socket.send(self.outgoing)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


class Resolver:
    def __init__(self, control: socket.socket, directory: int, changes: int) -> None:
        self._control = control
        self._directory = directory
        self._changes = changes
        self._epoll = select.epoll()
        self._doors: dict[str, Door] = {}
        self._ready: dict[int, Callable[[int], None]] = {}
        self._deadlines: dict[int, tuple[float, Callable[[], None]]] = {}
        self._pending: dict[int, Pending] = {}
        self._asking: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        self._table = names.Table({}, {})
        self._stamp: tuple[int, int] = (0, 0)
        self._host = HostServers()
        self._faults = 0
        control.setblocking(False)
        self._watch(control.fileno(), lambda _events: self._admit())
        self._watch(changes, lambda _events: inotify.drain(changes))

    def run(self) -> None:
        """Until nobody is left to answer."""
        while self._refresh():
            wait = min((when for when, _ in self._deadlines.values()), default=None)
            timeout = None if wait is None else max(wait - time.monotonic(), 0)
            events = self._epoll.poll(timeout)
            if not self._refresh():
                return
            for descriptor, mask in events:
                self._serve(descriptor, mask)
            self._expire()

    def _serve(self, descriptor: int, mask: int) -> None:
        work = self._ready.get(descriptor)
        try:
            if work is not None:
                work(mask)
        except Exception as error:  # an entry loop: one question is no reason to answer no more
            if self._faults < _MAX_FAULTS:
                self._faults += 1
                at = error.__traceback__
                while at is not None and at.tb_next is not None:
                    at = at.tb_next
                place = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
                os.write(2, f"{type(error).__name__}: {error} ({place})\n".encode())

    # -- descriptors

    def _watch(self, fd: int, work: Callable[[int], None]) -> None:
        self._ready[fd] = work
        self._epoll.register(fd, select.EPOLLIN)

    def _drop(self, connection: socket.socket) -> None:
        fd = connection.fileno()
        self._ready.pop(fd, None)
        self._deadlines.pop(fd, None)
        pending = self._pending.pop(fd, None)
        if pending is not None:
            self._count(self._asking, pending.container, -1)
        connection.close()  # epoll forgets it

    @staticmethod
    def _count(counts: dict[str, int], key: str, step: int) -> None:
        counts[key] = counts.get(key, 0) + step
        if counts[key] <= 0:
            del counts[key]

    def _expire(self) -> None:
        now = time.monotonic()
        for work in [work for when, work in self._deadlines.values() if when <= now]:
            work()

    # -- who is who

    def _refresh(self) -> bool:
        """Read the table when it is another one; false when there is nobody in it."""
        try:
            status = os.stat(TABLE, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp:
            self._stamp = stamp
            self._table = read_table(self._directory)
            for container in [c for c in self._doors if c not in self._table.clients]:
                self._close_door(container)
        return bool(self._table.clients)

    def _admit(self) -> None:
        """A container's sockets come over the control socket, from our own engine."""
        try:
            connection, _ = self._control.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            data, fds = _receive(connection)
            try:
                container = str(json.loads(data)["container"])
            except (ValueError, KeyError, TypeError):
                container = ""
            if len(fds) != 2 or not container:
                for fd in fds:
                    os.close(fd)
                return
            self._close_door(container)
            door = Door(*(socket.socket(fileno=fd) for fd in fds))
            for one in door:
                one.setblocking(False)
            self._doors[container] = door
            self._watch(door.udp.fileno(), lambda _events: self._datagrams(container, door.udp))
            self._watch(door.tcp.fileno(), lambda _events: self._accept(container, door.tcp))
            try:
                connection.send(b"ok")
            except OSError:
                pass  # who sent them does not wait

    def _close_door(self, container: str) -> None:
        for one in self._doors.pop(container, ()):
            self._drop(one)

    # -- questions

    def _datagrams(self, container: str, door: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                query, sender = door.recvfrom(1 << 16)
            except OSError:
                return

            def answer(data: bytes, sender: Any = sender) -> None:
                try:
                    door.sendto(data, sender)
                except OSError:
                    pass  # the asker is gone, or its container

            self._ask(container, query, answer, over_tcp=False)

    def _accept(self, container: str, door: socket.socket) -> None:
        try:
            connection, _ = door.accept()
        except OSError:
            return
        if self._connections.get(container, 0) >= _MAX_CONNECTIONS_EACH:
            connection.close()
            return
        self._count(self._connections, container, 1)
        connection.setblocking(False)
        stream = Stream(connection)

        def gone() -> None:
            if connection.fileno() >= 0:
                self._count(self._connections, container, -1)
                self._drop(connection)

        def answer(data: bytes) -> None:
            if connection.fileno() >= 0 and not stream.send(data):
                gone()

        def heard(_events: int) -> None:
            queries = stream.messages()
            if queries is None or not stream.flush():
                gone()
                return
            self._deadlines[connection.fileno()] = (time.monotonic() + _IDLE_S, gone)
            for query in queries:
                self._ask(container, query, answer, over_tcp=True)

        self._watch(connection.fileno(), heard)
        self._deadlines[connection.fileno()] = (time.monotonic() + _IDLE_S, gone)

    def _ask(
        self, container: str, query: bytes, answer: Callable[[bytes], None], *, over_tcp: bool
    ) -> None:
        found = self._look(container, query, over_tcp=over_tcp)
        if found.forward:
            self._forward(container, query, answer, over_tcp=over_tcp)
        elif found.data:
            answer(found.data)

    def _look(self, container: str, query: bytes, *, over_tcp: bool) -> Reply:
        def addresses(name: str) -> list[str] | None:
            found = names.addresses(self._table, container, name)
            if not found:
                return found
            first = os.urandom(1)[0] % len(found)  # each in its turn, by chance
            return found[first:] + found[:first]

        return reply(
            query,
            addresses,
            lambda address: names.name_of(self._table, container, address),
            over_tcp=over_tcp,
        )

    # -- the rest

    def _forward(
        self, container: str, query: bytes, answer: Callable[[bytes], None], *, over_tcp: bool
    ) -> None:
        client = self._table.clients.get(container)
        if client is None or not client.forwards:
            answer(failure(query, refused=True))
            return
        servers = client.servers or self._host.servers()
        full = len(self._pending) >= _MAX_PENDING
        if not servers or full or self._asking.get(container, 0) >= _MAX_PENDING_EACH:
            answer(failure(query))
            return
        self._attempt(Pending(container, query, answer, over_tcp, servers, 0, 0))

    def _attempt(self, pending: Pending) -> None:
        """Ask the next server; after the last, say that it failed."""
        while pending.attempt < max(_ATTEMPTS, len(pending.servers)):
            server = pending.servers[pending.attempt % len(pending.servers)]
            number = int.from_bytes(os.urandom(2), "big")
            pending = pending._replace(attempt=pending.attempt + 1, number=number)
            try:
                self._send(pending, server)
            except OSError:
                continue  # this server cannot be asked at all
            return
        pending.answer(failure(pending.query))

    def _send(self, pending: Pending, server: str) -> None:
        """Raises OSError."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_STREAM if pending.over_tcp else socket.SOCK_DGRAM
        connection = socket.socket(family, kind)
        try:
            connection.setblocking(False)
            status = connection.connect_ex((server, 53))
            if status not in (0, errno.EINPROGRESS):
                raise OSError(status, os.strerror(status))
            message = pending.number.to_bytes(2, "big") + pending.query[2:]
            if pending.over_tcp:
                work = self._over_stream(connection, message)
            else:
                connection.send(message)
                work = self._over_datagram(connection)
        except BaseException:
            connection.close()
            raise
        self._pending[connection.fileno()] = pending
        self._count(self._asking, pending.container, 1)
        self._watch(connection.fileno(), work)
        if pending.over_tcp:
            self._epoll.modify(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._deadlines[connection.fileno()] = (
            time.monotonic() + _ATTEMPT_S, lambda: self._again(connection)
        )  # fmt: skip

    def _over_datagram(self, connection: socket.socket) -> Callable[[int], None]:
        def heard(_events: int) -> None:
            try:
                data = connection.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                self._again(connection)  # refused: nobody listens there
                return
            self._heard(connection, data)

        return heard

    def _over_stream(self, connection: socket.socket, message: bytes) -> Callable[[int], None]:
        stream = Stream(connection)
        stream.outgoing += len(message).to_bytes(2, "big") + message

        def heard(events: int) -> None:
            if events & select.EPOLLOUT:
                if not stream.flush():
                    self._again(connection)
                    return
                if not stream.outgoing:
                    self._epoll.modify(connection.fileno(), select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                answers = stream.messages()
                if answers is None:
                    self._again(connection)
                elif answers:
                    self._heard(connection, answers[0])

        return heard

    def _heard(self, connection: socket.socket, data: bytes) -> None:
        """An answer is only taken for the question that was asked."""
        pending = self._pending[connection.fileno()]
        if int.from_bytes(data[:2], "big") != pending.number or len(data) < 12:
            return
        if question_of(data) != question_of(pending.query):
            return
        self._drop(connection)
        pending.answer(pending.query[:2] + data[2:])

    def _again(self, connection: socket.socket) -> None:
        pending = self._pending.get(connection.fileno())
        self._drop(connection)
        if pending is not None:
            self._attempt(pending)


class HostServers:
    """The nameservers of the host's resolv.conf, as it is now."""

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def servers(self) -> tuple[str, ...]:
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    lines = [line.split() for line in file.read(1 << 16).splitlines()]
                self._servers = tuple(
                    words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"
                )
                self._stamp = stamp
        except OSError:
            pass  # gone: the last that were known
        return self._servers


def read_table(directory: int) -> names.Table:
    """What the engine wrote last; an empty one when there is none."""
    try:
        fd = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return names.Table({}, {})
    with open(fd, encoding="utf-8") as file:
        return codec.decode(names.Table, json.loads(file.read(_MAX_TABLE)))


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    fds = array("i")
    try:
        data, ancillary, _flags, _ = connection.recvmsg(4096, socket.CMSG_SPACE(2 * fds.itemsize))
    except OSError:
        return b"", []
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
    return data, list(fds)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """`onggi-resolver`, with the control socket and the table's directory as descriptors."""
    process.close_range(DIRECTORY_FD + 1)
    process.set_title("onggi resolver")
    rlimit.allow_files(_FILES)
    control = socket.socket(fileno=CONTROL_FD)
    changes = inotify.watch(f"/proc/self/fd/{DIRECTORY_FD}")
    cgroup.leave_unit(cgroup.host_layout())  # of whichever command it was that found none
    rights.give_up(NOBODY)
    process.set_no_new_privileges()
    process.set_dumpable(False)
    if landlock.version():
        landlock.restrict(0, ())
    Resolver(control, DIRECTORY_FD, changes).run()
    return 0
