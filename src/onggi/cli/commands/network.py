"""`network create`, `connect`, `disconnect`, `ls`, `rm`."""

from ...spec.network import EndpointOptions, Network, NetworkOptions
from ...typed import Any
from ...units import format_local
from .. import environment, ipamflags, networkflags
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, each, refusal
from ..table import filters_of, print_rows
from .ps import FORMAT_HELP

HEADERS = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4",
    "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}  # fmt: skip


def create(session: Session, values: Values, arguments: list[str]) -> int:
    options = network_options(values, arguments[0])
    session.out.line(session.engine.networks.create(options).id)
    return 0


def network_options(values: Values, name: str) -> NetworkOptions:
    """Raises CommandError."""
    scope = values.text("scope")
    if values.on("ingress") or scope == "swarm":
        raise refusal(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
            "to connect this node to swarm and try again."
        )
    if scope not in ("", "local"):
        raise refusal(f"invalid scope {scope!r}: want local")
    return NetworkOptions(
        name=name,
        driver=values.text("driver") or "bridge",
        pools=ipamflags.pools(
            values.many("subnet"), values.many("ip-range"), values.many("gateway"),
            pairs(values.many("aux-address")),
        ),
        ipv4=values.on("ipv4"),
        ipv6=values.on("ipv6"),
        internal=values.on("internal"),
        attachable=values.on("attachable"),
        options=pairs(values.many("opt")),
        labels=environment.labels((), values.many("label")),
        ipam_driver=values.text("ipam-driver") or "default",
        ipam_options=pairs(values.many("ipam-opt")),
        config_only=values.on("config-only"),
        config_from=values.text("config-from"),
    )  # fmt: skip


def pairs(texts: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def connect(session: Session, values: Values, arguments: list[str]) -> int:
    options = EndpointOptions(
        aliases=tuple(values.many("alias")),
        links=tuple(":".join(networkflags.parse_link(text)) for text in values.many("link")),
        address=values.text("ip"),
        address6=values.text("ip6"),
        link_local=tuple(values.many("link-local-ip")),
        driver_options=driver_options(values.many("driver-opt")),
        gateway_priority=values.number("gw-priority"),
    )
    session.engine.networks.connect(arguments[0], arguments[1], options)
    return 0


def driver_options(texts: list[str]) -> dict[str, str]:
    try:
        return dict(networkflags.parse_driver_option(text) for text in texts)
    except ValueError as error:
        raise refusal(str(error)) from error


def disconnect(session: Session, values: Values, arguments: list[str]) -> int:
    session.engine.networks.disconnect(arguments[0], arguments[1], force=values.on("force"))
    return 0


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    def one(name: str) -> str:
        session.engine.networks.remove(name, force=values.on("force"))
        return name

    return each(session, arguments, one)


def repair(session: Session, values: Values, arguments: list[str]) -> int:
    session.engine.networks.repair()
    return 0


def ls(session: Session, values: Values, arguments: list[str]) -> int:
    found = session.engine.networks.list(filters_of(values.many("filter")))
    trunc = not values.on("no-trunc")
    if values.on("quiet") and not values.text("format"):
        for network in found:
            session.out.line(network.id[:12] if trunc else network.id)
        return 0
    rows = [row(network, trunc=trunc) for network in found]
    columns = ("ID", "Name", "Driver", "Scope")
    print_rows(session, rows, columns=columns, headers=HEADERS, template=values.text("format"))
    return 0


def row(network: Network, *, trunc: bool) -> dict[str, Any]:
    labels = network.labels
    return {
        "ID": network.id[:12] if trunc else network.id,
        "Name": network.name,
        "Driver": network.driver,
        "Scope": "local",
        "IPv4": str(network.ipv4).lower(),
        "IPv6": str(network.ipv6).lower(),
        "Internal": str(network.internal).lower(),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "CreatedAt": format_local(network.created_ns),
    }


CREATE = Command(
    usage="[OPTIONS] NETWORK",
    summary="Create a network",
    run=create,
    flags=flag_table(
        """
      --attachable           Enable manual container attachment
      --aux-address map      Auxiliary IPv4 or IPv6 addresses used by Network driver
                             (default map[])
      --config-from string   The network from which to copy the configuration
      --config-only          Create a configuration only network
  -d, --driver string        Driver to manage the Network (default "bridge")
      --gateway strings      IPv4 or IPv6 Gateway for the master subnet
      --ingress              Create swarm routing-mesh network
      --internal             Restrict external access to the network
      --ip-range strings     Allocate container ip from a sub-range
      --ipam-driver string   IP Address Management Driver (default "default")
      --ipam-opt map         Set IPAM driver specific options (default map[])
      --ipv4                 Enable or disable IPv4 address assignment (default true)
      --ipv6                 Enable or disable IPv6 address assignment
      --label list           Set metadata on a network
  -o, --opt map              Set driver specific options (default map[])
      --scope string         Control the network's scope
      --subnet strings       Subnet in CIDR format that represents a network segment
"""
    ),
    least=1,
    most=1,
    checks={"label": environment.check_label},
)
CONNECT = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Connect a container to a network",
    run=connect,
    flags=flag_table(
        """
      --alias strings           Add network-scoped alias for the container
      --driver-opt strings      driver options for the network
      --gw-priority int         Highest gw-priority provides the default gateway. Accepts positive
                                and negative values.
      --ip string               IPv4 address (e.g., "172.30.100.104")
      --ip6 string              IPv6 address (e.g., "2001:db8::33")
      --link list               Add link to another container
      --link-local-ip strings   Add a link-local address for the container
"""
    ),
    least=2,
    most=2,
    checks={"link": networkflags.check_link},
)
DISCONNECT = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Disconnect a container from a network",
    run=disconnect,
    flags=flag_table("  -f, --force   Force the container to disconnect from a network"),
    least=2,
    most=2,
)
LS = Command(
    usage="[OPTIONS]",
    summary="List networks",
    run=ls,
    flags=flag_table(
        """
  -f, --filter filter   Provide filter values (e.g. "driver=bridge")
      --no-trunc        Do not truncate the output
  -q, --quiet           Only display network IDs
"""
        + FORMAT_HELP
    ),
    aliases=("network ls", "network list"),
)
REPAIR = Command(
    usage="",
    summary="Put back what was flushed or deleted of bridges, firewall rules and name resolution",
    run=repair,
)
RM = Command(
    usage="NETWORK [NETWORK...]",
    summary="Remove one or more networks",
    run=rm,
    flags=flag_table("  -f, --force   Do not error if the network does not exist"),
    least=1,
    most=-1,
    aliases=("network rm", "network remove"),
)
