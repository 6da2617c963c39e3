"""Docker's JSON of networks, and of a container's places on them, key for key (API 1.51)."""

from collections.abc import Iterable, Mapping, Sequence

from ..linux.rtnetlink import has_ipv6
from ..spec.container import Container
from ..spec.digest import sha256
from ..spec.network import Endpoint, EndpointOptions, Network, Pool, PortBinding
from ..typed import Any
from . import endpoints

_NONE = Endpoint("", "", "", 0, "", "", "")


def bindings(ports: Iterable[PortBinding]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in sorted(ports, key=lambda port: f"{port.container_port}/{port.protocol}"):
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": _host_port(port)}
        )
    return found


def _host_port(port: PortBinding) -> str:
    if port.last_host_port > port.host_port:
        return f"{port.host_port}-{port.last_host_port}"
    return str(port.host_port) if port.host_port else ""


def _published(c: Container, found: Sequence[Endpoint]) -> dict[str, Any]:
    ports: dict[str, Any] = dict.fromkeys(c.config.exposed_ports) if found else {}
    for endpoint in found:
        ports.update(bindings(endpoints.shown(endpoint, v6=has_ipv6())))
    return ports


def settings(
    c: Container, found: Sequence[Endpoint], networks: Mapping[str, Network]
) -> dict[str, Any]:
    """The flat fields are about the default network, as docker has it."""
    default = next((e for e in found if networks[e.network_id].name == endpoints.DEFAULT), _NONE)
    return {
        "Bridge": "",
        "SandboxID": c.id if c.state.pid else "",
        "SandboxKey": f"/proc/{c.state.pid}/ns/net" if c.state.pid else "",
        "Ports": _published(c, found),
        "EndpointID": endpoint_id(default) if default is not _NONE else "",
        "Gateway": default.gateway,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "GlobalIPv6Address": default.address6,
        "GlobalIPv6PrefixLen": default.prefix_length6,
        "IPAddress": default.address,
        "IPPrefixLen": default.prefix_length,
        "IPv6Gateway": default.gateway6,
        "MacAddress": default.mac_address,
        "Networks": networks_of(c, found, networks),
    }


def networks_of(
    c: Container, found: Sequence[Endpoint], networks: Mapping[str, Network]
) -> dict[str, Any]:
    host = c.config.options.host
    by_name = {networks[e.network_id].name: e for e in found}
    asked = endpoints.asked(host)
    ids = {network.name: network.id for network in networks.values()}
    return {
        name: _endpoint(c, name, asked.get(name, EndpointOptions()), by_name.get(name), ids)
        for name in sorted({*endpoints.network_names(host), *by_name})
    }


def _endpoint(
    c: Container, name: str, asked: EndpointOptions, found: Endpoint | None, ids: Mapping[str, str]
) -> dict[str, Any]:
    e = found or _NONE
    names = endpoints.dns_names(c, asked.aliases) if endpoints.is_user_defined(name) else None
    return {
        "IPAMConfig": _ipam_config(asked),
        "Links": list(asked.links) or None,
        "Aliases": list(asked.aliases) or None,
        "MacAddress": e.mac_address,
        "DriverOpts": dict(asked.driver_options) or None,
        "GwPriority": asked.gateway_priority,
        "NetworkID": e.network_id or ids.get(name, ""),
        "EndpointID": endpoint_id(e) if found else "",
        "Gateway": e.gateway,
        "IPAddress": e.address,
        "IPPrefixLen": e.prefix_length,
        "IPv6Gateway": e.gateway6,
        "GlobalIPv6Address": e.address6,
        "GlobalIPv6PrefixLen": e.prefix_length6,
        "DNSNames": names,
    }


def _ipam_config(asked: EndpointOptions) -> dict[str, Any] | None:
    given = {
        "IPv4Address": asked.address,
        "IPv6Address": asked.address6,
        "LinkLocalIPs": list(asked.link_local),
    }
    return {name: value for name, value in given.items() if value} or None


def endpoint_id(e: Endpoint) -> str:
    """A stable 64-digit id of a container's place on a network."""
    return sha256(f"{e.network_id}/{e.container_id}".encode()).hexdigest()


def network(n: Network, found: Iterable[Endpoint], names: Mapping[str, str]) -> dict[str, Any]:
    """`found` are its endpoints, `names` those of containers by id."""
    from .inspection import rfc3339

    built_in = not endpoints.is_user_defined(n.name)
    return {
        "Name": n.name,
        "Id": n.id,
        "Created": rfc3339(n.created_ns),
        "Scope": "local",
        "Driver": n.driver,
        "EnableIPv4": n.ipv4,
        "EnableIPv6": n.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if built_in else dict(n.ipam_options),
            "Config": _ipam(n),
        },
        "Internal": n.internal,
        "Attachable": n.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": n.config_from},
        "ConfigOnly": n.config_only,
        "Containers": {
            e.container_id: {
                "Name": names.get(e.container_id, ""),
                "EndpointID": endpoint_id(e),
                "MacAddress": e.mac_address,
                "IPv4Address": f"{e.address}/{e.prefix_length}" if e.address else "",
                "IPv6Address": f"{e.address6}/{e.prefix_length6}" if e.address6 else "",
            }
            for e in found
        },
        "Options": _bridge_options(n) if built_in else dict(n.options),
        "Labels": dict(n.labels),
    }


def _ipam(n: Network) -> list[dict[str, Any]] | None:
    """What was asked for with the gateways that were chosen, and what was chosen."""
    pools = list(n.pools)
    for subnet, gateway in ((n.subnet, n.gateway), (n.subnet6, n.gateway6)):
        if subnet and not any(pool.subnet == subnet for pool in pools):
            pools.append(Pool(subnet, gateway))
    gateways = {n.subnet: n.gateway, n.subnet6: n.gateway6}
    found = []
    for pool in pools:
        entry: dict[str, Any] = {"Subnet": pool.subnet}
        if pool.part:
            entry["IPRange"] = pool.part
        gateway = pool.gateway or gateways.get(pool.subnet, "")
        if gateway:
            entry["Gateway"] = gateway
        if pool.reserved:
            entry["AuxiliaryAddresses"] = dict(pool.reserved)
        found.append(entry)
    return found or None


def _bridge_options(n: Network) -> dict[str, str]:
    if not n.bridge:
        return {}
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104 - the default
        "com.docker.network.bridge.name": n.bridge,
    }
