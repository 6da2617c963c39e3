"""HTTP/2 on one bare connection, as either side: a thread reads, any thread may write to a stream.

    channel.run()                reads until the end; `accept` is called for each stream of the
                                 peer, in a thread of its own
    stream = channel.open(…)     a stream of ours
    stream.read(), write(…)      block as flow control says; Gone when stream or connection ended

Each stream holds at most one window of what nobody has read yet. A peer that takes nothing for
STALL_S loses the connection. Knows nothing of gRPC.
"""

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from ...httpd.exchange import Gone

Headers = list[tuple[str, str]]
STALL_S = 60.0
MAX_STREAMS = 64
WINDOW = 512 << 10
MAX_HEADERS = 256 << 10
_FRAME = 128 << 10
_BLOCK = 256 << 10


class Stream:
    """One request and its answer. `headers` are the peer's first, `trailers` its last."""

    def __init__(self, channel: "Channel", number: int, headers: Headers) -> None:
        self._channel = channel
        self.number = number
        self.headers = headers
        self.trailers: Headers = []
        self.pieces: deque[bytes] = deque()
        self.ended = False  # the peer has no more to say
        self.lost = ""  # why nothing can be said to it any more
        self._watchers: list[Callable[[], None]] = []

    def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises Gone."""
        return self._channel.read(self)

    def await_headers(self) -> None:
        """Until the peer has answered. Raises Gone."""
        self._channel.await_headers(self)

    def begin(self, headers: Headers, *, end: bool = False) -> None:
        """Headers, or trailers with `end`. Raises Gone."""
        self._channel.send_headers(self, headers, end=end)

    def write(self, data: bytes) -> None:
        """Raises Gone."""
        self._channel.send_data(self, data)

    def end(self) -> None:
        """No more is said. Raises Gone."""
        self._channel.send_end(self)

    def reset(self) -> None:
        """Give it up, whatever its state."""
        self._channel.reset(self)

    def watch(self, lost: Callable[[], None]) -> None:
        """`lost` is called, once and in any thread, when the stream is reset or its connection
        ends; at once when that has been."""
        with self._channel.lock:
            if not self.lost:
                self._watchers.append(lost)
                return
        lost()

    def lose(self, why: str) -> list[Callable[[], None]]:
        """With the channel's lock held; the watchers are for the caller to tell."""
        if self.lost:
            return []
        self.lost = why
        found, self._watchers = self._watchers, []
        return found


class Channel:
    def __init__(
        self,
        connection: socket.socket,
        pending: bytes,
        *,
        client: bool,
        accept: Callable[[Stream], None] | None = None,
    ) -> None:
        """`pending` are bytes of the peer that have come already."""
        self._connection = connection
        self._pending = pending
        self._accept = accept
        connection.setblocking(False)
        config = h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        self._machine = h2.connection.H2Connection(config=config)
        self._machine.local_settings = h2.settings.Settings(
            client=client,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: _FRAME,
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
            },
        )
        self._machine.max_inbound_frame_size = _FRAME  # it knew the default when it was made
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._streams: dict[int, Stream] = {}
        self._threads: set[threading.Thread] = set()
        self._over = False

    # -- the reading thread

    def run(self) -> None:
        """Until the connection ends and every thread of its streams has."""
        try:
            with self.lock:
                self._machine.initiate_connection()
                self._machine.increment_flow_control_window(WINDOW * 8)
                self._flush()
            data: bytes | None = self._pending
            while data is not None:
                for stream in self._take(data):
                    self._start(stream)
                data = self._receive()
        except (Gone, OSError, h2.exceptions.ProtocolError):
            pass  # the end, by whoever's fault
        finally:
            self._finish()
        while self._threads:
            self._threads.pop().join()

    def close(self) -> None:
        """From any thread: the connection ends now."""
        with self.lock:
            self._over = True
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _finish(self) -> None:
        with self.lock:
            self._over = True
            told = [t for stream in self._streams.values() for t in stream.lose("it has ended")]
            self._streams.clear()
            self._changed.notify_all()
        for tell in told:
            tell()

    def _receive(self) -> bytes | None:
        """What has come; None at the end."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while True:
            with self.lock:
                if self._over:
                    return None
                try:
                    return self._connection.recv(_BLOCK) or None
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            poll.poll()

    def _take(self, data: bytes) -> list[Stream]:
        """The new streams of the peer."""
        begun: list[Stream] = []
        told: list[Callable[[], None]] = []
        with self.lock:
            try:
                events = self._machine.receive_data(data)
            except h2.exceptions.ProtocolError:
                self._flush()  # it says why
                raise
            for event in events:
                self._happened(event, begun, told)
            self._flush()
            self._changed.notify_all()
        for tell in told:
            tell()
        return begun

    def _happened(
        self, event: h2.events.Event, begun: list[Stream], told: list[Callable[[], None]]
    ) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            raise Gone("the peer said good-bye")
        if isinstance(event, h2.events.RequestReceived):
            stream = Stream(self, event.stream_id, _texts(event.headers))
            self._streams[event.stream_id] = stream
            begun.append(stream)
            return
        known = self._streams.get(getattr(event, "stream_id", None) or 0)
        if known is None:
            if isinstance(event, h2.events.DataReceived):
                self._open_window(event.flow_controlled_length, None)
            return
        if isinstance(event, h2.events.ResponseReceived):
            known.headers = _texts(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            known.trailers = _texts(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._open_window(event.flow_controlled_length, None)
            padding = event.flow_controlled_length - len(event.data)
            self._open_window(padding, known)
            if event.data:
                known.pieces.append(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            known.ended = True
        elif isinstance(event, h2.events.StreamReset):
            told += known.lose("the peer gave it up")
            del self._streams[event.stream_id]

    def _start(self, stream: Stream) -> None:
        accept = self._accept
        if accept is None or len(self._threads) >= 2 * MAX_STREAMS:  # they outlive a reset
            stream.reset()
            return

        def serve() -> None:
            try:
                accept(stream)
            except Gone:
                pass  # the peer's business
            finally:
                self._forget(stream)
                self._threads.discard(thread)

        thread = threading.Thread(target=serve, daemon=True)
        self._threads.add(thread)
        thread.start()

    # -- streams

    def open(self, headers: Headers) -> Stream:
        """Raises Gone."""
        with self.lock:
            if self._over:
                raise Gone("the connection has ended")
            try:
                number = self._machine.get_next_available_stream_id()
                self._machine.send_headers(number, headers)
            except h2.exceptions.ProtocolError as error:
                raise Gone(str(error)) from error
            stream = Stream(self, number, [])
            self._streams[number] = stream
            self._flush()
            return stream

    def read(self, stream: Stream) -> bytes:
        with self.lock:
            while not stream.pieces:
                if stream.ended:
                    return b""
                self._check(stream)
                self._changed.wait()
            data = stream.pieces.popleft()
            if not stream.ended and not stream.lost:
                self._open_window(len(data), stream)
                self._flush()
            return data

    def await_headers(self, stream: Stream) -> None:
        with self.lock:
            while not stream.headers:
                self._check(stream)
                self._changed.wait()

    def send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        with self.lock:
            self._check(stream)
            self._send(lambda: self._machine.send_headers(stream.number, headers, end))

    def send_end(self, stream: Stream) -> None:
        with self.lock:
            self._check(stream)
            self._send(lambda: self._machine.end_stream(stream.number))

    def send_data(self, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        with self.lock:
            while view:
                self._check(stream)
                room = self._room(stream)
                if not room:
                    if not self._changed.wait(STALL_S):
                        raise Gone("the peer takes nothing")
                    continue
                piece, view = view[:room], view[room:]
                self._send(lambda p=piece: self._machine.send_data(stream.number, p))  # type: ignore[misc]

    def _room(self, stream: Stream) -> int:
        try:
            window = self._machine.local_flow_control_window(stream.number)
        except h2.exceptions.ProtocolError as error:
            raise Gone(str(error)) from error
        return max(0, min(window, self._machine.max_outbound_frame_size))

    def reset(self, stream: Stream) -> None:
        with self.lock:
            told = stream.lose("given up")
            self._streams.pop(stream.number, None)
            if not self._over:
                try:
                    self._machine.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
                    self._flush()
                except (h2.exceptions.ProtocolError, Gone):
                    pass  # it was over
        for tell in told:
            tell()

    def _forget(self, stream: Stream) -> None:
        with self.lock:
            self._streams.pop(stream.number, None)

    # -- with the lock held

    def _check(self, stream: Stream) -> None:
        if stream.lost or self._over:
            raise Gone(stream.lost or "the connection has ended")

    def _send(self, act: Callable[[], object]) -> None:
        try:
            act()
        except h2.exceptions.ProtocolError as error:
            raise Gone(str(error)) from error
        self._flush()

    def _open_window(self, size: int, stream: Stream | None) -> None:
        if size:
            try:
                self._machine.increment_flow_control_window(
                    size, stream_id=None if stream is None else stream.number
                )
            except h2.exceptions.ProtocolError:
                pass  # it ended meanwhile

    def _flush(self) -> None:
        """What is to be sent, sent. Raises Gone for a peer that takes nothing."""
        view = memoryview(self._machine.data_to_send())
        deadline = 0.0
        while view:
            try:
                view = view[self._connection.send(view) :]
                deadline = 0.0
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                now = time.monotonic()
                deadline = deadline or now + STALL_S
                if now >= deadline or not self._wait_to_send(deadline - now):
                    self._give_up()
                    raise Gone("the peer takes nothing") from None
            except OSError as error:
                raise Gone(str(error)) from error

    def _wait_to_send(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLOUT)
        return bool(poll.poll(timeout_s * 1000))

    def _give_up(self) -> None:
        self._over = True
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _texts(headers: Iterable[tuple[bytes | str, bytes | str]]) -> Headers:
    """They are texts already: that is how the machine was configured."""
    return [(str(name), str(value)) for name, value in headers]


def first(headers: Iterable[tuple[str, str]], name: str) -> str:
    """The first value of a header, "" when there is none."""
    return next((value for key, value in headers if key == name), "")
