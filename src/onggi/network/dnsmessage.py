"""DNS messages, by dnslib: what to answer to a question, or that others are to be asked. Pure.

Whatever arrives is hostile: what is no question is answered with FORMERR, or with nothing when not
even its header can be read.
"""

import encodings.idna  # noqa: F401 - dnslib's, by name: later the library may be unreadable to us
from collections.abc import Callable, Sequence
from struct import error as StructError

from dnslib import AAAA, PTR, QTYPE, RCODE, RR, A, DNSError, DNSHeader, DNSRecord

from ..typed import NamedTuple
from .ipam import format_address

TTL_S = 0  # containers come and go: nobody is to remember an address
SMALLEST, LARGEST = 512, 4096  # bytes of an answer over UDP
_ODD = (DNSError, StructError, ValueError, KeyError, IndexError, UnicodeError, RecursionError)
_QUERY = 0


class Reply(NamedTuple):
    """`data` to send back, b"" for nothing; with `forward` the question goes to other servers."""

    data: bytes = b""
    forward: bool = False


Lookup = Callable[[str], Sequence[str] | None]


def reply(
    query: bytes, addresses: Lookup, name_of: Callable[[str], str | None], *, over_tcp: bool
) -> Reply:
    """What to do with a message. `addresses` and `name_of` know the names; several addresses are
    given in the order they come."""
    try:
        record = DNSRecord.parse(query)
    except _ODD:
        return Reply(_bare(query, RCODE.FORMERR))
    header = record.header
    if header.qr:
        return Reply()
    if header.opcode != _QUERY:
        return Reply(_bare(query, RCODE.NOTIMP))
    if len(record.questions) != 1:
        return Reply(_bare(query, RCODE.FORMERR))
    answer = _answer(record, addresses, name_of)
    if answer is None:
        return Reply(forward=True)
    limit = 65535 if over_tcp else _room(record)
    packed: bytes = answer.pack()
    return Reply(packed if len(packed) <= limit else answer.truncate().pack())


def _answer(
    record: DNSRecord, addresses: Lookup, name_of: Callable[[str], str | None]
) -> DNSRecord | None:
    """None when the name is nobody's here."""
    question = record.questions[0]
    name = str(question.qname)
    made = record.reply(ra=1, aa=0)
    if question.qtype == QTYPE.PTR:
        address = _reversed(name.lower())
        known = name_of(address) if address else None
        if known is None:
            return None
        made.add_answer(RR(question.qname, QTYPE.PTR, ttl=TTL_S, rdata=PTR(known)))
        return made
    found = addresses(name)
    if found is None:
        return None
    for address in found:
        v6 = ":" in address
        if question.qtype in (QTYPE.AAAA if v6 else QTYPE.A, QTYPE.ANY):
            kind, data = (QTYPE.AAAA, AAAA(address)) if v6 else (QTYPE.A, A(address))
            made.add_answer(RR(question.qname, kind, ttl=TTL_S, rdata=data))
    return made


def _reversed(name: str) -> str:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; "" for none."""
    name = name.rstrip(".")
    labels = name.split(".")[:-2][::-1]
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 4:
            octets = [int(label) for label in labels]
            return format_address(int.from_bytes(bytes(octets), "big"))
        if name.endswith(".ip6.arpa") and len(labels) == 32:
            return format_address(int("".join(labels), 16), 128)
    except (ValueError, OverflowError):
        return ""
    return ""


def _room(record: DNSRecord) -> int:
    """What the asker says it takes (EDNS), within reason."""
    sizes: list[int] = [rr.edns_len for rr in record.ar if rr.rtype == QTYPE.OPT]
    return min(max([SMALLEST, *sizes]), LARGEST)


def _bare(query: bytes, code: int) -> bytes:
    """An answer with nothing but a code; b"" when there is no header to answer to."""
    if len(query) < 12 or query[2] & 0x80:
        return b""
    header = DNSHeader(id=int.from_bytes(query[:2], "big"), qr=1, ra=1, rcode=code)
    header.rd = query[2] & 1
    packed: bytes = DNSRecord(header).pack()
    return packed


def failure(query: bytes, *, refused: bool = False) -> bytes:
    """The answer when nobody else could, or may, be asked."""
    code = RCODE.REFUSED if refused else RCODE.SERVFAIL
    try:
        made = DNSRecord.parse(query).reply(ra=1, aa=0)
    except _ODD:
        return _bare(query, code)
    made.header.rcode = code
    packed: bytes = made.pack()
    return packed


def question_of(message: bytes) -> tuple[str, int] | None:
    """Name and type of the one question, to tell whether an answer belongs to it."""
    try:
        record = DNSRecord.parse(message)
    except _ODD:
        return None
    if len(record.questions) != 1:
        return None
    question = record.questions[0]
    return str(question.qname).lower(), int(question.qtype)
