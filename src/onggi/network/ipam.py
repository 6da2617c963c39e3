"""Addresses of networks and containers: pure arithmetic, no state, no host.

`ipaddress` costs 3 ms to import, which a container's start cannot spend; the few operations needed
are here and are stricter: four decimal numbers, no leading zeros, no host bits in a subnet.
A function takes either family unless it says otherwise.
"""

import _socket  # inet_pton alone: arithmetic, not I/O
from collections.abc import Collection, Iterable, Iterator

from ..errors import InvalidInput, Unavailable

_PREFIX_LENGTH = 24


def is_v6(text: str) -> bool:
    return ":" in text


def _bits(text: str) -> int:
    return 128 if ":" in text else 32


def parse_address(text: str) -> int:
    """Raises InvalidInput."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        return int.from_bytes(_socket.inet_pton(family, text), "big")
    except (OSError, ValueError) as error:
        kind = "IPv6" if ":" in text else "IPv4"
        raise InvalidInput(f"invalid {kind} address {text[:80]!r}") from error


def format_address(value: int, bits: int = 32) -> str:
    if bits == 32:
        return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))
    return _socket.inet_ntop(_socket.AF_INET6, value.to_bytes(16, "big"))


def parse_subnet(text: str) -> tuple[int, int]:
    """(first address, prefix length) of "172.17.0.0/24"."""
    address, slash, length = text.partition("/")
    if not (slash and length.isascii() and length.isdigit() and len(length) <= 3):
        raise InvalidInput(f"invalid subnet {text[:80]!r}: want ADDRESS/LENGTH")
    base, prefix_length, bits = parse_address(address), int(length), _bits(address)
    if prefix_length > bits or base & _host_mask(prefix_length, bits):
        raise InvalidInput(f"invalid subnet {text[:80]!r}: bits after the prefix are set")
    return base, prefix_length


def masked(text: str) -> str:
    """The subnet that "172.17.3.4/16" lies in: "172.17.0.0/16". Raises InvalidInput."""
    address, slash, length = text.partition("/")
    bits = _bits(address)
    if not (slash and length.isascii() and length.isdigit() and len(length) <= 3):
        raise InvalidInput(f"invalid subnet {text[:80]!r}: want ADDRESS/LENGTH")
    if int(length) > bits:
        raise InvalidInput(f"invalid subnet {text[:80]!r}: the prefix is too long")
    base = parse_address(address) & ~_host_mask(int(length), bits)
    return f"{format_address(base, bits)}/{int(length)}"


def _host_mask(prefix_length: int, bits: int = 32) -> int:
    return (1 << (bits - prefix_length)) - 1


def choose_subnet(routed: Iterable[str], taken: Iterable[str]) -> str:
    """The first IPv4 /24 that overlaps neither a range the host routes nor an existing network."""
    used = [_span(text) for text in (*routed, *taken) if ":" not in text]
    for base in _candidates():
        last = base + _host_mask(_PREFIX_LENGTH)
        if not any(low <= last and base <= high for low, high in used):
            return f"{format_address(base)}/{_PREFIX_LENGTH}"
    raise Unavailable(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to "
        "assign to the network",
        hint="remove unused networks (onggi network prune), or choose a range with --subnet",
    )


def unique_local(seed: str) -> str:
    """An IPv6 /64 of the unique local kind (RFC 4193), made of the first 10 hexadecimal digits of
    `seed`: random ones, so that no two sites share it."""
    base = (0xFD << 40 | int(seed[:10], 16)) << 80
    return f"{format_address(base, 128)}/64"


def overlaps_any(subnet: str, others: Iterable[str]) -> bool:
    first, last = _span(subnet)
    same = (other for other in others if is_v6(other) == is_v6(subnet))
    return any(low <= last and first <= high for low, high in map(_span, same))


def _span(subnet: str) -> tuple[int, int]:
    base, prefix_length = parse_subnet(subnet)
    return base, base + _host_mask(prefix_length, _bits(subnet))


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
    bits = _bits(subnet)
    if prefix_length > bits - 2:
        raise InvalidInput(f"subnet {subnet} is too small for a gateway and a container")
    return format_address(base + 1, bits)


def prefix_length_of(subnet: str) -> int:
    return parse_subnet(subnet)[1]


def contains(subnet: str, address: str) -> bool:
    if is_v6(subnet) != is_v6(address):
        return False
    first, last = _span(subnet)
    return first <= parse_address(address) <= last


def next_address(
    subnet: str, gateway: str, used: Iterable[str], *, part: str = "", kept: Collection[str] = ()
) -> str:
    """The lowest free address, of `part` of the subnet when that is given, none of `kept`. Reuse is
    harmless to neighbours' ARP caches: see `mac_for`."""
    bits = _bits(subnet)
    first, last = _span(subnet)
    low, high = _span(part) if part else (first, last)
    low = max(low, first + 1)
    high = min(high, last - 1 if bits == 32 else last)  # IPv4's last is for broadcasts
    taken = (*used, *kept, *((gateway,) if gateway else ()))
    occupied = {parse_address(address) for address in taken if _bits(address) == bits}
    for value in range(low, high + 1):
        if value not in occupied:
            return format_address(value, bits)
    kind = "IPv6" if bits == 128 else "IPv4"
    raise Unavailable(
        f"no available {kind} addresses on this network's address pools: {part or subnet}"
    )


def mac_for(address: str) -> str:
    """A locally administered MAC made of the address: same address, same MAC. Of an IPv6 address
    its last 32 bits."""
    octets = parse_address(address).to_bytes(_bits(address) // 8, "big")[-4:]
    return ":".join(f"{octet:02x}" for octet in (2, 0x42, *octets))
