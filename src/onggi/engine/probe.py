"""Running health checks: a small process beside the monitor, one for each run of a container.

It joins the sandbox as an exec does, reads at most 4096 bytes, and writes the result into the row.
It sleeps by the monotonic clock and holds neither the store nor anything of the monitor's open. It
ends with the container, and the monitor ends it before it records the container's end.
"""

import os
import select
import time

from .. import signals as signal
from ..errors import NotFound, OnggiError, Unavailable
from ..linux import capability, process
from ..linux.cgroup import Cgroup
from ..runtime import join
from ..runtime.child import Started
from ..runtime.plan import JoinPlan
from ..spec.container import Container, ContainerState, Health, HealthResult
from . import detach, health, sandbox, specgen
from .cgroups import cgroup_of, leave_unit
from .run import Services

DRAIN_S = 0.1  # for what a check's command wrote last, or its children still write
KILL_S = 5.0  # how long a check that is killed may take
LONGEST_WAIT_S = 3600.0
FAILED = -1


class Checker:
    """The process, as the monitor holds it."""

    def __init__(self, services: Services, container: Container) -> None:
        services.store.close()
        crash_log = f"{services.paths.container(container.id)}/monitor.log"
        checks = Checks(services, container)
        self._pid = detach.fork_helper(checks.run, crash_log)
        self._pidfd = process.pidfd_open(self._pid)

    def stop(self) -> None:
        """It writes nothing more when this returns."""
        try:
            process.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)


class Checks:
    def __init__(self, services: Services, container: Container) -> None:
        self._services = services
        self._container = container
        self._wanted = health.resolved(container.config.health or health.DEFAULTS)
        self._began_ns = time.monotonic_ns()

    def run(self) -> None:
        """Until the container ends."""
        leave_unit()
        state = self._container.state
        ended = process.open_process(state.pid, state.pid_start)
        current: Health | None = state.health or Health()
        plan, cgroup = self._plan(), cgroup_of(self._container)
        while ended is not None and current is not None:
            wait_ns = health.wait_ns(current, self._wanted, self._age_ns())
            if _ends_within(ended, wait_ns / 1e9):
                return
            try:
                if not self._is_paused():
                    current = self._check(plan, cgroup)
            except Unavailable:
                continue  # a full disk: this result is lost, the next may find room

    def _check(self, plan: JoinPlan, cgroup: Cgroup) -> Health | None:
        age_ns, id_ = self._age_ns(), os.urandom(32).hex()
        tell, line = self._services.events.container, " ".join(plan.process.args)
        tell(self._container, f"exec_create: {line}", execID=id_)
        tell(self._container, f"exec_start: {line}", execID=id_)
        result = check(plan, cgroup, self._wanted.timeout_ns)
        tell(self._container, "exec_die", execID=id_, exitCode=str(result.exit_code))
        return self._record(result, age_ns)

    def _age_ns(self) -> int:
        return time.monotonic_ns() - self._began_ns

    def _plan(self) -> JoinPlan:
        config = self._container.config
        held = capability.held() & capability.bounding()
        plan = specgen.exec_plan(
            self._container,
            health.command(config),
            env=(),
            working_dir="",
            user="",
            tty=False,
            stdin=False,
            privileged=False,
            size=(0, 0),
            held=held,
            seccomp=sandbox.seccomp_program(config, held, self._services.paths),
            ids=self._services.tier.ids,
        )
        return sandbox.labelled(plan, self._container)._replace(reap=True)

    def _is_paused(self) -> bool:
        """A frozen container answers nothing: that is not a failure."""
        try:
            return self._services.store.containers.get(self._container.id).state.status == "paused"
        except NotFound:
            return True
        finally:
            self._services.store.close()

    def _record(self, result: HealthResult, age_ns: int) -> Health | None:
        """The new state; None when this run of the container is over."""
        before: list[Health] = []
        pid = self._container.state.pid

        def change(state: ContainerState) -> ContainerState:
            before.clear()
            if state.pid != pid:
                return state
            before.append(state.health or Health())
            return state._replace(health=health.after(before[0], result, self._wanted, age_ns))

        try:
            changed = self._services.store.containers.change_state(self._container.id, change)
        except NotFound:
            return None
        finally:
            self._services.store.close()
        if not before or changed.health is None:
            return None
        if changed.health.status != before[0].status:
            action = f"health_status: {changed.health.status}"
            self._services.events.container(self._container, action)
        return changed.health


def check(plan: JoinPlan, cgroup: Cgroup, timeout_ns: int) -> HealthResult:
    """One check, from start to end. Its times differ by what the monotonic clock says."""
    start_ns, began_ns = time.time_ns(), time.monotonic_ns()
    try:
        code, output = collect(join.join(plan, cgroup), timeout_ns / 1e9)
    except OnggiError as error:
        code, output = FAILED, error.message
    except OSError as error:
        code, output = FAILED, str(error)
    else:
        if code == FAILED:
            from ..units import format_duration

            text = f"Health check exceeded timeout ({format_duration(timeout_ns)})"
            output = f"{text}: {output}" if output else text
    end_ns = start_ns + time.monotonic_ns() - began_ns
    return HealthResult(start_ns, end_ns, code, output[: health.MAX_OUTPUT])


def collect(started: Started, timeout_s: float) -> tuple[int, str]:
    """(exit code, the first of what it wrote); FAILED when it took too long and was killed."""
    output = bytearray()
    poll = select.poll()
    sources = {started.stdout_fd, started.stderr_fd}
    for fd in (*sources, started.pidfd):
        poll.register(fd, select.POLLIN)
    deadline, ended = time.monotonic() + timeout_s, False
    while (sources or not ended) and (left_s := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(min(left_s, LONGEST_WAIT_S) * 1000 + 1):
            if fd == started.pidfd:
                ended = True
                deadline = time.monotonic() + DRAIN_S
                poll.unregister(fd)
            elif data := os.read(fd, 1 << 16):
                output += data[: health.MAX_OUTPUT - len(output)]
            else:
                sources.discard(fd)
                poll.unregister(fd)
    if not ended:
        _kill(started.pidfd)
    _, status = os.waitpid(started.pid, 0)
    for fd in (started.stdout_fd, started.stderr_fd, started.pidfd):
        os.close(fd)
    code = os.waitstatus_to_exitcode(status)
    shown = output.decode("utf-8", "replace")
    return (FAILED if not ended else code if code >= 0 else 128 - code), shown


def _kill(pidfd: int) -> None:
    """The check's reaper kills its whole process group; should it not, it is killed itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        if process.pidfd_wait(pidfd, KILL_S):
            return


def _ends_within(pidfd: int, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while (left_s := end - time.monotonic()) > 0:
        if process.pidfd_wait(pidfd, min(left_s, LONGEST_WAIT_S)):
            return True
    return not process.pidfd_alive(pidfd)
