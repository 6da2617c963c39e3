"""Hundreds of lifecycles, half of which fail on their way: the host is as it was before.

ONGGI_SOAK=1000 for the long one; by default as many as it takes to fail at every stage once.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import Victim

pytestmark = pytest.mark.root

WORKERS = 4
LIFECYCLES = int(os.environ.get("ONGGI_SOAK", "150"))
PROGRAM = Path(__file__).with_name("soak.py")
TICKS = ["ping", "127.0.0.1"]  # one process that writes
SETTLE_S = 60


class Host(NamedTuple):
    """What lifecycles could leave: names of things that carry our directories, ids or mark."""

    processes: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    loops: frozenset[str]
    namespaces: frozenset[str]
    files: frozenset[str]
    rows: frozenset[str]
    keys: int  # of the host's root: session keyrings


def look(victim: Victim, ids: Iterable[str]) -> Host:
    ids = set(ids)
    mark = f"{zlib.crc32(os.fsencode(victim.run)):08x}"
    mounts = _mounts(str(victim.root.parent))
    inside = _inside(mounts)
    links = {f"veth{id_[:10]}" for id_ in ids}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    return Host(
        processes=frozenset(map(str, (*_processes(victim), *inside))),
        links=frozenset(
            name
            for name in os.listdir("/sys/class/net")
            if name in links or name.startswith(f"onggi{mark[:6]}-")
        ),
        tables=frozenset(line for line in tables.splitlines() if mark in line),
        mounts=frozenset(f"{where} {line}" for where, lines in mounts.items() for line in lines),
        cgroups=frozenset(
            f"{directory}/{name}"
            for directory, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if name in ids
        ),
        loops=frozenset(
            text
            for path in Path("/sys/block").glob("loop*/loop/backing_file")
            if str(victim.root) in (text := _text(path))
        ),
        namespaces=frozenset(_namespaces(inside)),
        files=frozenset(_files(victim.root.parent)),
        rows=frozenset(_rows(victim.root / "onggi.db")),
        keys=_keys(),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _processes(victim: Victim) -> list[int]:
    """Commands and monitors, and what they fork until it executes something else."""
    mark = f"ONGGI_RUN={victim.run}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path("/proc", name, "environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(name))
    return found


def _mounts(home: str) -> dict[str, list[str]]:
    """The mounts of ours in every mount namespace of the host, by namespace."""
    found: dict[str, list[str]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
        except OSError:
            continue
        if namespace not in found:
            lines = _text(Path("/proc", name, "mountinfo")).splitlines()
            found[namespace] = [line for line in lines if home in line]
    return found


def _inside(mounts: dict[str, list[str]]) -> list[int]:
    """Processes of containers: they see our mounts, and not the host's."""
    host = os.readlink("/proc/self/ns/mnt")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
        except OSError:
            continue
        if namespace != host and mounts.get(namespace):
            found.append(int(name))
    return found


def _namespaces(pids: list[int]) -> set[str]:
    found = set()
    for pid in pids:
        for kind in ("net", "mnt", "pid", "ipc", "uts", "cgroup"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found


def _files(home: Path) -> set[str]:
    """Every name in the data root and the run directory. SQLite's own come and go, and the events'
    log is rotated into one other file."""
    return {
        os.path.join(directory, name)
        for directory, directories, names in os.walk(home)
        for name in (*directories, *names)
        if not name.startswith("onggi.db-") and name != "log.1"
    }


def _rows(database: Path) -> set[str]:
    connection = sqlite3.connect(database, timeout=30)
    try:
        query = "SELECT name FROM sqlite_schema WHERE type = 'table'"
        return {
            f"{table}: {count}"
            for (table,) in connection.execute(query)
            for (count,) in connection.execute(f"SELECT count(*) FROM {table}")
        }
    finally:
        connection.close()


def _keys() -> int:
    for line in Path("/proc/key-users").read_text().splitlines():
        uid, _, numbers = line.partition(":")
        if int(uid) == 0:
            return int(numbers.split()[1].partition("/")[0])
    return 0


def differences(before: Host, now: Host) -> list[str]:
    found = [
        f"{kind}: {sign} {item}"
        for kind, old, new in zip(Host._fields[:-1], before[:-1], now[:-1], strict=True)
        for sign, items in (("+", new - old), ("-", old - new))
        for item in sorted(items)
    ]
    return found + ([f"keys: {before.keys} -> {now.keys}"] if now.keys > before.keys else [])


def settle(victim: Victim, before: Host, ids: Iterable[str]) -> list[str]:
    """The differences that stay; what is on its way out gets a moment."""
    ids = list(ids)
    deadline = time.monotonic() + SETTLE_S
    while left := differences(before, look(victim, ids)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def work(victim: Victim, image: str, first: int, end: int, workers: int) -> list[dict[str, Any]]:
    """Lifecycles `first` to `end` by so many workers; their reports."""
    program = [sys.executable, PROGRAM, victim.root, victim.run]
    processes = [
        subprocess.Popen(
            [*program, str(first + number), str(end), str(workers), image],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=victim.environment,
        )
        for number in range(workers)
    ]
    try:
        outputs = [process.communicate(timeout=300 + 6 * (end - first)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def merged(reports: list[dict[str, Any]], field: str) -> list[float]:
    """In the order of the lifecycles' numbers."""
    pairs = [(int(n), value) for one in reports for n, value in one[field].items()]
    return [value for _, value in sorted(pairs)]


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_nothing_stays(victim: Victim, busybox: str) -> None:
    victim("run", "-d", "--name", "anchor", "--network", "none", busybox, *TICKS)
    work(victim, busybox, 0, 4, 1)  # what is made once: networks, caches, the events' log
    victim.until_gone(but=1)
    victim.until("seq=", "logs", "--tail", "1", "anchor")
    monitor, tries = victim.monitor("anchor"), 0
    victim("system", "prune", "-f")
    while unseen := not_seen(victim, busybox):  # a key of an earlier one may go in between
        assert (tries := tries + 1) < 10, unseen
    before = look(victim, [])
    memory, files = resident_kib(monitor), open_files(monitor)

    began = time.monotonic()
    reports = work(victim, busybox, 4, 4 + LIFECYCLES, WORKERS)
    took_s = time.monotonic() - began

    victim("system", "prune", "-f")  # an rmi beside other commands leaves bytes to the next one
    ids = [id_ for one in reports for id_ in one["ids"]]
    left = settle(victim, before, ids)
    deadline = time.monotonic() + SETTLE_S
    while open_files(monitor) != files and time.monotonic() < deadline:
        time.sleep(0.1)  # it may not have noticed that the last client has left
    failed = {what for one in reports for what in one["failed"]}
    figures = {
        "lifecycles": LIFECYCLES,
        "containers": len(ids),
        "seconds": round(took_s, 1),
        "failures": sum(sum(one["failed"].values()) for one in reports),
        "kinds of failure": len(failed),
        "monitor KiB": (memory, resident_kib(monitor)),
        "monitor files": (files, open_files(monitor)),
        "workers' peak KiB": [one["max_rss_kib"] for one in reports],
        **speed(reports),
    }
    print(json.dumps(figures))
    assert not left, "\n".join(left)
    assert [one["descriptors"] for one in reports] == [[]] * WORKERS
    assert [one["children"] for one in reports] == [[]] * WORKERS
    assert open_files(monitor) == files
    assert resident_kib(monitor) <= memory + 2048
    victim.works()


def test_the_last_start_fails(victim: Victim, busybox: str) -> None:
    """No container comes after it whose end would tidy the network."""
    victim("run", "--rm", busybox, "true")
    victim.until_gone()
    before = look(victim, [])
    victim("run", "--rm", "-d", busybox, "absent", code=127)
    assert settle(victim, before, []) == []


def not_seen(victim: Victim, image: str) -> set[str]:
    """What a running container has of the host and we do not see; what we see is seen to go."""
    before = look(victim, [])
    witness = victim.out("run", "-d", "-p", "80", image, "sleep", "60")
    found = differences(before, look(victim, [witness]))
    kinds = {line.partition(":")[0] for line in found}
    victim("rm", "-f", witness)
    assert settle(victim, before, [witness]) == []
    return set(Host._fields) - kinds - {"loops"}  # those: only where files cannot be mounted


def speed(reports: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Of the plain lifecycles and of all starts that worked: median and 99th of a hundred in ms,
    from the first hundred to the last."""
    found = {}
    for field in ("lifecycle_s", "start_s"):
        values = merged(reports, field)
        for at in range(0, len(values), 100):
            part = sorted(values[at : at + 100])
            name = f"{field.removesuffix('_s')} ms, {at + 1} to {at + len(part)}"
            found[name] = [
                round(statistics.median(part) * 1000),
                round(part[int(len(part) * 0.99)] * 1000),
            ]
    return found
