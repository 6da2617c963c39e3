"""Signals, stopping and waiting, by pidfd only: a number on disk may by now be another's."""

import os
import time
from collections.abc import Callable, Sequence

from .. import signals
from ..errors import (
    Conflict,
    InvalidInput,
    NotFound,
    NotModified,
    OnggiError,
    Unavailable,
    Unsupported,
)
from ..linux import process, tools
from ..monitor import attach as monitor_attach
from ..monitor.attach import Attachment
from ..spec.container import Container, ContainerState
from ..store.store import Store
from . import lifecycle, notes
from .cgroups import cgroup_of
from .events import Events
from .paths import Paths
from .reaper import ACTIVE

DEFAULT_STOP_TIMEOUT_S = 10
BURIAL_S = 30.0  # how long a monitor may take to clean up behind its container
ENDING = (signals.SIGKILL, signals.SIGTERM, signals.SIGINT, signals.SIGQUIT, signals.SIGABRT)
Table = tuple[list[str], list[list[str]]]


def signal_number(text: str) -> int:
    """The number of "TERM", "SIGTERM" or "15". Raises InvalidInput with docker's words."""
    name = text.upper()
    if name.isascii() and name.isdigit():
        number = int(name)
        if 1 <= number <= signals.SIGRTMAX:
            return number
    else:
        name = name.removeprefix("SIG")
        real_time = _real_time(name)
        if real_time:
            return real_time
        found = signals.NUMBERS.get(f"SIG{name}")
        if found is not None:
            return found
    raise InvalidInput(f"invalid signal: {text}")


def stop_signal_number(text: str) -> int:
    """A container's own. An image may name what is no signal: as with docker, TERM stands in."""
    try:
        return signal_number(text)
    except InvalidInput:
        return signals.SIGTERM


def _real_time(name: str) -> int:
    """Of RTMIN, RTMIN+n, RTMAX and RTMAX-n; 0 for what is none of them."""
    for base, number, sign in (("RTMIN", signals.SIGRTMIN, 1), ("RTMAX", signals.SIGRTMAX, -1)):
        rest = name.removeprefix(base)
        if rest == name or (rest and rest[0] != ("+" if sign > 0 else "-")):
            continue
        digits = rest[1:] or ("" if rest else "0")
        if digits.isascii() and digits.isdigit() and len(digits) < 3:
            found = int(number) + sign * int(digits)
            return found if signals.SIGRTMIN <= found <= signals.SIGRTMAX else 0
    return 0


class Control:
    def __init__(
        self, store: Store, paths: Paths, find: Callable[[str], Container], events: Events
    ) -> None:
        """`find` looks a container up as it is now."""
        self._store = store
        self._paths = paths
        self._find = find
        self._events = events

    # -- ending it

    def kill(self, container: Container, signal: str) -> None:
        """Send a signal. One that asks for the end also keeps the policy from restarting it; after
        SIGKILL the end is waited for, as docker does."""
        number = signal_number(signal)
        lifecycle.require(container, "kill")
        ending = number in ENDING or number == stop_signal_number(container.config.stop_signal)
        if ending:
            notes.end(self._paths, container, "stop")
            container = self._find(container.id)
        if container.state.status == "restarting":
            return  # there is no process, and there will be none
        pidfd = _process_of(container)
        if pidfd is None:
            raise Conflict(f"cannot kill container: {container.name}: it has just ended")
        try:
            self._send(container, pidfd, number)
            if ending and container.state.status == "paused":
                self.unpause(container)  # docker: so that it can take the signal
            elif number == signals.SIGKILL:
                cgroup_of(container).thaw()
            if number == signals.SIGKILL:
                _require_end(container, pidfd)
        finally:
            os.close(pidfd)
        if number == signals.SIGKILL:
            _await_burial(container)

    def stop(
        self,
        container: Container,
        timeout_s: int | None,
        signal: str,
        why: notes.Why = "stop",
    ) -> None:
        """Ask, wait `timeout_s` (-1: for ever), then kill; returns when the end is recorded."""
        if container.state.status not in ACTIVE:
            raise NotModified(f"container {container.id} is not running")
        own = container.config.stop_signal
        number = signal_number(signal) if signal else stop_signal_number(own)
        if timeout_s is None:
            timeout_s = container.config.options.stop_timeout_s
        if timeout_s is None:
            timeout_s = DEFAULT_STOP_TIMEOUT_S
        container = self._noted(container, why)
        pidfd = _process_of(container)
        if pidfd is not None:
            try:
                self._ask_then_kill(container, pidfd, number, timeout_s)
            finally:
                os.close(pidfd)
        _await_burial(container)
        self._events.container(container, "stop")

    def end_now(self, container: Container) -> None:
        """Kill, and wait until the end is recorded (`rm -f`)."""
        container = self._noted(container, "stop")
        pidfd = _process_of(container)
        if pidfd is not None:
            try:
                self._send(container, pidfd, signals.SIGKILL)
                cgroup_of(container).thaw()
                _require_end(container, pidfd)
            finally:
                os.close(pidfd)
        _await_burial(container)

    def _noted(self, container: Container, why: notes.Why) -> Container:
        """Leave the note, then look again: the policy may have started another run meanwhile. One
        that starts even later finds the note before it lets its command go."""
        notes.end(self._paths, container, why)
        try:
            return self._find(container.id)
        except NotFound:
            return container  # --rm was faster

    def _ask_then_kill(self, container: Container, pidfd: int, number: int, timeout_s: int) -> None:
        self._send(container, pidfd, number)
        cgroup_of(container).thaw()  # a paused process cannot obey
        if process.pidfd_wait(pidfd, None if timeout_s < 0 else timeout_s):
            return
        notes.timed_out(self._paths, container.id)
        self._send(container, pidfd, signals.SIGKILL)
        _require_end(container, pidfd)

    def _send(self, container: Container, pidfd: int, number: int) -> None:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return  # it ended on its own
        self._events.container(container, "kill", signal=str(number))

    # -- holding it

    def pause(self, container: Container) -> None:
        lifecycle.require(container, "pause")
        cgroup = cgroup_of(container)
        if not cgroup.paths():
            raise Unsupported(
                f"cannot pause container {container.name}: it has no control group",
                hint="onggi doctor says how to get one",
            )
        cgroup.freeze()
        pid = container.state.pid
        state = self._store.containers.change_state(container.id, lambda now: as_paused(now, pid))
        if state.status != "paused":
            raise Conflict(f"Container {container.id} is not running")
        self._events.container(container, "pause")

    def unpause(self, container: Container) -> None:
        lifecycle.require(container, "unpause")
        cgroup_of(container).thaw()
        self._store.containers.change_state(
            container.id,
            lambda state: state._replace(status="running") if state.status == "paused" else state,
        )
        self._events.container(container, "unpause")

    # -- being with it

    def attach(self, container: Container, *, stdin: bool) -> Attachment:
        lifecycle.require(container, "attach")
        flags = monitor_attach.OUTPUT | (monitor_attach.INPUT if stdin else 0)
        try:
            attachment = monitor_attach.connect(self._paths.running(container.id), flags)
        except OSError as error:
            raise Conflict(
                f"container {container.name} cannot be attached to: its monitor is gone",
                hint=f"restart it: onggi restart {container.name}",
            ) from error
        self._events.container(container, "attach")
        return attachment

    def wait(self, container: Container, timeout_s: float | None) -> ContainerState:
        """The final state, after the restarts of its policy. A container that removes itself tells
        its exit code to the waiting client before it goes."""
        if container.state.status not in ACTIVE:
            return container.state
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        told: Attachment | None = None
        try:
            told = monitor_attach.connect(self._paths.running(container.id), 0)
        except OSError:
            pass  # no monitor: the process itself is all there is to wait for
        try:
            _wait_for_end(container, told, deadline)
            try:
                return self._find(container.id).state
            except NotFound:
                if told is None or told.exit_code is None:
                    raise
                return ended_state(container, told.exit_code, told.kill_reason)
        finally:
            if told is not None:
                told.close()

    def top(self, container: Container, ps_args: Sequence[str]) -> Table:
        """The host's ps over the container's processes, as docker does: (titles, rows)."""
        if container.state.status not in ACTIVE:
            raise Conflict(f"container {container.id} is not running")
        if container.state.status == "restarting":
            raise Conflict(lifecycle.is_restarting(container))
        table = _ps(container, ps_args)
        self._events.container(container, "top")
        return table


def as_paused(state: ContainerState, pid: int) -> ContainerState:
    """Only the run that was frozen: it may have ended meanwhile, and its end stays recorded."""
    if state.status != "running" or state.pid != pid:
        return state
    return state._replace(status="paused")


def _require_end(container: Container, pidfd: int) -> None:
    if not process.pidfd_wait(pidfd, DEFAULT_STOP_TIMEOUT_S):
        raise Unavailable(
            f"container {container.name} (pid {container.state.pid}) did not die of SIGKILL: "
            "it is stuck in the kernel"
        )


def _await_burial(container: Container) -> None:
    """Wait for the monitor to have recorded the end and cleaned up."""
    state = container.state
    monitor = process.open_process(state.monitor_pid, state.monitor_start)
    if monitor is None:
        return  # the next look repairs the row
    try:
        if not process.pidfd_wait(monitor, BURIAL_S):
            raise Unavailable(f"the monitor of container {container.name} does not finish")
    finally:
        os.close(monitor)


def _process_of(container: Container) -> int | None:
    return process.open_process(container.state.pid, container.state.pid_start)


def ended_state(container: Container, exit_code: int, reason: str) -> ContainerState:
    """The last state of a container that is gone, as its monitor told it."""
    return container.state._replace(
        status="exited",
        pid=0,
        exit_code=exit_code,
        oom_killed=reason == "oom",
        kill_reason="oom" if reason == "oom" else "stop timeout" if reason else "",
    )


def _wait_for_end(container: Container, told: Attachment | None, deadline: float | None) -> None:
    def remaining() -> float | None:
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    if told is not None:
        while not told.ended:
            if not process.wait_readable(told.fileno(), remaining()):
                raise Unavailable(f"container {container.name} still runs")
            told.receive()
    for pid, start in (
        (container.state.pid, container.state.pid_start),
        (container.state.monitor_pid, container.state.monitor_start),
    ):
        pidfd = process.open_process(pid, start)
        if pidfd is not None:
            try:
                if not process.pidfd_wait(pidfd, remaining()):
                    raise Unavailable(f"container {container.name} still runs")
            finally:
                os.close(pidfd)


def _ps(container: Container, ps_args: Sequence[str]) -> Table:
    cgroup = cgroup_of(container)
    pid = container.state.pid
    found = cgroup.pids() if cgroup.paths() else process.neighbours(pid)
    if os.getpid() in found:  # it has no pid namespace of its own
        found = process.descendants(pid)
    pids = {str(pid) for pid in found}
    output = tools.run(["ps", *(ps_args or ["-ef"])], check=False)
    if output.status:
        said = output.stderr.decode(errors="replace").strip().splitlines()
        raise OnggiError(f"ps: {said[0] if said else 'failed'}")
    lines = output.stdout.decode(errors="replace").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidInput("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > column and row[column] in pids]
