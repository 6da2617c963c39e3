"""Progress of pull, push and load: one line a layer that changes in place on a terminal, docker's
plain lines elsewhere. Safe to be called from several threads. Draws with plain escape sequences:
the hot `run` must not carry a drawing library into the processes it forks.
"""

import os
import threading
import time

from ..progress import Event, Layer, Message, Report, StepOutput, Warning, ignore
from ..units import format_size
from .session import Output, Session

REDRAW_S = 0.1
BAR_MIN, BAR_MAX = 10, 50
_SILENT_OFF_TERMINAL = frozenset(("Downloading", "Extracting", "Loading layer"))
_PUSH_BYTES = frozenset(("Pushing",))
_STEPS = frozenset(("Downloading", "Extracting", "Pushing", "Loading layer"))


def reporter(session: Session, out: Output, *, quiet: bool = False, plain: bool = False) -> Report:
    """A callback for the engine."""
    if quiet:
        return ignore
    drawn = not plain and out.is_terminal() and session.environ.get("TERM", "dumb") != "dumb"
    return Bars(out, drawn)


class Bars:
    """The callback. Its lines are: one per layer in order of appearance, then what is said."""

    def __init__(self, out: Output, drawn: bool) -> None:
        self._out = out
        self._drawn = drawn
        self._lock = threading.Lock()
        self._layers: dict[str, Layer] = {}
        self._told: dict[str, str] = {}
        self._height = 0
        self._next_draw = 0.0

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._take(event)
            self._out.flush()

    def _take(self, event: Event) -> None:
        match event:
            case Layer():
                before = self._layers.get(event.id)
                self._layers[event.id] = event
                if not self._drawn:
                    self._tell(event)
                elif before is None or before.action != event.action or self._due():
                    self._draw()
            case Message(text) | Warning(text):
                self._say(f"WARNING: {text}" if isinstance(event, Warning) else text)
            case StepOutput():
                self._out.write_bytes(event.data)
            case _:
                pass

    def _tell(self, layer: Layer) -> None:
        """A plain line, once per change of what is done."""
        if layer.action in _SILENT_OFF_TERMINAL or self._told.get(layer.id) == layer.action:
            return
        self._told[layer.id] = layer.action
        if layer.action in _PUSH_BYTES:
            return
        detail = f" {layer.detail}" if layer.detail else ""
        self._out.line(f"{layer.id}: {layer.action}{detail}")

    def _say(self, text: str) -> None:
        """A message; on a terminal below the finished block of layers."""
        if self._drawn and self._layers:
            self._draw()
            self._layers.clear()
            self._height = 0
        self._out.line(text)

    def _due(self) -> bool:
        return time.monotonic() >= self._next_draw

    def _draw(self) -> None:
        self._next_draw = time.monotonic() + REDRAW_S
        columns, rows = terminal_size(self._out.fd)
        shown = list(self._layers.values())[-max(rows - 1, 1) :]  # no cursor climbs above the top
        lines = [layer_line(layer, columns) for layer in shown]
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\r\x1b[2K{line}\n" for line in lines))
        self._height = len(lines)


def layer_line(layer: Layer, columns: int) -> str:
    """`a1b2c3: Downloading [====>    ]  1.2MB/30MB`, at most `columns` wide."""
    start = f"{layer.id}: {layer.action}"
    if layer.detail:
        start += f" {layer.detail}"
    if layer.action in _STEPS and layer.current_bytes:
        sizes = format_size(layer.current_bytes)
        if layer.total_bytes:
            sizes += f"/{format_size(layer.total_bytes)}"
            room = min(BAR_MAX, columns - len(start) - len(sizes) - 6)
            if room >= BAR_MIN:
                start += f" [{bar(layer.current_bytes, layer.total_bytes, room)}]"
        start += f"  {sizes}"
    return start[: max(columns - 1, 1)]


def bar(current: int, total: int, width: int) -> str:
    filled = min(width, width * current // total) if total > 0 else 0
    if filled >= width:
        return "=" * width
    return ("=" * filled + ">").ljust(width)


def terminal_size(fd: int) -> tuple[int, int]:
    """Columns and rows."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return 80, 24
    return columns or 80, rows or 24
