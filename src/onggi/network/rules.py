"""All firewall rules as one text for `nft -f -`, computed from the networks and endpoints alone.

The text replaces our one table (family ip) in one transaction, whatever was there; with no network
left it deletes the table. We only ever *drop* for good: an accept in our chains ends our chains
alone, so a drop in any other base chain of the host (an administrator's, ufw's, docker's FORWARD
policy) still stands and is not ours to override.

The packet's way:
  raw        before connection tracking: nothing from outside may claim or reach 127/8 or a
             container's own address; a container may send only from its network's range
  published  destination NAT for published ports, for packets to any address of this host, from
             outside, from containers (prerouting) and from the host itself (output)
  forward    into a network: answers, published ports and the network's own containers, else drop;
             out of an internal network: nothing
  postroute  masquerade what leaves a network for elsewhere; and what was redirected and comes from
             127/8 or a container, so that the answer comes back through the host
"""

from _blake2 import blake2b  # hashlib costs 2 ms to import on the way of every `run`
from collections.abc import Iterable, Sequence

from ..errors import InvalidInput
from ..spec.network import Endpoint, Network
from ..typed import NamedTuple
from . import ipam

TABLE = "onggi"
EVERY_ADDRESS = ("", "0.0.0.0")  # noqa: S104 - docker's words for "all of the host's addresses"
_TRANSPORTS = ("tcp", "udp", "sctp")
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


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
    bridged = sorted((n for n in networks if n.bridge and n.subnet), key=lambda n: n.bridge)
    replace = f"add table ip {table}\ndelete table ip {table}\n"
    if not bridged:
        return replace
    for network in bridged:
        _check(network)
    open_ids = {network.id for network in bridged if not network.internal}
    targets = _targets(endpoint for endpoint in endpoints if endpoint.network_id in open_ids)
    lines = [*_maps(targets), *_raw(bridged), *_published(targets), *_forward(bridged)]
    lines += _postrouting(bridged)
    body = "\n".join(lines)
    mark = blake2b(body.encode(), digest_size=16).hexdigest()
    return f'{replace}table ip {table} {{\ncomment "{mark}"\n{body}\n}}\n'


def fingerprint(text: str) -> str:
    """The mark by which an installed table is recognized; "" for the text that deletes it."""
    _before, found, after = text.partition('comment "')
    return after.partition('"')[0] if found else ""


def _check(network: Network) -> None:
    """Names go into the text unquoted by nft's rules, so nothing odd may reach it."""
    ipam.parse_subnet(network.subnet)
    ipam.parse_address(network.gateway)
    if not 0 < len(network.bridge) < 16 or not _NAME_LETTERS.issuperset(network.bridge):
        raise InvalidInput(f"invalid bridge name {network.bridge!r}")


def _targets(endpoints: Iterable[Endpoint]) -> list[_Target]:
    found = set()
    for endpoint in endpoints:
        ipam.parse_address(endpoint.address)
        for binding in endpoint.ports:
            host = "" if binding.host_ip in EVERY_ADDRESS else binding.host_ip
            if host:
                ipam.parse_address(host)
            for port in (binding.host_port, binding.container_port):
                if not 0 < port < 65536:
                    raise InvalidInput(f"invalid published port {port}")
            if binding.protocol not in _TRANSPORTS:
                raise InvalidInput(f"invalid protocol {binding.protocol!r}")
            found.add(
                _Target(
                    binding.protocol,
                    host,
                    binding.host_port,
                    endpoint.address,
                    binding.container_port,
                )
            )
    return sorted(found)


def _maps(targets: Sequence[_Target]) -> list[str]:
    """Lookups stay constant in cost however many ports are published."""
    lines = []
    for name, key, elements in _groups(targets):
        lines += [
            f"map {name} {{",
            f"type {key} : ipv4_addr . inet_service",
            f"elements = {{ {', '.join(elements)} }}",
            "}",
        ]
    return lines


def _groups(targets: Sequence[_Target]) -> list[tuple[str, str, list[str]]]:
    groups = []
    for transport in _TRANSPORTS:
        mine = [target for target in targets if target.transport == transport]
        one = [target.element for target in mine if target.host]
        every = [target.element for target in mine if not target.host]
        if one:
            groups.append((f"{transport}_one", "ipv4_addr . inet_service", one))
        if every:
            groups.append((f"{transport}_every", "inet_service", every))
    return groups


def _raw(networks: Sequence[Network]) -> list[str]:
    bridges = _interfaces(networks)
    lines = [
        "chain raw {",
        "type filter hook prerouting priority -300; policy accept;",
        'iifname != "lo" ip daddr 127.0.0.0/8 drop',
        'iifname != "lo" ip saddr 127.0.0.0/8 drop',
    ]
    for network in networks:
        own = f'"{network.bridge}"'
        lines.append(f"iifname {own} ip saddr != {{ 0.0.0.0, {network.subnet} }} drop")
        # The gateway is one of the host's own addresses: containers of other networks may use it.
        lines.append(
            f"ip daddr {network.subnet} ip daddr != {network.gateway} iifname != {own} drop"
        )
        lines.append(f"ip daddr {network.gateway} iifname != {bridges} drop")
    return [*lines, "}"]


def _published(targets: Sequence[_Target]) -> list[str]:
    if not targets:
        return []
    lines = ["chain published {"]
    for name, key, _elements in _groups(targets):
        transport = name.partition("_")[0]
        lookup = f"{transport} dport"
        if key.startswith("ipv4_addr"):
            lookup = f"ip daddr . {lookup}"
        lines.append(f"dnat ip to {lookup} map @{name}")
    lines.append("}")
    for hook in ("prerouting", "output"):
        lines += [
            f"chain {hook} {{",
            f"type nat hook {hook} priority -100; policy accept;",
            "fib daddr type local jump published",
            "}",
        ]
    return lines


def _forward(networks: Sequence[Network]) -> list[str]:
    lines = ["chain forward {", "type filter hook forward priority 0; policy accept;"]
    lines += [  # first: not even to another network's published ports
        f'iifname "{network.bridge}" oifname != "{network.bridge}" drop'
        for network in networks
        if network.internal
    ]
    lines += [f"oifname {_interfaces(networks)} jump into", "}"]
    lines += ["chain into {", "ct state established,related accept"]
    for network in networks:
        lines.append(f'iifname "{network.bridge}" oifname "{network.bridge}" accept')
    opened = [network for network in networks if not network.internal]
    if opened:
        lines.append(f"oifname {_interfaces(opened)} ct status dnat accept")
    return [*lines, "drop", "}"]


def _postrouting(networks: Sequence[Network]) -> list[str]:
    bridges = _interfaces(networks)
    ranges = ", ".join(["127.0.0.0/8", *(network.subnet for network in networks)])
    lines = [
        "chain postrouting {",
        "type nat hook postrouting priority 100; policy accept;",
        f"oifname {bridges} ip saddr {{ {ranges} }} ct status dnat masquerade",
    ]
    lines += [
        f'ip saddr {network.subnet} oifname != "{network.bridge}" masquerade'
        for network in networks
        if not network.internal
    ]
    return [*lines, "}"]


def _interfaces(networks: Sequence[Network]) -> str:
    names = ", ".join(f'"{network.bridge}"' for network in networks)
    return f"{{ {names} }}"
