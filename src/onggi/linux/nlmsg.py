"""Netlink messages as bytes: headers, attributes, replies. Never opens a socket.

Layouts: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h. Everything is in host byte order but
addresses.
"""

from collections.abc import Iterator
from struct import Struct

from ..typed import NamedTuple

REQUEST, MULTI, ACK, DUMP = 0x1, 0x2, 0x4, 0x300  # message flags
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
ERROR, DONE = 2, 3  # message types
ACK_TLVS = 0x200  # the error message carries attributes (extended ack)
NESTED = 0x8000
_TYPE_MASK = 0x3FFF

_HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = Struct("=HH")  # length, type
_U32 = Struct("=I")
_ERRNO = Struct("=i")
_LINK = Struct("=BxHiII")  # family, device type, index, flags, change mask
_ADDRESS = Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = Struct("=BBBBBBBBI")  # family, lengths of dst and src, tos, table, protocol, scope, type


class Request(NamedTuple):
    """One thing to ask of the kernel; `what` names it in the error."""

    kind: int
    body: bytes
    what: str
    flags: int = 0
    ignore: tuple[int, ...] = ()  # errno values that mean "already so"


class Reply(NamedTuple):
    kind: int
    flags: int
    sequence: int
    body: bytes


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """One attribute, padded; a str gets its NUL, an int is 32 bits wide."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, int):
        value = _U32.pack(value)
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def link_body(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _LINK.pack(family, 0, index, flags, change)


def address_body(index: int, prefix_length: int, family: int, flags: int = 0) -> bytes:
    return _ADDRESS.pack(family, prefix_length, flags, 0, index)


def route_body(
    family: int, prefix_length: int, *, table: int, protocol: int, scope: int, kind: int
) -> bytes:
    return _ROUTE.pack(family, prefix_length, 0, 0, table, protocol, scope, kind, 0)


def encode(request: Request, sequence: int) -> bytes:
    flags = request.flags | REQUEST
    length = _HEADER.size + len(request.body)
    return _HEADER.pack(length, request.kind, flags, sequence, 0) + request.body


def replies(datagram: bytes) -> Iterator[Reply]:
    """The messages in one datagram; ValueError when it is not what the kernel sends."""
    offset = 0
    while offset < len(datagram):
        if len(datagram) - offset < _HEADER.size:
            raise ValueError("netlink: truncated header")
        length, kind, flags, sequence, _port = _HEADER.unpack_from(datagram, offset)
        if not _HEADER.size <= length <= len(datagram) - offset:
            raise ValueError("netlink: bad message length")
        yield Reply(kind, flags, sequence, datagram[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attributes(body: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type from `offset` on; the last of a repeated type wins."""
    found = {}
    while len(body) - offset >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if not _ATTRIBUTE.size <= length <= len(body) - offset:
            raise ValueError("netlink: bad attribute length")
        found[kind & _TYPE_MASK] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def error_of(reply: Reply) -> tuple[int, str]:
    """(errno, the kernel's own words or "") of an ERROR message; errno 0 is an acknowledgement."""
    (negative,) = _ERRNO.unpack_from(reply.body)
    if not negative or not reply.flags & ACK_TLVS:
        return -negative, ""
    (original_length,) = _U32.unpack_from(reply.body, 4)
    capped = reply.flags & 0x100  # NLM_F_CAPPED: only the header of our request came back
    start = 4 + (_HEADER.size if capped else (original_length + 3) & ~3)
    text = attributes(reply.body, start).get(1, b"")
    return -negative, text.rstrip(b"\0").decode(errors="replace")


def u32(value: bytes) -> int:
    number: int = _U32.unpack(value)[0]
    return number


def text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def link_header(body: bytes) -> tuple[int, int, dict[int, bytes]]:
    """(index, flags, attributes) of a link message."""
    _family, _type, index, flags, _change = _LINK.unpack_from(body)
    return index, flags, attributes(body, _LINK.size)


def route_header(body: bytes) -> tuple[int, int, int, dict[int, bytes]]:
    """(prefix length, table, route type, attributes) of a route message."""
    fields = _ROUTE.unpack_from(body)
    return fields[1], fields[4], fields[7], attributes(body, _ROUTE.size)
