"""Limits that are asked for, against what this host can do. Pure; every text is docker's.

`verify` refuses what contradicts itself and returns the warnings for what the kernel cannot limit;
`merge` is `update`: what is given replaces, what is not stays.
"""

from ..errors import Conflict, InvalidInput
from ..linux.cgroupfacts import Facts
from ..patterns import Pattern
from ..spec.container import Resources
from ..typed import Any

MIN_MEMORY = 6 << 20
_LIST = Pattern(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*")
_LOST = "or the cgroup is not mounted. "


def verify(asked: Resources, facts: Facts, *, update: bool = False) -> list[str]:
    """Warnings. Raises InvalidInput."""
    _refuse_memory(asked, update=update)
    _refuse_cpu(asked, facts)
    _refuse_block_io(asked)
    warnings = _memory_warnings(asked, facts)
    if asked.pids_limit and not facts.pids:
        warnings.append(
            f"Your kernel does not support PIDs limit capabilities {_LOST}PIDs limit discarded."
        )
    warnings += _cpu_warnings(asked, facts)
    if (asked.cpuset_cpus or asked.cpuset_mems) and facts.cpuset:
        _refuse_sets(asked, facts)
    return warnings + _block_warnings(asked, facts)


def _refuse_memory(asked: Resources, *, update: bool) -> None:
    memory, swap = asked.memory_bytes, asked.memory_swap_bytes
    if 0 < memory < MIN_MEMORY:
        raise InvalidInput("Minimum memory limit allowed is 6MB")
    if memory and 0 < swap < memory:
        raise InvalidInput("Minimum memoryswap limit should be larger than memory limit, see usage")
    if swap > 0 and not memory and not update:
        raise InvalidInput(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if not -1 <= asked.memory_swappiness <= 100:
        raise InvalidInput(
            f"Invalid value: {asked.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    if 0 < asked.memory_reservation_bytes < MIN_MEMORY:
        raise InvalidInput("Minimum memory reservation allowed is 6MB")
    if memory and memory < asked.memory_reservation_bytes:
        raise InvalidInput(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _refuse_cpu(asked: Resources, facts: Facts) -> None:
    if asked.nano_cpus and asked.cpu_period_us:
        raise InvalidInput("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if asked.nano_cpus and asked.cpu_quota_us:
        raise InvalidInput("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if not 0 <= asked.nano_cpus <= facts.processors * 10**9:
        raise InvalidInput(
            f"range of CPUs is from 0.01 to {facts.processors}.00, as there are only "
            f"{facts.processors} CPUs available"
        )
    if asked.nano_cpus and not facts.cpu_quota:
        raise InvalidInput(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
            "cgroup is not mounted"
        )
    if asked.cpu_shares < 0:
        raise InvalidInput(f"invalid CPU shares ({asked.cpu_shares}): value must be positive")
    if asked.cpu_period_us and not 1000 <= asked.cpu_period_us <= 1_000_000:
        raise InvalidInput(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < asked.cpu_quota_us < 1000:
        raise InvalidInput("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    runtime, period = asked.cpu_rt_runtime_us, asked.cpu_rt_period_us
    if (runtime or period) and not facts.cpu_real_time:
        raise InvalidInput("Your kernel does not support CPU real-time scheduler")
    if runtime < 0 or period < 0:
        raise InvalidInput("cpu real-time period and runtime must be positive")
    if runtime and period and runtime > period:
        raise InvalidInput("cpu real-time runtime cannot be higher than cpu real-time period")


def _refuse_block_io(asked: Resources) -> None:
    if asked.blkio_weight and not 10 <= asked.blkio_weight <= 1000:
        raise InvalidInput("Range of blkio weight is from 10 to 1000")


def _refuse_sets(asked: Resources, facts: Facts) -> None:
    for text, available, what, name in (
        (asked.cpuset_cpus, facts.cpus, "cpuset cpus", "CPUs"),
        (asked.cpuset_mems, facts.nodes, "cpuset mems", "memory nodes"),
    ):
        if text and not _LIST.fullmatch(text):
            raise InvalidInput(f"Invalid value {text} for {what}")
        if text and available and not members(text) <= members(available):
            raise InvalidInput(
                f"Requested {name} are not available - requested {text}, available: {available}"
            )


def members(text: str) -> set[int]:
    """The numbers of a list such as "0-3,8"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _memory_warnings(asked: Resources, facts: Facts) -> list[str]:
    found = []
    kernel = "Your kernel does not support"
    if asked.memory_bytes and not facts.memory:
        found.append(f"{kernel} memory limit capabilities {_LOST}Limitation discarded.")
    if asked.memory_bytes and asked.memory_swap_bytes != -1 and not facts.swap:
        found.append(f"{kernel} swap limit capabilities {_LOST}Memory limited without swap.")
    if asked.memory_swappiness >= 0 and not facts.swappiness:
        found.append(f"{kernel} memory swappiness capabilities {_LOST}Memory swappiness discarded.")
    if asked.memory_reservation_bytes and not facts.reservation:
        found.append(f"{kernel} memory soft limit capabilities {_LOST}Limitation discarded.")
    if asked.oom_kill_disable and not facts.oom_disable:
        found.append(f"{kernel} OomKillDisable. OomKillDisable discarded.")
    if asked.oom_kill_disable and not asked.memory_bytes:
        found.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result "
            "in the system running out of resources."
        )
    return found


def _cpu_warnings(asked: Resources, facts: Facts) -> list[str]:
    found = []
    kernel = "Your kernel does not support"
    if asked.cpu_shares and not facts.cpu_shares:
        found.append(f"{kernel} CPU shares {_LOST}Shares discarded.")
    if (asked.cpu_period_us or asked.cpu_quota_us) and not facts.cpu_quota:
        found.append(f"{kernel} CPU CFS scheduler. CPU period/quota discarded.")
    if (asked.cpuset_cpus or asked.cpuset_mems) and not facts.cpuset:
        found.append(f"{kernel} cpuset {_LOST}Cpuset discarded.")
    return found


def _block_warnings(asked: Resources, facts: Facts) -> list[str]:
    found = []
    kernel = "Your kernel does not support"
    if asked.blkio_weight and not facts.weight:
        found.append(f"{kernel} Block I/O weight {_LOST}Weight discarded.")
    if asked.blkio_weight_devices and not facts.weight_device:
        found.append(f"{kernel} Block I/O weight_device {_LOST}Weight-device discarded.")
    for devices, what in (
        (asked.read_bps, "BPS Block I/O read limit"),
        (asked.write_bps, "BPS Block I/O write limit"),
        (asked.read_iops, "IOPS Block read limit"),
        (asked.write_iops, "IOPS Block write limit"),
    ):
        if devices and not facts.throttle:
            short = f"{what.split()[0]} {what.split()[-2]} limit"
            found.append(f"{kernel} {what} {_LOST}Block I/O {short} discarded.")
    return found


def merge(now: Resources, change: Resources) -> Resources:
    """What holds after an update. Raises Conflict for what the one forbids the other."""
    if change.nano_cpus and now.cpu_period_us:
        raise Conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"
        )
    if change.nano_cpus and now.cpu_quota_us:
        raise Conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        )
    if change.cpu_quota_us and now.nano_cpus:
        raise Conflict(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        )
    if change.cpu_period_us and now.nano_cpus:
        raise Conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"
        )
    memory, swap = change.memory_bytes, now.memory_swap_bytes or 2 * now.memory_bytes
    if memory and not change.memory_swap_bytes and 0 < swap < memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )
    default = Resources()
    given: dict[str, Any] = {
        name: value
        for name, value in zip(change._fields, change, strict=True)
        if value != getattr(default, name)
    }
    return now._replace(**given)
