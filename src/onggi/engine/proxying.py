"""Published ports where nftables is missing: starts the process that relays them in user space."""

import json
import os
import socket
from collections.abc import Sequence

from ..errors import Unavailable, Unsupported
from ..linux import tools
from ..network.proxy import FIRST_FD, LIFE_FD, Target
from ..spec import codec
from ..spec.network import Endpoint, PortBinding
from . import detach
from .programs import command


def start(endpoint: Endpoint, bindings: Sequence[PortBinding], held: Sequence[int]) -> int:
    """A descriptor that keeps the relay alive: when it is closed, by whomever, the relay ends.
    `held` are the bound sockets. Raises Unavailable, Unsupported."""
    targets = [_target(descriptor, endpoint, bindings) for descriptor in held]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        argv = [*command("onggi-proxy"), json.dumps([codec.encode(target) for target in targets])]
        descriptors = {0: null, 1: null, 2: null, LIFE_FD: reader}
        descriptors |= {FIRST_FD + number: fd for number, fd in enumerate(held)}
        detach.forget(tools.start(argv, descriptors))
    except OSError as error:
        os.close(writer)
        raise Unavailable(f"cannot start the relay of published ports: {error.strerror}") from error
    finally:
        os.close(reader)
        os.close(null)
    return writer


def _target(descriptor: int, endpoint: Endpoint, bindings: Sequence[PortBinding]) -> Target:
    """Where the port that the socket holds leads: to an address of the same family if there is.
    Raises Unsupported."""
    with socket.socket(fileno=os.dup(descriptor)) as door:
        host, port, *_ = door.getsockname()
        protocol = "udp" if door.type == socket.SOCK_DGRAM else "tcp"
        if door.proto == socket.IPPROTO_SCTP:
            raise Unsupported("publishing SCTP ports needs nftables")
        v6 = door.family == socket.AF_INET6
    binding = next(
        b for b in bindings
        if b.host_port == port and b.protocol == protocol and b.host_ip in ("", host)
    )  # fmt: skip
    first, second = endpoint.address, endpoint.address6
    address = (second or first) if v6 else (first or second)
    return Target(protocol, address, binding.container_port)
