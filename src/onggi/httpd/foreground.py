"""A server as a program of its own: the signals that end it, and its lines on stderr."""

import os
import signal
import threading
from types import FrameType

from .server import Server

_line_lock = threading.Lock()


def obey_signals(server: Server) -> None:
    """SIGTERM and SIGINT stop it; a client that hangs up is no signal."""

    def stop(number: int, frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def to_stderr(text: str) -> None:
    """One whole line, from any thread."""
    data = text.encode("utf-8", "replace") + b"\n"
    with _line_lock:
        try:
            os.write(2, data)
        except OSError:
            return  # nobody reads it


def quiet(text: str) -> None:
    """Faults of ours only."""
    if text.startswith("fault "):
        to_stderr(text)
