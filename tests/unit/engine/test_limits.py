"""Limits against a host's abilities, in docker's words; and what an update leaves."""

import pytest

from onggi.engine import limits
from onggi.errors import Conflict, InvalidInput
from onggi.linux.cgroupfacts import Facts
from onggi.spec.container import DeviceRate, Resources

HOST = Facts(processors=2, cpus="0-1", nodes="0")
POOR = Facts(*[False] * 13)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Resources(memory_bytes=1), "Minimum memory limit allowed is 6MB"),
        (Resources(memory_bytes=8 << 20, memory_swap_bytes=7 << 20), "Minimum memoryswap limit"),
        (Resources(memory_swap_bytes=1), "You should always set the Memory limit"),
        (Resources(memory_swappiness=101), "valid memory swappiness range is 0-100"),
        (Resources(memory_reservation_bytes=1), "Minimum memory reservation allowed is 6MB"),
        (
            Resources(memory_bytes=8 << 20, memory_reservation_bytes=9 << 20),
            "Minimum memory limit can not be less than memory reservation limit",
        ),
        (Resources(nano_cpus=1, cpu_period_us=1000), "Nano CPUs and CPU Period"),
        (Resources(nano_cpus=1, cpu_quota_us=1000), "Nano CPUs and CPU Quota"),
        (Resources(nano_cpus=3 * 10**9), "range of CPUs is from 0.01 to 2.00"),
        (Resources(cpu_period_us=999), "CPU cfs period can not be less than 1ms"),
        (Resources(cpu_quota_us=999), "CPU cfs quota can not be less than 1ms"),
        (
            Resources(cpu_rt_runtime_us=2, cpu_rt_period_us=1),
            "runtime cannot be higher than cpu real-time period",
        ),
        (Resources(blkio_weight=9), "Range of blkio weight is from 10 to 1000"),
        (Resources(cpuset_cpus="2"), "Requested CPUs are not available - requested 2, available"),
        (Resources(cpuset_mems="0-1"), "Requested memory nodes are not available"),
        (Resources(cpuset_cpus="a"), "Invalid value a for cpuset cpus"),
    ],
)
def test_refusals(asked: Resources, words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("(", r"\(")):
        limits.verify(asked, HOST)


def test_what_is_fine() -> None:
    rate = (DeviceRate("/dev/x", 1),)
    asked = Resources(
        memory_bytes=64 << 20, memory_swap_bytes=-1, cpuset_cpus="0,1", pids_limit=9,
        blkio_weight=10, read_bps=rate, cpu_rt_runtime_us=1000,
    )  # fmt: skip
    assert limits.verify(asked, HOST) == []
    assert limits.verify(Resources(memory_swap_bytes=9 << 20), HOST, update=True) == []


def test_warnings_of_a_poor_host() -> None:
    rate = (DeviceRate("/dev/x", 1),)
    asked = Resources(
        memory_bytes=64 << 20, memory_swappiness=1, memory_reservation_bytes=6 << 20,
        oom_kill_disable=True, cpu_shares=2, cpu_quota_us=1000, cpuset_cpus="77", pids_limit=9,
        blkio_weight=10, blkio_weight_devices=rate, read_bps=rate, write_iops=rate,
    )  # fmt: skip
    warnings = limits.verify(asked, POOR)
    kernel = "Your kernel does not support "
    assert [text.removeprefix(kernel).split(" or the")[0] for text in warnings] == [
        "memory limit capabilities", "swap limit capabilities", "memory swappiness capabilities",
        "memory soft limit capabilities", "OomKillDisable. OomKillDisable discarded.",
        "PIDs limit capabilities", "CPU shares", "CPU CFS scheduler. CPU period/quota discarded.",
        "cpuset", "Block I/O weight", "Block I/O weight_device", "BPS Block I/O read limit",
        "IOPS Block write limit",
    ]  # fmt: skip
    assert warnings[-1].endswith("Block I/O IOPS write limit discarded.")
    with pytest.raises(InvalidInput, match="NanoCPUs can not be set"):
        limits.verify(Resources(nano_cpus=10**9), POOR)
    with pytest.raises(InvalidInput, match="does not support CPU real-time scheduler"):
        limits.verify(Resources(cpu_rt_period_us=1), POOR)


def test_no_oom_killer_without_a_limit_is_said() -> None:
    (warning,) = limits.verify(Resources(oom_kill_disable=True), HOST)
    assert warning.startswith("OOM killer is disabled for the container, but no memory limit")


def test_update_replaces_what_is_given() -> None:
    now = Resources(memory_bytes=64 << 20, cpu_shares=5, pids_limit=7)
    merged = limits.merge(now, Resources(memory_bytes=32 << 20, pids_limit=-1))
    assert merged == Resources(memory_bytes=32 << 20, cpu_shares=5, pids_limit=-1)


@pytest.mark.parametrize(
    ("now", "change", "words"),
    [
        (Resources(memory_bytes=8), Resources(memory_bytes=17), "already set memoryswap limit"),
        (Resources(cpu_period_us=1), Resources(nano_cpus=1), "CPU Period has already been set"),
        (Resources(cpu_quota_us=1), Resources(nano_cpus=1), "CPU Quota has already been set"),
        (Resources(nano_cpus=1), Resources(cpu_quota_us=1), "NanoCPUs has already been set"),
        (Resources(nano_cpus=1), Resources(cpu_period_us=1), "NanoCPUs has already been set"),
    ],
)
def test_update_conflicts(now: Resources, change: Resources, words: str) -> None:
    with pytest.raises(Conflict, match=words):
        limits.merge(now, change)


def test_members_of_a_list() -> None:
    assert limits.members("0-2,5") == {0, 1, 2, 5}
