"""The frames of a transfer, and what a hostile other side may send."""

import base64
import json
import os
import struct
from collections.abc import Iterator

import pytest

from onggi.engine.transfer import parse_offer, parse_wanted
from onggi.engine.wire import MAX_DATA, MAX_JSON, Wire
from onggi.errors import CorruptData, OnggiError, Unavailable
from onggi.spec.digest import Digest

DIFF = Digest.of(b"layer")
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [DIFF]},
    }
).encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_documents_and_data(pipe: tuple[int, int]) -> None:
    wire = Wire(*pipe)
    wire.tell({"a": [1, "ü"]})
    wire.send(b"one")
    wire.send(b"")
    wire.send(b"two")
    wire.end()
    assert wire.hear() == {"a": [1, "ü"]}
    assert b"".join(wire.data()) == b"onetwo"


def test_an_error_is_raised_on_the_other_side(pipe: tuple[int, int]) -> None:
    wire = Wire(*pipe)
    wire.tell_error(OnggiError("the disk is full", hint="free some"))
    with pytest.raises(OnggiError, match="the other side says: the disk is full") as caught:
        wire.hear()
    assert caught.value.hint == "free some"


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("!cI", b"X", 0),
        struct.pack("!cI", b"J", MAX_JSON + 1),
        struct.pack("!cI", b"D", MAX_DATA + 1),
        struct.pack("!cI", b".", 1),
        struct.pack("!cI", b"J", 2) + b"[]",
        struct.pack("!cI", b"J", 4) + b"nope",
        struct.pack("!cI", b"J", 2) + b"\xff\xff",
        b"SSH-2.0 welcome",
    ],
)
def test_what_is_no_frame(pipe: tuple[int, int], raw: bytes) -> None:
    os.write(pipe[1], raw)
    os.close(pipe[1])
    with pytest.raises(CorruptData):
        Wire(*pipe).hear()


def test_the_end_in_the_middle(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], struct.pack("!cI", b"J", 10) + b"half")
    os.close(pipe[1])
    with pytest.raises(Unavailable, match="the other side has gone"):
        Wire(*pipe).hear()


def test_the_other_sides_last_words() -> None:
    (theirs_in, our_out), (our_in, theirs_out) = os.pipe(), os.pipe()
    Wire(theirs_in, theirs_out).tell_error(OnggiError("no room"))
    os.close(theirs_in)
    with pytest.raises(OnggiError, match="no room"):
        Wire(our_in, our_out).send(b"x" * (1 << 20))
    for fd in (our_out, our_in, theirs_out):
        os.close(fd)


def offer(**changes: object) -> dict[str, object]:
    document = {
        "version": 1,
        "config": base64.b64encode(CONFIG).decode(),
        "manifest": None,
        "names": ["busybox:1"],
        "layers": [[DIFF, 10]],
    }
    return {**document, **changes}


def test_an_offer() -> None:
    found = parse_offer(offer())
    assert (found.config, found.layers) == (CONFIG, ((DIFF, 10),))
    assert str(found.names[0]) == "docker.io/library/busybox:1"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"config": "???"},
        {"config": base64.b64encode(b"{}").decode()},
        {"layers": []},
        {"layers": [[DIFF, 0]]},
        {"layers": [[DIFF, -5]]},
        {"layers": [[DIFF, 1 << 60]]},
        {"layers": [["sha256:../../etc/passwd", 10]]},
        {"layers": [[Digest.of(b"other"), 10]]},
        {"layers": "nothing"},
        {"manifest": base64.b64encode(b"[]").decode()},
        {"names": ["../../etc"]},
        {"names": 5},
        {"names": ["a:1"] * 101},
    ],
)
def test_an_offer_that_does_not_fit_together(changes: dict[str, object]) -> None:
    with pytest.raises(OnggiError):
        parse_offer(offer(**changes))


@pytest.mark.parametrize(
    "wanted",
    [{}, {"wanted": 5}, {"wanted": [[DIFF, 11]]}, {"wanted": [[DIFF, -1]]},
     {"wanted": [[Digest.of(b"other"), 0]]}],
)  # fmt: skip
def test_wishes_that_are_not_met(wanted: dict[str, object]) -> None:
    with pytest.raises(CorruptData):
        parse_wanted(wanted, {DIFF: 10})


def test_wishes() -> None:
    assert parse_wanted({"wanted": [[DIFF, 4]]}, {DIFF: 10}) == {DIFF: 4}
