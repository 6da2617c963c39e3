"""The commands of onggi-runtime, each by its name: `NAME_container(root, parsed) -> exit code`."""

import json
import os
import signal
import sys
import time
from typing import Any

from ..errors import Conflict, InvalidInput, NotFound, OnggiError, Unsupported
from ..linux import capability, process, tools
from ..linux.cgroup import Cgroup
from ..spec.container import Resources
from ..spec.jsontext import loads_strict
from . import child, foreground, handshake, init, join, oci
from .arguments import Parsed
from .plan import Capabilities, JoinPlan, ProcessPlan
from .state import Record, States, as_oci, cgroup_at


def create_container(root: str, parsed: Parsed) -> int:
    states, container_id = States(root), parsed.rest[0]
    _refuse_descriptors(parsed)
    _create(states, container_id, parsed, detached=True)
    return 0


def start_container(root: str, parsed: Parsed) -> int:
    _start(States(root), parsed.rest[0])
    return 0


def run_container(root: str, parsed: Parsed) -> int:
    states, container_id = States(root), parsed.rest[0]
    _refuse_descriptors(parsed)
    if parsed.has("detach"):
        _create(states, container_id, parsed, detached=True)
        _start_or_delete(states, container_id)
        return 0
    with foreground.Signals() as signals:
        started = _create(states, container_id, parsed, detached=False)
        try:
            _start_or_delete(states, container_id)
            return foreground.wait(started, signals)
        finally:
            if not parsed.has("keep") and states.exists(container_id):
                _delete(states, states.load(container_id), force=True)


def state_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    record = states.load(parsed.rest[0])
    print(json.dumps(as_oci(record, states.status(record)), indent=2))
    return 0


def kill_container(root: str, parsed: Parsed) -> int:
    record = States(root).load(parsed.rest[0])
    number = parse_signal(parsed.rest[1] if len(parsed.rest) > 1 else "SIGTERM")
    if parsed.has("all"):
        for pid in record.cgroup.pids():
            _signal(pid, process.start_time(pid) or 0, number)
        return 0
    if not _signal(record.pid, record.pid_start, number):
        raise Conflict("container not running")
    return 0


def delete_container(root: str, parsed: Parsed) -> int:
    states, container_id = States(root), parsed.rest[0]
    force = parsed.has("force")
    try:
        record = states.load(container_id)
    except NotFound:
        if not force:
            raise
        states.remove(container_id)  # a create that was killed in the middle
        return 0
    _delete(states, record, force=force)
    return 0


def exec_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    _refuse_descriptors(parsed)
    record = states.load(parsed.rest[0])
    status = states.status(record)
    if status == "stopped" or (status == "paused" and not parsed.has("ignore-paused")):
        raise Conflict(f"cannot exec in a {status} container")
    plan = JoinPlan(record.pid, record.pid_start, _exec_process(record, parsed))
    if plan.process.tty and parsed.has("detach") and not parsed.has("console-socket"):
        raise InvalidInput("cannot allocate tty if detached without setting console socket")
    if parsed.has("detach"):
        _hand_over(join.join(plan, record.cgroup), parsed)
        return 0
    with foreground.Signals() as signals:
        started = join.join(plan, record.cgroup)
        _hand_over(started, parsed)
        return foreground.wait(started, signals)


def list_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    rows = [(record, states.status(record)) for record in states.all()]
    if parsed.has("quiet"):
        sys.stdout.write("".join(f"{record.id}\n" for record, _ in rows))
    elif parsed.last("format", "table") == "json":
        print(json.dumps([as_oci(record, status) for record, status in rows]))
    else:
        table = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        table += [(r.id, str(r.pid), s, r.bundle, r.created, "root") for r, s in rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print(line.rstrip())
    return 0


def ps_container(root: str, parsed: Parsed) -> int:
    record = States(root).load(parsed.rest[0])
    pids = record.cgroup.pids()
    if parsed.last("format", "table") == "json":
        print(json.dumps(pids))
        return 0
    output = tools.run(["ps", *(parsed.rest[1:] or ["-ef"])]).stdout.decode(errors="replace")
    title, *rows = output.splitlines()
    column = title.split().index("PID")
    print(title)
    for row in rows:
        words = row.split()
        if len(words) > column and words[column] in {str(pid) for pid in pids}:
            print(row)
    return 0


def pause_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    record = states.load(parsed.rest[0])
    if states.status(record) not in ("running", "created"):
        raise Conflict("container not running")
    record.cgroup.freeze()
    return 0


def resume_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    record = states.load(parsed.rest[0])
    if states.status(record) != "paused":
        raise Conflict("container not paused")
    record.cgroup.thaw()
    return 0


def update_container(root: str, parsed: Parsed) -> int:
    record = States(root).load(parsed.rest[0])
    if parsed.has("resources"):
        path = parsed.last("resources")
        with open(path, "rb") as file:
            document = loads_strict(file.read(oci.MAX_CONFIG_BYTES), what=path)
        resources = oci.parse_resources(oci.Reader(document, "resources"))
    else:
        resources = Resources(
            memory_bytes=_number(parsed, "memory"),
            memory_swap_bytes=_number(parsed, "memory-swap"),
            memory_reservation_bytes=_number(parsed, "memory-reservation"),
            cpu_shares=_number(parsed, "cpu-shares"),
            cpu_period_us=_number(parsed, "cpu-period"),
            cpu_quota_us=_number(parsed, "cpu-quota"),
            cpuset_cpus=parsed.last("cpuset-cpus"),
            cpuset_mems=parsed.last("cpuset-mems"),
            pids_limit=_number(parsed, "pids-limit"),
        )
    _warn(record.cgroup.set(resources))
    return 0


def spec_container(root: str, parsed: Parsed) -> int:
    path = os.path.join(parsed.last("bundle", "."), "config.json")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise InvalidInput(f"file {path} exists: remove it first") from error
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(oci.default_config(), file, indent=2)
        file.write("\n")
    return 0


def features_container(root: str, parsed: Parsed) -> int:
    from ..linux import namespace
    from .plan import FILE_SYSTEM_WORDS

    every = [f"CAP_{name}" for name in capability.names_of(capability.bounding())]
    kinds = [kind for kind in namespace.FLAGS if kind not in ("user", "time")]
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": list(oci.HOST_HOOKS),
        "mountOptions": sorted(FILE_SYSTEM_WORDS),
        "linux": {
            "namespaces": sorted(kinds),
            "capabilities": every,
            "cgroup": {"v1": True, "v2": True, "systemd": False},
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
        },
    }
    print(json.dumps(document, indent=2))
    return 0


def parse_signal(text: str) -> int:
    """`9`, `KILL`, `sigkill`. Raises InvalidInput."""
    if text.isascii() and text.isdigit():
        if 0 < int(text) < 65:
            return int(text)
        raise InvalidInput(f"unknown signal {text!r}")
    name = "SIG" + text.upper().removeprefix("SIG")
    number = getattr(signal, name, None)
    if not isinstance(number, signal.Signals):
        raise InvalidInput(f"unknown signal {text!r}")
    return int(number)


def _create(states: States, container_id: str, parsed: Parsed, *, detached: bool) -> child.Started:
    """Everything up to the waiting process; unwinds on any failure."""
    bundle = os.path.abspath(parsed.last("bundle", "."))
    config = oci.read_bundle(bundle)
    tty = config.plan.process.tty
    if tty and detached and not parsed.has("console-socket"):
        raise InvalidInput("cannot allocate tty if detached without setting console socket")
    if not tty and parsed.has("console-socket"):
        raise InvalidInput("cannot use console socket if the process has no terminal")
    states.reserve(container_id)
    cgroup = None
    try:
        cgroup = cgroup_at(config.cgroup_path or f"onggi-runtime/{container_id}")
        _warn(cgroup.create(config.resources, config.devices))
        fifos = states.open_fifos(container_id)
        try:
            started = _spawn(states, container_id, bundle, config, cgroup, fifos)
        finally:
            for fd in fifos:
                os.close(fd)
        _hand_over(started, parsed)
    except BaseException:
        if cgroup is not None:
            cgroup.kill_all()
            cgroup.remove()
        states.remove(container_id)
        raise
    return started


def _spawn(
    states: States,
    container_id: str,
    bundle: str,
    config: oci.Bundle,
    cgroup: Cgroup,
    fifos: tuple[int, int],
) -> child.Started:
    def record(pid: int) -> Record:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        start = process.start_time(pid) or 0
        return Record(
            container_id, bundle, config.root_path, pid, start, process.boot_id(), now,
            cgroup.path, config.document,
        )  # fmt: skip

    def prepare(pid: int) -> None:
        state = as_oci(record(pid), "creating")
        for kind in ("prestart", "createRuntime"):
            run_hooks(config.hooks[kind], state)

    created = init.spawn(config.plan, cgroup=cgroup, prepare=prepare, fifos=fifos)
    try:
        states.save(record(created.pid))
    except BaseException:
        created.abort()
        raise
    return created.release()


def _start(states: States, container_id: str) -> None:
    record = states.load(container_id)
    go = states.open_go(container_id)
    if go is None or not record.alive:
        status = states.status(record)
        raise Conflict(f"cannot start a container that is {status}")
    report = states.open_report(container_id)
    end = handshake.ParentEnd(go, report, handshake.CREATE_PREFIX)
    try:
        end.tell(handshake.START)
        end.expect_exec()
    finally:
        end.close()
    hooks = oci.parse(record.config, record.bundle).hooks["poststart"]
    run_hooks(hooks, as_oci(record, "running"))


def _start_or_delete(states: States, container_id: str) -> None:
    try:
        _start(states, container_id)
    except BaseException:
        _delete(states, states.load(container_id), force=True)
        raise


def _delete(states: States, record: Record, *, force: bool) -> None:
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
    hooks = oci.parse(record.config, record.bundle).hooks["poststop"]
    run_hooks(hooks, as_oci(record, "stopped"), check=False)


def _kill_and_wait(record: Record) -> None:
    pidfd = process.open_process(record.pid, record.pid_start)
    if pidfd is None:
        return
    try:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        record.cgroup.thaw()
        if not process.pidfd_wait(pidfd, 10):
            raise OnggiError(f"container {record.id} does not end: one of its processes hangs")
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def _signal(pid: int, pid_start: int, number: int) -> bool:
    pidfd = process.open_process(pid, pid_start)
    if pidfd is None:
        return False
    try:
        process.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def run_hooks(hooks: tuple[oci.Hook, ...], state: dict[str, Any], *, check: bool = True) -> None:
    """On the host, one after the other, each with the state on its standard input."""
    text = json.dumps(state).encode()
    for hook in hooks:
        env = dict(entry.split("=", 1) for entry in hook.env if "=" in entry)
        tools.run(
            (hook.path, *hook.args[1:]), input=text, timeout_s=hook.timeout_s, env=env, check=check
        )


def _exec_process(record: Record, parsed: Parsed) -> ProcessPlan:
    if parsed.has("process"):
        path = parsed.last("process")
        with open(path, "rb") as file:
            document = loads_strict(file.read(oci.MAX_CONFIG_BYTES), what=path)
        return oci.parse_process(oci.Reader(document, "process"))
    base = oci.parse(record.config, record.bundle).plan.process
    extra = capability.mask_of(capability.parse(name) for name in parsed.all("cap"))
    sets = base.capabilities
    capabilities = Capabilities(
        sets.bounding | extra, sets.effective | extra, sets.permitted | extra,
        sets.inheritable, sets.ambient,
    )  # fmt: skip
    return base._replace(
        args=tuple(parsed.rest[1:]),
        env=(*base.env, *parsed.all("env")),
        cwd=parsed.last("cwd", base.cwd),
        user=parsed.last("user", base.user),
        group_add=(*base.group_add, *parsed.all("additional-gids")),
        capabilities=capabilities,
        no_new_privileges=base.no_new_privileges or parsed.has("no-new-privs"),
        tty=parsed.has("tty"),
        oom_score_adj=None,
    )


def _hand_over(started: child.Started, parsed: Parsed) -> None:
    """Give what the caller asked for: the terminal through its socket, the pid in its file."""
    if parsed.has("console-socket") and started.pty_fd >= 0:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(parsed.last("console-socket"))
            socket.send_fds(connection, [b"/dev/ptmx"], [started.pty_fd])
        os.close(started.pty_fd)
    if parsed.has("pid-file"):
        path = parsed.last("pid-file")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(str(started.pid))
        os.replace(path + ".new", path)


def _refuse_descriptors(parsed: Parsed) -> None:
    if parsed.last("preserve-fds", "0") != "0":
        raise Unsupported("--preserve-fds is not supported")
    if parsed.has("no-pivot"):
        raise Unsupported("--no-pivot is not supported: the old root would stay reachable")


def _number(parsed: Parsed, name: str) -> int:
    text = parsed.last(name, "0")
    if not text.removeprefix("-").isdigit() or not text.isascii():
        raise InvalidInput(f"invalid value {text!r} for --{name}")
    return int(text)


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        os.write(2, f"onggi-runtime: warning: {warning}\n".encode())
