"""Who is found under which name, and DNS messages in and out, hostile ones too."""

import random

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord

from onggi.network import names
from onggi.network.dnsmessage import Reply, failure, question_of, reply

WEB = names.Member("c1", ("web", "api", "c1c1c1c1c1c1"), ("172.18.0.2", "fd00::2"))
DB = names.Member("c2", ("db", "api"), ("172.18.0.3",))
FAR = names.Member("c3", ("far",), ("172.19.0.2",))
TABLE = names.Table(
    {"n": names.Members("net1", (WEB, DB)), "m": names.Members("net2", (FAR,))},
    {"c1": names.Client(("n",), {"store": "db"}), "c3": names.Client(("m",))},
)


def found(name: str, asker: str = "c1") -> list[str] | None:
    return names.addresses(TABLE, asker, name)


def ask(query: bytes, *, over_tcp: bool = False) -> Reply:
    return reply(
        query, found, lambda address: names.name_of(TABLE, "c1", address), over_tcp=over_tcp
    )


def answers(name: str, kind: str = "A") -> list[str]:
    got = ask(DNSRecord.question(name, kind).pack())
    assert not got.forward
    record = DNSRecord.parse(got.data)
    assert record.header.rcode == RCODE.NOERROR
    return [str(rr.rdata) for rr in record.rr]


def test_names_aliases_ids_links_and_networks() -> None:
    assert found("web") == found("WEB.") == found("web.net1") == found("c1c1c1c1c1c1")
    assert found("api") == ["172.18.0.2", "fd00::2", "172.18.0.3"]
    assert found("store") == ["172.18.0.3"]
    assert found("far") is None  # not on a network of the asker's
    assert found("far", "c3") == ["172.19.0.2"] and found("web", "c3") is None
    assert found("store", "c2") is None and found("web", "stranger") is None


def test_questions() -> None:
    assert answers("web") == ["172.18.0.2"]
    assert answers("web", "AAAA") == ["fd00::2"]
    assert answers("db", "AAAA") == []  # it is there, without IPv6
    assert answers("db", "MX") == []
    assert answers("3.0.18.172.in-addr.arpa", "PTR") == ["db.net1."]
    v6 = "2." + "0." * 27 + "0.0.d.f.ip6.arpa"
    assert answers(v6, "PTR") == ["web.net1."]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("example.org", "A"), ("nosuch", "A"), ("4.4.8.8.in-addr.arpa", "PTR"), ("x.ip6.arpa", "PTR")],
)
def test_what_is_nobodys_goes_to_others(name: str, kind: str) -> None:
    assert ask(DNSRecord.question(name, kind).pack()).forward


def test_odd_messages_get_an_error_or_nothing() -> None:
    query = bytearray(DNSRecord.question("web").pack())
    assert ask(b"short") == Reply() == ask(bytes(query[:2]) + b"\x80" + bytes(query[3:]))
    assert DNSRecord.parse(ask(bytes(query[:14])).data).header.rcode == RCODE.FORMERR
    query[2] |= 0x10  # opcode STATUS
    assert DNSRecord.parse(ask(bytes(query)).data).header.rcode == RCODE.NOTIMP
    loop = bytes(query[:2]) + b"\0\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1"  # points at itself
    assert DNSRecord.parse(ask(loop).data).header.rcode == RCODE.FORMERR


@pytest.mark.sec("F5")
def test_no_message_breaks_it() -> None:
    chance = random.Random(5)
    start = DNSRecord.question("web").pack()
    for _ in range(5000):
        message = bytearray(start)
        for _ in range(chance.randrange(6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        odd = bytes(message[: chance.randrange(len(message) + 1)]) + chance.randbytes(
            chance.randrange(20)
        )
        ask(odd)
        failure(odd)
        question_of(odd)


def test_a_long_answer_is_cut_to_what_the_asker_takes() -> None:
    many = [f"172.18.1.{n}" for n in range(200)]

    def over(query: DNSRecord, *, tcp: bool = False) -> DNSRecord:
        got = reply(query.pack(), lambda _: many, lambda _: None, over_tcp=tcp)
        return DNSRecord.parse(got.data)

    plain = DNSRecord.question("api")
    assert over(plain).header.tc and not over(plain).rr
    assert len(over(plain, tcp=True).rr) == 200
    large = DNSRecord.question("api")
    large.add_ar(EDNS0(udp_len=4096))
    assert len(over(large).rr) == 200


def test_failures_repeat_the_question() -> None:
    query = DNSRecord.question("x.test", "AAAA")
    for refused, code in ((True, RCODE.REFUSED), (False, RCODE.SERVFAIL)):
        record = DNSRecord.parse(failure(query.pack(), refused=refused))
        assert record.header.rcode == code and record.header.id == query.header.id
        assert question_of(record.pack()) == ("x.test.", QTYPE.AAAA)
