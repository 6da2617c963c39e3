"""nftables: questions over netlink, 0.1 ms each, and changes by starting nft, which takes 7.

iptables of the nft kind shows here too, as tables "filter", "nat" and so on; the legacy kind does
not.
"""

import errno
from collections.abc import Iterator

from ..errors import OnggiError
from ..typed import NamedTuple
from . import nlmsg, tools
from .rtnetlink import NETFILTER, Netlink

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _GETCHAIN = _SUBSYSTEM | 1, _SUBSYSTEM | 4
_FAMILIES = {1: "inet", 2: "ip"}  # those that see IPv4
_INET = 1
_TABLE_NAME, _TABLE_USERDATA = 1, 6
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER = 1
_HOOKS = {"input": 1, "forward": 2}
_DROP = bytes(4)  # NF_DROP, big-endian
_TIMEOUT_S = 30.0
_SHOWN = 200
_HEADER = 4  # struct nfgenmsg: family, version, resource


class Chain(NamedTuple):
    family: str
    table: str
    name: str


def is_usable() -> bool:
    """Whether this kernel has nftables, and this host the program that speaks it."""
    try:
        tools.find("nft")
        table_note("onggi")
    except (OnggiError, OSError):
        return False
    return True


def load(script: str) -> None:
    """Have nft carry it out, all or nothing. Raises OnggiError with its first complaint; the script
    and the rest of what it said are in the error's notes, which a traceback shows."""
    done = tools.run(("nft", "-f", "-"), input=script.encode(), timeout_s=_TIMEOUT_S, check=False)
    if not done.status:
        return
    said = done.stderr.decode(errors="replace").strip()
    complaint = said.partition("Error: ")[2] or said or f"status {done.status}"
    error = OnggiError(f"nft refuses our rules: {complaint.splitlines()[0][:_SHOWN]}")
    error.add_note(f"{said}\n\n{script}")
    raise error


def table_note(name: str) -> bytes | None:
    """The user data (it holds the comment) of the table of family inet; None: no such table."""
    body = bytes((_INET, 0, 0, 0)) + nlmsg.attribute(_TABLE_NAME, name)
    request = nlmsg.Request(_GETTABLE, body, f"find nft table {name}")
    try:
        with Netlink(NETFILTER) as socket:
            for reply in socket.dump(request, everything=False):
                return nlmsg.attributes(reply.body, _HEADER).get(_TABLE_USERDATA, b"")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def chains_that_drop(hook: str) -> list[Chain]:
    """The base chains at "input" or "forward" whose policy is to drop IPv4 packets."""
    with Netlink(NETFILTER) as socket:
        return list(_dropping(socket, _HOOKS[hook].to_bytes(4, "big")))


def _dropping(socket: Netlink, number: bytes) -> Iterator[Chain]:
    for reply in socket.dump(nlmsg.Request(_GETCHAIN, bytes(_HEADER), "list nft chains")):
        family = _FAMILIES.get(reply.body[0])
        found = nlmsg.attributes(reply.body, _HEADER)
        hook = nlmsg.attributes(found.get(_CHAIN_HOOK, b"")).get(_HOOK_NUMBER)
        if family and hook == number and found.get(_CHAIN_POLICY) == _DROP:
            table, name = (nlmsg.text(found.get(k, b"")) for k in (_CHAIN_TABLE, _CHAIN_NAME))
            yield Chain(family, table, name)
