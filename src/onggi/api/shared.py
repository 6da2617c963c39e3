"""What the requests of one server have in common: attachments that wait for a start, and execs.

Neither outlives the server, as with docker's daemon; the containers do.
"""

import socket
import threading
import time

from ..engine.execs import ExecOptions
from ..errors import Conflict, NotFound
from ..monitor.attach import Attachment
from .relay import Relay

KEPT_S = 300.0  # how long the end of an exec can be asked for
MAX_EXECS = 10_000


class Waiting:
    """One client that attached before the start. `theirs` is for the monitor; when somebody else
    was the first `superseded` tells to attach anew."""

    def __init__(self, theirs: socket.socket) -> None:
        self.theirs = theirs
        self.superseded = False


class Execution:
    """One exec of the API."""

    def __init__(self, exec_id: str, container_id: str, options: ExecOptions, keys: str) -> None:
        self.id = exec_id
        self.container_id = container_id
        self.options = options
        self.detach_keys = keys
        self.streams = (False, False, False)  # stdin, stdout, stderr
        self.started = False
        self.pid = 0
        self.exit_code: int | None = None
        self.ended_s = 0.0
        self.relay: Relay | None = None
        self.watch: Attachment | None = None  # of a detached one: it only tells of the end

    @property
    def running(self) -> bool:
        self._look()
        return self.started and self.exit_code is None

    def finish(self, code: int) -> None:
        self.exit_code = code
        self.ended_s = time.monotonic()
        self.relay = None

    def _look(self) -> None:
        """Whether a detached one has ended meanwhile; never waits."""
        watch = self.watch
        if watch is None or self.exit_code is not None:
            return
        if watch.has_ended():
            self.finish(137 if watch.exit_code is None else watch.exit_code)
            watch.close()
            self.watch = None


class Shared:
    """Thread-safe. `sockets` are the paths that the server listens on."""

    def __init__(self, sockets: frozenset[str] = frozenset()) -> None:
        self.sockets = sockets
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Waiting]] = {}
        self._execs: dict[str, Execution] = {}

    # -- attachments before a start

    def wait_for_start(self, container_id: str, theirs: socket.socket) -> Waiting:
        found = Waiting(theirs)
        with self._lock:
            self._waiting.setdefault(container_id, []).append(found)
        return found

    def give_up(self, container_id: str, waiting: Waiting) -> bool:
        """Take it back; False when a start has taken it already."""
        with self._lock:
            of_container = self._waiting.get(container_id, [])
            if waiting not in of_container:
                return False
            of_container.remove(waiting)
            if not of_container:
                del self._waiting[container_id]
            return True

    def take(self, container_id: str) -> list[Waiting]:
        """All that wait for this start; they are the caller's now. Only the first can be there from
        the first byte on."""
        with self._lock:
            found = self._waiting.pop(container_id, [])
            for other in found[1:]:
                other.superseded = True
            return found

    # -- execs

    def add(self, execution: Execution) -> None:
        with self._lock:
            self._forget_old()
            if len(self._execs) >= MAX_EXECS:
                raise Conflict("too many exec instances")
            self._execs[execution.id] = execution

    def find(self, exec_id: str) -> Execution:
        with self._lock:
            found = self._execs.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def begin(self, execution: Execution) -> None:
        """Raises Conflict for one that was started before."""
        with self._lock:
            if execution.started:
                what = (
                    "has already run" if execution.exit_code is not None else "is already running"
                )
                raise Conflict(f"exec command {execution.id} {what}")
            execution.started = True

    def execs_of(self, container_id: str) -> list[str]:
        """Ids of what runs in a container."""
        with self._lock:
            found = [e for e in self._execs.values() if e.container_id == container_id]
        return [execution.id for execution in found if execution.running]

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT_S
        for execution in list(self._execs.values()):
            if not execution.running and execution.ended_s and execution.ended_s < limit:
                del self._execs[execution.id]
