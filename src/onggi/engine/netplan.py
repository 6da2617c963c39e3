"""What a new network will be: its ranges, its bridge, its options checked; and `network ls`'s
filters. Asks the host which ranges it routes, changes nothing.

The words are docker's (moby api/types/network, daemon/network.go, libnetwork).
"""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence

from ..errors import Conflict, Forbidden, InvalidInput, NotFound, OnggiError, Unsupported
from ..network import bridge, ipam, options
from ..patterns import is_name
from ..spec.network import Network, NetworkOptions, Pool
from . import endpoints
from .endpoints import PREDEFINED
from .filters import has_label

DRIVERS = ("bridge", "macvlan", "ipvlan")


def plan(wanted: NetworkOptions, existing: Sequence[Network], prefix: str) -> Network:
    """The row of the new network; `prefix` begins the names of our bridges. Raises Conflict,
    Forbidden, InvalidInput, NotFound, Unsupported."""
    _check_name(wanted.name, existing)
    if wanted.config_from:
        wanted = _copied(wanted, existing)
    _check_driver(wanted)
    pools = tuple(p for p in wanted.pools if wanted.ipv6 or not ipam.is_v6(p.subnet))
    _check_pools(pools)
    network_id = os.urandom(32).hex()
    network = Network(
        id=network_id, name=wanted.name, driver=wanted.driver, internal=wanted.internal,
        created_ns=time.time_ns(), labels=dict(wanted.labels), pools=pools, ipv4=wanted.ipv4,
        ipv6=wanted.ipv6, attachable=wanted.attachable, options=dict(wanted.options),
        ipam_options=dict(wanted.ipam_options), config_only=wanted.config_only,
        config_from=wanted.config_from,
    )  # fmt: skip
    if wanted.config_only:
        return network._replace(driver="null")
    network = _with_ranges(network, [n for n in existing if not n.config_only])
    if wanted.driver == "bridge":
        return _with_bridge(network, existing, prefix)
    return _with_parent(network, existing)


def _check_name(name: str, existing: Iterable[Network]) -> None:
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    if not is_name(name) or len(name) > 255:
        raise InvalidInput(
            f'invalid network name "{name[:80]}": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed'
        )
    if any(network.name == name for network in existing):
        raise Conflict(f"network with name {name} already exists")


def _check_driver(wanted: NetworkOptions) -> None:
    driver = wanted.driver
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver not in DRIVERS:
        raise NotFound(f'plugin "{driver}" not found')
    if wanted.ipam_driver == "null":
        raise Unsupported("networks without addresses (IPAM driver null) are not supported")
    if wanted.ipam_driver != "default":
        raise NotFound(f'plugin "{wanted.ipam_driver}" not found')
    if not wanted.ipv4 and not wanted.ipv6 and not wanted.config_only:
        raise InvalidInput("IPv4 or IPv6 must be enabled")
    if driver == "bridge":
        found = options.bridge_options(wanted.options)
        if "isolated" in (found.mode, found.mode6) and not wanted.internal:
            raise InvalidInput("gateway mode 'isolated' can only be used for an internal network")
    else:
        options.parent_options(driver, wanted.options)


def _copied(wanted: NetworkOptions, existing: Iterable[Network]) -> NetworkOptions:
    """The configuration of the --config-only network that is named."""
    own = (wanted.pools, wanted.options, wanted.internal, wanted.ipv6, wanted.ipam_options)
    if any(own) or wanted.config_only:
        raise Forbidden(
            "user-specified configurations are not supported if the network depends on a "
            "configuration network"
        )
    source = next((n for n in existing if wanted.config_from in (n.name, n.id)), None)
    if source is None:
        raise NotFound(f'configuration network "{wanted.config_from}" not found')
    if not source.config_only:
        raise Forbidden(f'network "{source.name}" is not a configuration network')
    return wanted._replace(
        pools=source.pools, options=source.options, internal=source.internal, ipv4=source.ipv4,
        ipv6=source.ipv6, ipam_options=source.ipam_options, config_from=source.name,
        labels={**source.labels, **wanted.labels},
    )  # fmt: skip


# -- ranges


def _check_pools(pools: Iterable[Pool]) -> None:
    faults = [fault for pool in pools for fault in _pool_faults(pool)]
    if faults:
        listed = faults[0] if len(faults) == 1 else "* " + "\n* ".join(faults)
        raise InvalidInput(f"invalid network config:\n{listed}")


def _pool_faults(pool: Pool) -> Iterable[str]:
    try:
        subnet = ipam.masked(pool.subnet)
    except OnggiError:
        yield f"invalid subnet {pool.subnet}: invalid CIDR block notation"
        return
    if subnet != pool.subnet:
        yield f"invalid subnet {pool.subnet}: it should be {subnet}"
    if pool.part:
        yield from _part_faults(pool, subnet)
    for what, address in (("gateway", pool.gateway), *pool.reserved.items()):
        fault = _address_fault(address, subnet)
        if fault:
            named = f"gateway {address}" if what == "gateway" else f"auxiliary address {what}"
            yield f"invalid {named}: {fault}"


def _part_faults(pool: Pool, subnet: str) -> Iterable[str]:
    try:
        part = ipam.masked(pool.part)
    except OnggiError:
        yield f"invalid ip-range {pool.part}: invalid CIDR block notation"
        return
    if ipam.is_v6(part) != ipam.is_v6(subnet):
        yield f"invalid ip-range {pool.part}: parent subnet is an {_family(subnet)} block"
        return
    if ipam.prefix_length_of(part) < ipam.prefix_length_of(subnet):
        yield (
            f"invalid ip-range {pool.part}: CIDR block is bigger than its parent subnet {subnet}"
        )
    if part != pool.part:
        yield f"invalid ip-range {pool.part}: it should be {part}"
    if not ipam.overlaps_any(part, [subnet]):
        yield f"invalid ip-range {pool.part}: parent subnet {subnet} doesn't contain ip-range"


def _address_fault(address: str, subnet: str) -> str:
    if not address:
        return ""
    try:
        ipam.parse_address(address)
    except OnggiError:
        return "invalid address"
    if ipam.is_v6(address) != ipam.is_v6(subnet):
        return f"parent subnet is an {_family(subnet)} block"
    if not ipam.contains(subnet, address):
        return f"parent subnet {subnet} doesn't contain this address"
    return ""


def _family(subnet: str) -> str:
    return "IPv6" if ipam.is_v6(subnet) else "IPv4"


def _with_ranges(network: Network, others: Sequence[Network]) -> Network:
    """Asked for, or chosen: for IPv4 the first /24 that nothing here routes, for IPv6 a random
    unique local /64."""
    taken = [subnet for other in others for subnet in endpoints.subnets(other)]
    if any(ipam.overlaps_any(pool.subnet, taken) for pool in network.pools):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
    pools4 = [pool for pool in network.pools if not ipam.is_v6(pool.subnet)]
    pools6 = [pool for pool in network.pools if ipam.is_v6(pool.subnet)]
    if network.driver == "bridge" and max(len(pools4), len(pools6)) > 1:
        raise Forbidden("bridge driver doesn't support multiple subnets")
    if network.ipv4:
        if pools4:
            subnet, gateway = pools4[0].subnet, pools4[0].gateway
        else:
            subnet, gateway = ipam.choose_subnet(bridge.routed_subnets(), taken), ""
        network = network._replace(subnet=subnet, gateway=gateway or ipam.gateway_of(subnet))
    if network.ipv6:
        if pools6:
            subnet, gateway = pools6[0].subnet, pools6[0].gateway
        else:
            subnet, gateway = ipam.unique_local(network.id), ""
        network = network._replace(subnet6=subnet, gateway6=gateway or ipam.gateway_of(subnet))
    return network


def _with_bridge(network: Network, existing: Iterable[Network], prefix: str) -> Network:
    name = options.bridge_options(network.options).name
    for other in existing:
        if name and other.bridge == name:
            raise Forbidden(
                f"cannot create network {network.id} ({name}): conflicts with network {other.id} "
                f"({name}): networks have same bridge name"
            )
    taken = {other.bridge for other in existing}
    makes = not (name and bridge.exists(name))
    return network._replace(bridge=name or bridge.free_name(prefix, taken), makes_link=makes)


def _with_parent(network: Network, existing: Iterable[Network]) -> Network:
    found = options.parent_options(network.driver, network.options)
    for other in existing:
        if found.parent and other.options.get("parent") == found.parent and not other.config_only:
            raise Forbidden(f"network {other.id} is already using parent interface {found.parent}")
    return network._replace(makes_link=not (found.parent and bridge.exists(found.parent)))


# -- filters of `network ls`


def select(
    found: Sequence[Network], filters: Mapping[str, Sequence[str]], used: set[str]
) -> list[Network]:
    """Those that pass every filter; `used` are ids of networks that containers are on."""
    chosen = list(found)
    for name, texts in filters.items():
        match name:
            case "name":
                chosen = [n for n in chosen if any(_matches(text, n.name) for text in texts)]
            case "id":
                chosen = [n for n in chosen if any(_matches(text, n.id) for text in texts)]
            case "driver":
                chosen = [n for n in chosen if n.driver in texts]
            case "scope":
                chosen = chosen if "local" in texts else []
            case "type":
                chosen = _of_type(chosen, texts)
            case "dangling":
                dangling = _dangling(texts)
                chosen = [
                    n for n in chosen
                    if (n.name not in PREDEFINED and n.id not in used) == dangling
                ]  # fmt: skip
            case "label":
                chosen = [n for n in chosen if all(has_label(n.labels, text) for text in texts)]
            case _:
                raise InvalidInput(f"invalid filter '{name}'")
    return chosen


def _matches(text: str, name: str) -> bool:
    """The whole, or a regular expression for a part of it."""
    try:
        return text == name or re.search(text, name) is not None
    except re.error:
        return False


def _of_type(found: Sequence[Network], texts: Sequence[str]) -> list[Network]:
    for text in texts:
        if text not in ("custom", "builtin"):
            raise InvalidInput(f"invalid filter: 'type'='{text}'")
    return [n for n in found if ("builtin" if n.name in PREDEFINED else "custom") in texts]


def _dangling(texts: Sequence[str]) -> bool:
    for text in texts:
        if text.lower() not in ("true", "false", "1", "0"):
            raise InvalidInput(f"invalid value for filter 'dangling': \"{text}\", must be \"true\" "
                               'or "1", or "false" or "0"')  # fmt: skip
    return texts[-1].lower() in ("true", "1")
