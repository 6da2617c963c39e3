"""cgroup v2: one hierarchy, controllers switched on from the root down."""

import errno
import os
import select
from collections.abc import Sequence

from . import devicefilter
from .cgroup import (
    GONE,
    DeviceRule,
    Resources,
    Setting,
    Stats,
    cpu_quota,
    device_number,
    memory_and_swap,
    read,
    read_keyed,
    read_number,
    write,
    write_settings,
)

_WANTED = ("cpuset", "cpu", "io", "memory", "pids")
_FREEZE_TIMEOUT_S = 2.0


def cpu_weight(shares: int) -> int:
    """v1's cpu.shares (2..262144) on v2's scale (1..10000), as OCI runtimes convert it."""
    shares = min(max(shares, 2), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def io_weight(weight: int) -> int:
    """v1's blkio.weight (10..1000) on v2's scale (1..10000), as OCI runtimes convert it."""
    return 1 + (min(max(weight, 10), 1000) - 10) * 9999 // 990


def settings(resources: Resources) -> list[Setting]:
    found: list[Setting] = []

    def want(file: str, value: object) -> None:
        controller = file.partition(".")[0]
        warning = f"the {controller} controller is not available: {file} discarded"
        found.append(Setting(file, str(value), warning))

    if resources.memory_bytes:
        total = memory_and_swap(resources)
        want("memory.max", resources.memory_bytes)
        want("memory.swap.max", "max" if total < 0 else max(0, total - resources.memory_bytes))
    if resources.memory_reservation_bytes:
        want("memory.low", resources.memory_reservation_bytes)
    quota, period = cpu_quota(resources)
    if quota or period:
        want("cpu.max", f"{quota if quota > 0 else 'max'} {period or 100_000}")
    if resources.cpu_shares:
        want("cpu.weight", cpu_weight(resources.cpu_shares))
    if resources.cpuset_cpus:
        want("cpuset.cpus", resources.cpuset_cpus)
    if resources.cpuset_mems:
        want("cpuset.mems", resources.cpuset_mems)
    if resources.pids_limit:
        want("pids.max", resources.pids_limit if resources.pids_limit > 0 else "max")
    if resources.blkio_weight:
        want("io.weight", io_weight(resources.blkio_weight))
    for device in resources.blkio_weight_devices:
        want("io.weight", f"{device_number(device.path)} {io_weight(device.rate)}")
    for key, devices in (
        ("rbps", resources.read_bps),
        ("wbps", resources.write_bps),
        ("riops", resources.read_iops),
        ("wiops", resources.write_iops),
    ):
        for device in devices:
            want("io.max", f"{device_number(device.path)} {key}={device.rate}")
    return found


class Group:
    def __init__(self, point: str, name: str) -> None:
        self._point = point
        self._directory = f"{point}/{name}"

    def paths(self) -> tuple[str, ...]:
        return (self._directory,)

    def mounts(self) -> tuple[tuple[str, str], ...]:
        return (("", self._directory),)

    def make(self) -> None:
        os.makedirs(self._directory, 0o755, exist_ok=True)
        available = set(read(f"{self._point}/cgroup.controllers").split())
        wanted = [controller for controller in _WANTED if controller in available]
        above = self._point
        for part in self._directory[len(self._point) + 1 :].split("/"):
            enabled = set(read(f"{above}/cgroup.subtree_control").split())
            for controller in wanted:
                if controller not in enabled:
                    _enable(above, controller)
            above = f"{above}/{part}"

    def apply(self, resources: Resources) -> list[str]:
        refused = []
        if resources.memory_swappiness >= 0:
            refused.append(
                "Your kernel does not support memory swappiness capabilities or the cgroup is not "
                "mounted. Memory swappiness discarded."
            )
        if resources.oom_kill_disable:
            refused.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        return refused + write_settings(self._directory, settings(resources))

    def restrict_devices(self, rules: Sequence[DeviceRule]) -> list[str]:
        try:
            devicefilter.attach(self._directory, rules)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EINVAL):
                raise
            return [f"device access is not restricted: {error.strerror}"]
        return []

    def stats(self) -> Stats:
        usage = read_number(f"{self._directory}/memory.current")
        cache = read_keyed(f"{self._directory}/memory.stat", "inactive_file")
        io = read(f"{self._directory}/io.stat")
        return Stats(
            cpu_ns=1000 * read_keyed(f"{self._directory}/cpu.stat", "usage_usec"),
            memory_bytes=max(0, usage - cache),
            memory_limit_bytes=read_number(f"{self._directory}/memory.max"),
            pids=read_number(f"{self._directory}/pids.current"),
            pids_limit=read_number(f"{self._directory}/pids.max"),
            read_bytes=_io_bytes(io, "rbytes"),
            written_bytes=_io_bytes(io, "wbytes"),
        )

    def oom_kills(self) -> int:
        return read_keyed(f"{self._directory}/memory.events", "oom_kill")

    def watch_oom(self) -> int:
        """Also told of other events of memory."""
        from . import inotify

        return inotify.watch(f"{self._directory}/memory.events")

    def kill(self) -> bool:
        """cgroup.kill, Linux 5.14."""
        try:
            write(f"{self._directory}/cgroup.kill", "1")
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False
        return True

    def freeze(self) -> None:
        write(f"{self._directory}/cgroup.freeze", "1")
        events = os.open(f"{self._directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while b"frozen 0" in os.pread(events, 4096, 0):
                if not poll.poll(_FREEZE_TIMEOUT_S * 1000):
                    self.thaw()
                    raise OSError(errno.EBUSY, "cannot freeze the processes", self._directory)
        finally:
            os.close(events)

    def thaw(self) -> None:
        try:
            write(f"{self._directory}/cgroup.freeze", "0")
        except OSError as error:
            if error.errno not in GONE:
                raise

    def frozen(self) -> bool:
        return read(f"{self._directory}/cgroup.freeze").strip() == "1"


def _io_bytes(text: str, key: str) -> int:
    """The sum over all devices of io.stat's "8:0 rbytes=1 wbytes=2 ..."."""
    words = (word.partition("=") for word in text.split())
    return sum(int(value) for name, _, value in words if name == key)


def _enable(directory: str, controller: str) -> None:
    """EBUSY and ENOENT: the group has processes of its own (we run in a container) or the
    controller is not delegated. The limits that need it are then told as warnings."""
    try:
        write(f"{directory}/cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, errno.EACCES):
            raise
