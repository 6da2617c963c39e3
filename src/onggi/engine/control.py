"""Signals, stopping and waiting, by pidfd only: a number on disk may by now be another's."""

import os
import signal as signals
import time
from collections.abc import Callable, Sequence

from ..errors import Conflict, InvalidInput, NotFound, NotModified, OnggiError, Unavailable
from ..linux import process, tools
from ..linux.cgroup import Cgroup
from ..monitor import attach as monitor_attach
from ..monitor.attach import Attachment
from ..spec.container import Container, ContainerState
from ..store.store import Store
from . import lifecycle
from .lifecycle import Event
from .paths import Paths, write_file
from .reaper import ACTIVE

DEFAULT_STOP_TIMEOUT_S = 10
BURIAL_S = 30.0  # how long a monitor may take to clean up behind its container
STOP_NOTE = "stopped"  # in the run directory: the KILL that follows is a stop's timeout


def signal_number(text: str) -> int:
    """The number of "TERM", "SIGTERM" or "15". Raises InvalidInput with docker's words."""
    name = text.upper()
    if name.isascii() and name.isdigit():
        number = int(name)
        if 1 <= number <= signals.SIGRTMAX:
            return number
    else:
        name = name.removeprefix("SIG")
        base, plus, offset = name.partition("+")
        if base == "RTMIN" and (not plus or offset.isdigit()):
            return int(signals.SIGRTMIN) + int(offset or 0)
        found = getattr(signals, f"SIG{name}", None)
        if isinstance(found, signals.Signals):
            return int(found)
    raise InvalidInput(f"invalid signal: {text}")


def kill(container: Container, signal: str) -> None:
    number = signal_number(signal)
    lifecycle.require(container, Event.KILL)
    pidfd = _process_of(container)
    if pidfd is None:
        raise Conflict(f"cannot kill container: {container.name}: it has just ended")
    try:
        process.pidfd_send_signal(pidfd, number)
        if number == signals.SIGKILL:
            Cgroup(container.id).thaw()
    except ProcessLookupError:
        pass  # it ended on its own
    finally:
        os.close(pidfd)


def stop(paths: Paths, container: Container, timeout_s: int | None, signal: str) -> None:
    """Ask, wait `timeout_s` (-1: for ever), then kill; returns when the end is recorded."""
    if container.state.status not in ACTIVE:
        raise NotModified(f"container {container.id} is not running")
    number = signal_number(signal or container.config.stop_signal)
    if timeout_s is None:
        timeout_s = container.config.options.stop_timeout_s
    if timeout_s is None:
        timeout_s = DEFAULT_STOP_TIMEOUT_S
    pidfd = _process_of(container)
    if pidfd is not None:
        try:
            _ask_then_kill(paths, container, pidfd, number, timeout_s)
        finally:
            os.close(pidfd)
    _await_burial(container)


def end_now(container: Container) -> None:
    """Kill, and wait until the end is recorded (`rm -f`)."""
    pidfd = _process_of(container)
    if pidfd is not None:
        try:
            _send(pidfd, signals.SIGKILL)
            Cgroup(container.id).thaw()
            _require_end(container, pidfd)
        finally:
            os.close(pidfd)
    _await_burial(container)


def _ask_then_kill(
    paths: Paths, container: Container, pidfd: int, number: int, timeout_s: int
) -> None:
    _send(pidfd, number)
    Cgroup(container.id).thaw()  # a paused process cannot obey
    if process.pidfd_wait(pidfd, None if timeout_s < 0 else timeout_s):
        return
    try:
        write_file(f"{paths.running(container.id)}/{STOP_NOTE}", "")
    except FileNotFoundError:
        pass  # it ended this moment
    _send(pidfd, signals.SIGKILL)
    _require_end(container, pidfd)


def _send(pidfd: int, number: int) -> None:
    try:
        process.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


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


def pause(store: Store, container: Container) -> None:
    lifecycle.require(container, Event.PAUSE)
    Cgroup(container.id).freeze()
    store.containers.change_state(container.id, lambda state: state._replace(status="paused"))


def unpause(store: Store, container: Container) -> None:
    lifecycle.require(container, Event.UNPAUSE)
    Cgroup(container.id).thaw()
    store.containers.change_state(container.id, lambda state: state._replace(status="running"))


def attach(paths: Paths, container: Container, *, stdin: bool) -> Attachment:
    lifecycle.require(container, Event.ATTACH)
    flags = monitor_attach.OUTPUT | (monitor_attach.INPUT if stdin else 0)
    try:
        return monitor_attach.connect(paths.running(container.id), flags)
    except OSError as error:
        raise Conflict(
            f"container {container.name} cannot be attached to: its monitor is gone",
            hint=f"restart it: onggi restart {container.name}",
        ) from error


def wait(
    paths: Paths,
    container: Container,
    look: Callable[[str], Container],
    timeout_s: float | None,
) -> ContainerState:
    """The final state. A container that removes itself tells its exit code to the waiting client
    before it goes."""
    if container.state.status not in ACTIVE:
        return container.state
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    told: Attachment | None = None
    try:
        told = monitor_attach.connect(paths.running(container.id), 0)
    except OSError:
        pass  # no monitor: the process itself is all there is to wait for
    try:
        _wait_for_end(container, told, deadline)
        try:
            return look(container.id).state
        except NotFound:
            if told is None or told.exit_code is None:
                raise
            return ended_state(container, told.exit_code, told.kill_reason)
    finally:
        if told is not None:
            told.close()


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


Table = tuple[list[str], list[list[str]]]


def top(container: Container, ps_args: Sequence[str]) -> Table:
    """The host's ps over the container's processes, as docker does: (titles, rows)."""
    if container.state.status not in ACTIVE:
        raise Conflict(f"container {container.id} is not running")
    pids = {str(pid) for pid in Cgroup(container.id).pids()}
    output = tools.run(["ps", *(ps_args or ["-ef"])], check=False)
    if output.status:
        said = output.stderr.decode(errors="replace").strip().splitlines()
        raise OnggiError(f"ps: {said[0] if said else 'failed'}")
    lines = output.stdout.decode(errors="replace").splitlines()
    titles = lines[0].split()
    if "PID" not in titles:
        raise InvalidInput("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > column and row[column] in pids]
