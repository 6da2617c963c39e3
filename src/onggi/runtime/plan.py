"""What a container's first process, or one that joins it, is to become: pure records.

Made by engine/specgen or from an OCI config.json, carried out by `init` and `join`. Everything that
can be decided on the host is decided here; only names that live in the root filesystem (users,
groups, the command) are left to be looked up inside it.
"""

from ..errors import InvalidInput
from ..spec.mount import RootFilesystem
from ..typed import Literal, NamedTuple

Stdio = Literal["pipe", "null", "inherit"]


class BindRoot(NamedTuple):
    """A root filesystem that is a directory of the host."""

    path: str


class IdMap(NamedTuple):
    """`size` ids of the container from `inner` on are, on the host, those from `outer` on."""

    inner: int
    outer: int
    size: int


Maps = tuple[IdMap, ...]


def to_outer(maps: Maps, number: int) -> int | None:
    """What an id of the container is on the host; None when it is not mapped."""
    for inner, outer, size in maps:
        if inner <= number < inner + size:
            return outer + number - inner
    return None


class Namespace(NamedTuple):
    """A namespace of the container: a new one, or an existing one by path or by process.

    `kind` has OCI's names: mount pid network ipc uts cgroup user time. A kind that is not listed is
    shared with the caller. With `pid`, `pid_start` says which process of that number is meant.
    """

    kind: str
    path: str = ""
    pid: int = 0
    pid_start: int = 0

    @property
    def is_new(self) -> bool:
        return not self.path and not self.pid


class PlanMount(NamedTuple):
    """One mount, in the order in which they are made. `kind` is a file system type, "bind" (with a
    host `source`: a directory or any file), "detached" (`source` is the number of a descriptor that
    the child inherits) or "cgroup". `options` are OCI's and mount(8)'s words;
    see `parse_options`. A missing target is made. With `idmap` among the options the mount shows
    owners by its own maps, or by the container's when it has none."""

    target: str
    kind: str
    source: str = ""
    options: tuple[str, ...] = ()
    uid_map: Maps = ()
    gid_map: Maps = ()

    @property
    def is_mapped(self) -> bool:
        return bool(self.uid_map) or "idmap" in self.options or "ridmap" in self.options


class Device(NamedTuple):
    """A node to make. `kind` "c" or "b"."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class Capabilities(NamedTuple):
    """The five sets as bit masks (linux.capability)."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int = 0
    ambient: int = 0

    @classmethod
    def same(cls, mask: int) -> "Capabilities":
        """Docker's way: bounding, effective and permitted alike, nothing inheritable (B3)."""
        return cls(mask, mask, mask)


class Scheduling(NamedTuple):
    """How the process is scheduled. `policy` is sched_setattr's numbers: policy, flags, nice,
    priority, runtime, deadline, period; `io_priority` class and level."""

    policy: tuple[int, int, int, int, int, int, int] | None = None
    io_priority: tuple[int, int] | None = None
    personality: int | None = None
    first_processors: frozenset[int] = frozenset()  # before the control group is joined
    processors: frozenset[int] = frozenset()


class Labels(NamedTuple):
    """What AppArmor and SELinux call a process from its execve on, and SELinux the file systems
    that are made for it; "" is nothing."""

    apparmor: str = ""
    selinux: str = ""
    mount: str = ""

    @property
    def of_process(self) -> tuple[tuple[str, str], ...]:
        """(module, label)."""
        pairs = (("apparmor", self.apparmor), ("selinux", self.selinux))
        return tuple(pair for pair in pairs if pair[1])


class Listener(NamedTuple):
    """Who decides the system calls that a filter leaves open: `path` is its socket, `state` the
    container's state as JSON, where the "pid" is put in when it is known."""

    path: str
    metadata: str = ""
    state: str = "{}"


class Hook(NamedTuple):
    """A program to run at one point of a container's life. `timeout_s` 0: as long as it takes."""

    path: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    timeout_s: float = 0


class InnerHooks(NamedTuple):
    """The hooks that run inside the container, and the state they read, as JSON without a pid."""

    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    state: str = "{}"


class Landlock(NamedTuple):
    """What a process may not do even with the right to: linux.landlock's scopes, and writes outside
    the `writable` paths (None: everywhere)."""

    scopes: int = 0
    writable: tuple[str, ...] | None = None


class ProcessPlan(NamedTuple):
    """The part that a container's first process and an exec have in common.

    `user` is `name|uid[:group|gid]` as the image or the user says it, "" is root. `set_home` puts
    HOME from the image's passwd into an environment without it. `rlimits` are (name, soft, hard).
    Pipes and terminals are made by `spawn` and `join`; with `tty` the terminal is all three.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    group_add: tuple[str, ...] = ()
    set_home: bool = True
    capabilities: Capabilities = Capabilities(0, 0, 0)
    no_new_privileges: bool = False
    seccomp_program: bytes = b""
    landlock: Landlock | None = None
    rlimits: tuple[tuple[str, int, int], ...] = ()
    oom_score_adj: int | None = None
    umask: int = 0o022
    tty: bool = False
    rows: int = 0
    columns: int = 0
    stdin: Stdio = "null"
    output: Stdio = "pipe"
    preserve_fds: int = 0  # of the caller's descriptors, from 3 on
    kept: tuple[int, ...] = ()  # more of them, which keep their numbers
    scheduling: Scheduling | None = None
    listener: Listener | None = None
    seccomp_flags: int = 0
    labels: Labels = Labels()
    one_id: bool = False  # there is no other user than root: it stands in for all


class InitPlan(NamedTuple):
    """A container."""

    root: RootFilesystem | BindRoot
    process: ProcessPlan
    namespaces: tuple[Namespace, ...]
    mounts: tuple[PlanMount, ...] = ()
    masked_paths: tuple[str, ...] = ()
    read_only_paths: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    hostname: str = ""
    domainname: str = ""
    sysctls: tuple[tuple[str, str], ...] = ()
    read_only: bool = False
    volatile: bool = False  # the upper directory need not survive a crash of the host
    make_cwd: bool = True  # docker makes a missing working directory
    init: bool = False  # a reaper as process 1
    uid_map: Maps = ()  # of a new user namespace
    gid_map: Maps = ()
    time_offsets: tuple[tuple[str, int, int], ...] = ()  # clock, seconds, nanoseconds
    propagation: int = 0  # of the root mount, an MS_ bit; 0 is private
    propagation_recursive: bool = False
    hooks: InnerHooks | None = None
    nested: bool = False  # we are root of a user namespace only: no device nodes, no way back


class JoinPlan(NamedTuple):
    """A process in a running container, given as its first process."""

    pid: int
    pid_start: int
    process: ProcessPlan
    namespaces: tuple[str, ...] = ("mount", "pid", "network", "ipc", "uts", "cgroup")
    owner: tuple[int, int] = (0, 0)  # what the container's root is on the host
    reap: bool = False  # a reaper above it that leaves nothing of it behind: health checks
    nested: bool = False  # as InitPlan's


NEW_NAMESPACES = tuple(Namespace(k) for k in ("mount", "pid", "network", "ipc", "uts", "cgroup"))
DEFAULT_NODES = (
    Device("/dev/null", "c", 1, 3), Device("/dev/zero", "c", 1, 5), Device("/dev/full", "c", 1, 7),
    Device("/dev/random", "c", 1, 8), Device("/dev/urandom", "c", 1, 9),
    Device("/dev/tty", "c", 5, 0),
)  # fmt: skip
DEFAULT_LINKS = (
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"), ("core", "/proc/kcore"),
)  # fmt: skip
MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms",
    "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/dev/block",
    "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/bpf", "/sys/fs/pstore",
    "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing",
)  # fmt: skip
_THERMAL = "/sys/devices/system/cpu/cpu{}/thermal_throttle"
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_GUARDED = ("nosuid", "noexec", "nodev")


def masked_paths(cpus: int) -> tuple[str, ...]:
    """The default masks on a host with that many processors."""
    return MASKED_PATHS + tuple(_THERMAL.format(number) for number in range(cpus))


def default_mounts(shm_bytes: int = 64 << 20, *, privileged: bool = False) -> tuple[PlanMount, ...]:
    """What every container has, before its volumes. `privileged` leaves sysfs and cgroups
    writable."""
    system = _GUARDED if privileged else (*_GUARDED, "ro")
    shm = (*_GUARDED, "mode=1777", f"size={shm_bytes}")
    terminals = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    return (
        PlanMount("/proc", "proc", "proc", _GUARDED),
        PlanMount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        PlanMount("/dev/pts", "devpts", "devpts", terminals),
        PlanMount("/sys", "sysfs", "sysfs", system),
        PlanMount("/sys/fs/cgroup", "cgroup", "cgroup", system),
        PlanMount("/dev/mqueue", "mqueue", "mqueue", _GUARDED),
        PlanMount("/dev/shm", "tmpfs", "shm", shm),  # noqa: S108 - the container's
    )


class MountOptions(NamedTuple):
    """Options sorted: attribute bits of mount_setattr(2), the same recursively, propagation bits
    (0 for none said), and what the file system itself gets."""

    set_attributes: int = 0
    clear_attributes: int = 0
    set_recursive: int = 0
    propagation: int = 0
    propagation_recursive: bool = False
    bind_recursive: bool = False
    copy_up: bool = False
    clear_recursive: int = 0
    data: tuple[tuple[str, str | None], ...] = ()


_ATTRIBUTES = {  # word: (attribute, clear instead of set); MOUNT_ATTR_* of linux/mount.h
    "ro": (0x1, False), "rw": (0x1, True), "nosuid": (0x2, False), "suid": (0x2, True),
    "nodev": (0x4, False), "dev": (0x4, True), "noexec": (0x8, False), "exec": (0x8, True),
    "noatime": (0x10, False), "atime": (0x10, True), "strictatime": (0x20, False),
    "nodiratime": (0x80, False), "diratime": (0x80, True), "nosymfollow": (0x200000, False),
    "symfollow": (0x200000, True), "relatime": (0, False), "norelatime": (0, False),
}  # fmt: skip
PROPAGATION = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}
_IGNORED = frozenset(
    ("defaults", "async", "remount", "nofail", "_netdev", "z", "Z", "U", "copy", "nocopy",
     "cached", "delegated", "consistent", "notmpcopyup", "idmap", "ridmap")
)  # fmt: skip
FILE_SYSTEM_WORDS = frozenset(
    (
        *_ATTRIBUTES,
        *(f"r{word}" for word in _ATTRIBUTES),
        *PROPAGATION,
        *(f"r{word}" for word in PROPAGATION),
        "bind",
        "rbind",
        "idmap",
        "ridmap",
        "tmpcopyup",
    )
)


def parse_options(words: tuple[str, ...]) -> MountOptions:
    """Sort the words of a mount. `rro`, `rnosuid`, ... act on the mounts below as well; `bind` and
    `rbind` say how a source is copied. Anything else is data for the file system."""
    here, below = [0, 0], [0, 0]  # bits to set, bits to clear
    propagation = 0
    propagation_recursive = False
    data: list[tuple[str, str | None]] = []
    for word in words:
        if word in _ATTRIBUTES:
            _note(here, *_ATTRIBUTES[word])
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            _note(below, *_ATTRIBUTES[word[1:]])
        elif word.removeprefix("r") in PROPAGATION:
            propagation = PROPAGATION[word.removeprefix("r")]
            propagation_recursive = word[0] == "r"
        elif word and word not in _IGNORED and word not in ("bind", "rbind", "tmpcopyup"):
            key, equals, value = word.partition("=")
            data.append((key, value if equals else None))
    return MountOptions(
        here[0], here[1], below[0], propagation, propagation_recursive, "rbind" in words,
        "tmpcopyup" in words, below[1], tuple(data),
    )  # fmt: skip


def outer_ids(
    data: tuple[tuple[str, str | None], ...], uid_map: Maps, gid_map: Maps
) -> tuple[tuple[str, str | None], ...]:
    """Options of a file system that is mounted on the host's side of a user namespace."""
    maps = {"uid": uid_map, "gid": gid_map}
    found = []
    for key, value in data:
        wanted = maps.get(key)
        if wanted and value and value.isdigit():
            value = str(to_outer(wanted, int(value)) or 0)
        found.append((key, value))
    return tuple(found)


def _note(bits: list[int], bit: int, clear: bool) -> None:
    """The last word about an attribute counts."""
    bits[clear] |= bit
    bits[not clear] &= ~bit


_TMPFS_OPTIONS = frozenset(
    ("size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge", "mpol", "inode32", "inode64")
)


def tmpfs_mount(target: str, options: str) -> PlanMount:
    """`--tmpfs target:options` in docker's way: noexec, nosuid, nodev unless said otherwise.

    Raises InvalidInput for an option that tmpfs does not have.
    """
    words = tuple(word for word in options.split(",") if word)
    for word in words:
        known = word.partition("=")[0] in _TMPFS_OPTIONS or word in _ATTRIBUTES
        if not known and word.removeprefix("r") not in PROPAGATION and word not in _IGNORED:
            raise InvalidInput(f"invalid tmpfs option {word[:64]!r}")
    return PlanMount(target, "tmpfs", "tmpfs", (*_GUARDED, *words))


_SYSCTL_IPC = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip
_SYSCTL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.")


def check_sysctl(key: str, value: str, new_namespaces: frozenset[str]) -> tuple[str, str]:
    """A sysctl of a namespace that is the container's own: (path below /proc/sys, value).

    Raises InvalidInput otherwise (SECURITY B2). `net/ipv4/…` may be written for `net.ipv4.…`.
    """
    name = key.replace("/", ".")
    parts = name.split(".")
    if len(parts) < 2 or not _SYSCTL_CHARACTERS.issuperset(name.lower()) or "" in parts:
        raise InvalidInput(f"invalid sysctl name {key[:64]!r}")
    if not value.isprintable() or not value.isascii():
        raise InvalidInput(f"invalid value for sysctl {name!r}: it has control characters")
    if name.startswith("net."):
        owner = "network"
    elif name in _SYSCTL_IPC or name.startswith("fs.mqueue."):
        owner = "ipc"
    elif name == "kernel.domainname":
        owner = "uts"
    else:
        raise InvalidInput(f"sysctl {name!r} is not allowed: it belongs to the whole host")
    if owner not in new_namespaces:
        raise InvalidInput(f"sysctl {name!r} is not allowed: the {owner} namespace is the host's")
    return (key if "/" in key else key.replace(".", "/")), value
