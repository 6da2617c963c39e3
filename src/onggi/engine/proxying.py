"""Published ports that the kernel cannot lead to the container: IPv6's loopback, a family that its
network has not, a host without nftables, a user without root. A process relays them
(network/proxy).

It is there while somebody connects. The container's monitor waits at the doors, starts it, and
waits again when it has ended because nobody came any more: an idle container pays nothing.
"""

import _socket
import os
from collections.abc import Sequence

from .. import jsons
from ..errors import Unsupported
from ..linux import process, tools
from ..spec.network import Endpoint, PortBinding
from ..store.store import Store
from .programs import command

LIFE_FD, FIRST_FD = 3, 4  # as network/proxy has them
END_S = 5.0


class Relay:
    """That of one run of a container; `doors` are sockets of its ports. When `inside` is a process
    of the container, the relay connects in its network namespace: we cannot reach its address."""

    def __init__(self, store: Store, container_id: str, doors: Sequence[int]) -> None:
        self.doors = tuple(doors)
        self.inside = 0
        self._store = store
        self._container_id = container_id
        self._pidfd = -1
        self._reader, self._writer = -1, -1

    def life(self) -> int:
        """A descriptor that keeps the relay alive: when it is closed, by whomever, that ends."""
        if self._writer < 0:
            self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        return self._writer

    def start(self, *, stays: bool = False) -> int:
        """A pidfd of the relay, -1 when there is nothing to relay to. What `stays` does not end for
        want of connections."""
        found = self._store.networks.endpoints(container_id=self._container_id)
        self._store.db.close()
        endpoint = next((endpoint for endpoint in found if endpoint.ports), None)
        if endpoint is None:
            return -1
        self.life()
        opened = [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)]
        try:
            if self.inside:
                opened.append(os.open(f"/proc/{self.inside}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            descriptors = [self._reader, *self.doors, *opened[1:]]
            orders = {
                "targets": [_target(door, endpoint) for door in self.doors],
                "inside": bool(self.inside),
                "stays": stays,
            }
            argv = [*command("onggi-proxy"), jsons.dumps(orders)]
            numbers = {LIFE_FD + number: fd for number, fd in enumerate(descriptors)}
            child = tools.start(argv, {**dict.fromkeys((0, 1, 2), opened[0]), **numbers})
        except OSError:
            return -1
        finally:
            for fd in opened:
                os.close(fd)
        self._pidfd = process.pidfd_open(child)
        return self._pidfd

    def ended(self) -> bool:
        """After the pidfd told so: whether it did its work."""
        info = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pidfd = -1
        return info is not None and info.si_code == os.CLD_EXITED and info.si_status == 0

    def stop(self) -> None:
        """It is gone, with its copies of the doors. Idempotent."""
        for fd in (self._reader, self._writer):
            if fd >= 0:
                os.close(fd)
        self._reader, self._writer = -1, -1
        if self._pidfd < 0:
            return
        if not process.pidfd_wait(self._pidfd, END_S):
            process.pidfd_send_signal(self._pidfd, 9)
        self.ended()


def check(bindings: Sequence[PortBinding]) -> None:
    """Raises Unsupported for what only the kernel could do."""
    if any(binding.protocol == "sctp" for binding in bindings):
        raise Unsupported("publishing SCTP ports needs root and nftables")


def _target(descriptor: int, endpoint: Endpoint) -> dict[str, str | int]:
    """Where the port that the socket holds leads, as network/proxy's Target: to an address of the
    same family if there is one."""
    door = _socket.socket(fileno=descriptor)
    host, port, *_ = door.getsockname()
    protocol = "udp" if door.type == _socket.SOCK_DGRAM else "tcp"
    v6 = door.family == _socket.AF_INET6
    door.detach()
    binding = next(
        b for b in endpoint.ports
        if b.host_port == port and b.protocol == protocol and b.host_ip in ("", host)
    )  # fmt: skip
    first, second = endpoint.address, endpoint.address6
    address = (second or first) if v6 else (first or second)
    return {"protocol": protocol, "address": address, "port": binding.container_port}
