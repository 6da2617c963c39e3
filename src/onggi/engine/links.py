"""`--link` on the default network, as docker has had it from the beginning: names in /etc/hosts and
variables that tell of the other container's ports and environment. Pure.

On user-defined networks a link is a name that the resolver knows (`naming`).
"""

from collections.abc import Callable, Iterable

from ..errors import Conflict, NotFound
from ..spec.container import Container
from ..spec.network import Endpoint
from ..typed import NamedTuple
from .reaper import ACTIVE

_OWN = ("HOME", "PATH", "HOSTNAME")  # of the other's variables, what is not told


class Link(NamedTuple):
    """Another container as this one knows it."""

    address: str
    names: tuple[str, ...]
    env: tuple[str, ...]


def link(container: Container, alias: str, other: Container, endpoint: Endpoint | None) -> Link:
    """`endpoint` is the other's place on the default network. Raises Conflict when it has none."""
    if other.state.status not in ACTIVE or endpoint is None:
        raise Conflict(
            f"cannot link to a non running container: /{other.name} AS /{container.name}/{alias}"
        )
    env = tuple(_env(container, alias, other, endpoint))
    return Link(endpoint.address, _names(alias, other), env)


def _names(alias: str, other: Container) -> tuple[str, ...]:
    return tuple(dict.fromkeys((alias, other.config.hostname, other.name)))


def to(
    container: Container, found: Iterable[Container], find: Callable[[str], Container]
) -> list[tuple[Container, tuple[str, ...]]]:
    """Those of the `found` that run with a link to that container, and what they call it."""
    linked = []
    for other in found:
        for text in other.config.options.host.links if other.state.status in ACTIVE else ():
            reference, _, alias = text.partition(":")
            try:
                if find(reference).id == container.id:
                    linked.append((other, _names(alias, container)))
            except NotFound:
                continue
    return linked


def _env(container: Container, alias: str, other: Container, endpoint: Endpoint) -> list[str]:
    prefix = alias.upper().replace("-", "_")
    ports = sorted(other.config.exposed_ports, key=_order)
    found = []
    for index, text in enumerate(ports):
        number, _, protocol = text.partition("/")
        place = f"{protocol}://{endpoint.address}:{number}"
        if index == 0:
            found.append(f"{prefix}_PORT={place}")
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{name}={place}",
            f"{name}_ADDR={endpoint.address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]
    found.append(f"{prefix}_NAME=/{container.name}/{alias}")
    told = (entry for entry in other.config.process.env if entry.partition("=")[0] not in _OWN)
    return found + [f"{prefix}_ENV_{entry}" for entry in told]


def _order(text: str) -> tuple[bool, int]:
    """TCP first, then by number."""
    number, _, protocol = text.partition("/")
    return protocol != "tcp", int(number)
