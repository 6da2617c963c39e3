"""The commands of onggi-runtime that act, each by its name: `NAME_container(root, parsed)` returns
the exit code. Those that only tell are in `reports`."""

import os

from .. import signals as signal
from ..errors import Conflict, InvalidInput, NotFound
from ..linux import capability, cgroupextra, process
from ..spec.container import Resources
from ..spec.jsontext import loads_strict
from . import cloning, foreground, join, lifecycle, oci, ociprocess, ociresources
from .arguments import Parsed
from .lifecycle import number
from .plan import Capabilities, InitPlan, JoinPlan, ProcessPlan
from .reader import Reader
from .state import Record, States


def create_container(root: str, parsed: Parsed) -> int:
    lifecycle.create(States(root), parsed.rest[0], parsed, detached=True)
    return 0


def start_container(root: str, parsed: Parsed) -> int:
    lifecycle.start(States(root), parsed.rest[0])
    return 0


def run_container(root: str, parsed: Parsed) -> int:
    states, container_id = States(root), parsed.rest[0]
    if parsed.has("detach"):
        lifecycle.create(states, container_id, parsed, detached=True)
        lifecycle.start_or_delete(states, container_id)
        return 0
    with foreground.Signals() as signals:
        started = lifecycle.create(states, container_id, parsed, detached=False)
        try:
            lifecycle.start_or_delete(states, container_id)
            return foreground.wait(started, signals)
        finally:
            if not parsed.has("keep") and states.exists(container_id):
                lifecycle.delete(states, states.load(container_id), force=True)


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
    lifecycle.delete(states, record, force=force)
    return 0


def exec_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    record = states.load(parsed.rest[0])
    status = states.status(record)
    if status == "stopped" or (status == "paused" and not parsed.has("ignore-paused")):
        raise Conflict(f"cannot exec in a {status} container")
    plan = _join_plan(record, parsed)
    lifecycle.check_terminal(parsed, plan.process.tty, detached=parsed.has("detach"))
    if parsed.has("detach"):
        lifecycle.hand_over(join.join(plan, record.cgroup), parsed)
        return 0
    with foreground.Signals() as signals:
        started = lifecycle.hand_over(join.join(plan, record.cgroup), parsed)
        return foreground.wait(started, signals)


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
        reader = Reader(document, "resources")
        resources = ociresources.parse_resources(reader)
        cgroupextra.apply(record.cgroup, ociresources.parse(reader).extra)
    else:
        resources = Resources(
            memory_bytes=number(parsed, "memory"),
            memory_swap_bytes=number(parsed, "memory-swap"),
            memory_reservation_bytes=number(parsed, "memory-reservation"),
            cpu_shares=number(parsed, "cpu-shares"),
            cpu_period_us=number(parsed, "cpu-period"),
            cpu_quota_us=number(parsed, "cpu-quota"),
            cpuset_cpus=parsed.last("cpuset-cpus"),
            cpuset_mems=parsed.last("cpuset-mems"),
            pids_limit=number(parsed, "pids-limit"),
        )
    lifecycle.warn(record.cgroup.set(resources))
    return 0


def parse_signal(text: str) -> int:
    """`9`, `KILL`, `sigkill`. Raises InvalidInput."""
    if text.isascii() and text.isdigit():
        if len(text) < 4 and 0 < int(text) < 65:
            return int(text)
        raise InvalidInput(f"unknown signal {text!r}")
    name = "SIG" + text.upper().removeprefix("SIG")
    number = signal.NUMBERS.get(name)
    if number is None:
        raise InvalidInput(f"unknown signal {text!r}")
    return number


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


def _join_plan(record: Record, parsed: Parsed) -> JoinPlan:
    """All the namespaces that the container does not share with us."""
    config = oci.parse(record.config, record.bundle).plan
    chosen = _exec_process(config.process, parsed)
    kinds = tuple(wanted.kind for wanted in config.namespaces)
    owner = (0, 0)
    if "user" in kinds:
        owner = _owner(record, config)
    return JoinPlan(record.pid, record.pid_start, chosen, kinds, owner)


def _owner(record: Record, config: InitPlan) -> tuple[int, int]:
    if config.uid_map:
        return cloning.owner(config.uid_map, config.gid_map)
    status = os.stat(f"/proc/{record.pid}/ns/user")
    return status.st_uid, status.st_gid


def _exec_process(base: ProcessPlan, parsed: Parsed) -> ProcessPlan:
    if parsed.has("process"):
        path = parsed.last("process")
        with open(path, "rb") as file:
            document = loads_strict(file.read(oci.MAX_CONFIG_BYTES), what=path)
        chosen = ociprocess.parse_process(Reader(document, "process"))
        return chosen._replace(
            seccomp_program=base.seccomp_program,
            seccomp_flags=base.seccomp_flags,
            tty=chosen.tty or parsed.has("tty"),
            preserve_fds=lifecycle.preserved_descriptors(parsed),
        )
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
        listener=None,
        preserve_fds=lifecycle.preserved_descriptors(parsed),
    )
