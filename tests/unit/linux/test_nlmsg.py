import errno
from struct import pack

import pytest

from onggi.linux import nlmsg


def test_attributes_are_padded_and_read_back() -> None:
    raw = nlmsg.attribute(3, "eth0") + nlmsg.attribute(4, 1500) + nlmsg.attribute(1, b"\2\3\4")
    assert len(raw) % 4 == 0
    assert nlmsg.attributes(raw) == {3: b"eth0\0", 4: pack("=I", 1500), 1: b"\2\3\4"}


def test_nested_attributes() -> None:
    raw = nlmsg.nest(18, nlmsg.attribute(1, "veth"), nlmsg.nest(2, nlmsg.attribute(1, b"x")))
    inner = nlmsg.attributes(nlmsg.attributes(raw)[18])
    assert nlmsg.text(inner[1]) == "veth"
    assert nlmsg.attributes(inner[2]) == {1: b"x"}


def test_messages_are_read_back() -> None:
    first = nlmsg.encode(nlmsg.Request(16, b"abcd", "first", nlmsg.ACK), 7)
    second = nlmsg.encode(nlmsg.Request(17, b"efgh", "second"), 8)
    assert list(nlmsg.replies(first + second)) == [
        nlmsg.Reply(16, nlmsg.ACK | nlmsg.REQUEST, 7, b"abcd"),
        nlmsg.Reply(17, nlmsg.REQUEST, 8, b"efgh"),
    ]


@pytest.mark.parametrize("cut", [1, 15])
def test_truncated_messages_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="netlink"):
        list(nlmsg.replies(nlmsg.encode(nlmsg.Request(16, b"abcd", ""), 1)[:cut]))


@pytest.mark.parametrize("length", [3, 9])
def test_bad_attribute_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="attribute"):
        nlmsg.attributes(pack("=HH4x", length, 1))


def test_acknowledgement_and_error() -> None:
    header = bytes(16)
    ack = nlmsg.Reply(nlmsg.ERROR, 0x100, 1, pack("=i", 0) + header)
    assert nlmsg.error_of(ack) == (0, "")
    words = nlmsg.attribute(1, "Nexthop has invalid gateway")
    flags = 0x100 | nlmsg.ACK_TLVS
    body = pack("=i", -errno.ENETUNREACH) + header + words
    said = nlmsg.error_of(nlmsg.Reply(nlmsg.ERROR, flags, 1, body))
    assert said == (errno.ENETUNREACH, "Nexthop has invalid gateway")


def test_the_whole_request_may_come_back_with_an_error() -> None:
    original = pack("=IHHII", 22, 16, 0, 1, 0) + b"abcdef" + b"\0\0"
    body = pack("=i", -errno.EINVAL) + original + nlmsg.attribute(1, "no")
    reply = nlmsg.Reply(nlmsg.ERROR, nlmsg.ACK_TLVS, 1, body)
    assert nlmsg.error_of(reply) == (errno.EINVAL, "no")
