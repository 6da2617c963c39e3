"""Networks, endpoints and published ports as data."""

from ..typed import Literal, NamedTuple

Protocol = Literal["tcp", "udp", "sctp"]


class PortBinding(NamedTuple):
    """One published port. `host_ip` "" is every address, `host_port` 0 an ephemeral one."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: Protocol = "tcp"


class Network(NamedTuple):
    """A network row. `subnet` like "172.18.0.0/24"; `bridge` the interface's name ("" for none)."""

    id: str
    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    internal: bool = False
    created_ns: int = 0
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated


class Endpoint(NamedTuple):
    """A container's place on a network. `address` without prefix; `ports` all with real numbers."""

    network_id: str
    container_id: str
    address: str
    prefix_length: int
    gateway: str
    mac_address: str
    host_interface: str
    ports: tuple[PortBinding, ...] = ()
    aliases: tuple[str, ...] = ()
