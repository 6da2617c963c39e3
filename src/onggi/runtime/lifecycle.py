"""The life of a container of onggi-runtime: create, start, delete, and the hooks on the way.

    create: record ─ cgroup ─ spawn ── prestart, createRuntime ── createContainer (inside) ── waits
    start:  startContainer (inside) ── its command ── poststart
    delete: kill ─ cgroup ─ record ── poststop

A hook that fails ends the container there: what was made goes, and the poststop hooks run.
"""

import os
import time

from ..errors import Conflict, InvalidInput, OnggiError, Unsupported
from ..linux import cgroupextra, process
from ..linux.cgroup import Cgroup
from ..typed import Any
from . import child, handshake, hooks, init, oci
from .arguments import Parsed
from .plan import InitPlan
from .state import Record, States, as_inner, as_oci, cgroup_at

_SIGKILL = 9


def create(states: States, container_id: str, parsed: Parsed, *, detached: bool) -> child.Started:
    """Everything up to the waiting process; unwinds on any failure."""
    bundle = os.path.abspath(parsed.last("bundle", "."))
    config = oci.read_bundle(bundle, parsed.last("config", "config.json"))
    check_terminal(parsed, config.plan.process.tty, detached=detached)
    preserve_fds = preserved_descriptors(parsed)
    states.reserve(container_id)
    creation = _Creation(states, container_id, bundle, config, preserve_fds)
    try:
        return hand_over(creation.run(), parsed)
    except BaseException:
        creation.unwind()
        raise


def check_terminal(parsed: Parsed, tty: bool, *, detached: bool) -> None:
    if tty and detached and not parsed.has("console-socket"):
        raise InvalidInput("cannot allocate tty if detached without setting console socket")
    if not tty and parsed.has("console-socket"):
        raise InvalidInput("cannot use console socket if the process has no terminal")


class _Creation:
    def __init__(
        self, states: States, container_id: str, bundle: str, config: oci.Bundle, preserve_fds: int
    ) -> None:
        self._states = states
        self._id = container_id
        self._bundle = bundle
        self._config = config
        self._preserve_fds = preserve_fds
        self._cgroup: Cgroup | None = None
        self._limited = True

    def run(self) -> child.Started:
        config = self._config
        self._cgroup = cgroup_at(config.cgroup_path or f"onggi-runtime/{self._id}")
        try:
            warn(self._cgroup.create(config.resources, config.devices))
            cgroupextra.apply(self._cgroup, config.extra)
        except PermissionError:
            if os.geteuid() == 0:
                raise
            self._limited = False
            warn(["without root no control group can be made: nothing is limited"])
        fifos = self._states.open_fifos(self._id)
        try:
            return self._spawn(fifos)
        finally:
            for fd in fifos:
                os.close(fd)

    def unwind(self) -> None:
        if self._cgroup is not None:
            self._cgroup.kill_all()
            self._cgroup.remove()
        self._states.remove(self._id)
        run_last_hooks(self._config, as_oci(self._record(0), "stopped"))

    def _spawn(self, fifos: tuple[int, int]) -> child.Started:
        hooked = self._config.hooks["prestart"] or self._config.hooks["createRuntime"]
        created = init.spawn(
            self._plan(),
            cgroup=self._cgroup if self._limited else None,
            before_pivot=self._run_hooks if hooked else None,
            fifos=fifos,
        )
        try:
            self._states.save(self._record(created.pid))
        except BaseException:
            created.abort()
            raise
        return created.release()

    def _plan(self) -> InitPlan:
        plan = self._config.plan
        process_plan = plan.process._replace(preserve_fds=self._preserve_fds)
        if plan.hooks is not None:
            state = as_inner(self._record(0), "created")
            plan = plan._replace(hooks=plan.hooks._replace(state=state))
        return plan._replace(process=process_plan)

    def _run_hooks(self, pid: int) -> None:
        state = as_oci(self._record(pid), "creating")
        for kind in ("prestart", "createRuntime"):
            hooks.run(kind, self._config.hooks[kind], state)

    def _record(self, pid: int) -> Record:
        config = self._config
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        start = (process.start_time(pid) or 0) if pid else 0
        path = self._cgroup.path if self._cgroup is not None else ""
        return Record(
            self._id, self._bundle, config.root_path, pid, start, process.boot_id(), now, path,
            config.document,
        )  # fmt: skip


def start(states: States, container_id: str) -> None:
    """Let it execute. A hook that fails takes the container away."""
    record = states.load(container_id)
    go = states.open_go(container_id)
    if go is None or not record.alive:
        status = states.status(record)
        raise Conflict(f"cannot start a container that is {status}")
    config = oci.parse(record.config, record.bundle, compiled=False)
    report = states.open_report(container_id)
    end = handshake.ParentEnd(go, report, handshake.CREATE_PREFIX)
    pidfd = process.open_process(record.pid, record.pid_start)
    try:
        end.tell(handshake.START)
        end.expect_exec(child.hand_over(_listener(config, record), record.pid, pidfd or -1))
    except OnggiError:
        if config.hooks["startContainer"]:
            delete(states, record, force=True)
        raise
    finally:
        end.close()
        if pidfd is not None:
            os.close(pidfd)
    try:
        hooks.run("poststart", config.hooks["poststart"], as_oci(record, "running"))
    except OnggiError:
        delete(states, record, force=True)
        raise


def _listener(config: oci.Bundle, record: Record) -> Any:
    listener = config.plan.process.listener
    if listener is None:
        return None
    import json

    return listener._replace(state=json.dumps(as_oci(record, "created")))


def start_or_delete(states: States, container_id: str) -> None:
    try:
        start(states, container_id)
    except BaseException:
        if states.exists(container_id):
            delete(states, states.load(container_id), force=True)
        raise


def delete(states: States, record: Record, *, force: bool) -> None:
    status = states.status(record)
    if status != "stopped":
        if not force and status != "created":
            raise Conflict(
                f"cannot delete container {record.id} that is not stopped: {status}",
                hint=f"onggi-runtime delete --force {record.id}",
            )
        _kill_and_wait(record)
    record.cgroup.kill_all()
    record.cgroup.remove()
    states.remove(record.id)
    run_last_hooks(
        oci.parse(record.config, record.bundle, compiled=False), as_oci(record, "stopped")
    )


def run_last_hooks(config: oci.Bundle, state: dict[str, Any]) -> None:
    """Each of them: one that fails is a warning, as the specification wants it."""
    for hook in config.hooks["poststop"]:
        try:
            hooks.run("poststop", (hook,), state)
        except OnggiError as error:
            warn([error.message])


def _kill_and_wait(record: Record) -> None:
    pidfd = process.open_process(record.pid, record.pid_start)
    if pidfd is None:
        return
    try:
        process.pidfd_send_signal(pidfd, _SIGKILL)
        record.cgroup.thaw()
        if not process.pidfd_wait(pidfd, 10):
            raise OnggiError(f"container {record.id} does not end: one of its processes hangs")
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def hand_over(started: child.Started, parsed: Parsed) -> child.Started:
    """Give what the caller asked for: the terminal through its socket, the pid in its file. What
    is given away is no longer in the result. Kills the process when it cannot be done."""
    try:
        return _hand_over(started, parsed)
    except BaseException:
        child.reap(started.pid, started.pidfd)
        raise


def _hand_over(started: child.Started, parsed: Parsed) -> child.Started:
    if parsed.has("console-socket") and started.pty_fd >= 0:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(parsed.last("console-socket"))
            socket.send_fds(connection, [b"/dev/ptmx"], [started.pty_fd])
        os.close(started.pty_fd)
        started = started._replace(pty_fd=-1)
    if parsed.has("pid-file"):
        path = parsed.last("pid-file")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(str(started.pid))
        os.replace(path + ".new", path)
    return started


def preserved_descriptors(parsed: Parsed) -> int:
    """How many of ours the container gets; refuses what would leave the host's root reachable."""
    if parsed.has("no-pivot"):
        raise Unsupported("--no-pivot is not supported: the old root would stay reachable")
    return number(parsed, "preserve-fds")


def number(parsed: Parsed, name: str) -> int:
    text = parsed.last(name, "0")
    if not text.removeprefix("-").isdigit() or not text.isascii() or len(text) > 20:
        raise InvalidInput(f"invalid value {text!r} for --{name}")
    return int(text)


def warn(warnings: list[str]) -> None:
    for warning in warnings:
        os.write(2, f"onggi-runtime: warning: {warning}\n".encode())
