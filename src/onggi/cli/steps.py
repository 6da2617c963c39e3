"""The progress of a build, in the words of docker's classic builder."""

import time

from ..progress import Event, Message, Report, StepFinished, StepOutput, StepStarted, Warning
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from .bars import reporter
from .session import Session

MAX_KEPT_BYTES = 4 << 20  # of the output of a quiet build


class StepLines:
    """A callback for `build`. Pulls of base images are drawn by `bars`; with `quiet` only the
    image's id is printed, and the output of a failed step on stderr."""

    def __init__(self, session: Session, *, quiet: bool, mode: str) -> None:
        self._session = session
        self._quiet = quiet or mode == "quiet"
        self._bars: Report = reporter(session, session.out, plain=mode == "plain")
        self._kept: list[StepOutput] = []
        self._kept_bytes = 0
        self._running: dict[int, bytes] = {}  # steps at work: the begun line of their output
        self._at_line_start = True
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        out = self._session.out
        if isinstance(event, StepOutput):
            self._output(event)
            return
        if isinstance(event, Warning):
            out.flush()
            self._session.err.line(f"WARNING: {event.text}")
            self._session.err.flush()
            return
        if self._quiet:
            if isinstance(event, StepFinished):
                self._kept = [kept for kept in self._kept if kept.number != event.number]
                self._kept_bytes = sum(len(kept.data) for kept in self._kept)
            return
        self._end_line()
        match event:
            case StepStarted():
                self._running[event.number] = b""
                where = f"[{event.platform}] " if event.platform else ""
                out.line(f"Step {event.number}/{event.total} : {where}{event.text}")
            case StepFinished():
                self._finish(event)
            case Message(text):
                out.line(text)
            case _:
                self._bars(event)
        out.flush()

    def _output(self, event: StepOutput) -> None:
        if self._quiet:
            self._kept.append(event)
            self._kept_bytes += len(event.data)
            while self._kept_bytes > MAX_KEPT_BYTES:
                self._kept_bytes -= len(self._kept.pop(0).data)
            return
        stream = self._session.err if event.stream == 2 else self._session.out
        data = event.data
        begun = self._running.get(event.number, b"")
        if len(self._running) > 1 or begun:  # several at once: whole lines, with their step
            lines = (begun + data).splitlines(keepends=True)
            self._running[event.number] = b"" if lines[-1].endswith(b"\n") else lines.pop()
            data = b"".join(b"#%d " % event.number + line for line in lines)
            self._end_line()
        stream.write_bytes(data)
        stream.flush()
        self._at_line_start = not data or data.endswith(b"\n")

    def _finish(self, event: StepFinished) -> None:
        out = self._session.out
        begun = self._running.pop(event.number, b"")
        if begun:
            out.write_bytes(b"#%d " % event.number + begun + b"\n")
        mark = f"#{event.number}" if self._running else ""
        if event.cached:
            out.line(f"{mark} ---> Using cache")
        out.line(f"{mark} ---> {event.result}")

    def _end_line(self) -> None:
        """The next line of ours begins a line, whatever a RUN printed last."""
        if not self._at_line_start:
            self._session.out.write("\n")
            self._at_line_start = True

    def failed(self) -> None:
        """What a quiet build kept back is what one needs now."""
        self._end_line()
        for number, begun in self._running.items():
            if begun:
                self._session.out.write_bytes(b"#%d " % number + begun + b"\n")
        for event in self._kept:
            self._session.err.write_bytes(event.data)
        self._session.out.flush()
        self._session.err.flush()

    def finished(self, image_id: Digest, tags: tuple[str, ...], steps: int, cached: int) -> None:
        out = self._session.out
        if self._quiet:
            out.line(str(image_id))
            return
        self._end_line()
        out.line(f"Successfully built {image_id.short}")
        for tag in tags:
            out.line(f"Successfully tagged {parse_reference(tag).familiar}")
        if out.is_terminal():
            seconds = time.monotonic() - self._began
            out.line(f"{steps} steps, {cached} from cache, {seconds:.1f} s")
