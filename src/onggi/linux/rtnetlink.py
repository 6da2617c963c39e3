"""Network interfaces, addresses and routes over rtnetlink: no subprocess, no third-party library.

A socket belongs to the network namespace it was opened in, so a container's interfaces are set up
from outside by a socket opened during a short visit (`inside`). Never decides names or addresses.
"""

import _socket  # `socket` costs 6 ms to import, this 0.7
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack
from types import TracebackType

from ..typed import NamedTuple
from . import libc, nlmsg

_NETLINK, _ROUTE, NETFILTER = 16, 0, 12
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_INET, _INET6 = 2, 10
_CLONE_NEWNET = 0x40000000

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _DELROUTE, _GETROUTE = 16, 17, 18, 20, 24, 25, 26
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _NET_NS_FD = 1, 3, 4, 5, 10, 18, 28
_KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER, _BRIDGE_PORT_HAIRPIN, _BRIDGE_PORT_ISOLATED = 1, 4, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_NODAD = 0x02  # IFA_F_NODAD: usable at once
_MACVLAN_MODE, _IPVLAN_MODE, _IPVLAN_FLAGS, _VLAN_ID = 1, 1, 2, 1
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAG_BITS = {"bridge": 0, "private": 1, "vepa": 2}
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_TABLE_MAIN, _PROTOCOL_BOOT, _UNICAST = 254, 3, 1
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
UP = 0x1
LOOPBACK_INDEX = 1  # the first interface of every network namespace

_SIOCETHTOOL, _GET_LINK_STATE = 0x8946, 0x0A


class Link(NamedTuple):
    number: int  # the interface's index
    name: str
    flags: int
    mtu: int
    kind: str  # "veth", "bridge", ... or "" for a device
    master: int


class Route(NamedTuple):
    destination: str  # "" for a default route
    prefix_length: int
    interface: int
    metric: int


class Netlink:
    """A netlink socket in the calling thread's network namespace; a context manager."""

    def __init__(self, protocol: int = _ROUTE) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_NETLINK, kind, protocol)
        self._sequence = 0
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()

    def apply(self, *requests: nlmsg.Request) -> None:
        """Send all in one datagram and raise the first error as OSError.

        Not a transaction: the kernel goes on after a request that failed; the caller undoes.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        batch = [
            nlmsg.encode(request._replace(flags=request.flags | nlmsg.ACK), first + number)
            for number, request in enumerate(requests)
        ]
        self._socket.send(b"".join(batch))
        failure: OSError | None = None
        waiting = set(range(first, first + len(requests)))
        while waiting:
            for reply in nlmsg.replies(self._receive()):
                if reply.kind != nlmsg.ERROR or reply.sequence not in waiting:
                    continue
                waiting.discard(reply.sequence)
                request = requests[reply.sequence - first]
                failure = failure or _failure(reply, request)
        if failure:
            raise failure

    def dump(self, request: nlmsg.Request, *, everything: bool = True) -> Iterator[nlmsg.Reply]:
        """The answers to a question; with `everything` off, of the one object it names."""
        self._sequence += 1
        flags = nlmsg.DUMP if everything else nlmsg.ACK
        self._socket.send(nlmsg.encode(request._replace(flags=flags), self._sequence))
        while True:
            for reply in nlmsg.replies(self._receive()):
                if reply.sequence != self._sequence:
                    continue
                if reply.kind == nlmsg.DONE:
                    return
                if reply.kind == nlmsg.ERROR:
                    failure = _failure(reply, request)
                    if failure:
                        raise failure
                    return
                yield reply

    def settle(self, name: str) -> None:
        """Make a carrier change take effect now: queues and bridge port open for packets.

        Left alone it happens soon, and until then packets are lost; a first SYN lost costs 1 s.
        Asking for the link state makes the kernel handle the pending event (linkwatch_sync_dev).
        """
        question = libc.buffer(pack("=II", _GET_LINK_STATE, 0))
        interface = pack("@16sP16x", name.encode(), libc.address(question))
        fcntl.ioctl(self._socket, _SIOCETHTOOL, interface)

    def _receive(self) -> bytes:
        return self._socket.recv(1 << 16)


def _failure(reply: nlmsg.Reply, request: nlmsg.Request) -> OSError | None:
    code, words = nlmsg.error_of(reply)
    if not code or code in request.ignore:
        return None
    return OSError(code, f"{request.what}: {words or os.strerror(code)}")


@contextmanager
def inside(namespace_fd: int) -> Iterator[None]:
    """Visit another network namespace with this thread; sockets opened here stay there.

    /proc/sys/net opened here is the other namespace's too.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.syscall("setns", namespace_fd, _CLONE_NEWNET)
        try:
            yield
        finally:
            libc.syscall("setns", home, _CLONE_NEWNET)
    finally:
        os.close(home)


def has_ipv6() -> bool:
    """Whether this kernel, and this network namespace, has IPv6."""
    return os.path.exists("/proc/net/if_inet6")


def create_bridge(name: str, *, mac: str, mtu: int) -> nlmsg.Request:
    """A bridge, down. Its MAC is its own: else it takes the lowest of its ports', which change."""
    body = (
        nlmsg.link_body()
        + nlmsg.attribute(_IFNAME, name)
        + nlmsg.attribute(_ADDRESS, _mac_bytes(mac))
        + nlmsg.attribute(_MTU, mtu)
        + nlmsg.nest(_LINKINFO, nlmsg.attribute(_KIND, "bridge"))
    )
    flags = nlmsg.CREATE | nlmsg.EXCLUSIVE
    return nlmsg.Request(_NEWLINK, body, f"create bridge {name}", flags)


def create_veth(
    name: str, *, bridge: int, mtu: int, peer: str, peer_mac: str, peer_namespace: int
) -> nlmsg.Request:
    """A pair in one request: `name` up on the bridge, `peer` inside the other namespace.

    The peer stays down: veth refuses (ENOTCONN) to come up before its pair is complete.
    """
    other = (
        nlmsg.link_body()
        + nlmsg.attribute(_IFNAME, peer)
        + nlmsg.attribute(_ADDRESS, _mac_bytes(peer_mac))
        + nlmsg.attribute(_MTU, mtu)
        + nlmsg.attribute(_NET_NS_FD, peer_namespace)
    )
    pair = nlmsg.nest(_DATA, nlmsg.nest(_VETH_PEER, other))
    body = (
        nlmsg.link_body(0, UP, UP)
        + nlmsg.attribute(_IFNAME, name)
        + nlmsg.attribute(_MTU, mtu)
        + nlmsg.attribute(_MASTER, bridge)
        + nlmsg.nest(_LINKINFO, nlmsg.attribute(_KIND, "veth"), pair)
    )
    flags = nlmsg.CREATE | nlmsg.EXCLUSIVE
    return nlmsg.Request(_NEWLINK, body, f"create interface {name}", flags)


def create_cable(name: str, peer: str, *, mtu: int) -> nlmsg.Request:
    """A veth pair that leads from here to here; down. Deleting one end deletes both."""
    other = nlmsg.link_body() + nlmsg.attribute(_IFNAME, peer) + nlmsg.attribute(_MTU, mtu)
    body = (
        nlmsg.link_body()
        + nlmsg.attribute(_IFNAME, name)
        + nlmsg.attribute(_MTU, mtu)
        + nlmsg.nest(
            _LINKINFO,
            nlmsg.attribute(_KIND, "veth"),
            nlmsg.nest(_DATA, nlmsg.nest(_VETH_PEER, other)),
        )
    )
    flags = nlmsg.CREATE | nlmsg.EXCLUSIVE
    return nlmsg.Request(_NEWLINK, body, f"create interface {name}", flags)


def bridge_port(name: str, *, isolated: bool = False) -> nlmsg.Request:
    """Let the bridge send a frame back out of the port it came from (br_netfilter needs it). An
    isolated port reaches the host, and no other isolated port."""
    settings = nlmsg.attribute(_BRIDGE_PORT_HAIRPIN, b"\1")
    if isolated:
        settings += nlmsg.attribute(_BRIDGE_PORT_ISOLATED, b"\1")
    port = nlmsg.nest(
        _LINKINFO, nlmsg.attribute(_SLAVE_KIND, "bridge"), nlmsg.nest(_SLAVE_DATA, settings)
    )
    body = nlmsg.link_body() + nlmsg.attribute(_IFNAME, name) + port
    return nlmsg.Request(_NEWLINK, body, f"set up bridge port {name}")


def set_master(index: int, bridge: int) -> nlmsg.Request:
    """Make the interface a port of the bridge."""
    body = nlmsg.link_body(index) + nlmsg.attribute(_MASTER, bridge)
    return nlmsg.Request(_NEWLINK, body, f"put interface {index} on its bridge")


def set_up(index: int) -> nlmsg.Request:
    return nlmsg.Request(_NEWLINK, nlmsg.link_body(index, UP, UP), f"set interface {index} up")


def delete_link(name: str) -> nlmsg.Request:
    """Idempotent: a link that is not there is deleted."""
    body = nlmsg.link_body() + nlmsg.attribute(_IFNAME, name)
    return nlmsg.Request(_DELLINK, body, f"delete interface {name}", ignore=(errno.ENODEV,))


def create_macvlan(
    name: str, *, parent: int, mode: str, mac: str, mtu: int, namespace: int
) -> nlmsg.Request:
    """An interface on the parent's wire with a MAC of its own, down, in the namespace."""
    data = nlmsg.attribute(_MACVLAN_MODE, _MACVLAN_MODES[mode])
    return _create_child(name, "macvlan", parent, data, mac, mtu, namespace)


def create_ipvlan(
    name: str, *, parent: int, mode: str, flag: str, mtu: int, namespace: int
) -> nlmsg.Request:
    """Like a macvlan with the parent's MAC."""
    data = nlmsg.attribute(_IPVLAN_MODE, pack("=H", _IPVLAN_MODES[mode]))
    data += nlmsg.attribute(_IPVLAN_FLAGS, pack("=H", _IPVLAN_FLAG_BITS[flag]))
    return _create_child(name, "ipvlan", parent, data, "", mtu, namespace)


def create_vlan(name: str, *, parent: int, number: int) -> nlmsg.Request:
    """The parent's traffic that has this 802.1Q tag."""
    return _create_child(name, "vlan", parent, nlmsg.attribute(_VLAN_ID, pack("=H", number)))


def _create_child(
    name: str, kind: str, parent: int, data: bytes, mac: str = "", mtu: int = 0, namespace: int = -1
) -> nlmsg.Request:
    body = (
        nlmsg.link_body()
        + nlmsg.attribute(_IFNAME, name)
        + nlmsg.attribute(_LINK, parent)
        + (nlmsg.attribute(_ADDRESS, _mac_bytes(mac)) if mac else b"")
        + (nlmsg.attribute(_MTU, mtu) if mtu else b"")
        + (nlmsg.attribute(_NET_NS_FD, namespace) if namespace >= 0 else b"")
        + nlmsg.nest(_LINKINFO, nlmsg.attribute(_KIND, kind), nlmsg.nest(_DATA, data))
    )
    flags = nlmsg.CREATE | nlmsg.EXCLUSIVE
    return nlmsg.Request(_NEWLINK, body, f"create {kind} {name}", flags)


def add_address(index: int, address: str, prefix_length: int) -> nlmsg.Request:
    """Idempotent. An IPv6 address is usable at once: who gives them out gives each out once."""
    family = _INET6 if ":" in address else _INET
    raw = _socket.inet_pton(family, address)
    body = nlmsg.address_body(index, prefix_length, family, _NODAD if family == _INET6 else 0)
    body += nlmsg.attribute(_IFA_LOCAL, raw) + nlmsg.attribute(_IFA_ADDRESS, raw)
    if family == _INET:
        host_bits = (1 << (32 - prefix_length)) - 1
        broadcast = (int.from_bytes(raw, "big") | host_bits).to_bytes(4, "big")
        body += nlmsg.attribute(_IFA_BROADCAST, broadcast)
    what = f"add address {address}/{prefix_length}"
    return nlmsg.Request(_NEWADDR, body, what, nlmsg.CREATE | nlmsg.EXCLUSIVE, (errno.EEXIST,))


def add_default_route(gateway: str, *, device: int = 0, v6: bool = False) -> nlmsg.Request:
    """Through a gateway, or ("") straight out of `device`. Takes the place of the one there is."""
    family = _INET6 if v6 or ":" in gateway else _INET
    scope = _SCOPE_UNIVERSE if gateway or family == _INET6 else _SCOPE_LINK
    body = nlmsg.route_body(
        family, 0, table=_TABLE_MAIN, protocol=_PROTOCOL_BOOT, scope=scope, kind=_UNICAST
    )
    if gateway:
        body += nlmsg.attribute(_RTA_GATEWAY, _socket.inet_pton(family, gateway))
    if device:
        body += nlmsg.attribute(_RTA_OIF, device)
    what = f"add default route via {gateway or device}"
    return nlmsg.Request(_NEWROUTE, body, what, nlmsg.CREATE | nlmsg.REPLACE)


def delete_default_route(*, v6: bool) -> nlmsg.Request:
    """Idempotent."""
    body = nlmsg.route_body(
        _INET6 if v6 else _INET, 0, table=_TABLE_MAIN, protocol=0, scope=_SCOPE_NOWHERE, kind=0
    )
    gone = (errno.ESRCH, errno.ENOENT, errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
    return nlmsg.Request(_DELROUTE, body, "delete default route", ignore=gone)


def find_link(socket: Netlink, *, name: str = "", index: int = 0) -> Link | None:
    """The link of that name or index, None when there is none."""
    body = nlmsg.link_body(index) + (nlmsg.attribute(_IFNAME, name) if name else b"")
    request = nlmsg.Request(_GETLINK, body, f"find interface {name or index}")
    try:
        for reply in socket.dump(request, everything=False):
            return _link(reply)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    return None


def _link(reply: nlmsg.Reply) -> Link:
    index, flags, found = nlmsg.link_header(reply.body)
    kind = nlmsg.attributes(found.get(_LINKINFO, b"")).get(_KIND, b"")
    mtu, master = found.get(_MTU), found.get(_MASTER)
    return Link(
        index,
        nlmsg.text(found.get(_IFNAME, b"")),
        flags,
        nlmsg.u32(mtu) if mtu else 0,
        nlmsg.text(kind),
        nlmsg.u32(master) if master else 0,
    )


def routes(socket: Netlink) -> list[Route]:
    """The unicast IPv4 routes of every table."""
    body = nlmsg.route_body(_INET, 0, table=0, protocol=0, scope=0, kind=0)
    found = []
    for reply in socket.dump(nlmsg.Request(_GETROUTE, body, "list routes")):
        prefix_length, _table, kind, values = nlmsg.route_header(reply.body)
        if kind != _UNICAST:
            continue
        target, device, metric = (values.get(k) for k in (_RTA_DST, _RTA_OIF, _RTA_PRIORITY))
        found.append(
            Route(
                _socket.inet_ntop(_INET, target) if target else "",
                prefix_length,
                nlmsg.u32(device) if device else 0,
                nlmsg.u32(metric) if metric else 0,
            )
        )
    return found


def _mac_bytes(mac: str) -> bytes:
    raw = bytes.fromhex(mac.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"bad MAC address {mac!r}")
    return raw
