"""Forgets tracked connections: a UDP flow never ends while packets come, and would keep the address
translation of a container that is gone, or of the time before there was one.
"""

import _socket
import errno
from collections.abc import Callable

from . import nlmsg
from .rtnetlink import NETFILTER, Netlink

UDP = 17
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK; IPCTNL_MSG_CT_GET, _DELETE
_GENERIC = bytes(4)  # nfgenmsg: either family
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_SOURCE, _IP6_SOURCE = 1, 3
_PROTO_NUMBER, _PROTO_DESTINATION_PORT = 1, 3

_Tuple = dict[int, bytes]


def forget_address(address: str) -> None:
    """Every flow that started at, or ends at, this container address."""
    v6 = ":" in address
    raw = _socket.inet_pton(_socket.AF_INET6 if v6 else _socket.AF_INET, address)
    source = _IP6_SOURCE if v6 else _IP_SOURCE

    def concerns(original: _Tuple, reply: _Tuple) -> bool:
        starts_at = nlmsg.attributes(original.get(_TUPLE_IP, b"")).get(source)
        ends_at = nlmsg.attributes(reply.get(_TUPLE_IP, b"")).get(source)
        return raw in (starts_at, ends_at)

    _forget(concerns)


def forget_port(protocol: int, port: int) -> None:
    """Every flow to this port, whatever address it was sent to."""
    wanted = (bytes((protocol,)), port.to_bytes(2, "big"))

    def concerns(original: _Tuple, _reply: _Tuple) -> bool:
        found = nlmsg.attributes(original.get(_TUPLE_PROTO, b""))
        return (found.get(_PROTO_NUMBER), found.get(_PROTO_DESTINATION_PORT)) == wanted

    _forget(concerns)


def _forget(concerns: Callable[[_Tuple, _Tuple], bool]) -> None:
    try:
        socket = Netlink(NETFILTER)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return  # no netfilter: nothing tracks connections
        raise
    with socket:
        doomed = []
        for entry in socket.dump(nlmsg.Request(_GET, _GENERIC, "list connections")):
            found = nlmsg.attributes(entry.body, len(_GENERIC))
            original = nlmsg.attributes(found.get(_ORIGINAL, b""))
            if concerns(original, nlmsg.attributes(found.get(_REPLY, b""))):
                doomed.append(_deletion(entry.body[:4], found))
        for request in doomed:
            socket.apply(request)


def _deletion(generic: bytes, found: dict[int, bytes]) -> nlmsg.Request:
    """By tuple and id: the id keeps a flow that began since from being hit."""
    body = generic + nlmsg.attribute(_ORIGINAL | nlmsg.NESTED, found[_ORIGINAL])
    for kind in (_ZONE, _ID):
        if kind in found:
            body += nlmsg.attribute(kind, found[kind])
    return nlmsg.Request(_DELETE, body, "forget a connection", ignore=(errno.ENOENT,))
