"""Who is called what on which network, and what a container may know of it. Pure.

The engine writes a `Table` when somebody comes or goes; the resolver asks it for every question.
"""

from ..typed import NamedTuple

NO_LINKS: dict[str, str] = {}


class Member(NamedTuple):
    """A container on a network: its names there, the first its own, and its addresses."""

    container: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]


class Members(NamedTuple):
    name: str  # the network's
    members: tuple[Member, ...]


class Client(NamedTuple):
    """A container that asks: its networks by id, its links (alias to container), the servers that
    know the rest (none: the host's), and whether the rest is to be asked for at all."""

    networks: tuple[str, ...]
    links: dict[str, str] = NO_LINKS
    servers: tuple[str, ...] = ()
    forwards: bool = True


class Table(NamedTuple):
    networks: dict[str, Members]
    clients: dict[str, Client]


def addresses(table: Table, asker: str, name: str) -> list[str] | None:
    """Those behind a name, of either family; None when it is nobody's."""
    client = table.clients.get(asker)
    if client is None:
        return None
    wanted = name.rstrip(".").lower()
    linked = client.links.get(wanted, "").lower()
    for network_id in client.networks:
        network = table.networks.get(network_id)
        if network is None:
            continue
        names = {wanted, linked} - {""}
        names.add(wanted.removesuffix(f".{network.name.lower()}"))
        found = [
            address
            for member in network.members
            if any(known.lower() in names for known in member.names)
            for address in member.addresses
        ]
        if found:
            return found
    return None


def name_of(table: Table, asker: str, address: str) -> str | None:
    """The name behind an address on one of the asker's networks: "container.network"."""
    client = table.clients.get(asker)
    for network_id in client.networks if client else ():
        network = table.networks.get(network_id)
        for member in network.members if network else ():
            if network and address in member.addresses:
                return f"{member.names[0]}.{network.name}"
    return None
