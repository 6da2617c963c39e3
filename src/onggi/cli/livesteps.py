"""`build --progress tty`: a process of its own draws, so that clocks go on while a step is quiet.

    builder ── pipe: events, one JSON a line ──> painter: draws on each, and every fifth of a second

A builder forks for every step and must have no threads. The painter ends with the pipe, also when
the builder is killed; whatever it is, it leaves the terminal with the cursor on a line of its own.
"""

import json
import os
import select
import signal
import time

from ..engine import detach
from ..progress import Event, from_json, to_json
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from .bars import terminal_size
from .livebuild import LiveBuild
from .session import Output, Session

TICK_S = 0.2
_PIECE = 64 << 10
FAILED = b"failed\n"  # the last line, when the build has


class LiveSteps:
    """A callback for `build`. Make it before the engine's database is open."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._began_s = time.monotonic()
        session.out.flush()
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        out = os.dup(session.out.fd)
        try:
            self._pid = detach.fork_helper(
                lambda: _paint(reader, out), f"{session.run}/build-view.log", keep=(reader, out)
            )
        finally:
            os.close(reader)
            os.close(out)

    def __call__(self, event: Event) -> None:
        self._send(json.dumps(to_json(event)).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._writer, data) :]
        except BrokenPipeError:
            pass  # the painter is gone: the build goes on

    def failed(self) -> None:
        self._end(FAILED)

    def finished(self, image_id: Digest, tags: tuple[str, ...], steps: int, cached: int) -> None:
        self._end(b"")
        out = self._session.out
        out.line(f"Successfully built {image_id.short}")
        for tag in tags:
            out.line(f"Successfully tagged {parse_reference(tag).familiar}")
        seconds = time.monotonic() - self._began_s
        out.line(f"{steps} steps, {cached} from cache, {seconds:.1f} s")

    def _end(self, last: bytes) -> None:
        """Once: the painter has drawn everything when this returns."""
        if self._writer < 0:
            return
        self._send(last)
        os.close(self._writer)
        self._writer = -1
        os.waitpid(self._pid, 0)


def _paint(reader: int, fd: int) -> None:
    """The painter's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the builder gets it, and ends us
    view, out, held, height = LiveBuild(time.monotonic()), Output(fd), b"", 0
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    drawn_s, open_ = 0.0, True
    while open_:
        if poll.poll(TICK_S * 1000):
            data = os.read(reader, _PIECE)
            open_ = bool(data)
            *lines, held = (held + data).split(b"\n")
            if lines[-1:] == [FAILED.rstrip()]:
                columns, _ = terminal_size(fd)
                _draw(out, height, view.frame(time.monotonic(), columns, 1)[0], [])
                _draw(out, 0, view.failed(columns), [])
                return
            for line in lines:
                view.take(from_json(json.loads(line)), time.monotonic())
        now_s = time.monotonic()
        if now_s - drawn_s >= TICK_S / 2 or not open_:
            told, block = view.frame(now_s, *terminal_size(fd))
            height = _draw(out, height, told, block)
            drawn_s = now_s


def _draw(out: Output, height: int, told: list[str], block: list[str]) -> int:
    """Write over the last block; how many lines the new one has."""
    up = f"\x1b[{height}A" if height else ""
    out.write(f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in (*told, *block)))
    out.flush()
    return len(block)
