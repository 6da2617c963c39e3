"""Block I/O, real time, swappiness: what is written where, and what a host says it can do."""

from pathlib import Path

import pytest

from onggi.linux import cgroup1, cgroup2
from onggi.linux.cgroup import Cgroup, Layout, device_number
from onggi.linux.cgroupfacts import host_facts
from onggi.spec.container import DeviceRate, Resources

BLOCK = Resources(
    blkio_weight=500,
    blkio_weight_devices=(DeviceRate("8:0", 300),),
    read_bps=(DeviceRate("8:0", 1 << 20),),
    write_bps=(DeviceRate("8:16", 2 << 20),),
    read_iops=(DeviceRate("8:0", 100),),
    write_iops=(DeviceRate("8:0", 200), DeviceRate("8:16", 201)),
)


def test_v1_block_limits() -> None:
    pairs = [(s.file, s.value) for _, s in cgroup1.settings(BLOCK)]
    assert pairs == [
        ("blkio.weight", "500"),
        ("blkio.weight_device", "8:0 300"),
        ("blkio.throttle.read_bps_device", "8:0 1048576"),
        ("blkio.throttle.write_bps_device", "8:16 2097152"),
        ("blkio.throttle.read_iops_device", "8:0 100"),
        ("blkio.throttle.write_iops_device", "8:0 200"),
        ("blkio.throttle.write_iops_device", "8:16 201"),
    ]
    assert cgroup1.settings(BLOCK, "blkio.bfq")[0][1].file == "blkio.bfq.weight"


def test_v2_block_limits() -> None:
    pairs = [(s.file, s.value) for s in cgroup2.settings(BLOCK)]
    assert pairs == [
        ("io.weight", "4950"),
        ("io.weight", "8:0 2930"),
        ("io.max", "8:0 rbps=1048576"),
        ("io.max", "8:16 wbps=2097152"),
        ("io.max", "8:0 riops=100"),
        ("io.max", "8:0 wiops=200"),
        ("io.max", "8:16 wiops=201"),
    ]


def test_v1_memory_and_real_time() -> None:
    asked = Resources(memory_swappiness=0, oom_kill_disable=True, cpu_rt_period_us=10**6,
                      cpu_rt_runtime_us=10**4)  # fmt: skip
    assert {s.file: s.value for _, s in cgroup1.settings(asked)} == {
        "memory.swappiness": "0", "memory.oom_control": "1",
        "cpu.rt_period_us": "1000000", "cpu.rt_runtime_us": "10000",
    }  # fmt: skip


def test_v2_says_what_it_discards(tmp_path: Path) -> None:
    (tmp_path / "onggi/id").mkdir(parents=True)
    group = Cgroup("id", layout=Layout((), str(tmp_path)))
    warnings = group.set(Resources(memory_swappiness=10, oom_kill_disable=True))
    assert [warning[:50] for warning in warnings] == [
        "Your kernel does not support memory swappiness cap",
        "Your kernel does not support OomKillDisable. OomKi",
    ]


def test_block_bytes(tmp_path: Path) -> None:
    v1 = tmp_path / "blkio/onggi/id"
    v1.mkdir(parents=True)
    (v1 / "blkio.throttle.io_service_bytes_recursive").write_text(
        "8:0 Read 4096\n8:0 Write 100\n8:0 Sync 1\n8:0 Total 4196\n8:16 Read 1\nTotal 4197\n"
    )
    old = Cgroup("id", layout=Layout((("blkio", str(tmp_path / "blkio")),), "")).stats()
    assert (old.read_bytes, old.written_bytes) == (4097, 100)
    v2 = tmp_path / "v2/onggi/id"
    v2.mkdir(parents=True)
    (v2 / "io.stat").write_text("8:0 rbytes=5 wbytes=6 rios=1 wios=1\n8:16 rbytes=7 wbytes=0\n")
    new = Cgroup("id", layout=Layout((), str(tmp_path / "v2"))).stats()
    assert (new.read_bytes, new.written_bytes) == (12, 6)


def test_a_parent_of_the_user_stays(tmp_path: Path) -> None:
    for name, keep in (("mine", False), ("theirs", True)):
        group = Cgroup("id", name, Layout((), str(tmp_path)), keep_parent=keep)
        (tmp_path / name / "id").mkdir(parents=True)
        group.remove()
        assert (tmp_path / name).exists() is keep


def test_device_numbers(tmp_path: Path) -> None:
    assert device_number("8:16") == "8:16"
    with pytest.raises(FileNotFoundError):
        device_number(str(tmp_path / "none"))
    with pytest.raises(OSError, match="Block device required"):
        device_number(str(tmp_path))


def test_facts_of_a_v1_host(tmp_path: Path) -> None:
    for file, text in (
        ("memory/memory.soft_limit_in_bytes", ""), ("cpu/cpu.shares", ""),
        ("cpuset/cpuset.cpus", "0-3\n"), ("cpuset/cpuset.mems", "0\n"),
        ("blkio/blkio.weight", ""),
    ):  # fmt: skip
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    kinds = ("memory", "cpu", "cpuset", "blkio")
    facts = host_facts(Layout(tuple((kind, str(tmp_path / kind)) for kind in kinds), ""))
    assert facts.memory and facts.reservation and not facts.swap and not facts.oom_disable
    assert facts.cpu_shares and not facts.cpu_quota and not facts.cpu_real_time
    assert facts.cpuset and (facts.cpus, facts.nodes) == ("0-3", "0")
    assert facts.weight and not facts.weight_device and not facts.throttle and not facts.pids


def test_facts_of_a_v2_host(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    facts = host_facts(Layout((), str(tmp_path)))
    assert facts.memory and facts.swap and facts.cpu_quota
    assert not (facts.swappiness or facts.cpu_real_time or facts.weight or facts.pids)
    assert facts.processors >= 1
