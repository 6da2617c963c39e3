"""The progress of a build, in the words of docker's classic builder."""

import time

from ..progress import Event, Message, Report, StepFinished, StepOutput, StepStarted, Warning
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from .bars import reporter
from .session import Session


class StepLines:
    """A callback for `build`. Pulls of base images are drawn by `bars`; with `quiet` only the
    image's id is printed, and the output of a failed step on stderr."""

    def __init__(self, session: Session, *, quiet: bool, mode: str) -> None:
        self._session = session
        self._quiet = quiet or mode == "quiet"
        self._bars: Report = reporter(session, session.out, plain=mode == "plain")
        self._kept: list[StepOutput] = []
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
            if isinstance(event, StepStarted):
                self._kept.clear()
            return
        self._end_line()
        match event:
            case StepStarted():
                out.line(f"Step {event.number}/{event.total} : {event.text}")
            case StepFinished():
                if event.cached:
                    out.line(" ---> Using cache")
                out.line(f" ---> {event.result}")
            case Message(text):
                out.line(text)
            case _:
                self._bars(event)
        out.flush()

    def _output(self, event: StepOutput) -> None:
        if self._quiet:
            self._kept.append(event)
            return
        stream = self._session.err if event.stream == 2 else self._session.out
        stream.write_bytes(event.data)
        stream.flush()
        self._at_line_start = event.data.endswith(b"\n")

    def _end_line(self) -> None:
        """The next line of ours begins a line, whatever a RUN printed last."""
        if not self._at_line_start:
            self._session.out.write("\n")
            self._at_line_start = True

    def failed(self) -> None:
        """What a quiet build kept back is what one needs now."""
        self._end_line()
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
