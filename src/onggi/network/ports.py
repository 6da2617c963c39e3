"""Host ports held by bound sockets: a port is ours exactly as long as its descriptor is open.

Most sockets carry no traffic: packets to them are redirected before they arrive, and a filter drops
whatever comes while no rule is there, so a client that is early retries instead of being refused.
Doors are those that the kernel cannot redirect, IPv6's loopback above all: what comes to them is
relayed (proxy). Whoever holds the descriptors (the container's monitor) frees the ports by ending.
"""

import _socket
import errno
import os
from collections.abc import Iterable
from struct import pack

from ..errors import Conflict, InvalidInput, OnggiError
from ..linux import libc, rtnetlink
from ..spec.network import PortBinding
from ..typed import NamedTuple
from . import ipam, rules

_LISTEN, _UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and /proc/net/udp
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_BPF_RETURN = 0x06
_SCTP = 132
_TRIES = 32  # for a free port of both families
_KINDS = {
    "tcp": (_socket.SOCK_STREAM, _socket.IPPROTO_TCP),
    "udp": (_socket.SOCK_DGRAM, _socket.IPPROTO_UDP),
    "sctp": (_socket.SOCK_STREAM, _SCTP),
}
_EVERY4, _EVERY6 = "0.0.0.0", "::"  # noqa: S104 - docker's default; the firewall still rules
_LOOPBACK6 = "::1"
_BACKLOG = 1024


class Reserved(NamedTuple):
    """The bindings with real numbers; descriptors to hold, and which of them are doors."""

    bindings: tuple[PortBinding, ...] = ()
    held: tuple[int, ...] = ()
    doors: tuple[int, ...] = ()


class Reach(NamedTuple):
    """What the kernel leads to the container: the families that "every address" stands for. With
    `doors` the rest is to be relayed, and "every address" is both families."""

    v4: bool = True
    v6: bool = False
    doors: bool = False


DIRECT = Reach()


def reserve(bindings: Iterable[PortBinding], *, name: str, reach: Reach = DIRECT) -> Reserved:
    """Bind every host port, all or none.

    `name` is the container's, for the error. Port 0 takes a free one of the host's ephemeral range,
    a range the first free of it.
    """
    real: list[PortBinding] = []
    held: list[int] = []
    doors: list[int] = []
    try:
        for binding in bindings:
            addresses = _host_addresses(binding, reach)
            port, descriptors = _hold(binding, addresses, name)
            held += descriptors
            real.append(binding._replace(host_port=port, last_host_port=0))
            if reach.doors and binding.protocol != "sctp":
                for address, descriptor in zip(addresses, descriptors, strict=True):
                    if _is_door(address, reach):
                        open_door(descriptor)
                        doors.append(descriptor)
    except BaseException:
        release(held)
        raise
    return Reserved(tuple(real), tuple(held), tuple(doors))


def _is_door(address: str, reach: Reach) -> bool:
    if ":" not in address:
        return not reach.v4
    return not reach.v6 or address in (_EVERY6, _LOOPBACK6)


def open_door(descriptor: int) -> None:
    """Let in what comes to the socket: take the filter off that keeps it from taking anything."""
    door = _socket.socket(fileno=descriptor)
    try:
        door.setsockopt(_socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except FileNotFoundError:
        pass  # there was none
    if door.type == _socket.SOCK_STREAM:
        door.listen(_BACKLOG)
    door.detach()


def release(held: Iterable[int]) -> None:
    for descriptor in held:
        os.close(descriptor)


def _hold(binding: PortBinding, addresses: list[str], name: str) -> tuple[int, list[int]]:
    """Of a range the first port that is free."""
    last = max(binding.host_port, binding.last_host_port)
    for port in range(binding.host_port, last + 1):
        try:
            return _hold_port(binding._replace(host_port=port), addresses, name)
        except Conflict:
            if port == last:
                raise
    raise InvalidInput(f"invalid host port {binding.host_port}")


def _hold_port(binding: PortBinding, addresses: list[str], name: str) -> tuple[int, list[int]]:
    """On all of the addresses, or none: a free port must be free on each."""
    tries = _TRIES if not binding.host_port and len(addresses) > 1 else 1
    while True:
        tries -= 1
        port, held = binding.host_port, []
        try:
            for address in addresses:
                port, descriptors = _hold_address(binding, address, port, name)
                held += descriptors
        except BaseException as error:
            release(held)
            if tries and isinstance(error, Conflict):
                continue
            raise
        return port, held


def _hold_address(
    binding: PortBinding, address: str, port: int, name: str
) -> tuple[int, list[int]]:
    """A bound socket; none for SCTP where this kernel has no sockets of that kind, and so nobody
    can take the port."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    kind, protocol = _KINDS[binding.protocol]
    try:
        socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        if binding.protocol != "sctp" or error.errno != errno.EPROTONOSUPPORT:
            raise
        return port or _any_port(), []
    try:
        if family == _socket.AF_INET6:
            socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if binding.protocol == "tcp" and port:
            # A server that just ended leaves connections in TIME_WAIT, which would hold the port.
            socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        _drop_everything(socket)
        socket.bind((address, port))
        if binding.protocol != "udp":
            socket.listen(1)  # with SO_REUSEADDR only a listening socket keeps others off
        bound: int = socket.getsockname()[1]
        return bound, [socket.detach()]
    except OSError as error:
        raise _bind_error(binding._replace(host_port=port), address, name, error) from error
    finally:
        socket.close()


def _any_port() -> int:
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as file:
        first, last = map(int, file.read().split())
    return first + int.from_bytes(os.urandom(4), "big") % (last - first + 1)


def _host_addresses(binding: PortBinding, reach: Reach) -> list[str]:
    if not 0 <= binding.host_port < 65536 or binding.protocol not in _KINDS:
        raise InvalidInput(f"invalid host port {binding.host_port}/{binding.protocol}")
    if not binding.host_ip:
        more = reach.doors and binding.protocol != "sctp"
        v4, v6 = reach.v4 or more, reach.v6 or (more and rtnetlink.has_ipv6())
        return [address for wanted, address in ((v4, _EVERY4), (v6, _EVERY6)) if wanted]
    ipam.parse_address(binding.host_ip)
    return [binding.host_ip]


def _drop_everything(socket: _socket.socket) -> None:
    """A classic BPF program of one instruction: return 0, keep nothing of the packet. Some kernels
    let only root attach one, who alone holds these sockets for long."""
    program = libc.buffer(pack("=HBBI", _BPF_RETURN, 0, 0, 0))
    description = pack("@HP", 1, libc.address(program))
    try:
        socket.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, description)
    except PermissionError:
        pass


def _bind_error(binding: PortBinding, address: str, name: str, error: OSError) -> OnggiError:
    words = {
        errno.EADDRINUSE: "address already in use",
        errno.EADDRNOTAVAIL: "cannot assign requested address",
        errno.EACCES: "permission denied",
    }.get(error.errno or 0, error.strerror)
    shown = f"[{address}]" if ":" in address else address
    text = (
        f"driver failed programming external connectivity on endpoint {name}: failed to bind host "
        f"port for {shown}:{binding.host_port}/{binding.protocol}: {words}"
    )
    if error.errno != errno.EADDRINUSE:
        return Conflict(text)
    who = holder(binding)
    hint = f"port {binding.host_port} is held by {who}" if who else None
    return Conflict(text, hint=hint)


def holder(binding: PortBinding) -> str | None:
    """Who holds the host port, like "nginx (pid 4242)"; None when that cannot be seen."""
    inodes = {
        inode
        for table in (binding.protocol, f"{binding.protocol}6")
        for inode in _holding_sockets(table, binding)
    }
    if not inodes:
        return None
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if inodes & _socket_inodes(pid):
            return f"{_command_of(pid)} (pid {pid})"
    return None


def _holding_sockets(table: str, binding: PortBinding) -> list[int]:
    """Inodes of the sockets that keep others off the port (proc(5), /proc/net/tcp)."""
    found = []
    try:
        with open(f"/proc/net/{table}", encoding="utf-8") as lines:
            next(lines)
            rows = [line.split() for line in lines]
    except OSError:
        return []
    for row in rows:
        address, _, port = row[1].rpartition(":")
        if int(port, 16) != binding.host_port or row[3] not in (_LISTEN, _UNCONNECTED):
            continue
        if _overlaps(address, binding.host_ip):
            found.append(int(row[9]))
    return found


def _overlaps(held: str, wanted: str) -> bool:
    """`held` is hexadecimal, of 32-bit words in host order."""
    if wanted in (*rules.EVERY_ADDRESS, *rules.EVERY_ADDRESS6) or not held.strip("0"):
        return True
    family = _socket.AF_INET6 if ":" in wanted else _socket.AF_INET
    raw = _socket.inet_pton(family, wanted)
    words = (raw[i : i + 4] for i in range(0, len(raw), 4))
    return held == "".join(word[::-1].hex() for word in words).upper()


def _socket_inodes(pid: int) -> set[int]:
    links = f"/proc/{pid}/fd"
    try:
        targets = [_target_of(f"{links}/{name}") for name in os.listdir(links)]
    except OSError:  # the process ended, or is not ours to look at
        return set()
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


def _target_of(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def _command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process"
