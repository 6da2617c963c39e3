"""Docker's way with a firewall that drops what it forwards, for who asks for it ([network]
override_drops): our bridges are let through in the administrator's own chains.

Each such chain gets one rule at its head, a jump to a chain of ours in the same table, and loses
both again. What keeps our networks apart is in our own table and stands.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from ..linux import nftables, tools
from ..linux.nftables import Chain
from .options import check_interface

_TIMEOUT_S = 30.0
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def apply(name: str, bridges: Sequence[str]) -> None:
    """Let these bridges pass; none of them: leave nothing. Idempotent. `name` is our chain's."""
    chains = [c for c in nftables.chains_that_drop("forward") if _can_be_named(c)]
    listed = {chain: _list(chain) for chain in chains}
    text = script(listed, name, bridges)
    if text:
        nftables.load(text)


def script(listed: Mapping[Chain, str], name: str, bridges: Iterable[str]) -> str:
    """For `nft -f -`; `listed` is each chain as `nft -a list table` shows its table. Pure."""
    names = sorted(check_interface(bridge) for bridge in bridges)
    lines = []
    for chain, text in listed.items():
        table = f"{chain.family} {chain.table}"
        jumps = re.findall(rf"jump {re.escape(name)} .*# handle (\d+)", text)
        ours = re.search(rf"chain {re.escape(name)} \{{", text) is not None
        if names:
            quoted = ", ".join(f'"{bridge}"' for bridge in names)
            lines += [
                f"add chain {table} {name}",
                f"flush chain {table} {name}",
                f"add rule {table} {name} iifname {{ {quoted} }} accept",
                f"add rule {table} {name} oifname {{ {quoted} }} ct state established,related "
                "accept",
                f"add rule {table} {name} oifname {{ {quoted} }} ct status dnat accept",
            ]
            if not jumps:
                lines.append(f'insert rule {table} {chain.name} jump {name} comment "{name}"')
        elif ours:
            lines += [f"delete rule {table} {chain.name} handle {handle}" for handle in jumps]
            lines.append(f"delete chain {table} {name}")
    return "".join(f"{line}\n" for line in lines)


def _can_be_named(chain: Chain) -> bool:
    return all(_PLAIN.fullmatch(word) for word in (chain.table, chain.name))


def _list(chain: Chain) -> str:
    argv = ("nft", "-a", "list", "table", chain.family, chain.table)
    return tools.run(argv, timeout_s=_TIMEOUT_S).stdout.decode(errors="replace")
