"""Control groups on the host's own layout: limits that bite, kills that are seen, nothing left."""

import os
from pathlib import Path
from typing import Any

import pytest

from onggi.linux.cgroup import Cgroup, Layout, host_layout
from onggi.spec.container import Resources

pytestmark = pytest.mark.root
Box = Any
needs_v1 = pytest.mark.skipif(Cgroup("x").version != 1, reason="a v1 host's files")


def test_memory_limit_kills_and_is_seen(box: Box) -> None:
    script = "head -c 100000000 /dev/zero | tail -c 90000000 | wc -c"
    result = box.sh(script, resources=Resources(memory_bytes=16 << 20))
    assert box.cgroup.oom_kills() >= 1
    assert "90000000" not in result.out
    assert box.cgroup.stats().memory_limit_bytes == 16 << 20


def test_process_limit(box: Box) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep {} >/dev/null 2>&1 & done"
    limited = box.sh(script.format(600), resources=Resources(pids_limit=5))
    assert "can't fork" in limited.err
    assert box.sh(script.format(0.2) + "; wait").err == ""


@needs_v1
def test_every_limit_is_written(box: Box) -> None:
    resources = Resources(
        memory_bytes=64 << 20, memory_swap_bytes=96 << 20, memory_reservation_bytes=32 << 20,
        nano_cpus=1_500_000_000, cpu_shares=512, cpuset_cpus="0", pids_limit=77,
    )  # fmt: skip
    box.start("sleep", "60", resources=resources)
    read = {}
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us",
                 "memory.soft_limit_in_bytes", "cpu.cfs_period_us", "cpu.shares", "cpuset.cpus",
                 "pids.max"):  # fmt: skip
        files = [Path(path, name) for path in box.cgroup.paths() if Path(path, name).exists()]
        read[name] = files[0].read_text().strip() if files else ""
    assert read["memory.limit_in_bytes"] == str(64 << 20)
    assert read["memory.memsw.limit_in_bytes"] == str(96 << 20)
    assert read["memory.soft_limit_in_bytes"] == str(32 << 20)
    assert (read["cpu.cfs_quota_us"], read["cpu.cfs_period_us"]) == ("150000", "100000")
    assert (read["cpu.shares"], read["cpuset.cpus"], read["pids.max"]) == ("512", "0", "77")
    for up in (Resources(memory_bytes=256 << 20), Resources(memory_bytes=8 << 20)):
        assert box.cgroup.set(up) == []
        assert box.cgroup.stats().memory_limit_bytes == up.memory_bytes


def test_swap_is_as_much_as_memory_by_default(box: Box) -> None:
    box.start("sleep", "60", resources=Resources(memory_bytes=64 << 20))
    files = [Path(path, "memory.memsw.limit_in_bytes") for path in box.cgroup.paths()]
    values = [file.read_text().strip() for file in files if file.exists()]
    assert values in ([], [str(128 << 20)])


def test_every_process_is_in_every_group(box: Box) -> None:
    running = box.start("sh", "-c", "sleep 60 & sleep 60 & echo up; wait")
    running.read_until("up\n")
    for path in box.cgroup.paths():
        assert str(running.pid) in Path(path, "cgroup.procs").read_text().split()
    assert len(box.cgroup.pids()) == 3


def test_freeze_and_thaw(box: Box) -> None:
    running = box.start("sh", "-c", "while :; do echo tick; sleep 0.01; done")
    running.read_until("tick")
    box.cgroup.freeze()
    assert box.cgroup.frozen()
    os.set_blocking(running.started.stdout_fd, False)
    while True:
        try:
            os.read(running.started.stdout_fd, 65536)
        except BlockingIOError:
            break
    os.set_blocking(running.started.stdout_fd, True)
    box.cgroup.thaw()
    assert not box.cgroup.frozen()
    running.read_until("tick")


def test_kill_all_reaches_processes_that_fork(box: Box) -> None:
    running = box.start("sh", "-c", "echo up; f() { sleep 0.01 & f; }; f",
                        resources=Resources(pids_limit=200))  # fmt: skip
    running.read_until("up\n")
    box.cgroup.kill_all()
    assert running.finish().code == -9


def test_removing_is_idempotent_and_takes_the_empty_parent_along() -> None:
    group = Cgroup("gone", "onggi-test-parent")
    group.create(Resources())
    assert all(os.path.isdir(path) for path in group.paths())
    group.remove()
    group.remove()
    group.kill_all()
    assert group.pids() == []
    assert group.oom_kills() == 0
    assert not any(os.path.exists(os.path.dirname(path)) for path in group.paths())


def test_the_hosts_mounts_stay_as_they_are() -> None:
    before = host_layout()
    group = Cgroup("quiet", "onggi-test-parent")
    group.create(Resources(memory_bytes=1 << 25))
    group.remove()
    assert host_layout() == before


@pytest.mark.sec("B12")
@pytest.mark.skipif(not host_layout().v2, reason="needs a v2 hierarchy")
def test_v2_device_filter_on_the_real_kernel() -> None:
    group = Cgroup("devices", "onggi-test-v2", Layout((), host_layout().v2))
    assert group.version == 2
    try:
        assert not [text for text in group.create(Resources()) if "device" in text]
        descriptor = group.open_fd()
        assert descriptor is not None
        os.close(descriptor)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(read, 1)
            code = 0
            for path in ("/dev/null", "/dev/zero", "/dev/urandom"):
                os.close(os.open(path, os.O_RDWR))
            try:
                os.open("/dev/loop-control", os.O_RDONLY)
                code = 2
            except PermissionError:
                pass
            os._exit(code)
        os.close(read)
        group.add(pid)
        os.write(write, b"x")
        os.close(write)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        group.kill_all()
        group.remove()
