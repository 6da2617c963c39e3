"""The server in this process: connections, bodies, deadlines, hijack, and its end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onggi.httpd import listen, server
from onggi.httpd.exchange import Exchange, Gone
from onggi.httpd.server import Server
from onggi.httpd.strict import Refused

TIMEOUT_S = 60
GET = b"GET /%b HTTP/1.1\r\nHost: d\r\n\r\n"


def refusal(refused: Refused) -> bytes:
    return f"HTTP/1.1 {refused.status} X\r\nContent-Length: 0\r\n\r\n".encode()


class Served:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.entered = threading.Event()
        self.release = threading.Event()
        self.seen: list[str] = []
        self.server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, grace_s: float = 0.3, **options: int) -> None:
        self.server = Server([listen.unix(self.path)], self.handle, refusal, **options)
        grace = {"grace_s": grace_s}
        self._thread = threading.Thread(target=self.server.run, kwargs=grace)
        self._thread.start()

    def handle(self, exchange: Exchange) -> None:
        what = exchange.request.target
        self.seen.append(what)
        answer: Callable[[Exchange], None] = getattr(self, f"on_{what[1:].partition('?')[0]}")
        answer(exchange)

    def on_hello(self, exchange: Exchange) -> None:
        exchange.reply(200, [("X-Case", "Kept")], b"hello")

    def on_echo(self, exchange: Exchange) -> None:
        exchange.reply(200, [], exchange.body(100_000))

    def on_ignore(self, exchange: Exchange) -> None:
        exchange.reply(200, [], b"not read")

    def on_stream(self, exchange: Exchange) -> None:
        exchange.begin(200, [])
        exchange.write(b"one")
        self.entered.set()
        while not exchange.is_gone():
            if self.release.wait(0.01):
                exchange.write(b"two")
                exchange.end()
                return
        self.seen.append("gone")
        raise Gone

    def on_slow(self, exchange: Exchange) -> None:
        self.entered.set()
        self.release.wait(TIMEOUT_S)
        exchange.reply(200, [], b"late")

    def on_hijack(self, exchange: Exchange) -> None:
        raw = exchange.hijack([("Content-Type", "x")])
        data = raw.pending
        while more := raw.connection.recv(100):
            data += more
        raw.connection.sendall(data.upper())

    def connect(self) -> socket.socket:
        wire = socket.socket(socket.AF_UNIX)
        wire.settimeout(TIMEOUT_S)
        try:
            wire.connect(self.path)
        except OSError:
            wire.close()
            raise
        return wire

    def ask(self, data: bytes) -> bytes:
        with self.connect() as wire:
            try:
                wire.sendall(data)
                wire.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent
            return everything(wire)

    def stop(self) -> None:
        assert self.server is not None and self._thread is not None
        self.server.stop()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()


def everything(wire: socket.socket) -> bytes:
    """What comes; a server that closes without having read all of ours resets behind it."""
    found = b""
    try:
        while data := wire.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def until(wire: socket.socket, wanted: bytes) -> None:
    found = b""
    while wanted not in found:
        data = wire.recv(65536)
        assert data, found
        found += data


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path / "s")
    found.start()
    yield found
    found.release.set()
    found.stop()


def test_an_answer(served: Served) -> None:
    answer = served.ask(GET % b"hello")
    assert answer == b"HTTP/1.1 200 OK\r\nX-Case: Kept\r\nContent-Length: 5\r\n\r\nhello"


def test_pipelined(served: Served) -> None:
    assert served.ask((GET % b"hello") * 3).count(b"hello") == 3


def test_bodies(served: Served) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: d\r\n"
    assert served.ask(head + b"Content-Length: 3\r\n\r\nabc").endswith(b"\r\n\r\nabc")
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    assert served.ask(head + chunks + GET % b"hello").endswith(b"hello")
    assert b"\r\n\r\nabcde" in served.ask(head + chunks)
    large = b"Content-Length: 100001\r\n\r\n"
    assert served.ask(head + large).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_nobody_reads(served: Served) -> None:
    """A short one is passed over; of a long one the connection is given up, after the answer."""
    head = b"POST /ignore HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n"
    short = served.ask(head % 3 + b"abc" + GET % b"hello")
    assert short.endswith(b"hello")
    with served.connect() as wire:
        wire.sendall(head % (8 << 20))
        try:
            wire.sendall(bytes(8 << 20))
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = everything(wire)
    assert b"Connection: close" in answer and answer.endswith(b"not read")


def test_chunks_are_sent_at_once(served: Served) -> None:
    with served.connect() as wire:
        wire.sendall(GET % b"stream")
        found = b""
        while b"3\r\none\r\n" not in found:
            found += wire.recv(65536)
        assert b"Transfer-Encoding: chunked" in found
        served.release.set()
        while not found.endswith(b"3\r\ntwo\r\n0\r\n\r\n"):
            found += wire.recv(65536)
        wire.sendall(GET % b"hello")
        until(wire, b"hello")


def test_a_client_that_leaves_is_noticed(served: Served) -> None:
    with served.connect() as wire:
        wire.sendall(GET % b"stream")
        assert served.entered.wait(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while "gone" not in served.seen:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: tcp\r\n"])
def test_hijack(served: Served, upgrade: bytes) -> None:
    """What has come behind the head already belongs to the stream."""
    head = b"POST /hijack HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n" + upgrade + b"\r\n{}"
    answer = served.ask(head + b"early and " + b"late")
    status, _, rest = answer.partition(b"\r\n")
    assert status == (b"HTTP/1.1 101 UPGRADED" if upgrade else b"HTTP/1.1 200 OK")
    assert rest.endswith(b"\r\n\r\nEARLY AND LATE")


def test_no_stream_before_the_end_of_a_large_body(served: Served) -> None:
    size = 1 << 20
    head = b"POST /hijack HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % size
    assert served.ask(head + bytes(70 << 10)).startswith(b"HTTP/1.1 400 ")


def test_a_head_that_does_not_come(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_DEADLINE_S", 0.2)
    with served.connect() as wire:
        wire.sendall(b"GET /hello HTTP/1.1\r\n")
        assert everything(wire).startswith(b"HTTP/1.1 408 ")


def test_silence_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.2)
    with served.connect() as wire:
        assert everything(wire) == b""


def test_too_many_connections(tmp_path: Path) -> None:
    few = Served(tmp_path / "few")
    few.start(max_connections=2)
    try:
        with few.connect() as one, few.connect() as two:
            for wire in (one, two):
                wire.sendall(GET % b"hello")
                until(wire, b"hello")
            assert few.ask(GET % b"hello").startswith(b"HTTP/1.1 503 ")
        deadline = time.monotonic() + TIMEOUT_S
        while not few.ask(GET % b"hello").startswith(b"HTTP/1.1 200 "):
            assert time.monotonic() < deadline
    finally:
        few.stop()


def test_an_answer_under_way_is_finished(tmp_path: Path) -> None:
    graceful = Served(tmp_path / "graceful")
    graceful.start(grace_s=TIMEOUT_S)
    with graceful.connect() as busy, graceful.connect() as idle:
        busy.sendall(GET % b"slow")
        assert graceful.entered.wait(TIMEOUT_S)
        idle.sendall(GET % b"hello")
        until(idle, b"hello")
        stopping = threading.Thread(target=graceful.stop)
        stopping.start()
        assert everything(idle) == b""  # closed at once
        graceful.release.set()
        assert everything(busy).endswith(b"late")
        stopping.join(TIMEOUT_S)
    with pytest.raises(OSError):  # nobody listens any more
        graceful.connect()


def test_what_never_ends_is_cut(tmp_path: Path) -> None:
    stubborn = Served(tmp_path / "stubborn")
    stubborn.start()
    with stubborn.connect() as wire:
        wire.sendall(GET % b"stream")
        assert stubborn.entered.wait(TIMEOUT_S)
        stubborn.stop()
        assert not everything(wire).endswith(b"0\r\n\r\n")


def test_a_live_socket_is_not_taken(served: Served, tmp_path: Path) -> None:
    from onggi.errors import InvalidInput, Unavailable

    with pytest.raises(Unavailable, match="another server is there"):
        listen.unix(served.path)
    plain = tmp_path / "file"
    plain.write_text("x")
    with pytest.raises(InvalidInput, match="no socket"):
        listen.unix(str(plain))
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(dead))
    listen.unix(str(dead)).server.close()
