"""Rows of networks and endpoints. Addresses and host ports are given out here, once each."""

import builtins
from collections.abc import Callable

from ..errors import Conflict, InvalidInput, NotFound
from ..spec.container import ContainerId
from ..spec.network import Endpoint, Network, PortBinding
from .containers import is_hexadecimal
from .db import Connection, Database
from .rowtext import dump, parse

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - addresses to compare with, not to bind


class Networks:
    def __init__(self, db: Database) -> None:
        self._db = db

    def insert(self, network: Network) -> None:
        """Raises Conflict when the name is taken."""

        def work(connection: Connection) -> None:
            if connection.execute(
                "SELECT 1 FROM network WHERE name = ?", (network.name,)
            ).fetchone():
                raise Conflict(f"network with name {network.name} already exists")
            connection.execute(
                "INSERT INTO network VALUES (?, ?, ?)", (network.id, network.name, dump(network))
            )

        self._db.write(work)

    def replace(self, network: Network) -> None:
        """Store a changed network under its id. Raises NotFound when it is gone."""
        if not self._db.execute(
            "UPDATE network SET name = ?, body = ? WHERE id = ?",
            (network.name, dump(network), network.id),
        ):
            raise NotFound(f"network {network.id} not found")

    def get(self, reference: str) -> Network:
        """By whole id, then by name, then by the start of the id."""
        rows = self._db.rows(
            "SELECT body FROM network WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1", (reference,)
        )
        if not rows and is_hexadecimal(reference):
            rows = self._db.rows(
                "SELECT body FROM network WHERE id >= ? AND id < ?", (reference, reference + "g")
            )
            if len(rows) > 1:
                found = f"{len(rows)} matches found based on ID prefix"
                raise InvalidInput(f"network {reference} is ambiguous ({found})")
        if not rows:
            raise NotFound(f"network {reference} not found")
        return _network(rows[0][0])

    def list(self) -> builtins.list[Network]:
        """By name."""
        rows = self._db.rows("SELECT body FROM network ORDER BY name")
        return [_network(body) for (body,) in rows]

    def remove(self, network_id: str) -> None:
        """Idempotent. Raises Conflict, naming one, while containers are attached."""

        def work(connection: Connection) -> None:
            row = connection.execute(
                "SELECT network.name, endpoint.container_id, container.name FROM endpoint"
                " JOIN network ON network.id = endpoint.network_id"
                " LEFT JOIN container ON container.id = endpoint.container_id"
                " WHERE endpoint.network_id = ? LIMIT 1",
                (network_id,),
            ).fetchone()
            if row is not None:
                raise Conflict(
                    f"error while removing network: network {row[0]} has active endpoints "
                    f'(name:"{row[2] or ""}" id:"{row[1][:12]}")'
                )
            connection.execute("DELETE FROM network WHERE id = ?", (network_id,))

        self._db.write(work)

    def add_endpoint(
        self, network_id: str, choose: Callable[[frozenset[str]], Endpoint]
    ) -> Endpoint:
        """Store the endpoint that `choose` makes, given the addresses in use on the network; nobody
        takes an address or a host port between. Raises Conflict for a taken address or port."""

        def work(connection: Connection) -> Endpoint:
            if not connection.execute(
                "SELECT 1 FROM network WHERE id = ?", (network_id,)
            ).fetchone():
                raise NotFound(f"network {network_id} not found")
            used = _addresses(connection, network_id)
            endpoint = choose(used)
            for address in (endpoint.address, endpoint.address6):
                if address and address in used:
                    raise Conflict(f"Address already in use: {address}")
            key = (network_id, endpoint.container_id)
            if connection.execute(
                "SELECT 1 FROM endpoint WHERE network_id = ? AND container_id = ?", key
            ).fetchone():
                raise Conflict(
                    f"container {endpoint.container_id} is already attached to network {network_id}"
                )
            connection.execute(
                "INSERT INTO endpoint VALUES (?, ?, ?, ?)",
                (*key, endpoint.address or endpoint.address6, dump(endpoint)),
            )
            for port in endpoint.ports:
                _take_port(connection, endpoint, port)
            return endpoint

        return self._db.write(work)

    def replace_endpoint(self, endpoint: Endpoint) -> None:
        """Store what changed of it, but for its addresses and ports. Nothing when it is gone."""
        self._db.execute(
            "UPDATE endpoint SET body = ? WHERE network_id = ? AND container_id = ?",
            (dump(endpoint), endpoint.network_id, endpoint.container_id),
        )

    def publish(
        self, container_id: ContainerId, network_id: str, ports: tuple[PortBinding, ...]
    ) -> None:
        """Say on which of the container's networks its ports are published: there, and nowhere
        else ("" for nowhere)."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM host_port WHERE container_id = ?", (container_id,))
            rows = connection.execute(
                "SELECT network_id, body FROM endpoint WHERE container_id = ?", (container_id,)
            ).fetchall()
            for id_, body in rows:
                endpoint = parse(Endpoint, body, "an endpoint")
                endpoint = endpoint._replace(ports=ports if id_ == network_id else ())
                connection.execute(
                    "UPDATE endpoint SET body = ? WHERE network_id = ? AND container_id = ?",
                    (dump(endpoint), id_, container_id),
                )
                for port in endpoint.ports:
                    _take_port(connection, endpoint, port)

        self._db.write(work)

    def release(self, container_id: ContainerId, network_id: str = "") -> None:
        """Give back the container's addresses and ports (on one network, or on all). Idempotent."""
        self._db.execute(
            "DELETE FROM endpoint WHERE container_id = ?1 AND (?2 = '' OR network_id = ?2)",
            (container_id, network_id),
        )

    def endpoints(self, *, network_id: str = "", container_id: str = "") -> builtins.list[Endpoint]:
        """Those of a network, of a container, of both, or all."""
        rows = self._db.rows(
            "SELECT body FROM endpoint WHERE (?1 = '' OR network_id = ?1)"
            " AND (?2 = '' OR container_id = ?2) ORDER BY network_id, address",
            (network_id, container_id),
        )
        return [parse(Endpoint, body, "an endpoint") for (body,) in rows]


def _network(body: str) -> Network:
    return parse(Network, body, "a network")


def _addresses(connection: Connection, network_id: str) -> frozenset[str]:
    rows = connection.execute(
        "SELECT address, json_extract(body, '$.address6') FROM endpoint WHERE network_id = ?",
        (network_id,),
    )
    return frozenset(address for row in rows for address in row if address)


def _take_port(connection: Connection, endpoint: Endpoint, port: PortBinding) -> None:
    taken = connection.execute(
        "SELECT host_ip, container_id FROM host_port WHERE protocol = ? AND port = ?",
        (port.protocol, port.host_port),
    ).fetchall()
    for host_ip, holder in taken:
        if _overlap(host_ip, port.host_ip):
            raise Conflict(
                f"Bind for {port.host_ip or _ANY[1]}:{port.host_port} failed: "
                "port is already allocated",
                hint=f"it is published by container {holder[:12]}",
            )
    connection.execute(
        "INSERT INTO host_port VALUES (?, ?, ?, ?, ?)",
        (
            port.protocol,
            port.host_port,
            port.host_ip,
            endpoint.container_id,
            endpoint.network_id,
        ),
    )


def _overlap(one: str, other: str) -> bool:
    """Whether two host addresses claim the same port: equal, or one is every address of the
    other's family ("" is both)."""
    if one == other or "" in (one, other):
        return True
    if (":" in one) != (":" in other):
        return False
    return one in _ANY or other in _ANY
