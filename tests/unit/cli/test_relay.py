"""The relay between a terminal and a container's streams, over real sockets and a real pty."""

import fcntl
import os
import pty
import signal
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from onggi.cli.relay import Interrupted, Relay
from onggi.cli.tty import RawTerminal, size_of
from onggi.monitor.attach import INPUT, OUTPUT, Attachment
from onggi.monitor.detachkeys import DetachScanner, parse_keys
from onggi.streams import CLOSE_STDIN, EXITED, RESIZE, STDERR, STDIN, STDOUT, FrameDecoder, frame

BIG = 8 << 20


class Monitor(threading.Thread):
    """The other end of the attachment, as a container's monitor plays it."""

    def __init__(self, play: Callable[["Monitor"], None]) -> None:
        super().__init__()
        self.client, self.connection = socket.socketpair()
        self._play = play
        self._decoder = FrameDecoder()
        self._frames: list[tuple[int, bytes]] = []

    def run(self) -> None:
        self.take()  # HELLO
        try:
            self._play(self)
        finally:
            self.connection.close()

    def take(self) -> tuple[int, bytes]:
        while not self._frames:
            data = self.connection.recv(1 << 16)
            assert data, "the relay went away"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def send(self, stream: int, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            self.connection.sendall(frame(stream, data[start : start + (1 << 16)]))


@contextmanager
def streams(stdin: int, stdout: int) -> Iterator[None]:
    """0 and 1 are these while the block runs."""
    saved = [os.dup(fd) for fd in (0, 1)]
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    try:
        yield
    finally:
        for fd, old in enumerate(saved):
            os.dup2(old, fd)
            os.close(old)


def relayed(
    play: Callable[[Monitor], None],
    *,
    stdin: int,
    stdout: int,
    terminal: bool = False,
    forward: Callable[[str], None] | None = None,
) -> tuple[bool, int | None]:
    monitor = Monitor(play)
    stream = Attachment(monitor.client, OUTPUT | INPUT)
    monitor.start()
    try:
        with streams(stdin, stdout):
            ended = Relay(
                stream,
                stdin=True,
                terminal=terminal,
                detach_keys=parse_keys("ctrl-p,ctrl-q"),
                forward=forward,
            ).run()
    finally:
        stream.close()
        monitor.join(60)
    assert not monitor.is_alive()
    return ended, stream.exit_code


def temporary(data: bytes = b"") -> int:
    fd = os.memfd_create("relay")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def test_both_ways_at_once_and_more_than_any_buffer_holds(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A container that answers before it reads, as `cat` does, must not lock the two together."""
    data = os.urandom(BIG)

    def echo(monitor: Monitor) -> None:
        while True:
            kind, payload = monitor.take()
            if kind == CLOSE_STDIN:
                break
            assert kind == STDIN
            monitor.send(STDOUT, payload)
        monitor.send(EXITED, b"7")

    source, target = temporary(data), temporary()
    assert relayed(echo, stdin=source, stdout=target) == (True, 7)
    assert os.pread(target, BIG + 1, 0) == data
    os.close(source)
    os.close(target)


def test_stderr_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    def play(monitor: Monitor) -> None:
        monitor.send(STDOUT, b"out\n")
        monitor.send(STDERR, b"err\n")
        monitor.send(EXITED, b"0")

    source, target = temporary(), temporary()
    assert relayed(play, stdin=source, stdout=target) == (True, 0)
    assert os.pread(target, 100, 0) == b"out\n"
    assert capfd.readouterr().err == "err\n"
    os.close(source)
    os.close(target)


def test_a_reader_that_goes_away_ends_the_relay() -> None:
    def play(monitor: Monitor) -> None:
        try:
            while True:
                monitor.send(STDOUT, b"y\n" * 1000)
        except (BrokenPipeError, ConnectionResetError):
            pass

    reader, writer = os.pipe()
    os.close(reader)
    source = temporary()
    with pytest.raises(BrokenPipeError):
        relayed(play, stdin=source, stdout=writer)
    os.close(writer)
    os.close(source)


def test_a_monitor_that_dies_is_an_end() -> None:
    source, target = temporary(), temporary()
    assert relayed(lambda monitor: None, stdin=source, stdout=target) == (True, None)
    os.close(source)
    os.close(target)


def test_detaching_and_the_terminal_afterwards() -> None:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    before = termios.tcgetattr(slave)
    seen: list[tuple[int, bytes]] = []

    def play(monitor: Monitor) -> None:
        monitor.send(STDOUT, b"# ")
        assert monitor.take()[0] == RESIZE
        os.write(master, b"ls\x10x\x10\x11never")
        typed = b""
        while typed != b"ls\x10x":
            kind, payload = monitor.take()
            assert kind == STDIN
            typed += payload
        seen.append((STDIN, typed))

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    target = temporary()
    ended, code = relayed(play, stdin=slave, stdout=target, terminal=True)
    assert (ended, code) == (False, None) and seen == [(STDIN, b"ls\x10x")]
    assert termios.tcgetattr(slave) == before
    assert size_of(slave) == (33, 99)
    for fd in (master, slave, target):
        os.close(fd)


def test_signals_are_passed_on() -> None:
    got: list[str] = []
    arrived = threading.Event()

    def forward(name: str) -> None:
        got.append(name)
        if len(got) == 2:
            arrived.set()

    def play(monitor: Monitor) -> None:
        monitor.send(STDOUT, b".")
        while os.pread(target, 1, 0) != b".":
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert arrived.wait(60)
        monitor.send(EXITED, b"143")

    source, target = temporary(), temporary()
    before = signal.getsignal(signal.SIGTERM)
    assert relayed(play, stdin=source, stdout=target, forward=forward) == (True, 143)
    assert sorted(got) == ["SIGTERM", "SIGUSR1"]
    assert signal.getsignal(signal.SIGTERM) is before
    os.close(source)
    os.close(target)


def test_an_insisting_user_is_let_go() -> None:
    seen = threading.Event()

    def play(monitor: Monitor) -> None:
        monitor.send(STDOUT, b".")
        while os.pread(target, 1, 0) != b".":
            time.sleep(0.001)
        while not seen.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            seen.wait(0.02)

    source, target = temporary(), temporary()
    heard: list[str] = []

    def forward(name: str) -> None:
        heard.append(name)

    monitor = Monitor(play)
    stream = Attachment(monitor.client, OUTPUT | INPUT)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # also just before and after the relay's
    monitor.start()
    with streams(source, target), pytest.raises(Interrupted):
        try:
            Relay(stream, stdin=True, terminal=False, detach_keys=b"", forward=forward).run()
        finally:
            seen.set()
            monitor.join(60)
            signal.signal(signal.SIGINT, before)
    assert heard == ["SIGINT"] * 3
    stream.close()
    os.close(source)
    os.close(target)


def test_the_terminal_is_restored_whatever_happens() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with pytest.raises(ZeroDivisionError), RawTerminal(slave):
        assert termios.tcgetattr(slave) != before
        raise ZeroDivisionError
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_detach_keys() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("a,ctrl-[,ctrl-@") == b"a\x1b\x00"
    assert parse_keys("") == b""
    for bad in ("ctrl-", "foo", "ctrl-p,,", "ctrl-P"):
        with pytest.raises(ValueError, match="Unknown character"):
            parse_keys(bad)


@pytest.mark.parametrize(
    ("pieces", "passed", "found"),
    [
        ([b"abc"], b"abc", False),
        ([b"\x10\x11"], b"", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_the_scanner_holds_back_a_started_sequence(
    pieces: list[bytes], passed: bytes, found: bool
) -> None:
    scanner = DetachScanner(b"\x10\x11")
    assert b"".join(scanner.feed(piece) for piece in pieces) == passed
    assert scanner.found == found
