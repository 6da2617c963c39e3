"""What onggi-runtime tells about containers and about itself: state, list, ps, events, features."""

import json
import os
import sys

from ..errors import Conflict, InvalidInput
from ..linux import capability, namespace, process, tools
from ..typed import Any
from . import oci
from .arguments import Parsed
from .plan import FILE_SYSTEM_WORDS
from .state import Record, States, as_oci

_DEFAULT_INTERVAL_S = 5.0


def state_container(root: str, parsed: Parsed) -> int:
    states = States(root)
    record = states.load(parsed.rest[0])
    print(json.dumps(as_oci(record, states.status(record)), indent=2))
    return 0


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


def events_container(root: str, parsed: Parsed) -> int:
    """`events --stats` once; without it every interval, and each time the kernel kills for lack of
    memory, until the container ends."""
    states = States(root)
    record = states.load(parsed.rest[0])
    if not record.alive:
        raise Conflict(f"container {record.id} is not running")
    if parsed.has("stats"):
        _print_event(record, "stats", _stats(record))
        return 0
    interval = _interval(parsed.last("interval", f"{_DEFAULT_INTERVAL_S:g}s"))
    pidfd = process.open_process(record.pid, record.pid_start)
    if pidfd is None:
        return 0
    kills = record.cgroup.oom_kills()
    try:
        while True:
            _print_event(record, "stats", _stats(record))
            ended = process.pidfd_wait(pidfd, interval)
            now = record.cgroup.oom_kills()
            if now > kills:
                _print_event(record, "oom", None)
            kills = now
            if ended:
                return 0
    finally:
        os.close(pidfd)


def _interval(text: str) -> float:
    number = text.removesuffix("ms") if text.endswith("ms") else text.removesuffix("s")
    if not number.replace(".", "", 1).isdigit() or not number.isascii() or float(number) <= 0:
        raise InvalidInput(f"invalid value {text!r} for --interval: want a time such as 5s")
    return float(number) / (1000 if text.endswith("ms") else 1)


def _print_event(record: Record, kind: str, data: dict[str, Any] | None) -> None:
    event = {"type": kind, "id": record.id, **({"data": data} if data is not None else {})}
    print(json.dumps(event), flush=True)


def _stats(record: Record) -> dict[str, Any]:
    """As runc has it; a controller that the host lacks counts nothing."""
    now = record.cgroup.stats()
    io = [
        {"major": 0, "minor": 0, "op": op, "value": value}
        for op, value in (("Read", now.read_bytes), ("Write", now.written_bytes))
    ]
    return {
        "cpu": {"usage": {"total": now.cpu_ns, "kernel": 0, "user": 0}, "throttling": {}},
        "memory": {
            "usage": {"limit": now.memory_limit_bytes, "usage": now.memory_bytes},
            "raw": {},
        },
        "pids": {"current": now.pids, "limit": now.pids_limit},
        "blkio": {"ioServiceBytesRecursive": io},
    }


def spec_container(root: str, parsed: Parsed) -> int:
    path = os.path.join(parsed.last("bundle", "."), "config.json")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise InvalidInput(f"file {path} exists: remove it first") from error
    with open(fd, "w", encoding="utf-8") as file:
        config = oci.default_config()
        if parsed.has("rootless"):
            oci.make_rootless(config, os.geteuid(), os.getegid())
        json.dump(config, file, indent=2)
        file.write("\n")
    return 0


def features_container(root: str, parsed: Parsed) -> int:
    every = [f"CAP_{name}" for name in capability.names_of(capability.bounding())]
    actions = ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "NOTIFY", "TRACE", "LOG",
               "ALLOW")  # fmt: skip
    operators = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
    flags = ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": list(oci.HOOKS),
        "mountOptions": sorted(FILE_SYSTEM_WORDS),
        "linux": {
            "namespaces": sorted(namespace.FLAGS),
            "capabilities": every,
            "cgroup": {
                "v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": [f"SCMP_ACT_{name}" for name in actions],
                "operators": [f"SCMP_CMP_{name}" for name in operators],
                "knownFlags": [f"SECCOMP_FILTER_FLAG_{name}" for name in flags],
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }  # fmt: skip
    print(json.dumps(document, indent=2))
    return 0
