"""A container's places on its networks: what may be asked for, names, the gateway. Pure.

The rules and words are docker's (moby daemon/container_operations.go, libnetwork's endpoint.Less).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import Conflict, InvalidInput, OnggiError, Unavailable, Unsupported
from ..network import ipam
from ..network.options import PREFIX as INTERFACE_PREFIX
from ..network.options import bridge_options
from ..spec.container import Container, HostOptions
from ..spec.network import Endpoint, EndpointOptions, Network, Pool, PortBinding
from ..typed import NamedTuple

DEFAULT = "bridge"
PREDEFINED = ("bridge", "host", "none", "default")
INTERFACE_NAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"


class Place(NamedTuple):
    """An endpoint with its network."""

    network: Network
    endpoint: Endpoint


def is_user_defined(name: str) -> bool:
    return name not in PREDEFINED and not name.startswith("container:")


def asked(host: HostOptions) -> dict[str, EndpointOptions]:
    """The networks that an interface is wanted on, by name, the first one first."""
    mode = host.network_mode
    if mode in ("none", "host") or mode.startswith(("container:", "ns:")):
        return {}
    if host.endpoints is not None:
        return dict(host.endpoints)
    return {DEFAULT if mode == "default" else mode: EndpointOptions()}


def network_names(host: HostOptions) -> list[str]:
    """As docker lists them, by name."""
    if host.network_mode in ("none", "host"):
        return [host.network_mode]
    return sorted(asked(host))


def has_own_namespace(host: HostOptions) -> bool:
    """A network namespace that nobody else made."""
    return host.network_mode != "host" and not host.network_mode.startswith(("container:", "ns:"))


def check(network: Network | None, name: str, options: EndpointOptions) -> None:
    """Raises InvalidInput with every fault. `network` is None where it is not known yet."""
    faults = []
    if not is_user_defined(name):
        if options.address or options.address6:
            faults.append("user specified IP address is supported on user defined networks only")
        if options.aliases:
            faults.append(
                "network-scoped alias is supported only for containers in user defined networks"
            )
    faults += list(_address_faults(options))
    if not faults and network is not None:
        faults += list(_range_faults(network, options))
    if faults:
        listed = faults[0] if len(faults) == 1 else "* " + "\n* ".join(faults)
        raise InvalidInput(f"invalid endpoint settings:\n{listed}")
    if options.mac_address and int(options.mac_address[:2], 16) & 1:
        raise InvalidInput(f"invalid MAC address: {options.mac_address} is a multicast address")
    sysctls(options.driver_options, "eth0")


def _address_faults(options: EndpointOptions) -> Iterable[str]:
    if options.address and not _is_address(options.address, v6=False):
        yield f"invalid IPv4 address: {options.address}"
    if options.address6 and not _is_address(options.address6, v6=True):
        yield f"invalid IPv6 address: {options.address6}"
    for address in options.link_local:
        if not _is_address(address, v6=ipam.is_v6(address)):
            yield f"invalid link-local IP address: {address}"


def _is_address(text: str, *, v6: bool) -> bool:
    try:
        ipam.parse_address(text)
    except OnggiError:
        return False
    return ipam.is_v6(text) == v6


def _range_faults(network: Network, options: EndpointOptions) -> Iterable[str]:
    for address in (options.address, options.address6):
        if not address:
            continue
        pools = [p.subnet for p in network.pools if ipam.is_v6(p.subnet) == ipam.is_v6(address)]
        if not pools:
            yield (
                "user specified IP address is supported only when connecting to networks with "
                "user configured subnets"
            )
        elif not any(ipam.contains(subnet, address) for subnet in pools):
            yield f"no configured subnet contains IP address {address}"


def gateway(places: Iterable[Place], *, v6: bool = False) -> Place | None:
    """The place with the default route: the highest priority, then the first by network name."""
    ways_out = [
        place
        for place in places
        if _leads_out(place.network) and (place.network.ipv6 if v6 else place.network.ipv4)
    ]
    return min(ways_out, key=lambda p: (-p.endpoint.gateway_priority, p.network.name), default=None)


def _leads_out(network: Network) -> bool:
    return not network.internal and (network.driver == "bridge" or "parent" in network.options)


def publisher(places: Sequence[Place]) -> Place | None:
    """The place whose network publishes the container's ports: the gateway, when it is a bridge."""
    chosen = gateway(places) or gateway(places, v6=True)
    return chosen if chosen and chosen.network.bridge else None


def publishing(networks: Iterable[Network]) -> list[Network]:
    """Those of the networks that ports can be published of."""
    return [network for network in networks if network.bridge and not network.internal]


def bound(port: PortBinding, networks: Sequence[Network]) -> PortBinding:
    """A port without a host address at the one that the network says. Raises Unsupported for one
    that cannot be relayed to an address of the other family."""
    if not port.host_ip:
        given = [bridge_options(n.options).binding for n in networks if n.options]
        return port._replace(host_ip=next(filter(None, given), ""))
    v6 = ipam.is_v6(port.host_ip)
    has_family = any(network.ipv6 if v6 else network.ipv4 for network in networks)
    if port.protocol == "sctp" and not has_family:
        kind = "IPv6" if v6 else "IPv4"
        raise Unsupported(
            f"cannot publish on {port.host_ip}: the container's network has no {kind}",
            hint="onggi network create --ipv6 NAME, and run with --network NAME" if v6 else None,
        )
    return port


def dns_names(container: Container, aliases: Iterable[str]) -> list[str]:
    """By which others on a network know the container, docker's order."""
    found = (container.name, *aliases, container.id[:12], container.config.hostname)
    return list(dict.fromkeys(name for name in found if name))


def ways_out(places: Sequence[Place]) -> tuple[Place | None, Place | None]:
    """The places that have the default routes: of IPv4, and of IPv6."""
    return gateway(places), gateway(places, v6=True)


def addresses(endpoint: Endpoint) -> list[str]:
    """Its own, as /etc/hosts has them."""
    return [address for address in (endpoint.address, endpoint.address6) if address]


def host_gateway(places: Sequence[Place]) -> str:
    """An address of the host that the container reaches, "" for none."""
    bridged = [place for place in places if place.network.bridge]
    out = gateway(bridged) or gateway(bridged, v6=True) or (bridged[0] if bridged else None)
    return (out.endpoint.gateway or out.endpoint.gateway6) if out else ""


def interface_names(
    networks: Sequence[Network], options: Sequence[EndpointOptions], taken: Iterable[str] = ()
) -> list[str]:
    """The names inside for these places: what is asked for, else the first free ethN."""
    wanted = [option.driver_options.get(INTERFACE_NAME, "") for option in options]
    used = {*taken, *wanted}
    found = []
    for network, name in zip(networks, wanted, strict=True):
        number = 0
        while not name:
            free = f"{network.options.get(INTERFACE_PREFIX, 'eth')}{number}"
            name = "" if free in used else free
            number += 1
        used.add(name)
        found.append(name)
    return found


class Named(NamedTuple):
    """What a container's endpoints say of it: who it is, and whom it asks."""

    container_id: str
    names: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


def named(container: Container) -> Named:
    """The names that it has on every network: its own, and those made of id and host name."""
    host = container.config.options.host
    return Named(container.id, tuple(dns_names(container, ())), host.dns)


def names_on(who: Named, aliases: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*who.names[:1], *aliases, *who.names[1:])))


def blank(network: Network, who: Named, options: EndpointOptions, interface: str) -> Endpoint:
    """The endpoint before it has addresses."""
    return Endpoint(
        network_id=network.id,
        container_id=who.container_id,
        address="",
        prefix_length=0,
        gateway="",
        mac_address=options.mac_address,
        host_interface=_host_interface(network, who.container_id, interface),
        aliases=options.aliases,
        interface=interface,
        gateway6="",
        link_local=options.link_local,
        links=options.links,
        gateway_priority=options.gateway_priority,
        driver_options=options.driver_options,
        names=names_on(who, options.aliases),
        servers=who.servers,
    )


def _host_interface(network: Network, container_id: str, interface: str) -> str:
    """Of the first one a name that shows the container."""
    if network.driver != "bridge":
        return ""
    if interface == "eth0":
        return f"veth{container_id[:10]}"
    from _blake2 import blake2b  # hashlib itself takes 2 ms to import

    return "veth" + blake2b(f"{container_id}/{network.id}".encode(), digest_size=5).hexdigest()


def subnets(network: Network) -> list[str]:
    """Every range of a network."""
    found = [subnet for subnet in (network.subnet, network.subnet6) if subnet]
    return found + [pool.subnet for pool in network.pools if pool.subnet not in found]


def chooser(
    endpoint: Endpoint, network: Network, options: EndpointOptions
) -> Callable[[frozenset[str]], Endpoint]:
    """What gives the endpoint its addresses, when it is told those in use on the network."""

    def choose(used: frozenset[str]) -> Endpoint:
        found = endpoint
        if network.ipv4:
            address, subnet, gateway = _free(network, network.subnet, options.address, used)
            found = found._replace(
                address=address, prefix_length=ipam.prefix_length_of(subnet), gateway=gateway
            )
        if network.ipv6:
            address, subnet, gateway = _free(network, network.subnet6, options.address6, used)
            found = found._replace(
                address6=address, prefix_length6=ipam.prefix_length_of(subnet), gateway6=gateway
            )
        mac = found.mac_address or ipam.mac_for(found.address or found.address6)
        return found._replace(mac_address=mac)

    return choose


def _free(network: Network, first: str, wanted: str, used: frozenset[str]) -> tuple[str, str, str]:
    """(address, its subnet, its gateway): the wanted one, or a free one of the first range that
    has any. Raises Conflict, Unavailable."""
    v6 = ipam.is_v6(first)
    main = Pool(first, network.gateway6 if v6 else network.gateway)
    further = [pool for pool in network.pools if ipam.is_v6(pool.subnet) == v6]
    pools = [
        pool._replace(gateway=pool.gateway or ipam.gateway_of(pool.subnet)) for pool in further
    ] or [main]
    if wanted:
        pool = next((pool for pool in pools if ipam.contains(pool.subnet, wanted)), main)
        address = ipam.format_address(ipam.parse_address(wanted), 128 if v6 else 32)
        if address == pool.gateway or address in used or address in pool.reserved.values():
            raise Conflict("failed to set up container networking: Address already in use")
        return address, pool.subnet, pool.gateway
    full: OnggiError | None = None
    for pool in pools:
        kept = tuple(pool.reserved.values())
        try:
            address = ipam.next_address(pool.subnet, pool.gateway, used, part=pool.part, kept=kept)
        except Unavailable as error:
            full = full or error
            continue
        return address, pool.subnet, pool.gateway
    raise full or Unavailable(f"network {network.name} has no addresses")


def shown(endpoint: Endpoint, *, v6: bool) -> list[PortBinding]:
    """Its published ports as docker lists them: "every address" once for each family that leads to
    it. `v6` says whether the host has IPv6, which is relayed to a container that has none."""
    relays = not endpoint.address.startswith("127.")  # else the ports are the host's own
    found = []
    for port in endpoint.ports:
        relayed = relays and port.protocol != "sctp"
        every = {
            "0.0.0.0": endpoint.address or relayed,  # noqa: S104 - docker's words
            "::": endpoint.address6 or (relayed and v6),
        }
        hosts = [port.host_ip] if port.host_ip else [host for host, is_so in every.items() if is_so]
        found += [port._replace(host_ip=host) for host in hosts]
    return found


def sysctls(options: Mapping[str, str], interface: str) -> list[tuple[str, str]]:
    """(path below /proc/sys/net, value) of the driver option `net.ipv4.conf.IFNAME.x=1,…`."""
    found = []
    for text in filter(None, options.get(SYSCTLS, "").split(",")):
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        family = parts[1:2] and parts[1] in ("ipv4", "ipv6", "mpls")
        if not equals or len(parts) != 5 or parts[0] != "net" or not family or "/" in name:
            raise InvalidInput(f"invalid endpoint settings:\ninvalid sysctl setting {text!r}")
        if parts[2] not in ("conf", "neigh", "input") or parts[3] != "IFNAME" or "." in parts[4]:
            raise InvalidInput(f"invalid endpoint settings:\ninvalid sysctl setting {text!r}")
        found.append((f"{parts[1]}/{parts[2]}/{interface}/{parts[4]}", value.strip()))
    return found
