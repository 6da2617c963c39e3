"""What the requests of one server have in common: attachments that wait for a start, and execs.

The attachments die with the server; of an exec there is a note, by which the next one knows it.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ..engine.execnotes import ExecNotes, Note
from ..errors import Conflict, NotFound
from ..monitor.attach import Attachment
from ..typed import TYPE_CHECKING
from .relay import Relay

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from .buildkit.control import BuildKit

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

    def __init__(self, note: Note) -> None:
        self.id = note.id
        self.container_id = note.container_id
        self.options = note.options
        self.detach_keys = note.detach_keys
        self.streams = note.streams
        self.started = False
        self._notes: ExecNotes | None = None
        self.pid = 0
        self.exit_code: int | None = None
        self.ended_s = 0.0
        self.relay: Relay | None = None
        self.watch: Attachment | None = None  # of a detached one: it only tells of the end

    def recall(self, notes: ExecNotes) -> None:
        """Another server made it, and perhaps started it."""
        course = notes.course(self.container_id, self.id)
        if course.started:
            self.started, self.pid, self._notes = True, course.pid, notes

    @property
    def running(self) -> bool:
        self._look()
        return self.started and self.exit_code is None

    def finish(self, code: int) -> None:
        self.exit_code = code
        self.ended_s = time.monotonic()
        self.relay = None

    def _look(self) -> None:
        """Whether one that nobody is attached to has ended meanwhile; never waits."""
        if self._notes is not None and self.exit_code is None:
            code = self._notes.course(self.container_id, self.id).exit_code
            if code is not None:
                self.finish(code)
        watch = self.watch
        if watch is None or self.exit_code is not None:
            return
        if watch.has_ended():
            self.finish(137 if watch.exit_code is None else watch.exit_code)
            watch.close()
            self.watch = None


class Shared:
    """Thread-safe. `sockets` are the paths that the server listens on; `fault` writes the exception
    that is being handled to the server's log."""

    def __init__(
        self,
        notes: ExecNotes,
        sockets: frozenset[str] = frozenset(),
        fault: Callable[[], None] = lambda: None,
    ) -> None:
        self.sockets = sockets
        self.fault = fault
        self._buildkit: BuildKit | None = None
        self._notes = notes
        notes.sweep(KEPT_S)
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Waiting]] = {}
        self._execs: dict[str, Execution] = {}

    def buildkit(self, engine: "Engine") -> "BuildKit":
        """The services for clients of BuildKit. Raises ImportError without their libraries."""
        with self._lock:
            if self._buildkit is None:
                from .buildkit.control import BuildKit

                self._buildkit = BuildKit(engine, self.fault)
            return self._buildkit

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

    def add(self, note: Note) -> None:
        with self._lock:
            self._forget_old()
            if len(self._execs) >= MAX_EXECS:
                raise Conflict("too many exec instances")
            self._execs[note.id] = Execution(note)
        self._notes.make(note)

    def find(self, exec_id: str) -> Execution:
        with self._lock:
            found = self._execs.get(exec_id)
        if found is not None:
            return found
        note = self._notes.find(exec_id)
        if note is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        recalled = Execution(note)
        recalled.recall(self._notes)
        with self._lock:
            return self._execs.setdefault(exec_id, recalled)

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
        for exec_id in self._notes.of_container(container_id):
            with suppress(NotFound):
                self.find(exec_id)
        with self._lock:
            found = [e for e in self._execs.values() if e.container_id == container_id]
        return [execution.id for execution in found if execution.running]

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT_S
        for execution in list(self._execs.values()):
            if not execution.running and execution.ended_s and execution.ended_s < limit:
                del self._execs[execution.id]
                self._notes.forget(execution.container_id, execution.id)
