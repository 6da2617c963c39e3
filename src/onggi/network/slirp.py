"""slirp4netns: like pasta, where that cannot be had. Owns its command line, its interface's
addresses and the requests that publish ports.
"""

import _socket
import fcntl
import json
import os
from collections.abc import Callable

from ..errors import Conflict, Unavailable
from ..linux import process, rtnetlink, tools
from ..spec.network import Endpoint
from . import pasta, rules

Work = Callable[[], None]
_SOCKET = "slirp.sock"
_READY, _DIRECTORY = 3, 4
_START_TIMEOUT_S = 30.0


def start(netns: str, directory: str) -> None:
    """Returns when the interface is there, down and without an address."""
    program = tools.find("slirp4netns")
    socket = f"/proc/self/fd/{_DIRECTORY}/{_SOCKET}"  # its own path may be too long for one
    argv = [program, "--mtu=65520", "--disable-host-loopback", f"--ready-fd={_READY}",
            f"--api-socket={socket}", "--netns-type=path", netns, pasta.INTERFACE]  # fmt: skip
    ready, tell = os.pipe()
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        # One after another, a descriptor's new number must not be another's old one.
        spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (tell, here)]
        numbers = {0: null, 1: null, 2: null, _READY: spare[0], _DIRECTORY: spare[1]}
        pid = tools.start(argv, numbers)
        for fd in spare:
            os.close(fd)
    finally:
        for fd in (tell, here, null):
            os.close(fd)
    pasta.record(directory, pid)
    up = process.wait_readable(ready, _START_TIMEOUT_S) and os.read(ready, 1)
    os.close(ready)
    if not up:
        raise Unavailable("slirp4netns cannot connect the container", hint="onggi doctor")


def configure(endpoint: Endpoint) -> None:
    """In the container's network namespace: addresses, and the way out."""
    with rtnetlink.Netlink() as socket:
        link = rtnetlink.find_link(socket, name=pasta.INTERFACE)
        number = link.number if link else 0
        socket.apply(
            rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX),
            rtnetlink.add_address(number, endpoint.address, pasta.PREFIX_LENGTH),
            rtnetlink.set_up(number),
            rtnetlink.add_default_route(pasta.GATEWAY, device=number),
        )


def publish(directory: str, endpoint: Endpoint) -> None:
    for port in endpoint.ports:
        every = port.host_ip in rules.EVERY_ADDRESS
        answer = _ask(
            directory,
            {
                "proto": port.protocol,
                "host_addr": "0.0.0.0" if every else port.host_ip,  # noqa: S104 - as asked for
                "host_port": port.host_port,
                "guest_addr": endpoint.address,
                "guest_port": port.container_port,
            },
        )
        if b'"error"' in answer:
            raise Conflict(
                "driver failed programming external connectivity: slirp4netns: "
                + answer.decode(errors="replace").strip()
            )


def _ask(directory: str, arguments: dict[str, object]) -> bytes:
    here = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        client.connect(f"/proc/self/fd/{here}/{_SOCKET}")
        request = json.dumps({"execute": "add_hostfwd", "arguments": arguments})
        client.send(request.encode())
        client.shutdown(_socket.SHUT_WR)
        answer = b""
        while piece := client.recv(4096):
            answer += piece
        return answer
    finally:
        client.close()
        os.close(here)
