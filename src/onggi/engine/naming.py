"""Names on user-defined networks: the resolver process, its table, and its sockets in containers.

RUN/dns/table says who is called what; RUN/dns/control is where the resolver takes a container's
sockets. Everything here is done under the network lock, and needs no state but the rows: a
resolver that died is found by the next start, connect, exec or `network repair`, and gets anew
what it had. With the last container on such a network the process and the directory go.
"""

import json
import os
import socket
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from ..errors import NotFound, OnggiError, Unavailable
from ..linux import nftables, process, rtnetlink, tools
from ..network import names, netns
from ..spec import codec
from ..spec.container import ContainerState
from ..spec.network import Endpoint, Network
from ..store.store import Store
from . import detach, endpoints
from .hostfiles import EMBEDDED as ADDRESS
from .paths import NAMES, read_file
from .programs import command

_BACKLOG = 128
_TIMEOUT_S = 30.0
_TABLE = "onggi_dns"


def table_of(found: Iterable[Endpoint], networks: Iterable[Network]) -> names.Table:
    """Who is called what. Pure; the built-in networks have no names."""
    known = {network.id: network for network in networks}
    members: dict[str, list[names.Member]] = {}
    places: dict[str, list[Endpoint]] = {}
    for endpoint in found:
        if endpoint.network_id not in known:
            continue
        places.setdefault(endpoint.container_id, []).append(endpoint)
        own = tuple(endpoints.addresses(endpoint))
        if endpoints.is_user_defined(known[endpoint.network_id].name) and endpoint.names:
            members.setdefault(endpoint.network_id, []).append(
                names.Member(endpoint.container_id, endpoint.names, own)
            )
    clients = {
        container: _client(mine, known)
        for container, mine in places.items()
        if any(endpoints.is_user_defined(known[e.network_id].name) for e in mine)
    }
    return names.Table(
        {id_: names.Members(known[id_].name, tuple(who)) for id_, who in members.items()}, clients
    )


def _client(mine: Sequence[Endpoint], known: dict[str, Network]) -> names.Client:
    order = sorted(mine, key=lambda e: (-e.gateway_priority, known[e.network_id].name))
    links = [text.partition(":") for e in order for text in e.links]
    return names.Client(
        networks=tuple(e.network_id for e in order),
        links={alias.lower(): other for other, _, alias in links},
        servers=next((e.servers for e in order if e.servers), ()),
        forwards=not all(known[e.network_id].internal for e in mine),
    )


class Naming:
    def __init__(
        self, store: Store, run: str, there: Callable[[Callable[[], bool]], bool | None]
    ) -> None:
        """`there` does its work where a container's namespace can be entered from."""
        self._store = store
        self._directory = f"{run}/{NAMES}"
        self._there = there

    def is_used(self) -> bool:
        return os.path.isdir(self._directory)

    def update(self) -> None:
        """Tell the resolver who is called what by now; the last one out takes all away."""
        networks = self._store.networks.list()
        if not self.is_used() and not any(endpoints.is_user_defined(n.name) for n in networks):
            return
        table = table_of(self._store.networks.endpoints(), networks)
        if table.clients:
            os.makedirs(self._directory, 0o755, exist_ok=True)
            self._write(table)
        elif self.is_used():
            self.clear()

    def clear(self) -> None:
        """The resolver ends, and leaves nothing."""
        self._write(names.Table({}, {}))  # it ends when it sees that
        for name in ("control", "table", "log"):
            self._remove(name)
        os.rmdir(self._directory)

    def _write(self, table: names.Table) -> None:
        text = json.dumps(codec.encode(table), separators=(",", ":"))
        path = f"{self._directory}/new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # another user reads it, through an open directory
            file.write(text)
        os.rename(path, f"{self._directory}/table")

    def _remove(self, name: str) -> None:
        try:
            os.unlink(f"{self._directory}/{name}")
        except FileNotFoundError:
            pass

    # -- containers

    def serve(self, container_id: str, pid: int) -> None:
        """Answer at 127.0.0.11 in the namespace of that process. Raises Unavailable, OSError."""
        if not self._hand_over(container_id, pid):
            self.repair(container_id, pid)

    def repair(self, container_id: str = "", pid: int = 0) -> None:
        """Start a resolver when there is none, with the sockets of everybody who is to have one,
        and of this container that is about to be."""
        if self.answers():
            return
        self._start()
        wanted = dict(self._running())
        if container_id:
            wanted[container_id] = pid
        for id_, its_pid in wanted.items():
            try:
                done = self._hand_over(id_, its_pid)
            except OSError:
                if id_ == container_id:
                    raise
                continue  # it ends at this moment
            if not done:
                raise Unavailable("the resolver of container names does not start")

    def _running(self) -> Iterable[tuple[str, int]]:
        """(container, pid) of those that run on a network with names."""
        table = table_of(self._store.networks.endpoints(), self._store.networks.list())
        for container_id in table.clients:
            try:
                state: ContainerState = self._store.containers.get(container_id).state
            except NotFound:
                continue
            if process.same_process(state.pid, state.pid_start):
                yield container_id, state.pid

    def answers(self) -> bool:
        """Whether there is a resolver, or need be none."""
        if not self.is_used():
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return self._connects(probe)

    def _connects(self, connection: socket.socket) -> bool:
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # the path of a socket has 108 bytes at most
            connection.connect(f"/proc/self/fd/{directory}/control")
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        finally:
            os.close(directory)
        return True

    def _hand_over(self, container_id: str, pid: int) -> bool:
        """False when there is no resolver."""
        return bool(self._there(lambda: self._give_doors(container_id, pid)))

    def _give_doors(self, container_id: str, pid: int) -> bool:
        with ExitStack() as undo:
            control = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            control.settimeout(_TIMEOUT_S)
            if not self._connects(control):
                return False
            with netns.of_process(pid) as namespace, rtnetlink.inside(namespace):
                door = [undo.enter_context(one) for one in _door()]
                _redirect(*(one.getsockname()[1] for one in door))
            fds = array("i", [one.fileno() for one in door])
            try:
                control.sendmsg(
                    [json.dumps({"container": container_id}).encode()],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)],
                )
                taken = control.recv(16) == b"ok"
            except OSError as error:
                raise self._failure() from error
            if not taken:
                raise self._failure()
            return True

    def _failure(self) -> Unavailable:
        """With the last thing that the resolver said."""
        said = read_file(f"{self._directory}/log").strip().splitlines()
        return Unavailable(
            "the resolver of container names does not answer", hint=said[-1] if said else None
        )

    def _start(self) -> None:
        """Another resolver, whose control socket takes requests at once. A crash's socket goes."""
        self._remove("control")
        with ExitStack() as undo:
            control = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, directory)
            path = f"/proc/self/fd/{directory}/control"
            control.bind(path)  # nobody else gets as far as RUN
            os.chmod(path, 0o600)
            control.listen(_BACKLOG)
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, null)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            log = os.open(f"{self._directory}/log", flags, 0o600)
            undo.callback(os.close, log)
            descriptors = {0: null, 1: null, 2: log, 3: control.fileno(), 4: directory}
            try:
                detach.forget(tools.start(command("onggi-resolver"), descriptors))
            except OSError as error:
                raise Unavailable(
                    f"cannot start the resolver of container names: {error.strerror}"
                ) from error


def _door() -> tuple[socket.socket, socket.socket]:
    """Sockets for questions, at free ports: port 53 is the container's own to use."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    port = 0 if nftables.is_usable() else 53
    try:
        udp.bind((ADDRESS, port))
        tcp.bind((ADDRESS, port))
        tcp.listen(_BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def _redirect(udp: int, tcp: int) -> None:
    """In the container's namespace: what is sent to port 53 arrives there."""
    if udp == tcp == 53:
        return
    rules = "".join(
        f"ip daddr {ADDRESS} {kind} dport 53 dnat to {ADDRESS}:{port}\n"
        for kind, port in (("udp", udp), ("tcp", tcp))
    )
    text = (
        f"add table ip {_TABLE}\ndelete table ip {_TABLE}\ntable ip {_TABLE} {{\n"
        f"chain output {{\ntype nat hook output priority -100; policy accept;\n{rules}}}\n}}\n"
    )
    try:
        nftables.load(text)
    except OnggiError as error:
        error.message = f"the resolver of container names: {error.message}"
        raise
