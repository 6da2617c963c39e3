"""A container's network namespace, from outside: its interface's addresses, routes and settings."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import NotFound
from ..linux import rtnetlink
from ..linux.nlmsg import Request
from ..spec.network import Endpoint


@contextmanager
def of_process(pid: int) -> Iterator[int]:
    """A descriptor of the process's network namespace."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def prepared(namespace: int, endpoint: Endpoint) -> rtnetlink.Netlink:
    """A netlink socket in the namespace, which is ready for the endpoint's interface: that takes
    over the defaults, and hears no router advertisement."""
    with rtnetlink.inside(namespace):
        write_sysctl("ipv6/conf/default/accept_ra", "0")
        write_sysctl("ipv6/conf/default/disable_ipv6", "0" if endpoint.address6 else "1")
        return rtnetlink.Netlink()


def configure(
    container: rtnetlink.Netlink, endpoint: Endpoint, *, gateway: str | None, gateway6: str | None
) -> None:
    """Addresses, up, default routes: through a gateway, straight out of the interface (""), or
    none (None)."""
    link = rtnetlink.find_link(container, name=endpoint.interface)
    if link is None:
        raise NotFound(f"interface {endpoint.interface} vanished from the container")
    requests = [rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX), *_addresses(endpoint, link.number)]
    requests.append(rtnetlink.set_up(link.number))
    ways = ((gateway, endpoint.address, False), (gateway6, endpoint.address6, True))
    requests += [
        rtnetlink.add_default_route(way, device=link.number, v6=v6)
        for way, address, v6 in ways
        if way is not None and address
    ]
    container.apply(*requests)


def _addresses(endpoint: Endpoint, index: int) -> list[Request]:
    found = []
    if endpoint.address:
        found.append(rtnetlink.add_address(index, endpoint.address, endpoint.prefix_length))
    if endpoint.address6:
        found.append(rtnetlink.add_address(index, endpoint.address6, endpoint.prefix_length6))
    return found + [
        rtnetlink.add_address(index, address, 64 if ":" in address else 16)
        for address in endpoint.link_local
    ]


def set_interface(namespace: int, settings: Sequence[tuple[str, str]]) -> None:
    """Write settings below /proc/sys/net of the namespace."""
    if settings:
        with rtnetlink.inside(namespace):
            for name, value in settings:
                write_sysctl(name, value)


def route(pid: int, endpoint: Endpoint | None, endpoint6: Endpoint | None) -> None:
    """Make these endpoints' gateways the ways out, instead of whatever is there."""
    with of_process(pid) as namespace:
        with rtnetlink.inside(namespace):
            container = rtnetlink.Netlink()
        with container:
            for v6, chosen in ((False, endpoint), (True, endpoint6)):
                if chosen is None:
                    container.apply(rtnetlink.delete_default_route(v6=v6))
                else:
                    link = rtnetlink.find_link(container, name=chosen.interface)
                    gateway = chosen.gateway6 if v6 else chosen.gateway
                    container.apply(
                        rtnetlink.add_default_route(
                            gateway, device=link.number if link else 0, v6=v6
                        )
                    )


def loopback_up(pid: int) -> None:
    """127.0.0.1 works in the process's network namespace; all that `--network none` has."""
    with of_process(pid) as namespace:
        with rtnetlink.inside(namespace):
            container = rtnetlink.Netlink()
        with container:
            container.apply(rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX))


def write_sysctl(name: str, value: str) -> None:
    """Set /proc/sys/net/NAME unless it is so already; a kernel without IPv6 has nothing to set."""
    if read_sysctl(name) in (None, value):
        return
    descriptor = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def read_sysctl(name: str) -> str | None:
    """None where the kernel has no such setting."""
    try:
        descriptor = os.open(f"/proc/sys/net/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, 64).decode().strip()
    finally:
        os.close(descriptor)
