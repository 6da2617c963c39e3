"""Addresses of networks and containers: pure arithmetic on IPv4, no state, no host.

`ipaddress` costs 3 ms to import, which a container's start cannot spend; the few operations needed
are here and are stricter: four decimal numbers, no leading zeros, no host bits in a subnet.
"""

from collections.abc import Iterable, Iterator

from ..errors import InvalidInput, Unavailable

_PREFIX_LENGTH = 24


def parse_address(text: str) -> int:
    parts = text.split(".")
    if len(parts) != 4 or not all(_is_octet(part) for part in parts):
        raise InvalidInput(f"invalid IPv4 address {text!r}")
    value = 0
    for part in parts:
        value = value << 8 | int(part)
    return value


def _is_octet(part: str) -> bool:
    return part.isascii() and part.isdigit() and str(int(part[:4])) == part and int(part) < 256


def format_address(value: int) -> str:
    return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))


def parse_subnet(text: str) -> tuple[int, int]:
    """(first address, prefix length) of "172.17.0.0/24"."""
    address, slash, length = text.partition("/")
    if not (slash and length.isascii() and length.isdigit() and len(length) <= 2):
        raise InvalidInput(f"invalid subnet {text!r}: want ADDRESS/LENGTH")
    base, prefix_length = parse_address(address), int(length)
    if prefix_length > 32 or base & _host_mask(prefix_length):
        raise InvalidInput(f"invalid subnet {text!r}: bits after the prefix are set")
    return base, prefix_length


def _host_mask(prefix_length: int) -> int:
    return (1 << (32 - prefix_length)) - 1


def choose_subnet(routed: Iterable[str], taken: Iterable[str]) -> str:
    """The first /24 that overlaps neither a range the host routes nor an existing network."""
    used = [_span(text) for text in (*routed, *taken)]
    for base in _candidates():
        last = base + _host_mask(_PREFIX_LENGTH)
        if not any(low <= last and base <= high for low, high in used):
            return f"{format_address(base)}/{_PREFIX_LENGTH}"
    raise Unavailable(
        "could not find an available, non-overlapping IPv4 address pool",
        hint="remove unused networks, or choose a range with --subnet",
    )


def overlaps_any(subnet: str, others: Iterable[str]) -> bool:
    first, last = _span(subnet)
    return any(low <= last and first <= high for low, high in map(_span, others))


def _span(subnet: str) -> tuple[int, int]:
    base, prefix_length = parse_subnet(subnet)
    return base, base + _host_mask(prefix_length)


def _candidates() -> Iterator[int]:
    """Docker's ranges in its order: the head of each /16 first, then the rest, then 192.168."""
    for second in range(17, 32):
        yield 172 << 24 | second << 16
    for second in range(17, 32):
        for third in range(1, 256):
            yield 172 << 24 | second << 16 | third << 8
    for third in range(256):
        yield 192 << 24 | 168 << 16 | third << 8


def gateway_of(subnet: str) -> str:
    """The first usable address, which the bridge takes."""
    base, prefix_length = parse_subnet(subnet)
    if prefix_length > 30:
        raise InvalidInput(f"subnet {subnet} is too small for a gateway and a container")
    return format_address(base + 1)


def prefix_length_of(subnet: str) -> int:
    return parse_subnet(subnet)[1]


def contains(subnet: str, address: str) -> bool:
    first, last = _span(subnet)
    return first <= parse_address(address) <= last


def next_address(subnet: str, gateway: str, used: Iterable[str]) -> str:
    """The lowest free address. Reuse is harmless to neighbours' ARP caches: see `mac_for`."""
    base, prefix_length = parse_subnet(subnet)
    occupied = {parse_address(address) for address in used}
    occupied.add(parse_address(gateway))
    for value in range(base + 1, base + _host_mask(prefix_length)):
        if value not in occupied:
            return format_address(value)
    raise Unavailable(f"no available IPv4 addresses on this network's address pool: {subnet}")


def mac_for(address: str) -> str:
    """A locally administered MAC made of the address, as docker's: same address, same MAC."""
    return ":".join(
        f"{octet:02x}" for octet in (2, 0x42, *parse_address(address).to_bytes(4, "big"))
    )
