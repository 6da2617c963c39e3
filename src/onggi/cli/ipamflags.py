"""--subnet, --gateway, --ip-range and --aux-address of `network create`, put together.

Which range a gateway belongs to is found by its address; the words are docker's client's.
"""

from collections.abc import Mapping, Sequence

from ..errors import OnggiError
from ..network import ipam
from ..spec.network import Pool
from .session import refusal


def pools(
    subnets: Sequence[str],
    parts: Sequence[str],
    gateways: Sequence[str],
    reserved: Mapping[str, str],
) -> tuple[Pool, ...]:
    """Raises CommandError."""
    if len(subnets) < len(parts) or len(subnets) < len(gateways):
        raise refusal("every ip-range or gateway must have a corresponding subnet")
    found: dict[str, Pool] = {}
    for subnet in subnets:
        if any(_contains(other, _address(subnet)) or _contains(subnet, _address(other))
               for other in found):  # fmt: skip
            raise refusal("multiple overlapping subnet configuration is not supported")
        found[subnet] = Pool(subnet)
    for part in parts:
        _put(found, part, "range")
    for gateway in gateways:
        _put(found, gateway, "gateway")
    for name, address in reserved.items():
        subnet = _home(found, address)
        if not subnet:
            raise refusal(f"no matching subnet for aux-address {address}")
        pool = found[subnet]
        found[subnet] = pool._replace(reserved={**pool.reserved, name: address})
    return tuple(found.values())


def _put(found: dict[str, Pool], text: str, what: str) -> None:
    subnet = _home(found, _address(text))
    if not subnet:
        raise refusal(f"no matching subnet for {what} {text}")
    pool, is_part = found[subnet], what == "range"
    before = pool.part if is_part else pool.gateway
    if before:
        on = "on" if is_part else "for"
        raise refusal(
            f"cannot configure multiple {what}s ({text}, {before}) {on} the same subnet ({subnet})"
        )
    found[subnet] = pool._replace(part=text) if is_part else pool._replace(gateway=text)


def _home(found: Mapping[str, Pool], address: str) -> str:
    return next((subnet for subnet in found if _contains(subnet, address)), "")


def _address(text: str) -> str:
    return text.partition("/")[0]


def _contains(subnet: str, address: str) -> bool:
    """Whether the address lies in the subnet. Raises CommandError for what is neither."""
    try:
        network = ipam.masked(subnet)
    except OnggiError as error:
        raise refusal(f"invalid CIDR address: {subnet}") from error
    try:
        return ipam.contains(network, address)
    except OnggiError as error:
        raise refusal(f"invalid address: {address}") from error
