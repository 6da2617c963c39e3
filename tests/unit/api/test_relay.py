"""Copying between a client and a container's streams, with both ends held by the test."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from onggi.api.relay import Bare, End, Relay
from onggi.monitor.attach import INPUT, OUTPUT, Attachment
from onggi.streams import CLOSE_STDIN, EXITED, RESIZE, STDERR, STDIN, STDOUT, FrameDecoder, frame

TIMEOUT_S = 60


class Pair:
    """The client's end and the monitor's end of one relay, which runs in a thread."""

    def __init__(self) -> None:
        self.client, self.theirs = socket.socketpair()
        mine, self.monitor = socket.socketpair()
        self.attachment = Attachment(mine, OUTPUT | INPUT)
        for end in (self.client, self.monitor):
            end.settimeout(TIMEOUT_S)
        self._decoder = FrameDecoder()
        self._frames: list[tuple[int, bytes]] = []
        assert self.told() == (32, bytes([OUTPUT | INPUT]))
        self.end: End | None = None
        self._thread: threading.Thread | None = None
        self.relay: Relay | None = None

    def start(self, pending: bytes = b"", **options: object) -> Relay:
        options.setdefault("stdin", True)
        relay = Relay(self.theirs, pending, Bare(framed=True), self.attachment, **options)  # type: ignore[arg-type]
        self.relay = relay

        def run() -> None:
            self.end = relay.run()
            if self.end != "gone":
                relay.farewell()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        return relay

    def told(self) -> tuple[int, bytes]:
        """The next frame that the monitor gets."""
        while not self._frames:
            data = self.monitor.recv(65536)
            assert data
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def ended(self) -> End | None:
        assert self._thread is not None
        self._thread.join(TIMEOUT_S)
        return self.end

    def close(self) -> None:
        self.monitor.close()
        self.client.close()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)
        self.theirs.close()
        self.attachment.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    found = Pair()
    yield found
    found.close()


def everything(client: socket.socket) -> bytes:
    found = b""
    while data := client.recv(65536):
        found += data
    return found


def test_both_directions(pair: Pair) -> None:
    pair.start(b"early ")
    assert pair.told() == (STDIN, b"early ")
    pair.client.sendall(b"late")
    assert pair.told() == (STDIN, b"late")
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.told() == (CLOSE_STDIN, b"")
    pair.monitor.sendall(frame(STDOUT, b"out") + frame(STDERR, b"err") + frame(EXITED, b"3"))
    pair.monitor.close()
    assert everything(pair.client) == frame(STDOUT, b"out") + frame(STDERR, b"err")
    assert pair.ended() == "ended"
    assert pair.attachment.exit_code == 3


def test_only_what_is_wanted(pair: Pair) -> None:
    pair.start(outputs=frozenset((STDERR,)), stdin=False)
    pair.client.sendall(b"ignored")
    pair.monitor.sendall(frame(STDOUT, b"out") + frame(STDERR, b"err"))
    pair.monitor.close()
    assert everything(pair.client) == frame(STDERR, b"err")


def test_detach_keys(pair: Pair) -> None:
    pair.start(detach_keys=b"\x10\x11")
    pair.client.sendall(b"a\x10b\x10\x11never")
    assert pair.told() == (STDIN, b"a\x10b")
    assert everything(pair.client) == b""
    assert pair.ended() == "detached"


def test_input_that_ends_where_the_container_goes_on(pair: Pair) -> None:
    pair.start(closes_stdin=False)
    pair.client.sendall(b"last words")
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.told() == (STDIN, b"last words")
    assert everything(pair.client) == b""
    assert pair.ended() == "detached"


def test_a_client_that_vanishes(pair: Pair) -> None:
    pair.start()
    pair.client.close()
    assert pair.told() == (CLOSE_STDIN, b"")
    assert pair.ended() == "gone"


def test_a_slow_client_slows_the_container(pair: Pair) -> None:
    """What is owed is bounded: the monitor's writes come to a stop."""
    pair.start()
    pair.monitor.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 << 20:
            sent += pair.monitor.send(frame(STDOUT, bytes(65536)))
    assert sent < 8 << 20


def test_a_container_that_reads_nothing_slows_the_client(pair: Pair) -> None:
    pair.start()
    pair.client.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 << 20:
            sent += pair.client.send(bytes(65536))
    assert sent < 8 << 20


def test_a_size_from_another_thread(pair: Pair) -> None:
    relay = pair.start()
    relay.resize(30, 100)
    assert pair.told() == (RESIZE, bytes([0, 30, 0, 100]))
    pair.monitor.close()
    pair.ended()
    relay.resize(1, 1)  # after its end: nothing


def test_leaving_what_goes_on(pair: Pair) -> None:
    relay = pair.start()
    pair.client.close()
    pair.ended()
    pair.monitor.sendall(frame(STDOUT, b"owed"))
    relay.leave()
    assert pair.told() == (CLOSE_STDIN, b"")
    assert pair.told() == (32, b"\0")
    assert not pair.attachment.has_ended()
    pair.monitor.sendall(frame(EXITED, b"7"))
    assert pair.attachment.has_ended()
    assert pair.attachment.exit_code == 7


def test_no_descriptor_stays(pair: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    pair.start()
    pair.monitor.close()
    pair.ended()
    assert len(os.listdir("/proc/self/fd")) == before - 1
