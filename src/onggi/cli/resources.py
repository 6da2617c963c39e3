"""Limits of run, create and update: from flags to a Resources record. The engine judges them."""

from ..errors import InvalidInput
from ..spec.container import DeviceRate, Resources
from ..units import parse_cpus, parse_size
from . import devices, limits
from .flags import Check, Values
from .session import refusal

KERNEL_MEMORY = (
    "Specifying a kernel memory limit is deprecated and will be removed in a future release."
)


def resources(values: Values) -> Resources:
    """Of run and create."""
    swappiness = values.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise refusal(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    if values.text("io-maxbandwidth") or values.text("io-maxiops"):
        raise InvalidInput(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )
    return shared(values)._replace(
        memory_swappiness=swappiness,
        oom_kill_disable=values.on("oom-kill-disable"),
        blkio_weight_devices=rates(values, "blkio-weight-device", devices.parse_weight),
        read_bps=rates(values, "device-read-bps", devices.parse_bps),
        write_bps=rates(values, "device-write-bps", devices.parse_bps),
        read_iops=rates(values, "device-read-iops", devices.parse_iops),
        write_iops=rates(values, "device-write-iops", devices.parse_iops),
    )


def shared(values: Values) -> Resources:
    """What update can change as well."""
    return Resources(
        memory_bytes=size(values, "memory"),
        memory_swap_bytes=limits.swap_bytes(values.text("memory-swap")),
        memory_reservation_bytes=size(values, "memory-reservation"),
        nano_cpus=parse_cpus(values.text("cpus") or "0"),
        cpu_shares=at_least(values, "cpu-shares", 0),
        cpu_period_us=at_least(values, "cpu-period", 0),
        cpu_quota_us=at_least(values, "cpu-quota", -1),
        cpuset_cpus=values.text("cpuset-cpus"),
        cpuset_mems=values.text("cpuset-mems"),
        pids_limit=at_least(values, "pids-limit", -1),
        cpu_rt_period_us=at_least(values, "cpu-rt-period", 0),
        cpu_rt_runtime_us=at_least(values, "cpu-rt-runtime", 0),
        blkio_weight=values.number("blkio-weight"),
    )


def rates(values: Values, name: str, parse: "Check") -> tuple[DeviceRate, ...]:
    found = (parse(text) for text in values.many(name))
    return tuple(rate for rate in found if isinstance(rate, DeviceRate))


def size(values: Values, name: str) -> int:
    text = values.text(name)
    return parse_size(text) if text else 0


def at_least(values: Values, name: str, least: int) -> int:
    number = values.number(name)
    if number < least:
        raise refusal(f"invalid value {number} for --{name}: want {least} or more")
    return number


def discarded(values: Values) -> list[str]:
    """Warnings for what the kernel or the platform has no use for."""
    found = []
    if values.text("kernel-memory"):
        found.append(KERNEL_MEMORY)
    if values.number("cpu-percent"):
        found.append("linux does not support CPU percent. Percent discarded.")
    if values.number("cpu-count"):
        found.append("linux does not support CPU count. Count discarded.")
    return found
