"""Capabilities: names, sets as bit masks, and the calls that change a process's own.

Names are upper case without "CAP_" (docker's spelling). Numbers: include/uapi/linux/capability.h.
"""

from collections.abc import Iterable
from struct import pack, unpack

from ..errors import InvalidInput
from .libc import buffer, syscall

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
NUMBERS = {name: number for number, name in enumerate(NAMES)}
ALL = (1 << len(NAMES)) - 1
SYS_ADMIN = 1 << NUMBERS["SYS_ADMIN"]
DOCKER_DEFAULT = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 23, 24, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4


def parse(name: str) -> str:
    """`CAP_CHOWN`, `chown` and `Chown` are "CHOWN"; "ALL" stays. Raises InvalidInput."""
    known = name.upper().removeprefix("CAP_")
    if known != "ALL" and known not in NUMBERS:
        raise InvalidInput(f'unknown capability: "CAP_{known[:64]}"', hint="see capabilities(7)")
    return known


def mask_of(names: Iterable[str]) -> int:
    """The bits of names as `parse` returns them; "ALL" is every bit."""
    mask = 0
    for name in names:
        mask |= ALL if name == "ALL" else 1 << NUMBERS[name]
    return mask


def names_of(mask: int) -> tuple[str, ...]:
    return tuple(name for number, name in enumerate(NAMES) if mask >> number & 1)


def resolve(add: Iterable[str], drop: Iterable[str], default: Iterable[str]) -> int:
    """Docker's --cap-add and --cap-drop on a default set (moby's TweakCapabilities): with ALL added
    drops win, with ALL dropped only what is added counts, else adds win."""
    adds, drops = {parse(name) for name in add}, {parse(name) for name in drop}
    if "ALL" in adds:
        return ALL & ~mask_of(drops - {"ALL"})
    if "ALL" in drops:
        return mask_of(adds)
    return mask_of(default) & ~mask_of(drops) | mask_of(adds)


def held() -> int:
    """Our own permitted set."""
    header, data = buffer(pack("=Ii", _VERSION_3, 0)), buffer(24)
    syscall("capget", header, data)
    words = unpack("=6I", bytes(data))
    return int(words[1] | words[4] << 32)


def bounding() -> int:
    """Our own bounding set; its length tells how many capabilities the kernel has."""
    mask = 0
    for number in range(64):
        try:
            mask |= syscall("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) << number
        except OSError:  # EINVAL: past the last
            break
    return mask


def drop_bounding(keep: int) -> None:
    """Remove everything but `keep` from the bounding set; needs SETPCAP."""
    present = bounding() & ~keep
    for number in range(present.bit_length()):
        if present >> number & 1:
            syscall("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    sets = (effective, permitted, inheritable)
    words = [part & 0xFFFFFFFF for part in sets] + [part >> 32 for part in sets]
    syscall("capset", pack("=Ii", _VERSION_3, 0), pack("=6I", *words))


def set_ambient(mask: int) -> None:
    """The ambient set becomes `mask`, which must be permitted and inheritable."""
    syscall("prctl", _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            syscall("prctl", _PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0)
