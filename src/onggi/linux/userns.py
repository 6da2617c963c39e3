"""The user namespace that we are in: what it maps, who owns it, how another one is joined.

Light: every command of an unprivileged user passes here.
"""

import fcntl
import os

from . import namespace

_INITIAL = 0xEFFFFFFD
_NS_GET_OWNER_UID = 0xB704
Map = tuple[tuple[int, int, int], ...]


def own_map(kind: str = "uid") -> Map:
    """(inner, outer, size) of our own namespace; () before anybody wrote one."""
    fd = os.open(f"/proc/self/{kind}_map", os.O_RDONLY | os.O_CLOEXEC)
    try:
        rows = [line.split() for line in os.read(fd, 1 << 16).splitlines()]
    finally:
        os.close(fd)
    return tuple((int(inner), int(outer), int(size)) for inner, outer, size in rows)


def is_initial() -> bool:
    """Whether we are in the host's own: its number is the same since Linux 3.8
    (PROC_USER_INIT_INO)."""
    return os.stat("/proc/self/ns/user").st_ino == _INITIAL


def ids_from_zero(found: Map) -> int:
    """How many ids there are without a gap, beginning with root's."""
    count = 0
    for inner, _, size in sorted(found):
        if inner != count:
            break
        count += size
    return count


def owner(fd: int) -> int:
    """The user who made the namespace behind a namespace file's descriptor."""
    answer = bytearray(4)
    fcntl.ioctl(fd, _NS_GET_OWNER_UID, answer)
    return int.from_bytes(answer, "little")


def join(fd: int) -> None:
    """Be root of that user namespace, with mounts that nobody else sees."""
    namespace.setns(fd, namespace.CLONE_NEWUSER)
    namespace.unshare(namespace.CLONE_NEWNS)
