"""All firewall rules as one text for `nft -f -`, computed from the networks and endpoints alone.

The text replaces our one table (family inet) in one transaction, whatever was there; with no
network left it deletes the table. We only ever *drop* for good: an accept in our chains ends our
chains alone, so a drop in any other base chain of the host (an administrator's, ufw's, docker's
FORWARD policy) still stands and is not ours to override.

The packet's way, IPv4 and IPv6 alike:
  raw        before connection tracking: nothing from outside may claim or reach 127/8 or a
             container's own address; a container may send only from its network's range
  published  destination NAT for published ports, for packets to any address of this host, from
             outside, from containers (prerouting) and from the host itself (output); not to ::1
  forward    into a network: answers, published ports and the network's own containers, else drop;
             out of an internal network: nothing
  postroute  masquerade what leaves a network for elsewhere; and what was redirected and comes from
             127/8 or a container, so that the answer comes back through the host
"""

from collections.abc import Iterable, Sequence

from ..errors import InvalidInput
from ..spec.digest import sha256
from ..spec.network import Endpoint, Network, PortBinding
from ..typed import NamedTuple
from . import ipam
from .options import BridgeOptions, bridge_options, check_interface

TABLE = "onggi"
EVERY_ADDRESS = ("", "0.0.0.0")  # noqa: S104 - docker's words for "all of the host's addresses"
EVERY_ADDRESS6 = ("", "::")
_TRANSPORTS = ("tcp", "udp", "sctp")
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class _Family(NamedTuple):
    """The words for one family of addresses."""

    word: str
    protocol: str
    loopback: str
    unspecified: str
    mark: str


_V4 = _Family("ip", "ipv4", "127.0.0.0/8", "0.0.0.0", "")  # noqa: S104
_V6 = _Family("ip6", "ipv6", "::1", "::, fe80::/10", "6")


class _Side(NamedTuple):
    """A network as one family sees it: "" for a range it does not have."""

    bridge: str
    subnet: str
    gateway: str
    internal: bool
    icc: bool
    masquerade: bool
    mode: str
    kind: _Family


class _Target(NamedTuple):
    """One published port, checked: `host` "" is every address."""

    transport: str
    host: str
    host_port: int
    address: str
    port: int

    @property
    def element(self) -> str:
        key = f"{self.host} . {self.host_port}" if self.host else str(self.host_port)
        return f"{key} : {self.address} . {self.port}"


def render(networks: Sequence[Network], endpoints: Sequence[Endpoint], table: str = TABLE) -> str:
    """The complete input of `nft -f -`: idempotent, equal for equal input in any order."""
    if not _NAME_LETTERS.issuperset(table) or not table[:1].isalpha():
        raise InvalidInput(f"invalid table name {table!r}")
    bridged = sorted((n for n in networks if n.bridge and _has_range(n)), key=lambda n: n.bridge)
    replace = f"add table inet {table}\ndelete table inet {table}\n"
    if not bridged:
        return replace
    sides = [side for network in bridged for side in _sides(network)]
    modes = {n.id: bridge_options(n.options) for n in bridged if not n.internal}
    opened = [endpoint for endpoint in endpoints if endpoint.network_id in modes]
    targets = [(kind, _targets(kind, opened, modes)) for kind in (_V4, _V6)]
    direct = [(kind, _targets(kind, opened, modes, nat=False)) for kind in (_V4, _V6)]
    lines = [line for kind, found in targets for line in _maps(kind, found)]
    lines += [*_raw(bridged, sides), *_published(targets), *_forward(sides, direct)]
    lines += _postrouting(sides)
    body = "\n".join(lines)
    mark = sha256(body.encode()).hexdigest()[:32]
    return f'{replace}table inet {table} {{\ncomment "{mark}"\n{body}\n}}\n'


def _has_range(network: Network) -> bool:
    return bool(network.subnet or network.subnet6)


def _sides(network: Network) -> list[_Side]:
    """Checked: names go into the text unquoted by nft's rules, so nothing odd may reach it."""
    check_interface(network.bridge)
    found = bridge_options(network.options)
    sides = []
    for kind, subnet, gateway, mode in (
        (_V4, network.subnet, network.gateway, found.mode),
        (_V6, network.subnet6, network.gateway6, found.mode6),
    ):
        if subnet:
            ipam.parse_subnet(subnet)
            ipam.parse_address(gateway)
            sides.append(
                _Side(
                    network.bridge, subnet, gateway, network.internal, found.icc,
                    found.masquerade and mode in ("nat", "nat-unprotected"), mode, kind,
                )
            )  # fmt: skip
    return sides


def fingerprint(text: str) -> str:
    """The mark by which an installed table is recognized; "" for the text that deletes it."""
    _before, found, after = text.partition('comment "')
    return after.partition('"')[0] if found else ""


def _targets(
    kind: _Family,
    endpoints: Iterable[Endpoint],
    modes: dict[str, BridgeOptions],
    *,
    nat: bool = True,
) -> list[_Target]:
    """The published ports of one family: of the networks that translate addresses, or of those
    that are routed."""
    found = set()
    for endpoint in endpoints:
        mode = modes[endpoint.network_id]
        translated = (mode.mode if kind is _V4 else mode.mode6) != "routed"
        address = endpoint.address if kind is _V4 else endpoint.address6
        if address and translated == nat:
            ipam.parse_address(address)
            found |= {
                target for binding in endpoint.ports for target in _target(kind, address, binding)
            }
    return sorted(found)


def _target(kind: _Family, address: str, binding: PortBinding) -> Iterable[_Target]:
    host = binding.host_ip
    if host in (EVERY_ADDRESS if kind is _V4 else EVERY_ADDRESS6):
        host = ""
    elif ipam.is_v6(host) != (kind is _V6) or host in (*EVERY_ADDRESS, *EVERY_ADDRESS6):
        return
    else:
        ipam.parse_address(host)
    for port in (binding.host_port, binding.container_port):
        if not 0 < port < 65536:
            raise InvalidInput(f"invalid published port {port}")
    if binding.protocol not in _TRANSPORTS:
        raise InvalidInput(f"invalid protocol {binding.protocol!r}")
    yield _Target(binding.protocol, host, binding.host_port, address, binding.container_port)


def _maps(kind: _Family, targets: Sequence[_Target]) -> list[str]:
    """Lookups stay constant in cost however many ports are published."""
    lines = []
    for name, key, elements in _groups(kind, targets):
        lines += [
            f"map {name} {{",
            f"type {key} : {kind.protocol}_addr . inet_service",
            f"elements = {{ {', '.join(elements)} }}",
            "}",
        ]
    return lines


def _groups(kind: _Family, targets: Sequence[_Target]) -> list[tuple[str, str, list[str]]]:
    groups = []
    for transport in _TRANSPORTS:
        mine = [target for target in targets if target.transport == transport]
        one = [target.element for target in mine if target.host]
        every = [target.element for target in mine if not target.host]
        name = f"{transport}{kind.mark}"
        if one:
            groups.append((f"{name}_one", f"{kind.protocol}_addr . inet_service", one))
        if every:
            groups.append((f"{name}_every", "inet_service", every))
    return groups


def _raw(networks: Sequence[Network], sides: Sequence[_Side]) -> list[str]:
    bridges = _interfaces(side.bridge for side in sides)
    lines = ["chain raw {", "type filter hook prerouting priority -300; policy accept;"]
    for kind in (_V4, _V6):
        lines.append(f'iifname != "lo" {kind.word} daddr {kind.loopback} drop')
        lines.append(f'iifname != "lo" {kind.word} saddr {kind.loopback} drop')
    for side in sides:
        own, word = f'"{side.bridge}"', side.kind.word
        allowed = f"{{ {side.kind.unspecified}, {side.subnet} }}"
        lines.append(f"iifname {own} {word} saddr != {allowed} drop")
        if side.mode in ("nat", "isolated"):
            # The gateway is one of the host's own addresses: containers of other networks may
            # use it.
            lines.append(
                f"{word} daddr {side.subnet} {word} daddr != {side.gateway} iifname != {own} drop"
            )
            lines.append(f'{word} daddr {side.gateway} iifname != {{ "lo", {bridges} }} drop')
    lines += [
        f'iifname "{network.bridge}" meta nfproto {kind.protocol} drop'
        for network in networks
        for kind, subnet in ((_V4, network.subnet), (_V6, network.subnet6))
        if not subnet
    ]
    return [*lines, "}"]


def _published(found: Sequence[tuple[_Family, Sequence[_Target]]]) -> list[str]:
    if not any(targets for _kind, targets in found):
        return []
    lines = ["chain published {"]
    for kind, targets in found:
        for name, key, _elements in _groups(kind, targets):
            lookup = f"{name.partition('_')[0].removesuffix('6')} dport"
            if key.startswith(kind.protocol):
                lookup = f"{kind.word} daddr . {lookup}"
            only = f"meta nfproto {kind.protocol} "
            lines.append(f"{only}dnat {kind.word} to {lookup} map @{name}")
    lines.append("}")
    for hook in ("prerouting", "output"):
        lines += [
            f"chain {hook} {{",
            f"type nat hook {hook} priority -100; policy accept;",
            # The kernel sends nothing from ::1 over another interface: that is relayed.
            *([f"{_V6.word} daddr {_V6.loopback} return"] if hook == "output" else ()),
            "fib daddr type local jump published",
            "}",
        ]
    return lines


def _forward(
    sides: Sequence[_Side], direct: Sequence[tuple[_Family, Sequence[_Target]]]
) -> list[str]:
    lines = ["chain forward {", "type filter hook forward priority 0; policy accept;"]
    internal = sorted({side.bridge for side in sides if side.internal})
    opened = sorted({side.bridge for side in sides if not side.internal})
    # First: not even to another network's published ports.
    lines += [f'iifname "{name}" oifname != "{name}" drop' for name in internal]
    lines += [f"oifname {{ {_interfaces(side.bridge for side in sides)} }} jump into", "}"]
    lines += ["chain into {", "ct state established,related accept"]
    for name in sorted({side.bridge for side in sides if side.icc}):
        lines.append(f'iifname "{name}" oifname "{name}" accept')
    if opened:
        lines.append(f"oifname {{ {_interfaces(opened)} }} ct status dnat accept")
    lines += [
        f'oifname "{side.bridge}" meta nfproto {side.kind.protocol} accept'
        for side in sides
        if side.mode == "nat-unprotected" and not side.internal
    ]
    lines += [
        f"{kind.word} daddr {target.address} {target.transport} dport {target.port} accept"
        for kind, targets in direct
        for target in targets
    ]
    return [*lines, "drop", "}"]


def _postrouting(sides: Sequence[_Side]) -> list[str]:
    bridges = _interfaces(side.bridge for side in sides)
    lines = ["chain postrouting {", "type nat hook postrouting priority 100; policy accept;"]
    for kind in (_V4, _V6):
        mine = [side for side in sides if side.kind is kind]
        if mine:
            ranges = ", ".join([kind.loopback, *(side.subnet for side in mine)])
            redirected = f"{kind.word} saddr {{ {ranges} }} ct status dnat masquerade"
            lines.append(f"oifname {{ {bridges} }} {redirected}")
    lines += [
        f'{side.kind.word} saddr {side.subnet} oifname != {{ "lo", "{side.bridge}" }} masquerade'
        for side in sides
        if side.masquerade and not side.internal
    ]
    return [*lines, "}"]


def _interfaces(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))
