"""Published ports in user space, where the kernel cannot lead them to the container: one small
process per container relays them, while somebody connects.

It listens on sockets that the container's monitor holds, and ends with the monitor's end of a pipe,
or when nobody has come for a while. The container sees the host's address, not the client's: only
the kernel can keep that.
"""

import json
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..linux import namespace, process, rights, rlimit
from ..spec import codec
from ..typed import Any, NamedTuple

LIFE_FD, FIRST_FD = 3, 4
_CHUNK = 1 << 16
_CONNECT_S = 10.0
_FLOW_S = 60.0  # a UDP sender that is silent this long is forgotten
_MAX_FLOWS = 1024
_FILES = 16384
_NOBODY = 65534


class Target(NamedTuple):
    """Where one of the sockets leads."""

    protocol: str
    address: str
    port: int


class Orders(NamedTuple):
    """A target for each door. With `inside` the descriptor of a network namespace follows them, to
    connect in; what `stays` does not end for want of connections."""

    targets: tuple[Target, ...]
    inside: bool = False
    stays: bool = False


class Relay:
    """The event loop. `life` becomes readable when it is to end; with `patience_s` it also ends
    after so long a time without a connection, and the doors stay as they are."""

    def __init__(
        self,
        life: int,
        doors: Sequence[tuple[socket.socket, Target]],
        *,
        patience_s: float | None = None,
    ) -> None:
        self._life = life
        self._patience_s = patience_s
        self._epoll = select.epoll()
        self._work: dict[int, Callable[[int], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._flows: dict[tuple[int, Any], tuple[socket.socket, float]] = {}
        self._epoll.register(life, select.EPOLLIN)
        for door, target in doors:
            door.setblocking(False)
            if target.protocol == "udp":
                self.watch(door, self._datagrams(door, target))
            else:
                self.watch(door, self._accept(door, target))
        self._doors = len(doors)

    def watch(self, one: socket.socket, work: Callable[[int], None]) -> None:
        self._work[one.fileno()] = work
        self._sockets[one.fileno()] = one
        self._epoll.register(one, select.EPOLLIN)

    def want(self, one: socket.socket, events: int) -> None:
        self._epoll.modify(one, events)

    def drop(self, one: socket.socket) -> None:
        self._work.pop(one.fileno(), None)
        self._sockets.pop(one.fileno(), None)
        one.close()

    def run(self) -> None:
        """Until the other end of `life` is closed, or patience ends; then everything is closed."""
        while self._turn():
            self._forget_flows()
        for one in tuple(self._sockets.values()):
            self.drop(one)
        self._epoll.close()

    def _turn(self) -> bool:
        ready = self._epoll.poll(_FLOW_S if self._patience_s is None else self._patience_s)
        if not ready and self._patience_s is not None and len(self._sockets) == self._doors:
            return False
        for descriptor, events in ready:
            if descriptor == self._life:
                return False
            work = self._work.get(descriptor)
            try:
                if work is not None:
                    work(events)
            except OSError:
                continue  # one that cannot be relayed keeps none of the others
        return True

    # -- streams

    def _accept(self, door: socket.socket, target: Target) -> Callable[[int], None]:
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET

        def accept(_events: int) -> None:
            try:
                client, _ = door.accept()
            except OSError:
                return
            server = socket.socket(family, socket.SOCK_STREAM)
            for one in (client, server):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(socket.IPPROTO_TCP, 18, int(_CONNECT_S * 1000))  # TCP_USER_TIMEOUT
            server.connect_ex((target.address, target.port))
            Pair(self, client, server)

        return accept

    # -- datagrams

    def _datagrams(self, door: socket.socket, target: Target) -> Callable[[int], None]:
        def receive(_events: int) -> None:
            try:
                data, sender = door.recvfrom(_CHUNK)
            except OSError:
                return
            key = (door.fileno(), sender)
            known = self._flows.get(key)
            if known is None:
                if len(self._flows) >= _MAX_FLOWS:
                    return
                flow = self._flow(door, sender, target)
            else:
                flow = known[0]
            self._flows[key] = (flow, time.monotonic() + _FLOW_S)
            try:
                flow.send(data)
            except OSError:
                pass  # nobody listens: a datagram may be lost

        return receive

    def _flow(self, door: socket.socket, sender: Any, target: Target) -> socket.socket:
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        flow = socket.socket(family, socket.SOCK_DGRAM)
        flow.setblocking(False)
        flow.connect((target.address, target.port))

        def answer(_events: int) -> None:
            try:
                door.sendto(flow.recv(_CHUNK), sender)
            except OSError:
                pass

        self.watch(flow, answer)
        return flow

    def _forget_flows(self) -> None:
        now = time.monotonic()
        for key, (flow, until) in tuple(self._flows.items()):
            if until < now:
                del self._flows[key]
                self.drop(flow)


class Pair:
    """A client's connection and ours to the container; what one says the other hears."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay = relay
        self._other = {client: server, server: client}
        self._waiting = {client: bytearray(), server: bytearray()}  # to be sent there
        self._open = {client: True, server: True}  # whether it still says something
        for one in (client, server):
            relay.watch(one, partial(self._ready, one))
        relay.want(server, select.EPOLLIN | select.EPOLLOUT)

    def _ready(self, one: socket.socket, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush(one)
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(one)
        except OSError:
            self._close()
            return
        if not any(self._open.values()) and not any(self._waiting.values()):
            self._close()
            return
        for side in self._other:
            self._ask_for(side)

    def _read(self, one: socket.socket) -> None:
        other = self._other[one]
        if not self._open[one] or self._waiting[other]:
            if not self._waiting[other]:
                one.send(b"")  # raises when the connection broke
            return
        try:
            data = one.recv(_CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._open[one] = False
        self._waiting[other] += data
        self._flush(other)

    def _flush(self, one: socket.socket) -> None:
        waiting = self._waiting[one]
        try:
            while waiting:
                del waiting[: one.send(waiting)]
        except BlockingIOError:
            return
        if not self._open[self._other[one]]:
            one.shutdown(socket.SHUT_WR)

    def _ask_for(self, side: socket.socket) -> None:
        """Data is read when the other side has taken what there was: that slows a fast sender."""
        events = select.EPOLLOUT if self._waiting[side] else 0
        if self._open[side] and not self._waiting[self._other[side]]:
            events |= select.EPOLLIN
        self._relay.want(side, events)

    def _close(self) -> None:
        for one in self._other:
            if one.fileno() >= 0:
                self._relay.drop(one)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """`onggi-proxy ORDERS`, as JSON; the sockets follow the pipe."""
    orders = codec.decode(Orders, json.loads(argv[0]))
    after = FIRST_FD + len(orders.targets)
    process.close_range(after + orders.inside)
    process.set_title("onggi proxy")
    rlimit.allow_files(_FILES)
    doors = [socket.socket(fileno=FIRST_FD + number) for number in range(len(orders.targets))]
    if orders.inside:
        namespace.setns(after, namespace.CLONE_NEWNET)
        os.close(after)
    rights.give_up(_NOBODY)
    process.set_no_new_privileges()
    patience_s = None if orders.stays else _FLOW_S
    Relay(LIFE_FD, list(zip(doors, orders.targets, strict=True)), patience_s=patience_s).run()
    return 0
