"""Figures for prometheus: requests by operation and status, the engine's objects by state."""

import threading
from collections import Counter

from .. import __version__
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("running", "paused", "stopped")


class Counters:
    """Thread-safe. The number of series is bounded: operations are routes, not paths."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, operation: str, status: int, seconds: float) -> None:
        with self._lock:
            self._requests[operation, status] += 1
            self._seconds[operation] += seconds  # type: ignore[assignment]  # a sum of floats

    def text(self, engine: "Engine") -> str:
        """The exposition format."""
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        by_state = Counter(_state(c.state.status) for c in engine.containers.list(all=True))
        lines = [
            "# TYPE engine_daemon_engine_info gauge",
            f'engine_daemon_engine_info{{version="{__version__}",os_type="linux"}} 1',
            "# TYPE engine_daemon_container_states_containers gauge",
            *(
                f'engine_daemon_container_states_containers{{state="{state}"}} {by_state[state]}'
                for state in STATES
            ),
            "# TYPE onggi_api_requests_total counter",
            *(
                f'onggi_api_requests_total{{operation="{name}",status="{status}"}} {number}'
                for (name, status), number in sorted(requests.items())
            ),
            "# TYPE onggi_api_request_seconds_total counter",
            *(
                f'onggi_api_request_seconds_total{{operation="{name}"}} {spent:.6f}'
                for name, spent in sorted(seconds.items())
            ),
        ]
        return "\n".join([*lines, ""])


def _state(status: str) -> str:
    if status in ("running", "restarting"):
        return "running"
    return "paused" if status == "paused" else "stopped"
