"""Builds that clients have asked for, by the reference that a client gave each.

A client asks in one of two ways: Control.Solve with a frontend, or Control.Solve with none, which
then waits while the client drives the build itself: LLBBridge.Solve does the work, Return ends it.
"""

import threading
import time
from collections import OrderedDict

from ...errors import Conflict, NotFound
from .messages_pb2 import SolveRequest, Status
from .status import Feed, Telling

KEPT = 64  # ended builds whose status can still be asked for
MAX_BUILDS = 64


class Build:
    """One request; `answer` is what its exporters say."""

    def __init__(self, request: SolveRequest) -> None:
        self.request = request
        self.feed = Feed()
        self.telling = Telling(self.feed, request.Ref)
        self.answer: dict[str, str] = {}
        self.over = threading.Event()
        self._changed = threading.Condition()
        self._returned = False
        self._error: Status | None = None

    def give_back(self, error: Status | None) -> None:
        """The client, which drives the build, is done with it."""
        with self._changed:
            self._returned = True
            self._error = error
            self._changed.notify_all()

    def wait(self) -> Status | None:
        """For `give_back`, or `give_up`, which is no error."""
        with self._changed:
            while not self._returned and not self.over.is_set():
                self._changed.wait()
            return self._error

    def give_up(self) -> None:
        with self._changed:
            self.over.set()
            self._changed.notify_all()


class Builds:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[str, Build] = {}
        self._ended: OrderedDict[str, Build] = OrderedDict()

    def begin(self, request: SolveRequest) -> Build:
        """Raises Conflict."""
        with self._changed:
            if request.Ref in self._running:
                raise Conflict(f"job ID {request.Ref[:200]} exists")
            if len(self._running) >= MAX_BUILDS:
                raise Conflict("too many builds")
            self._ended.pop(request.Ref, None)
            found = self._running[request.Ref] = Build(request)
            self._changed.notify_all()
            return found

    def end(self, build: Build) -> None:
        build.give_up()
        build.feed.finish()
        with self._changed:
            self._ended[build.request.Ref] = self._running.pop(build.request.Ref)
            while len(self._ended) > KEPT:
                self._ended.popitem(last=False)

    def find(self, ref: str, timeout_s: float) -> Build:
        """The calls of one build come in any order. Raises NotFound."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = self._running.get(ref) or self._ended.get(ref)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise NotFound(f"no such job {ref[:200]}")
