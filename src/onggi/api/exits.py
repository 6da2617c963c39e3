"""Waiting for what a container does next, in the terms of POST /containers/{id}/wait.

Watches the event log, the monitor's process and the client at once: whoever of them ends first.
"""

import os
import select
import time

from ..engine import eventlog
from ..engine.engine import Engine
from ..engine.reaper import ACTIVE
from ..errors import InvalidInput, NotFound
from ..linux import process
from ..spec.container import Container
from ..typed import Literal

Condition = Literal["not-running", "next-exit", "removed"]
SETTLE_S = 10.0


def condition_of(text: str) -> Condition:
    match text:
        case "" | "not-running":
            return "not-running"
        case "next-exit" | "removed":
            return text
    raise InvalidInput(f'invalid condition: "{text}"')


class Exit:
    """One waiting. Made before the answer begins, so that no end is missed from then on."""

    def __init__(self, engine: Engine, container: Container, condition: Condition) -> None:
        self._engine = engine
        self._id = container.id
        self._condition = condition
        self._since_ns = time.time_ns()
        self._code = container.state.exit_code
        self._was_active = False

    def wait(self, client: int) -> int | None:
        """The exit code; None when the client has gone."""
        while True:
            try:
                container = self._engine.containers.get(self._id)
            except NotFound:
                return self._code
            if self._is_met(container):
                return container.state.exit_code
            self._was_active = self._was_active or container.state.status in ACTIVE
            found = self._next_event(container, client)
            if found is not None:
                return found
            if _has_gone(client):
                return None

    def _is_met(self, container: Container) -> bool:
        """Without an event: it does not run, or ended unseen because its monitor was killed."""
        if container.state.status in ACTIVE or self._condition == "removed":
            return False
        return self._condition == "not-running" or self._was_active

    def _next_event(self, container: Container, client: int) -> int | None:
        state = container.state
        monitor = None
        if state.status in ACTIVE:
            monitor = process.open_process(state.monitor_pid, state.monitor_start)
        try:
            events = eventlog.read(
                self._engine.events,
                since_ns=self._since_ns,
                filters={"container": [self._id], "event": ["die", "destroy"]},
                listener=client,
                process=-1 if monitor is None else monitor,
            )
            for event in events:
                if event["Action"] == "destroy":
                    return self._code
                self._code = int(event["Actor"]["Attributes"].get("exitCode", "0"))
                if self._condition != "removed":
                    self._settle()
                    return self._code
        finally:
            if monitor is not None:
                os.close(monitor)
        return None

    def _settle(self) -> None:
        """The event comes a moment before the row says so: whoever waited may ask next."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            try:
                state = self._engine.containers.get(self._id).state
            except NotFound:
                return
            if state.status not in ACTIVE or state.status == "restarting" or not state.pid:
                return
            if not process.same_process(state.pid, state.pid_start):
                select.select([], [], [], 0.005)
            else:
                return  # it runs anew


def _has_gone(client: int) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))
