"""Being with a container's streams: attach by hijack and WebSocket, logs, the terminal's size."""

import os
import select
import socket

from ..engine.logs import LogEntry, detail_text
from ..engine.reaper import ACTIVE
from ..errors import Conflict, InvalidInput, NotFound
from ..linux import inotify
from ..monitor import attach as monitor_attach
from ..monitor.attach import INPUT, OUTPUT, Attachment
from ..monitor.detachkeys import DEFAULT, parse_keys
from ..spec.container import Container
from ..streams import STDERR, STDOUT, frame
from ..typed import NamedTuple
from ..units import format_rfc3339
from .call import Answer, Call
from .decode import Query
from .relay import Bare, Codec, Relay
from .route import Route
from .shared import Waiting

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
BATCH = 32 << 10
MAX_SIDE = 65535


class Wish(NamedTuple):
    """What a client wants of an attach."""

    logs: bool
    stream: bool
    stdin: bool
    outputs: frozenset[int]
    keys: bytes


def attach(call: Call) -> None:
    container, wish, attachment = _begun(call)
    tty = container.config.options.tty
    framed_type = MULTIPLEXED if not tty and call.version >= (1, 42) else RAW
    try:
        raw = call.hijack(framed_type)
        codec = Bare(framed=not tty)
        _relay(call, container, wish, attachment, raw.connection, raw.pending, codec)
    finally:
        attachment.close()


def attach_ws(call: Call) -> None:
    from ..httpd import websocket

    container, wish, attachment = _begun(call)
    try:
        client, pending, codec = websocket.accept(call.exchange, list(call.headers))
        _relay(call, container, wish, attachment, client, pending, codec)
    finally:
        attachment.close()


def _begun(call: Call) -> tuple[Container, Wish, "_Attaching"]:
    """Everything that can be refused is refused before the connection is taken over."""
    container = call.engine.containers.get(call.params["id"])
    wish = _wish(call.query)
    status = container.state.status
    if status in ("paused", "restarting"):
        advice = (
            "unpause the container before attach"
            if status == "paused"
            else "wait until the container is running"
        )
        raise Conflict(f"container {container.id} is {status}, {advice}")
    stdin = wish.stdin and container.config.options.open_stdin
    return container, wish._replace(stdin=stdin), _Attaching(call, container, wish, stdin)


def _wish(query: Query) -> Wish:
    outputs = {n for n, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if query.flag(name)}
    keys = query.text("detachKeys") or DEFAULT
    try:
        sequence = parse_keys(keys)
    except ValueError as error:
        raise InvalidInput(f"Invalid detach keys ({keys}) provided") from error
    stdin = query.flag("stdin")
    return Wish(query.flag("logs"), query.flag("stream"), stdin, frozenset(outputs), sequence)


class _Attaching:
    """An attachment to what runs, or to what will: until the start it waits beside its client."""

    def __init__(self, call: Call, container: Container, wish: Wish, stdin: bool) -> None:
        self._call = call
        self._id = container.id
        self._stdin = stdin
        self._attachment: Attachment | None = None
        self._waiting: Waiting | None = None
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if not wish.stream:
            return
        if container.state.status in ACTIVE:
            self._attachment = call.engine.containers.attach(container.id, stdin=stdin)
        else:
            self._wait_for_start()

    def _wait_for_start(self) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._pair = (mine, theirs)
        self._attachment = Attachment(mine, OUTPUT | (INPUT if self._stdin else 0))
        self._waiting = self._call.shared.wait_for_start(self._id, theirs)

    def started(self, client: socket.socket) -> Attachment | None:
        """The attachment, once the container has been started. None when there is none: the client
        has gone, or the container has."""
        waiting = self._waiting
        if waiting is None:
            return self._attachment
        while True:
            with _Events(self._call) as watch:
                if self._found_running(waiting):
                    break
                assert self._attachment is not None
                ready = _first_of(self._attachment.fileno(), client.fileno(), watch)
            if ready == "client":
                return None
            if ready == "attachment":
                break
        if waiting.superseded:
            self._take_another()
        return self._attachment

    def _found_running(self, waiting: Waiting) -> bool:
        """Whether it has been started: for us, or by somebody who knows nothing of us."""
        try:
            container = self._call.engine.containers.get(self._id)
        except NotFound:
            return True
        if container.state.status not in ACTIVE:
            return False
        if self._call.shared.give_up(self._id, waiting):
            waiting.superseded = True
        return True

    def _take_another(self) -> None:
        self._close_pair()
        try:
            self._attachment = self._call.engine.containers.attach(self._id, stdin=self._stdin)
        except (Conflict, NotFound):
            self._attachment = None  # it has ended already

    def _close_pair(self) -> None:
        if self._pair is not None:
            for end in self._pair:
                end.close()
            self._pair = None

    def close(self) -> None:
        if self._waiting is not None:
            self._call.shared.give_up(self._id, self._waiting)
        self._close_pair()
        if self._attachment is not None:
            self._attachment.close()


class _Events:
    """A watch of the event log while the block runs."""

    def __init__(self, call: Call) -> None:
        self._directory = call.engine.events.directory

    def __enter__(self) -> int:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._watch = inotify.watch(self._directory)
        return self._watch

    def __exit__(self, *_: object) -> None:
        inotify.release(self._watch)


def _first_of(attachment: int, client: int, watch: int) -> str:
    """Which of them has news. What the client says before the start stays where it is."""
    poll = select.poll()
    poll.register(attachment, select.POLLIN)
    poll.register(client, 0)  # POLLHUP and POLLERR are always told
    poll.register(watch, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    if attachment in ready:
        return "attachment"
    return "client" if client in ready else "watch"


def _relay(
    call: Call,
    container: Container,
    wish: Wish,
    attaching: _Attaching,
    client: socket.socket,
    pending: bytes,
    codec: Codec,
) -> None:
    options = container.config.options
    if wish.logs:
        for entry in call.engine.logs.read(container.id):
            number = STDERR if entry.stream == "stderr" else STDOUT
            if number in wish.outputs:
                client.sendall(codec.encode(number, entry.data))
    if not wish.stream:
        return
    attachment = attaching.started(client)
    if attachment is None:
        return
    relay = Relay(
        client,
        pending,
        codec,
        attachment,
        stdin=wish.stdin,
        closes_stdin=options.stdin_once and not options.tty,
        outputs=wish.outputs,
        detach_keys=wish.keys if options.tty and wish.stdin else b"",
    )
    end = relay.run()
    if end == "detached":
        call.engine.events.container(container, "detach")
    if end != "gone":
        relay.farewell()


def resize(call: Call) -> Answer:
    container = call.engine.containers.get(call.params["id"])
    rows, columns = size_of(call.query)
    if container.state.status not in ACTIVE:
        raise Conflict(f"container {container.id} is not running")
    try:
        told = monitor_attach.connect(call.engine.paths.running(container.id), 0)
    except OSError as error:
        raise Conflict(f"container {container.id} is not running") from error
    told.resize(rows, columns)
    told.close()
    return Answer(200)


def size_of(query: Query) -> tuple[int, int]:
    """(rows, columns). Raises InvalidInput."""
    found = []
    for name, what in (("h", "height"), ("w", "width")):
        text = query.text(name)
        if not (text.isascii() and text.isdigit()):
            raise InvalidInput(f"invalid resize {what} {text!r}: invalid syntax")
        if len(text) > 6 or int(text) > MAX_SIDE:
            raise InvalidInput(f"invalid resize {what} {text!r}: value out of range")
        found.append(int(text))
    return found[0], found[1]


# -- logs


def logs(call: Call) -> None:
    query = call.query
    outputs = {name for name in ("stdout", "stderr") if query.flag(name)}
    if not outputs:
        raise InvalidInput("Bad parameters: you must choose at least one stream")
    container = call.engine.containers.get(call.params["id"])
    since_ns, until_ns = _moment(query, "since"), _moment(query, "until")
    out = _Batch(call)
    entries = call.engine.logs.read(
        container.id,
        follow=query.flag("follow"),
        tail=_tail(query.text("tail")),
        since_ns=since_ns,
        until_ns=until_ns,
        waiting=out.flush,
        listener=call.exchange.fileno(),
    )
    tty = container.config.options.tty
    kind = MULTIPLEXED if not tty and call.version >= (1, 42) else RAW
    with call.stream(kind) as stream:
        out.write = stream.write
        for entry in entries:
            if entry.stream in outputs:
                data = _decorated(query, entry)
                number = STDERR if entry.stream == "stderr" else STDOUT
                out.add(data if tty else frame(number, data))
        out.flush()


class _Batch:
    """Small pieces sent together, at the latest when there is nothing more at the moment."""

    def __init__(self, call: Call) -> None:
        self.write = call.exchange.write
        self._parts = bytearray()

    def add(self, data: bytes) -> None:
        self._parts += data
        if len(self._parts) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            data, self._parts = bytes(self._parts), bytearray()
            self.write(data)


def _decorated(query: Query, entry: LogEntry) -> bytes:
    data = entry.data
    if query.flag("details"):
        data = detail_text(entry.attributes).encode() + b" " + data
    if query.flag("timestamps"):
        data = format_rfc3339(entry.time_ns).encode() + b" " + data
    return data


def _tail(text: str) -> int | None:
    """Docker: whatever is no number is everything."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return None


def _moment(query: Query, name: str) -> int:
    """Seconds with a fraction, or a time in words; 0 for none."""
    import time

    from ..units import parse_time

    text = query.text(name)
    if text in ("", "0"):
        return 0
    try:
        return parse_time(text, time.time_ns())
    except ValueError as error:
        raise InvalidInput(f'invalid value for "{name}": {error}') from error


ROUTES = (
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/attach/ws", attach_ws),
    Route("GET", "/containers/{id}/logs", logs),
    Route("POST", "/containers/{id}/resize", resize),
)
