"""The writers of logs: rotation with compression, frames, delivery to slow or absent readers."""

import errno
import gzip
import json
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onggi.monitor import remotelog
from onggi.monitor.delivery import Delivery
from onggi.monitor.lines import MAX_PIECE, Lines
from onggi.monitor.locallog import LocalWriter, decode, frames
from onggi.monitor.log import LogWriter
from onggi.monitor.remotelog import Buffering, RemoteLog, journal_encoder, syslog_encoder
from onggi.monitor.rotation import RotatedFile, inode_in_header


def test_lines_wait_for_their_end() -> None:
    lines = Lines()
    assert lines.feed("stdout", b"a\nb") == [b"a\n"]
    assert lines.feed("stderr", b"x") == []
    assert lines.feed("stdout", b"c\n\n") == [b"bc\n", b"\n"]
    assert lines.finish() == [("stderr", b"x")]
    assert lines.finish() == []


def test_long_lines_are_cut_between_characters() -> None:
    text = "é" * MAX_PIECE
    pieces = Lines().feed("stdout", text.encode() + b"\n")
    assert b"".join(pieces) == text.encode() + b"\n"
    assert all(len(piece) <= MAX_PIECE for piece in pieces)
    for piece in pieces:
        piece.decode()


def test_attributes_of_json_lines(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path / "log"), attributes={"tag": "web", "a": 'q"'})
    log.write("stdout", b"hello\n")
    log.close()
    record = json.loads((tmp_path / "log").read_text())
    assert list(record) == ["log", "stream", "attrs", "time"]
    assert record["attrs"] == {"tag": "web", "a": 'q"'}


def test_rotation_compresses_older_generations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatedFile(str(path), 1000, 3, compress=True)
    inodes = [path.stat().st_ino]
    for number in range(4):
        file.append(bytes([65 + number]) * 1000)
        inodes.append(path.stat().st_ino)
    file.append(b"last")
    file.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "log.1.gz", "log.2.gz"]
    assert path.read_bytes() == b"last"
    assert gzip.decompress((tmp_path / "log.1.gz").read_bytes()) == b"D" * 1000
    assert gzip.decompress((tmp_path / "log.2.gz").read_bytes()) == b"C" * 1000
    assert inode_in_header((tmp_path / "log.1.gz").read_bytes()) == inodes[3]


def test_one_file_begins_anew(tmp_path: Path) -> None:
    file = RotatedFile(str(tmp_path / "log"), 10, 1, compress=True)
    for _ in range(5):
        file.append(b"x" * 10)
    file.close()
    assert [p.name for p in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b""


def test_a_rotation_leaves_no_second_form_of_a_generation(tmp_path: Path) -> None:
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(b"old"))
    (tmp_path / "log.1").write_bytes(b"old")
    (tmp_path / "log.2").write_bytes(b"older")
    file = RotatedFile(str(tmp_path / "log"), 1, 3)
    file.append(b"new")
    file.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2", "log.2.gz"]
    assert (tmp_path / "log.2").read_bytes() == b"old"


def test_no_rotation_without_a_size(tmp_path: Path) -> None:
    file = RotatedFile(str(tmp_path / "log"), 0, 5)
    file.append(b"x" * 100_000)
    file.close()
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_frames(tmp_path: Path) -> None:
    log = LocalWriter(str(tmp_path / "log"))
    before = time.time_ns()
    log.write("stdout", b"one\ntwo\n")
    log.write("stderr", b"bad\xff")
    log.close()
    content = (tmp_path / "log").read_bytes()
    found = [decode(body) for body in frames(content)]
    assert [(f[1], f[2]) for f in found if f] == [
        ("stdout", b"one\n"), ("stdout", b"two\n"), ("stderr", b"bad\xff"),
    ]  # fmt: skip
    assert all(f and before <= f[0] <= time.time_ns() for f in found)
    assert list(frames(content[:-1])) == list(frames(content))[:2]
    assert list(frames(b"\xff\xff\xff\xff" + content)) == []
    assert decode(b"short") is None
    assert decode(b"\0" * 8 + b"\x07data") is None


def test_many_records_at_once_are_rotated_one_by_one(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path / "log"), 1000, 3)
    log.write("stdout", b"x\n" * 1000)
    log.close()
    sizes = sorted(path.stat().st_size for path in tmp_path.iterdir())
    assert len(sizes) == 3 and sizes[-1] < 1200


# -- delivery


class Receiver:
    """A unix socket that somebody may read, or not."""

    def __init__(self, path: Path, kind: int = socket.SOCK_DGRAM) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(self.path)
        self.socket.settimeout(60)

    def take(self) -> bytes:
        return self.socket.recv(1 << 20)

    def close(self) -> None:
        self.socket.close()
        os.unlink(self.path)


def note(lost: int) -> bytes:
    return b"%d lost" % lost


def connector(path: Path, kind: int = socket.SOCK_DGRAM) -> Callable[[], socket.socket]:
    return remotelog.unix_connector(str(path), kind)


def test_delivery_sends_at_once(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note)
    delivery.send(b"hello")
    assert receiver.take() == b"hello"
    assert delivery.waiting() == -1
    assert delivery.close() == 0
    receiver.close()


def test_no_receiver_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Delivery(connector(tmp_path / "none"), note)


def test_a_full_receiver_holds_up_for_a_moment_and_is_told_what_it_lost(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note, queue_bytes=10_000, patience_s=0.2)
    message = b"x" * 1000
    began = time.monotonic()
    while not delivery.lost:
        delivery.send(message)
    for _ in range(500):
        delivery.send(message)
    assert 0.15 < time.monotonic() - began < 50, "held up once, not for every message"
    assert delivery.lost == 501
    assert delivery.waiting() >= 0
    seen: list[bytes] = []
    while not seen or not seen[-1].endswith(b"lost"):
        seen.append(receiver.take())
        delivery.flush()
    assert seen[-1] == b"501 lost"
    delivery.send(b"again")
    assert receiver.take() == b"again"
    assert delivery.close() == 0
    receiver.close()


def test_without_patience_nobody_waits(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note, queue_bytes=2000, patience_s=0)
    began = time.monotonic()
    for _ in range(2000):
        delivery.send(b"x" * 1000)
    assert time.monotonic() - began < 20
    assert delivery.lost > 0
    receiver.close()
    assert delivery.close() > 0


def test_a_receiver_that_comes_back_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onggi.monitor.delivery.RETRY_S", 0.0)
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note)
    receiver.close()
    delivery.send(b"while you were away")
    assert delivery.waiting() == -1
    receiver = Receiver(tmp_path / "s")
    delivery.send(b"back")
    assert [receiver.take(), receiver.take()] == [b"while you were away", b"back"]
    assert delivery.close() == 0
    receiver.close()


def test_what_nobody_took_is_counted_at_the_end(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note)
    receiver.close()
    delivery.send(b"1")
    delivery.send(b"2")
    began = time.monotonic()
    assert delivery.close() == 2
    assert time.monotonic() - began < 20


def test_a_message_too_large_for_a_datagram_is_lost_alone(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    delivery = Delivery(connector(tmp_path / "s"), note, queue_bytes=1 << 24)
    delivery.send(b"x" * (1 << 22))
    delivery.send(b"small")
    assert receiver.take() == b"small"
    assert receiver.take() == b"1 lost"
    assert delivery.close() == 0
    receiver.close()


def test_a_stream_takes_messages_in_parts(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s", socket.SOCK_STREAM)
    receiver.socket.listen()
    delivery = Delivery(connector(tmp_path / "s", socket.SOCK_STREAM), note, queue_bytes=1 << 24)
    other, _ = receiver.socket.accept()
    delivery.send(b"a" * (4 << 20))
    delivery.send(b"b")
    got = b""
    while len(got) < (4 << 20) + 1:
        got += other.recv(1 << 20)
        delivery.flush()
    assert got == b"a" * (4 << 20) + b"b"
    delivery.close()
    other.close()
    receiver.close()


# -- formats


def parse_journal(message: bytes) -> dict[str, bytes]:
    """The native protocol, by its own description."""
    fields = {}
    while message:
        line, _, message = message.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name = line
            (length,) = struct.unpack_from("<Q", message)
            value, message = message[8 : 8 + length], message[8 + length + 1 :]
        fields[name.decode()] = value
    return fields


def test_journal_fields() -> None:
    fields = {
        "CONTAINER_ID": "abc",
        "IMAGE_NAME": "web",
        remotelog.journal_name("my.label"): "x\ny",
    }
    encode = journal_encoder(fields)
    first = parse_journal(encode("stdout", b"hello", False))
    second = parse_journal(encode("stderr", b"a\xff", True))
    assert first["MESSAGE"] == b"hello"
    assert (first["PRIORITY"], second["PRIORITY"]) == (b"6", b"3")
    assert first["MY_LABEL"] == b"x\ny"
    assert (first["CONTAINER_ID"], first["IMAGE_NAME"]) == (b"abc", b"web")
    assert (first["CONTAINER_LOG_ORDINAL"], second["CONTAINER_LOG_ORDINAL"]) == (b"1", b"2")
    assert "CONTAINER_PARTIAL_MESSAGE" not in first
    assert second["CONTAINER_PARTIAL_MESSAGE"] == b"true"
    assert second["MESSAGE"] == b"a\xff"


@pytest.mark.parametrize(
    ("given", "field"), [("a-b", "A_B"), ("_x", "X"), ("1com.x", "COM_X"), ("é", ""), ("ok", "OK")]
)
def test_journal_names(given: str, field: str) -> None:
    assert remotelog.journal_name(given) == field


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("", rb"<30>\w{3} [ \d]\d \d\d:\d\d:\d\d tag\[\d+\]: text\n"),
        ("rfc3164", rb"<30>\w{3} [ \d]\d \d\d:\d\d:\d\d box tag\[\d+\]: text\n"),
        ("rfc5424", rb"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+ box tag \d+ tag - text\n"),
        (
            "rfc5424micro",
            rb"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\S+ box tag \d+ tag - text\n",
        ),
    ],
)
def test_syslog_forms(form: str, pattern: bytes) -> None:
    import re

    encode = syslog_encoder(form, 3, "tag", "box")
    assert re.fullmatch(pattern, encode("stdout", b"text", False))
    assert encode("stderr", b"text", False).startswith(b"<27>")


def test_remote_log_keeps_a_copy(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "s")
    log = RemoteLog(
        lambda stream, text, partial: b"%s:%s:%d" % (stream.encode(), text, partial),
        connector(tmp_path / "s"),
        buffering=Buffering(),
        note_path=str(tmp_path / "notes"),
    )
    log.copy_to(LocalWriter(str(tmp_path / "copy")))
    log.write("stdout", b"one\n" + b"y" * (MAX_PIECE + 1) + b"\nend")
    receiver_got = [receiver.take() for _ in range(3)]
    receiver.socket.close()
    log.close()
    assert receiver_got[0] == b"stdout:one:0"
    assert receiver_got[1].endswith(b"y:1") and receiver_got[2] == b"stdout:y:0"
    kept = [decode(body) for body in frames((tmp_path / "copy").read_bytes())]
    assert [k[2][:4] for k in kept if k] == [b"one\n", b"yyyy", b"y\n", b"end"]
    assert (tmp_path / "notes").read_text() == "1 log messages were lost: nobody took them\n"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_over_the_internet(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        port = server.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            server.listen()
        connect = remotelog.internet_connector("127.0.0.1", port, kind)
        delivery = Delivery(connect, note)
        delivery.send(b"hello\n")
        if kind == socket.SOCK_STREAM:
            other, _ = server.accept()
            assert other.recv(100) == b"hello\n"
            other.close()
        else:
            assert server.recv(100) == b"hello\n"
        delivery.close()


def test_a_refused_connection_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError) as caught:
        remotelog.internet_connector("127.0.0.1", port, socket.SOCK_STREAM)()
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_log_that_somebody_deleted_begins_anew(tmp_path: Path) -> None:
    log = RotatedFile(str(tmp_path / "log"), 10, 1)
    (tmp_path / "log").unlink()
    log.append(b"0123456789\n")
    log.append(b"next\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"next\n"


def test_a_rotation_that_fails_keeps_the_file(tmp_path: Path) -> None:
    log = RotatedFile(str(tmp_path / "log"), 10, 2)
    (tmp_path / "log.1").mkdir()  # nothing can take its place
    log.append(b"0123456789\n")
    log.append(b"next\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"0123456789\nnext\n"


def test_a_full_disk_tears_no_record(tmp_path: Path) -> None:
    log = RotatedFile(str(tmp_path / "log"), 0, 1)
    log.append(b"first\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        log.append(b"does not fit\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    log.append(b"last\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"first\nlast\n"
