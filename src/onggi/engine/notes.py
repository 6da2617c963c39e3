"""Notes in a container's run directory: what a command asks of the monitor, before its signal.

A monitor reads them when the container ends, between two runs, and before it lets a new run go. The
signal `WAKE` only ends a back-off early. The directory goes with the last run, and the notes too.
"""

import os

from .. import signals as signal
from ..linux import process
from ..spec.container import Container
from ..typed import Literal
from .paths import Paths, write_file

Why = Literal["", "stop", "restart", "shutdown"]
WAKE = signal.SIGUSR1
_TIMEOUT = "timeout"  # the KILL that follows is a stop's last resort
_KINDS: tuple[Why, ...] = ("stop", "restart", "shutdown")


def end(paths: Paths, container: Container, why: Why) -> None:
    """The container is to end and stay so; `why` is "restart" when the caller starts it anew, and
    "shutdown" when the next boot is to bring it back."""
    _write(paths, container.id, why)
    state = container.state
    monitor = process.open_process(state.monitor_pid, state.monitor_start)
    if monitor is None:
        return
    try:
        if state.boot_id == process.boot_id():
            process.pidfd_send_signal(monitor, WAKE)
    except ProcessLookupError:
        pass
    finally:
        os.close(monitor)


def why_ended(paths: Paths, container_id: str) -> Why:
    """What a command asked for; "" when the container ended on its own."""
    return next((kind for kind in _KINDS if _exists(paths, container_id, kind)), "")


def timed_out(paths: Paths, container_id: str) -> None:
    _write(paths, container_id, _TIMEOUT)


def has_timed_out(paths: Paths, container_id: str) -> bool:
    return _exists(paths, container_id, _TIMEOUT)


def _write(paths: Paths, container_id: str, name: str) -> None:
    try:
        write_file(f"{paths.running(container_id)}/{name}", "")
    except FileNotFoundError:
        pass  # it ended this moment


def _exists(paths: Paths, container_id: str, name: str) -> bool:
    return os.path.exists(f"{paths.running(container_id)}/{name}")
