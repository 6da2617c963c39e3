"""Control groups of one container: made, limited, joined, read, emptied and removed.

Owns the choice between v1, v2 and the hybrid layout, from mountinfo. The host's own mounts stay as
they are. What a host cannot limit comes back as a warning, never as silence.
"""

import errno
import os
import stat
import time
from collections.abc import Sequence

from ..typed import NamedTuple, Protocol
from .process import pidfd_open, pidfd_send_signal

_SIGKILL = 9
GONE = (errno.ENOENT, errno.ENODEV)  # removed before the file was opened, or before it was written
_REMOVE_TIMEOUT_S = 5.0
# Others use it, it is gone, or it is another user's.
_PARENT_STAYS = (errno.ENOTEMPTY, errno.EBUSY, errno.ENOENT, errno.EACCES, errno.EPERM)


class Rate(Protocol):
    """spec.container.DeviceRate: a block device by path, or as "MAJOR:MINOR", and its limit."""

    @property
    def path(self) -> str: ...
    @property
    def rate(self) -> int: ...


class Resources(Protocol):
    """spec.container.Resources; 0, "" and () mean no limit, a swappiness of -1 the host's."""

    @property
    def memory_bytes(self) -> int: ...
    @property
    def memory_swap_bytes(self) -> int: ...
    @property
    def memory_reservation_bytes(self) -> int: ...
    @property
    def nano_cpus(self) -> int: ...
    @property
    def cpu_shares(self) -> int: ...
    @property
    def cpu_period_us(self) -> int: ...
    @property
    def cpu_quota_us(self) -> int: ...
    @property
    def cpuset_cpus(self) -> str: ...
    @property
    def cpuset_mems(self) -> str: ...
    @property
    def pids_limit(self) -> int: ...
    @property
    def cpu_rt_period_us(self) -> int: ...
    @property
    def cpu_rt_runtime_us(self) -> int: ...
    @property
    def memory_swappiness(self) -> int: ...
    @property
    def oom_kill_disable(self) -> bool: ...
    @property
    def blkio_weight(self) -> int: ...
    @property
    def blkio_weight_devices(self) -> Sequence[Rate]: ...
    @property
    def read_bps(self) -> Sequence[Rate]: ...
    @property
    def write_bps(self) -> Sequence[Rate]: ...
    @property
    def read_iops(self) -> Sequence[Rate]: ...
    @property
    def write_iops(self) -> Sequence[Rate]: ...


class DeviceRule(NamedTuple):
    """One line of a device list; the last rule that matches a device decides. -1 is any number."""

    allow: bool
    kind: str  # "a" all, "b" block, "c" character
    major: int = -1
    minor: int = -1
    access: str = "rwm"


class Setting(NamedTuple):
    """One value to write. A failure to write an `optional` one is told as `warning`."""

    file: str
    value: str
    warning: str = ""


class Stats(NamedTuple):
    cpu_ns: int
    memory_bytes: int  # without the inactive page cache, as docker counts
    memory_limit_bytes: int  # 0: none
    pids: int
    pids_limit: int  # 0: none
    read_bytes: int = 0  # from block devices
    written_bytes: int = 0


class Layout(NamedTuple):
    """Where the hierarchies are mounted. `v1` pairs a controller (or "name=systemd") with its mount
    point; `v2` is "" where there is none."""

    v1: tuple[tuple[str, str], ...]
    v2: str


CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls",
    "net_prio", "perf_event", "hugetlb", "rdma", "misc",
)  # fmt: skip
_NODES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))
DEFAULT_DEVICES = (  # what docker lets every container use; making a node is no use of it
    DeviceRule(False, "a"),
    DeviceRule(True, "c", access="m"),
    DeviceRule(True, "b", access="m"),
    *(DeviceRule(True, "c", major, minor) for major, minor in _NODES),
)


def parse_layout(mountinfo: str) -> Layout:
    """The layout from the text of /proc/self/mountinfo."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, rest = right.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        point = left.split(" ")[4]
        if "\\" in point:  # a blank as \040; the codec is a module of its own
            point = point.encode().decode("unicode_escape")
        if kind == "cgroup2":
            v2 = v2 or point
            continue
        for option in rest.rpartition(" ")[2].split(","):
            if option in CONTROLLERS or option.startswith("name="):
                v1.setdefault(option, point)
    return Layout(tuple(v1.items()), v2)


def host_layout() -> Layout:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_layout(file.read())


def leave_unit(layout: Layout) -> None:
    """Move ourselves, a process of one thread, to the root group that systemd looks at, out of the
    service or session that we were started from: its end is not ours. Where that is not allowed,
    in a container for one, we stay. On v2 it waits for an RCU grace period."""
    named = dict(layout.v1).get("name=systemd")
    path = f"{named}/tasks" if named else f"{layout.v2}/cgroup.procs"
    try:
        write(path, "0")
    except OSError as error:
        refused = (*GONE, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EROFS)
        if error.errno not in refused:
            raise


class Cgroup:
    """The control groups `parent`/`name` of one container, whatever the host's layout.

    Cheap to make: touches nothing before a method is called. The parent goes with its last group,
    unless `keep_parent` says that it is the user's.
    """

    def __init__(
        self,
        name: str,
        parent: str = "onggi",
        layout: Layout | None = None,
        *,
        keep_parent: bool = False,
    ) -> None:
        from . import cgroup1, cgroup2

        self.layout = host_layout() if layout is None else layout
        controllers = any(not kind.startswith("name=") for kind, _ in self.layout.v1)
        self.version = 1 if controllers else 2 if self.layout.v2 else 0
        self.path = f"{parent}/{name}".strip("/")  # below each hierarchy's root
        self._keep_parent = keep_parent
        self._group: cgroup1.Group | cgroup2.Group = (
            cgroup1.Group(self.layout.v1, self.path)
            if self.version != 2
            else cgroup2.Group(self.layout.v2, self.path)
        )

    def create(
        self, resources: Resources, devices: Sequence[DeviceRule] = DEFAULT_DEVICES
    ) -> list[str]:
        """Make the groups and set the limits; an empty `devices` allows every device.

        Returns warnings. Raises OSError when a limit that the host knows cannot be set.
        """
        for _ in range(16):
            try:
                self._group.make()
                break
            except FileNotFoundError:  # another container's end removed our parent just now
                continue
        else:
            self._group.make()
        warnings = self._group.apply(resources)
        if devices:
            warnings += self._group.restrict_devices(devices)
        return warnings

    def set(self, resources: Resources) -> list[str]:
        """Change the limits of a running container; what is 0 stays as it is."""
        return self._group.apply(resources)

    def join(self) -> None:
        """Move ourselves, a process of one thread, into every v1 hierarchy: 0.2 ms. Moving another
        process, or a whole one through cgroup.procs, waits for an RCU grace period first, which
        an idle host takes 8 to 16 ms for (kernel/cgroup: cgroup_procs_write_start)."""
        for path in self.paths() if self.version == 1 else ():
            write(f"{path}/tasks", "0")

    def add(self, pid: int) -> None:
        """Move a process into every hierarchy. Slow, see `join`: for who may not move itself."""
        for path in self.paths():
            write(f"{path}/cgroup.procs", str(pid))

    def open_fd(self) -> int | None:
        """A descriptor for clone3's CLONE_INTO_CGROUP; None on v1, where `add` must be used."""
        if self.version != 2:
            return None
        return os.open(self.paths()[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def paths(self) -> tuple[str, ...]:
        """The group's directories on the host, each once."""
        return self._group.paths()

    def mounts(self) -> tuple[tuple[str, str], ...]:
        """What a container sees below /sys/fs/cgroup: (name, host directory); v2 has name ""."""
        return self._group.mounts()

    def pids(self) -> list[int]:
        paths = self.paths()
        return read_pids(paths[0]) if paths else []

    def stats(self) -> Stats:
        return self._group.stats()

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for lack of memory; 0 when it cannot say."""
        return self._group.oom_kills()

    def watch_oom(self) -> int:
        """A descriptor that becomes readable when memory has run out here, also for a moment when
        it has not; reading takes the news away. -1 where the host does not tell."""
        try:
            return self._group.watch_oom()
        except OSError:
            return -1

    def freeze(self) -> None:
        self._group.freeze()

    def thaw(self) -> None:
        self._group.thaw()

    def frozen(self) -> bool:
        return self._group.frozen()

    def kill_all(self) -> None:
        """SIGKILL to every process, also to those that fork meanwhile. Does not wait."""
        if not self.paths() or not os.path.isdir(self.paths()[0]) or not self.pids():
            return
        if not self._group.kill():
            kill_frozen(self)

    def remove(self) -> None:
        """State that the groups are gone; the shared parents go too when they are empty."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for path in self.paths():
            remove_group(path, deadline)
            if self._keep_parent:
                continue
            try:
                os.rmdir(os.path.dirname(path))
            except OSError as error:
                if error.errno not in _PARENT_STAYS:
                    raise


def kill_frozen(group: Cgroup) -> None:
    """Freeze, signal each member by pidfd, thaw: nothing can fork away or have its pid reused."""
    try:
        group.freeze()
    except OSError as error:
        if error.errno not in GONE:
            raise
        return
    try:
        for pid in group.pids():
            try:
                pidfd = pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                if pid in group.pids():  # holds also where no freezer is mounted
                    pidfd_send_signal(pidfd, _SIGKILL)
            except ProcessLookupError:
                pass
            finally:
                os.close(pidfd)
    finally:
        group.thaw()


def remove_group(path: str, deadline: float) -> None:
    """rmdir a group with all below it. The kernel says EBUSY until its last dead process has been
    taken off, which v1 has no event for: ask again until `deadline`."""
    delay = 0.0005
    while True:
        try:
            os.rmdir(path)
            return
        except (FileNotFoundError, NotADirectoryError):
            return  # gone, or below what can have no groups: it was never made
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
        try:
            with os.scandir(path) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return  # somebody else was faster
        for child in below:
            remove_group(child, deadline)
        if not below:
            time.sleep(delay)
            delay = min(delay * 2, 0.02)


def write(path: str, value: str) -> None:
    """Write a control file whole. Raises OSError naming the file and the value."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {value!r})", path) from error
    finally:
        os.close(fd)


def read(path: str) -> str:
    """A control file's text; "" when the group or the controller is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pieces = []  # without the five questions that open() asks the kernel about each file
            while piece := os.read(fd, 1 << 16):
                pieces.append(piece)
        finally:
            os.close(fd)
        return b"".join(pieces).decode("utf-8", "replace")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def read_number(path: str) -> int:
    """A control file's number; 0 for none, "max" and v1's "unlimited"."""
    text = read(path).strip()
    number = int(text) if text.isascii() and text.isdigit() else 0
    return 0 if number >= 1 << 62 else number


def read_pids(path: str) -> list[int]:
    return [int(word) for word in read(f"{path}/cgroup.procs").split()]


def read_keyed(path: str, key: str) -> int:
    """The number after `key` in a flat-keyed file such as memory.stat; 0 when missing."""
    for line in read(path).splitlines():
        word, _, number = line.partition(" ")
        if word == key:
            return int(number)
    return 0


def write_settings(directory: str, settings: Sequence[Setting]) -> list[str]:
    """Write each setting; one with a warning text whose file is not there becomes that warning."""
    warnings = []
    for setting in settings:
        try:
            write(f"{directory}/{setting.file}", setting.value)
        except OSError as error:
            refused = (errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP)
            if error.errno not in refused or not setting.warning:
                raise
            if setting.warning not in warnings:
                warnings.append(setting.warning)
    return warnings


def device_number(path: str) -> str:
    """ "8:0" of a block device's path, or of a text that is one already. Raises OSError."""
    major, colon, minor = path.partition(":")
    if colon and major.isdigit() and minor.isdigit():
        return path
    status = os.stat(path)
    if not stat.S_ISBLK(status.st_mode):
        raise OSError(errno.ENOTBLK, "Block device required", path)
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def cpu_quota(resources: Resources) -> tuple[int, int]:
    """(quota, period) in microseconds; quota 0 means none, -1 lifts it."""
    if resources.nano_cpus:
        period = 100_000
        return max(1000, resources.nano_cpus * period // 1_000_000_000), period
    return resources.cpu_quota_us, resources.cpu_period_us


def memory_and_swap(resources: Resources) -> int:
    """The limit of memory plus swap: docker gives as much swap as memory when none is said.
    0 is none, -1 unlimited."""
    if resources.memory_swap_bytes:
        return resources.memory_swap_bytes
    return 2 * resources.memory_bytes
