"""Host ports held by bound sockets: a port is ours exactly as long as its descriptor is open.

The sockets carry no traffic: packets to them are redirected before they arrive, and a filter drops
whatever comes while no rule is there, so a client that is early retries instead of being refused.
Whoever holds the descriptors (the container's monitor) frees the ports by ending.
"""

import _socket
import errno
import os
from collections.abc import Iterable
from struct import pack

from ..errors import Conflict, InvalidInput, OnggiError, Unsupported
from ..linux import libc
from ..spec.network import PortBinding
from . import ipam, rules

_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_LISTEN, _UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and /proc/net/udp
_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06


def reserve(
    bindings: Iterable[PortBinding], *, name: str
) -> tuple[tuple[PortBinding, ...], list[int]]:
    """Bind every host port, all or none; (the bindings with real numbers, descriptors to hold).

    `name` is the container's, for the error. Port 0 takes a free one of the host's ephemeral range.
    """
    real: list[PortBinding] = []
    held: list[int] = []
    try:
        for binding in bindings:
            port, descriptor = _hold(binding, name)
            held.append(descriptor)
            real.append(binding._replace(host_port=port))
    except BaseException:
        release(held)
        raise
    return tuple(real), held


def release(held: Iterable[int]) -> None:
    for descriptor in held:
        os.close(descriptor)


def _hold(binding: PortBinding, name: str) -> tuple[int, int]:
    kind = _KINDS.get(binding.protocol)
    if kind is None:
        raise Unsupported(f"publishing {binding.protocol} ports is not offered: use tcp or udp")
    address = _host_address(binding)
    socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC)
    try:
        if binding.protocol == "tcp" and binding.host_port:
            # A server that just ended leaves connections in TIME_WAIT, which would hold the port.
            socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        _drop_everything(socket)
        socket.bind((address, binding.host_port))
        if binding.protocol == "tcp":
            socket.listen(1)  # with SO_REUSEADDR only a listening socket keeps others off
        port: int = socket.getsockname()[1]
        return port, socket.detach()
    except OSError as error:
        raise _bind_error(binding, address, name, error) from error
    finally:
        socket.close()


def _host_address(binding: PortBinding) -> str:
    if not 0 <= binding.host_port < 65536:
        raise InvalidInput(f"invalid host port {binding.host_port}")
    if binding.host_ip in rules.EVERY_ADDRESS:
        return "0.0.0.0"  # noqa: S104 - docker's default; the administrator's firewall still rules
    if ":" in binding.host_ip:
        raise Unsupported(f"publishing on the IPv6 address {binding.host_ip} is not offered yet")
    ipam.parse_address(binding.host_ip)
    return binding.host_ip


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
    text = (
        f"driver failed programming external connectivity on endpoint {name}: failed to bind host "
        f"port for {address}:{binding.host_port}/{binding.protocol}: {words}"
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
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
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
    if wanted in rules.EVERY_ADDRESS or not held.strip("0"):
        return True
    return held == pack("=I", ipam.parse_address(wanted)).hex().upper()


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
