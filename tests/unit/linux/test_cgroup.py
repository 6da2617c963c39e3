"""Layouts, the values that are written, and v2 on a tree of plain files."""

from pathlib import Path

import pytest

from onggi.linux import cgroup, cgroup1, cgroup2, devicefilter
from onggi.linux.cgroup import DEFAULT_DEVICES, Cgroup, DeviceRule, Layout, leave_unit, parse_layout
from onggi.spec.container import Resources

HYBRID = """\
22 27 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
33 22 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct
34 22 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 22 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 22 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
37 22 0:33 / /mnt/with\\040space rw - ext4 /dev/sda rw
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,memory_recursiveprot\n"


def test_layouts() -> None:
    assert parse_layout(HYBRID) == Layout(
        (
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct"),
            ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            ("memory", "/sys/fs/cgroup/memory"),
            ("name=systemd", "/sys/fs/cgroup/systemd"),
        ),
        "/sys/fs/cgroup/unified",
    )
    assert parse_layout(V2) == Layout((), "/sys/fs/cgroup")
    assert parse_layout("") == Layout((), "")


def test_versions() -> None:
    assert Cgroup("x", layout=parse_layout(HYBRID)).version == 1
    assert Cgroup("x", layout=parse_layout(V2)).version == 2
    none = Cgroup("x", layout=Layout((), ""))
    assert none.version == 0
    assert none.create(Resources()) == ["the devices cgroup is not mounted: device access is not "
                                        "restricted"]  # fmt: skip
    assert none.create(Resources(memory_bytes=5), ()) == [
        "the memory cgroup is not mounted: limit discarded"
    ]
    none.kill_all()
    none.remove()
    named = Layout((("name=systemd", "/s"),), "/u")
    assert Cgroup("x", layout=named).version == 2


def test_co_mounted_controllers_are_one_directory() -> None:
    group = Cgroup("id", layout=parse_layout(HYBRID))
    assert group.mounts() == (
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/onggi/id"),
        ("memory", "/sys/fs/cgroup/memory/onggi/id"),
        ("systemd", "/sys/fs/cgroup/systemd/onggi/id"),
    )


EVERYTHING = Resources(
    memory_bytes=100, memory_swap_bytes=150, memory_reservation_bytes=50, nano_cpus=2_500_000_000,
    cpu_shares=1024, cpuset_cpus="0-1", cpuset_mems="0", pids_limit=9,
)  # fmt: skip


def test_v1_values() -> None:
    values = {setting.file: setting.value for _, setting in cgroup1.settings(EVERYTHING)}
    assert values == {
        "memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "150",
        "memory.soft_limit_in_bytes": "50", "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "250000", "cpu.shares": "1024", "cpuset.cpus": "0-1",
        "cpuset.mems": "0", "pids.max": "9",
    }  # fmt: skip
    assert cgroup1.settings(Resources()) == []


def test_v2_values() -> None:
    values = {setting.file: setting.value for setting in cgroup2.settings(EVERYTHING)}
    assert values == {
        "memory.max": "100", "memory.swap.max": "50", "memory.low": "50",
        "cpu.max": "250000 100000", "cpu.weight": "39", "cpuset.cpus": "0-1", "cpuset.mems": "0",
        "pids.max": "9",
    }  # fmt: skip
    assert cgroup2.settings(Resources()) == []


@pytest.mark.parametrize(
    ("swap", "v1", "v2"), [(0, "200", "100"), (-1, "-1", "max"), (100, "100", "0")]
)
def test_swap(swap: int, v1: str, v2: str) -> None:
    resources = Resources(memory_bytes=100, memory_swap_bytes=swap)
    old = {setting.file: setting.value for _, setting in cgroup1.settings(resources)}
    assert old["memory.memsw.limit_in_bytes"] == v1
    assert {s.file: s.value for s in cgroup2.settings(resources)}["memory.swap.max"] == v2


def test_unlimited_processes() -> None:
    assert cgroup2.settings(Resources(pids_limit=-1))[0].value == "max"


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (0, 1), (10**9, 10000)]
)
def test_weights(shares: int, weight: int) -> None:
    assert cgroup2.cpu_weight(shares) == weight


def test_small_cpu_limits_are_what_the_kernel_takes() -> None:
    assert cgroup.cpu_quota(Resources(nano_cpus=1)) == (1000, 100_000)
    assert cgroup.cpu_quota(Resources(cpu_quota_us=5000, cpu_period_us=20000)) == (5000, 20000)


def test_device_lines() -> None:
    lines = [cgroup1.device_line(rule) for rule in DEFAULT_DEVICES]
    assert lines[:4] == ["a", "c *:* m", "b *:* m", "c 1:3 rwm"]
    assert "c 136:* rwm" in lines


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A v2 tree of plain files, with what the kernel would have put there."""
    group = tmp_path / "onggi/id"
    group.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids hugetlb\n")
    for directory in (tmp_path, group.parent):
        (directory / "cgroup.subtree_control").write_text("")
    for name in ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max",
                 "cgroup.procs", "cgroup.kill", "cgroup.freeze"):  # fmt: skip
        (group / name).write_text("")
    (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (group / "memory.current").write_text("1000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    (group / "cpu.stat").write_text("usage_usec 7\n")
    (group / "pids.current").write_text("4\n")
    return tmp_path


def test_v2_writes(fake: Path) -> None:
    group = Cgroup("id", layout=Layout((), str(fake)))
    limits = Resources(memory_bytes=64, nano_cpus=10**9, pids_limit=7, cpuset_cpus="0")
    warnings = group.create(limits, ())
    assert warnings == ["the cpuset controller is not available: cpuset.cpus discarded"]
    here = fake / "onggi/id"
    assert (here / "memory.max").read_text() == "64"
    assert (here / "memory.swap.max").read_text() == "64"
    assert (here / "cpu.max").read_text() == "100000 100000"
    assert (here / "pids.max").read_text() == "7"
    for directory in (fake, fake / "onggi"):
        assert (directory / "cgroup.subtree_control").read_text().startswith("+pids")
    group.add(42)
    assert (here / "cgroup.procs").read_text() == "42"
    assert group.pids() == [42]
    group.kill_all()
    assert (here / "cgroup.kill").read_text() == "1"
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()


def test_a_group_that_somebody_else_removes_meanwhile(tmp_path: Path) -> None:
    """Its processes went with it; each path, of v1 and v2, may be gone at any moment."""
    hierarchies = tuple((name, str(tmp_path / name)) for name in ("memory", "freezer"))
    old = Cgroup("id", layout=Layout(hierarchies, ""))
    new = Cgroup("id", layout=Layout((), str(tmp_path / "memory")))
    (tmp_path / "memory/onggi/id").mkdir(parents=True)  # only the first is still there
    for group in (old, new):
        group.kill_all()
        group.thaw()


def test_v2_reads(fake: Path) -> None:
    group = Cgroup("id", layout=Layout((), str(fake)))
    assert group.oom_kills() == 2
    assert group.stats() == cgroup.Stats(7000, 700, 0, 4, 0)
    assert group.mounts() == (("", str(fake / "onggi/id")),)


def decide(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel's interpreter would say: only the instructions that we emit."""
    from struct import unpack_from

    context = {0: (sum({"m": 1, "r": 2, "w": 4}[x] for x in access) << 16) | {"b": 1, "c": 2}[kind],
               4: major, 8: minor}  # fmt: skip
    registers = dict.fromkeys(range(10), 0)
    at = 0
    while True:
        opcode, packed, offset, value = unpack_from("=BBhi", program, at * 8)
        to, source = packed & 15, packed >> 4
        at += 1
        match opcode:
            case 0x61:
                registers[to] = context[offset]
            case 0xBF:
                registers[to] = registers[source]
            case 0x54:
                registers[to] &= value & 0xFFFFFFFF
            case 0x74:
                registers[to] = (registers[to] & 0xFFFFFFFF) >> value
            case 0xB7:
                registers[to] = value
            case 0x55:
                at += offset if registers[to] != value else 0
            case 0x15:
                at += offset if registers[to] == value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(hex(opcode))


def by_rules(rules: tuple[DeviceRule, ...], kind: str, major: int, minor: int, access: str) -> bool:
    """The meaning: the last matching rule decides, nothing is allowed by itself."""
    for rule in reversed(rules):
        if rule.kind == "a":
            return rule.allow
        same = rule.kind == kind and rule.major in (-1, major) and rule.minor in (-1, minor)
        wanted, given = set(access), set(rule.access)
        if same and (wanted <= given if rule.allow else wanted & given):
            return rule.allow
    return False


@pytest.mark.parametrize(
    "rules",
    [
        DEFAULT_DEVICES,
        (DeviceRule(True, "a"), DeviceRule(False, "b", 8, -1, "w")),
        (
            DeviceRule(False, "a"),
            DeviceRule(True, "c", 10, -1, "rw"),
            DeviceRule(False, "c", 10, 5),
        ),
        (DeviceRule(True, "c", -1, 7, "m"), DeviceRule(True, "b", 8, 0, "r")),
        (DeviceRule(True, "a"),),
    ],
)
def test_the_device_program_means_what_the_rules_mean(rules: tuple[DeviceRule, ...]) -> None:
    program = devicefilter.assemble(rules)
    for kind in "bc":
        for major in (1, 5, 8, 10, 136):
            for minor in (0, 3, 5, 7, 9):
                for access in ("r", "w", "m", "rw", "rwm"):
                    expected = by_rules(rules, kind, major, minor, access)
                    got = decide(program, kind, major, minor, access)
                    assert got == expected, (kind, major, minor, access)


def test_a_monitor_goes_where_systemd_ends_nothing(tmp_path: Path) -> None:
    for name in ("cgroup.procs", "tasks"):
        (tmp_path / name).touch()
    leave_unit(Layout((), str(tmp_path)))
    assert (tmp_path / "cgroup.procs").read_text() == "0"
    assert (tmp_path / "tasks").read_text() == ""
    leave_unit(Layout((("memory", "/none"), ("name=systemd", str(tmp_path))), "/none"))
    assert (tmp_path / "tasks").read_text() == "0"
    leave_unit(Layout((), str(tmp_path / "none")))  # nothing to go to: it stays
