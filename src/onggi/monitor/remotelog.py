"""Logs that other programs keep: syslog and journald, in docker's words and fields.

Both take one message a line; what the receiver loses can still be read from the local copy that
`RemoteLog` writes beside, unless there is none.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from struct import pack

from ..typed import NamedTuple
from .delivery import PATIENCE_S, QUEUE_BYTES, Delivery, append_note
from .lines import Lines
from .locallog import LocalWriter
from .log import Clock

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "12", "13", "14", "15", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
)  # fmt: skip
SEVERITY = {"stdout": 6, "stderr": 3}  # info, err
CONNECT_S = 5.0
Encode = Callable[[str, bytes, bool], bytes]


class Buffering(NamedTuple):
    """`mode` and `max-buffer-size`: how long the container may be held up, what may wait."""

    patience_s: float = PATIENCE_S
    queue_bytes: int = QUEUE_BYTES


class RemoteLog:
    """One message a record by `encode(stream, text, is partial)` over `connect`'s sockets."""

    def __init__(
        self,
        encode: Encode,
        connect: Callable[[], socket.socket],
        *,
        buffering: Buffering,
        note_path: str,
    ) -> None:
        self._encode = encode
        self._copy: LocalWriter | None = None
        self._note_path = note_path
        self._lines = Lines()
        self._delivery = Delivery(
            connect,
            lambda lost: encode("stderr", f"onggi: {lost} log messages lost".encode(), False),
            queue_bytes=buffering.queue_bytes,
            patience_s=buffering.patience_s,
        )

    def copy_to(self, copy: LocalWriter) -> None:
        """Keep a copy for `logs` as well."""
        self._copy = copy

    def write(self, stream: str, data: bytes) -> None:
        if self._copy is not None:
            self._copy.write(stream, data)
        for record in self._lines.feed(stream, data):
            self._send(stream, record)

    def _send(self, stream: str, record: bytes) -> None:
        text = record.removesuffix(b"\n")
        self._delivery.send(self._encode(stream, text, not record.endswith(b"\n")))

    def waiting(self) -> int:
        return self._delivery.waiting()

    def flush(self) -> None:
        self._delivery.flush()

    def close(self) -> None:
        for stream, rest in self._lines.finish():
            self._delivery.send(self._encode(stream, rest, False))
        if self._copy is not None:
            self._copy.close()
        lost = self._delivery.close()
        if lost:
            append_note(self._note_path, f"{lost} log messages were lost: nobody took them")


# -- journald


def journal_field(name: str, value: bytes) -> bytes:
    """One field of the journal's native protocol; a value with line breaks has its length."""
    key = name.encode()
    if b"\n" in value:
        return key + b"\n" + pack("<Q", len(value)) + value + b"\n"
    return key + b"=" + value + b"\n"


def journal_name(name: str) -> str:
    """A label or variable as a field name: upper case, no leading underscore or digit."""
    clean = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    return clean.lstrip("_0123456789")[:64]


def journal_encoder(fields: Mapping[str, str]) -> Encode:
    """docker's fields: `fields` with every message, and what belongs to the message."""
    constant = b"".join(
        journal_field(name, value.encode("utf-8", "surrogateescape"))
        for name, value in fields.items()
        if name
    )
    clock = Clock()
    count = 0

    def encode(stream: str, text: bytes, partial: bool) -> bytes:
        nonlocal count
        count += 1
        parts = [
            journal_field("MESSAGE", text),
            b"PRIORITY=%d\n" % SEVERITY[stream],
            b"SYSLOG_TIMESTAMP=" + clock.stamp().encode() + b"\n",
            b"CONTAINER_LOG_ORDINAL=%d\n" % count,
        ]
        if partial:
            parts.append(b"CONTAINER_PARTIAL_MESSAGE=true\n")
        return b"".join((*parts, constant))

    return encode


def unix_connector(path: str, kind: int) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
        made.setblocking(False)
        try:
            made.connect(path)
        except OSError:
            made.close()
            raise
        return made

    return connect


# -- syslog


def syslog_encoder(form: str, facility: int, tag: str, host_name: str) -> Encode:
    """`form` is "" (local), rfc3164, rfc5424 or rfc5424micro."""
    pid = os.getpid()
    name = tag.encode("utf-8", "surrogateescape")
    host = host_name.encode()

    def encode(stream: str, text: bytes, partial: bool) -> bytes:
        priority = facility * 8 + SEVERITY[stream]
        if form.startswith("rfc5424"):
            moment = _rfc5424_time(micro=form == "rfc5424micro")
            head = b"<%d>1 %s %s %s %d %s - " % (priority, moment, host, name, pid, name)
        else:
            now = time.localtime()
            stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {time.strftime('%H:%M:%S', now)}"
            place = b"%s %s" % (host, name) if form == "rfc3164" else name
            head = b"<%d>%s %s[%d]: " % (priority, stamp.encode(), place, pid)
        return head + text + b"\n"

    return encode


_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _rfc5424_time(*, micro: bool) -> bytes:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    now = time.localtime(seconds)
    zone = time.strftime("%z", now)
    fraction = f".{nanos // 1000:06d}" if micro else ""
    zone = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:]}"
    return (time.strftime("%Y-%m-%dT%H:%M:%S", now) + fraction + zone).encode()


def internet_connector(host: str, port: int, kind: int) -> Callable[[], socket.socket]:
    """The name is looked up once, at the start; coming back later never waits for a resolver."""
    found = socket.getaddrinfo(host, port, type=kind)
    first = True

    def connect() -> socket.socket:
        nonlocal first
        wait, first = first, False
        problem = OSError("no address")
        for family, _, protocol, _, address in found:
            made = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            try:
                if wait:
                    made.settimeout(CONNECT_S)
                    made.connect(address)
                else:
                    made.setblocking(False)
                    _begin(made, address)
                return made
            except OSError as error:
                made.close()
                problem = error
        raise problem

    return connect


def _begin(made: socket.socket, address: object) -> None:
    try:
        made.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
    except BlockingIOError:
        pass  # writable, or an error at the first send, when it is decided
