"""What a build on a terminal looks like: finished steps above, the running ones with a clock and
their last lines below, rewritten in place. Pure: events and the time in, text out.

What a step prints may move no cursor: control characters are taken out, and lines are cut to the
terminal by the cells they fill.
"""

import re
from unicodedata import combining, east_asian_width

from ..progress import Event, Layer, Message, StepFinished, StepOutput, StepStarted, Warning
from .bars import layer_line

TAIL_LINES = 5  # of a running step
MAX_KEPT_BYTES = 64 << 10  # of its output, told whole when it fails
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Running:
    """A step at work."""

    def __init__(self, event: StepStarted, now_s: float) -> None:
        self.event = event
        self.began_s = now_s
        self.kept = bytearray()

    def take(self, data: bytes) -> None:
        self.kept += data
        del self.kept[:-MAX_KEPT_BYTES]

    def lines(self) -> list[str]:
        text = self.kept.decode("utf-8", "replace")
        return [plain(line.rsplit("\r", 1)[-1] or line) for line in text.split("\n")]


class LiveBuild:
    """`take` an event, then write `frame`: what is done for good, and the block that the next frame
    rewrites."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._running: dict[int, Running] = {}
        self._layers: dict[str, Layer] = {}
        self._told: list[str] = []  # not written yet
        self._total = 0
        self._done = 0

    def take(self, event: Event, now_s: float) -> None:
        match event:
            case StepStarted():
                if event.number == 1:  # of another platform, or a build that looks again
                    self._done = 0
                self._total = event.total
                self._running[event.number] = Running(event, now_s)
            case StepOutput():
                step = self._running.get(event.number)
                if step is not None:
                    step.take(event.data)
            case StepFinished():
                self._finish(event)
            case Layer():
                self._layers[event.id] = event
            case Message(text):
                self._layers.clear()
                self._told += plain(text).split("\n")
            case Warning(text):
                self._told += f"WARNING: {plain(text)}".split("\n")
            case _:
                pass

    def _finish(self, event: StepFinished) -> None:
        step = self._running.pop(event.number, None)
        self._done += 1
        if step is not None:
            state = "CACHED " if event.cached else ""
            time = "" if event.cached else f"\t{event.duration_s:.1f}s"
            self._told.append(f" => {state}{_title(step.event)}{time}")

    def frame(self, now_s: float, columns: int, rows: int) -> tuple[list[str], list[str]]:
        """(lines that stay, the block), each line cut to the terminal."""
        told, self._told = [fitted(line, columns) for line in self._told], []
        count = f"({self._done}/{self._total})" if self._total else ""
        block = [f"[+] Building {now_s - self._began_s:.1f}s {count}"]
        block += [f" => {layer_line(layer, columns - 4)}" for layer in self._layers.values()]
        for step in self._running.values():
            block.append(f" => {_title(step.event)}\t{now_s - step.began_s:.1f}s")
            lines = [line for line in step.lines() if line]
            block += [f" => => # {line}" for line in lines[-TAIL_LINES:]]
        room = max(rows - 1, 1)
        if len(block) > room:
            block = [block[0], *block[-(room - 1) :]] if room > 1 else block[:1]
        return told, [fitted(line, columns) for line in block]

    def failed(self, columns: int) -> list[str]:
        """What the steps that were at work have said, whole."""
        found = [fitted(line, columns) for line in self._told]
        for step in self._running.values():
            lines = step.lines()
            if any(lines):
                found += ["------", f" > {_title(step.event)}:", *lines, "------"]
        return found


def plain(text: str) -> str:
    """Without what a terminal would act on."""
    return _CONTROL.sub("", _ESCAPES.sub("", text)).expandtabs()


def _title(event: StepStarted) -> str:
    return plain(f"[{event.place}{event.number}/{event.total}] {' '.join(event.text.split())}")


def fitted(line: str, columns: int) -> str:
    """`left<tab>right`: the right part at the edge; cut to one less than the terminal has."""
    left, tab, right = line.partition("\t")
    room = max(columns - 1, 1)
    if not tab:
        return cut(left, room)
    left = cut(left, max(room - len(right) - 1, 1))
    return left + " " * max(room - width(left) - len(right), 1) + right


def cut(text: str, room: int) -> str:
    if len(text) * 2 <= room or width(text) <= room:
        return text
    used, found = 0, []
    for letter in text:
        used += cells(letter)
        if used > room:
            break
        found.append(letter)
    return "".join(found)


def width(text: str) -> int:
    return sum(map(cells, text))


def cells(letter: str) -> int:
    """How many columns of a terminal a character fills."""
    if combining(letter):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1
