"""cgroup v1: one hierarchy for each controller (or group of controllers)."""

import errno
import os
import time
from collections.abc import Sequence

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

_NO_SWAP_LIMIT = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
    "Memory limited without swap."
)
_NO_SWAPPINESS = (
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
    "Memory swappiness discarded."
)
_NO_WEIGHT = (
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
)
_NO_WEIGHT_DEVICE = (
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
    "Weight-device discarded."
)
_FREEZE_TIMEOUT_S = 2.0


def settings(resources: Resources, blkio: str = "blkio") -> list[tuple[str, Setting]]:
    """(controller, setting) pairs in the order in which a fresh group takes them. `blkio` starts
    the names of the weight files: "blkio.bfq" where that scheduler has taken them over."""
    found: list[tuple[str, Setting]] = []

    def want(controller: str, file: str, value: object, warning: str = "") -> None:
        found.append((controller, Setting(file, str(value), warning)))

    if resources.memory_bytes:
        want("memory", "memory.limit_in_bytes", resources.memory_bytes)
        total = memory_and_swap(resources)
        want("memory", "memory.memsw.limit_in_bytes", total, _NO_SWAP_LIMIT)
    if resources.memory_reservation_bytes:
        want("memory", "memory.soft_limit_in_bytes", resources.memory_reservation_bytes)
    if resources.memory_swappiness >= 0:
        want("memory", "memory.swappiness", resources.memory_swappiness, _NO_SWAPPINESS)
    if resources.oom_kill_disable:
        want("memory", "memory.oom_control", 1)
    quota, period = cpu_quota(resources)
    if period:
        want("cpu", "cpu.cfs_period_us", period)
    if quota:
        want("cpu", "cpu.cfs_quota_us", quota)
    if resources.cpu_rt_period_us:
        want("cpu", "cpu.rt_period_us", resources.cpu_rt_period_us)
    if resources.cpu_rt_runtime_us:
        want("cpu", "cpu.rt_runtime_us", resources.cpu_rt_runtime_us)
    if resources.cpu_shares:
        want("cpu", "cpu.shares", resources.cpu_shares)
    if resources.cpuset_cpus:
        want("cpuset", "cpuset.cpus", resources.cpuset_cpus)
    if resources.cpuset_mems:
        want("cpuset", "cpuset.mems", resources.cpuset_mems)
    if resources.pids_limit:
        want("pids", "pids.max", resources.pids_limit if resources.pids_limit > 0 else "max")
    return found + block_settings(resources, blkio)


def block_settings(resources: Resources, prefix: str) -> list[tuple[str, Setting]]:
    """Weights, and the throttles of single devices; one write a device."""
    found = []
    if resources.blkio_weight:
        found.append(Setting(f"{prefix}.weight", str(resources.blkio_weight), _NO_WEIGHT))
    limits = (
        (f"{prefix}.weight_device", resources.blkio_weight_devices, _NO_WEIGHT_DEVICE),
        ("blkio.throttle.read_bps_device", resources.read_bps, ""),
        ("blkio.throttle.write_bps_device", resources.write_bps, ""),
        ("blkio.throttle.read_iops_device", resources.read_iops, ""),
        ("blkio.throttle.write_iops_device", resources.write_iops, ""),
    )
    for file, devices, warning in limits:
        for device in devices:
            value = f"{device_number(device.path)} {device.rate}"
            found.append(Setting(file, value, warning))
    return [("blkio", setting) for setting in found]


def device_line(rule: DeviceRule) -> str:
    """A rule as devices.allow and devices.deny take it."""
    if rule.kind == "a":
        return "a"
    major, minor = ("*" if number < 0 else str(number) for number in (rule.major, rule.minor))
    return f"{rule.kind} {major}:{minor} {rule.access}"


class Group:
    def __init__(self, hierarchies: tuple[tuple[str, str], ...], name: str) -> None:
        self._directories = {controller: f"{point}/{name}" for controller, point in hierarchies}
        self._points = dict(hierarchies)

    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._directories.values()))

    def mounts(self) -> tuple[tuple[str, str], ...]:
        """Named as the host's mount points are: "memory", "cpu,cpuacct", "systemd"."""
        names = {path: os.path.basename(self._points[c]) for c, path in self._directories.items()}
        return tuple((name, path) for path, name in names.items())

    def make(self) -> None:
        for path in self.paths():
            os.makedirs(path, 0o755, exist_ok=True)
        if "cpuset" in self._directories:
            _fill_cpuset(self._points["cpuset"], self._directories["cpuset"])

    def apply(self, resources: Resources) -> list[str]:
        warnings: list[str] = []
        if resources.cpu_rt_runtime_us and "cpu" in self._directories:
            _lend_real_time(self._points["cpu"], self._directories["cpu"], resources)
        wanted = settings(resources, self._weight_prefix())
        memory = [s for controller, s in wanted if controller == "memory"]
        others = [(c, [s]) for c, s in wanted if c != "memory"]
        for controller, batch in [("memory", memory), *others]:
            if not batch:
                continue
            if controller not in self._directories:
                warnings.append(f"the {controller} cgroup is not mounted: limit discarded")
                continue
            warnings += _write_batch(self._directories[controller], batch)
        return warnings

    def _weight_prefix(self) -> str:
        directory = self._directories.get("blkio", "")
        return "blkio.bfq" if os.path.exists(f"{directory}/blkio.bfq.weight") else "blkio"

    def restrict_devices(self, rules: Sequence[DeviceRule]) -> list[str]:
        directory = self._directories.get("devices")
        if directory is None:
            return ["the devices cgroup is not mounted: device access is not restricted"]
        files: dict[bool, int] = {}
        try:
            for rule in rules:
                if rule.allow not in files:
                    file = "devices.allow" if rule.allow else "devices.deny"
                    files[rule.allow] = os.open(f"{directory}/{file}", os.O_WRONLY | os.O_CLOEXEC)
                os.write(files[rule.allow], device_line(rule).encode())
        finally:
            for fd in files.values():
                os.close(fd)
        return []

    def stats(self) -> Stats:
        memory = self._directories.get("memory", "")
        usage = read_number(f"{memory}/memory.usage_in_bytes")
        cache = read_keyed(f"{memory}/memory.stat", "total_inactive_file")
        pids = self._directories.get("pids", "")
        blkio = f"{self._directories.get('blkio', '')}/blkio.throttle.io_service_bytes_recursive"
        read_bytes, written_bytes = _block_bytes(read(blkio))
        return Stats(
            cpu_ns=read_number(f"{self._directories.get('cpuacct', '')}/cpuacct.usage"),
            memory_bytes=max(0, usage - cache),
            memory_limit_bytes=read_number(f"{memory}/memory.limit_in_bytes"),
            pids=read_number(f"{pids}/pids.current"),
            pids_limit=read_number(f"{pids}/pids.max"),
            read_bytes=read_bytes,
            written_bytes=written_bytes,
        )

    def oom_kills(self) -> int:
        directory = self._directories.get("memory", "")
        return read_keyed(f"{directory}/memory.oom_control", "oom_kill")

    def watch_oom(self) -> int:
        """Told before the kernel chooses whom to kill: `oom_kills` counts it a moment later."""
        directory = self._directories.get("memory")
        if directory is None:
            return -1
        told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            watched = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                write(f"{directory}/cgroup.event_control", f"{told} {watched}")
            finally:
                os.close(watched)
        except OSError:
            os.close(told)
            raise
        return told

    def kill(self) -> bool:
        """v1 has no cgroup.kill."""
        return False

    def freeze(self) -> None:
        """Returns when every process stands still; one that is being made may take a moment."""
        path = self._freezer()
        if path is None:
            return
        deadline = time.monotonic() + _FREEZE_TIMEOUT_S
        write(path, "FROZEN")
        while read(path).strip() == "FREEZING":  # reading drives the kernel on to FROZEN
            if time.monotonic() > deadline:
                write(path, "THAWED")
                raise OSError(errno.EBUSY, "cannot freeze the processes", path)

    def thaw(self) -> None:
        path = self._freezer()
        if path is not None:
            try:
                write(path, "THAWED")
            except OSError as error:
                if error.errno not in GONE:
                    raise

    def frozen(self) -> bool:
        path = self._freezer()
        return path is not None and read(path).strip() in ("FROZEN", "FREEZING")

    def _freezer(self) -> str | None:
        directory = self._directories.get("freezer")
        return f"{directory}/freezer.state" if directory else None


def _write_batch(directory: str, batch: list[Setting]) -> list[str]:
    """Memory must stay below memory plus swap at every moment: when the order up is refused, the
    order down is right."""
    try:
        return write_settings(directory, batch)
    except OSError as error:
        if error.errno != errno.EINVAL or len(batch) < 2:
            raise
        return write_settings(directory, batch[::-1])


def _block_bytes(text: str) -> tuple[int, int]:
    """(read, written) of lines such as "8:0 Read 4096", all devices together."""
    totals = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return totals["Read"], totals["Write"]


def _lend_real_time(point: str, directory: str, resources: Resources) -> None:
    """A group may take no more real time than its parent has, and a new one has none: give the
    parents as much as their children hold together with this one. Raises OSError when the host has
    no more to give."""
    above = point
    for part in directory[len(point) + 1 :].split("/")[:-1]:
        above = f"{above}/{part}"
        with os.scandir(above) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        held = sum(read_number(f"{c}/cpu.rt_runtime_us") for c in children if c != directory)
        wanted = held + resources.cpu_rt_runtime_us
        if read_number(f"{above}/cpu.rt_runtime_us") < wanted:
            write(f"{above}/cpu.rt_runtime_us", str(wanted))


def _fill_cpuset(point: str, directory: str) -> None:
    """A new cpuset is empty and takes no process before it has its parent's CPUs and nodes."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        here, given = point, ""
        for part in directory[len(point) + 1 :].split("/"):
            given = given or read(f"{here}/{file}").strip()
            here = f"{here}/{part}"
            held = read(f"{here}/{file}").strip()
            if not held:
                write(f"{here}/{file}", given)
            given = held or given
