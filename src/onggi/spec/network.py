"""Networks, endpoints and published ports as data."""

from ..typed import Literal, NamedTuple

Protocol = Literal["tcp", "udp", "sctp"]


class PortBinding(NamedTuple):
    """One published port. `host_ip` "" is every address, `host_port` 0 an ephemeral one; with
    `last_host_port` any free one from `host_port` to it."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: Protocol = "tcp"
    last_host_port: int = 0


class Pool(NamedTuple):
    """A range of addresses of one family. `part` is what of it is given out ("" all of it);
    `reserved` are addresses by name that are never given out."""

    subnet: str
    gateway: str = ""
    part: str = ""
    reserved: dict[str, str] = {}  # noqa: RUF012 - never mutated


class NetworkOptions(NamedTuple):
    """What `network create` asks for."""

    name: str
    driver: str = "bridge"  # bridge | macvlan | ipvlan
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    config_only: bool = False
    config_from: str = ""


class Network(NamedTuple):
    """A network row. `subnet` like "172.18.0.0/24"; `bridge` the interface's name ("" for none).
    `subnet`, `gateway` and their IPv6 twins are in use ("" for a family it has not); `pools` is
    what was asked for, with further subnets, parts and reserved addresses."""

    id: str
    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    internal: bool = False
    created_ns: int = 0
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    subnet6: str = ""
    gateway6: str = ""
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    attachable: bool = False
    options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    ipam_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    config_only: bool = False
    config_from: str = ""
    makes_link: bool = True  # the bridge, or the parent, is ours to make and to delete


class EndpointOptions(NamedTuple):
    """What a container asks of one network it is on; "" lets the network choose."""

    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # "container:alias"
    address: str = ""
    address6: str = ""
    link_local: tuple[str, ...] = ()
    mac_address: str = ""
    driver_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    gateway_priority: int = 0


class Endpoint(NamedTuple):
    """A container's place on a network. `address` without prefix; `ports` all with real numbers.
    `interface` is its name inside, `host_interface` outside ("" where there is none)."""

    network_id: str
    container_id: str
    address: str
    prefix_length: int
    gateway: str
    mac_address: str
    host_interface: str
    ports: tuple[PortBinding, ...] = ()
    aliases: tuple[str, ...] = ()
    interface: str = "eth0"
    address6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    link_local: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gateway_priority: int = 0
    driver_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    names: tuple[str, ...] = ()  # by which others on the network find it, its own first
    servers: tuple[str, ...] = ()  # of names that are nobody's here; (): the host's
