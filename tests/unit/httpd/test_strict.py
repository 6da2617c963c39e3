"""What is refused of HTTP, each in its own words (SECURITY 4.6)."""

import pytest

from onggi.httpd.strict import MAX_HEAD, ChunkGuard, Refused, check_head, end_of_head

GOOD = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
BAD_HEADS = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "both lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        400,
    ),
    "list of lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
    "signed length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
    "length with underscore": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5_0\r\n\r\n", 400),
    "hexadecimal length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
    "length of other digits": (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u0665\r\n\r\n".encode(),
        400,
    ),
    "empty length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    "huge length": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        400,
    ),
    "gzip coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "codings in a list": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    ),
    "two codings": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "bare line feed in the head": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "bare carriage return": (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "header without name": (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    "header without colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
    "NUL in a header": (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "small http": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute form": (b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "method with a bracket": (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "too many headers": (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        431,
    ),
    "long target": (b"GET /" + b"a" * (17 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
}


@pytest.mark.sec("E4")
@pytest.mark.parametrize("name", BAD_HEADS)
def test_refused_head(name: str) -> None:
    head, status = BAD_HEADS[name]
    with pytest.raises(Refused) as caught:
        check_head(head)
    assert caught.value.status == status


def test_good_heads() -> None:
    assert check_head(GOOD) == 0
    assert check_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n") == 12
    assert check_head(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n") is None
    assert check_head(b"GET / HTTP/1.0\r\n\r\n") == 0
    assert check_head("GET / HTTP/1.1\r\nHost: a\r\nX: \u00e9\r\n\r\n".encode()) == 0


def test_the_end_of_a_head() -> None:
    assert end_of_head(GOOD[:-1]) == 0
    assert end_of_head(GOOD + b"body") == len(GOOD)
    assert end_of_head(b"") == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /_ping HTTP/1.1\nHost: d\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),  # a TLS greeting
        (b"GET /" + b"a" * (20 << 10), 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n", 431),
    ],
)
def test_refused_before_it_is_complete(data: bytes, status: int) -> None:
    with pytest.raises(Refused) as caught:
        end_of_head(data)
    assert caught.value.status == status


BAD_CHUNKS = [
    b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"5_0\r\n", b" 5\r\nhello\r\n",
    b"\r\n", b"-1\r\n", b"g\r\n", b"5\nhello\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n\n0\r\n",
    b"11111111111111111\r\n", b"5;" + b"a" * 300 + b"\r\nhello\r\n", b"5;" + b"a" * 400,
    b"5;a=\0\r\nhello\r\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\n folded: x\r\n\r\n",
    b"5\r\nhello\r\r0\r\n\r\n",
]  # fmt: skip


@pytest.mark.sec("E4")
@pytest.mark.parametrize("body", BAD_CHUNKS)
@pytest.mark.parametrize("size", [1, 1 << 16])
def test_refused_chunks(body: bytes, size: int) -> None:
    guard = ChunkGuard()
    buffered = bytearray()
    with pytest.raises(Refused):
        for start in range(0, len(body), size):
            buffered += body[start : start + size]
            del buffered[: guard.take(buffered)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16])
def test_chunks_end_where_they_end(size: int) -> None:
    body = b"5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    guard = ChunkGuard()
    buffered = bytearray()
    taken = 0
    everything = body + b"GET / HTTP/1.1"
    for start in range(0, len(everything), size):
        buffered += everything[start : start + size]
        used = guard.take(buffered)
        taken += used
        del buffered[:used]
    assert guard.ended
    assert taken == len(body)
