"""Project quotas: a limit of bytes for some directories with all that comes to be in them.

By descriptor only: the project's number is set with FS_IOC_FSSETXATTR, its limit with quotactl_fd
(Linux 5.14), on ext4 and xfs alike.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from struct import pack, unpack

from .libc import buffer, syscall

_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820  # linux/fs.h
_FSXATTR = "=5I8x"  # struct fsxattr: flags, extent size, extents, project, copy-on-write size
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_GETQUOTA, _SETQUOTA, _PROJECT = 0x800007, 0x800008, 2  # linux/quota.h
_DQBLK = "=8QI4x"  # struct if_dqblk: hard limit in KiB, soft, bytes used, inodes, …, what is valid
_BLOCK_LIMITS = 1
_FIRST_PROJECT = 0x6F6E_0000  # ours, among those that an administrator may have given out
_PROJECTS = 1 << 16
MISSING = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.ESRCH, errno.EINVAL, errno.ENOENT)


def limit(directories: Iterable[str], wish: int, size_bytes: int) -> int:
    """Let these empty directories of one file system together hold at most `size_bytes`. The
    project is chosen from `wish` on, its number returned. Raises OSError of MISSING where the file
    system has no project quotas switched on."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in directories]
    try:
        project = _free_project(fds[0], wish)
        _set_limit(fds[0], project, size_bytes)
        for fd in fds:
            _set_project(fd, project)
    finally:
        for fd in fds:
            os.close(fd)
    return project


def project_of(fd: int) -> int:
    return int(unpack(_FSXATTR, fcntl.ioctl(fd, _FSGETXATTR, bytes(28)))[3])


def used_bytes(fd: int, project: int) -> tuple[int, int]:
    """(bytes, inodes) that the project has on this file system."""
    block = buffer(72)
    try:
        syscall("quotactl_fd", fd, _GETQUOTA << 8 | _PROJECT, project, block)
    except OSError as error:
        if error.errno == errno.ENOENT:  # a project that nobody has heard of
            return 0, 0
        raise
    fields = unpack(_DQBLK, bytes(block))
    return fields[2], fields[5]


def _free_project(fd: int, wish: int) -> int:
    """One that holds nothing: of a container that is gone, or of none."""
    for step in range(_PROJECTS):
        project = _FIRST_PROJECT + (wish + step) % _PROJECTS
        if used_bytes(fd, project) == (0, 0):
            return project
    raise OSError(errno.ENOSPC, "every project of a writable layer is in use")


def _set_limit(fd: int, project: int, size_bytes: int) -> None:
    kibibytes = max(1, size_bytes >> 10)
    block = pack(_DQBLK, kibibytes, kibibytes, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS)
    syscall("quotactl_fd", fd, _SETQUOTA << 8 | _PROJECT, project, block)


def _set_project(fd: int, project: int) -> None:
    flags, size, extents, _, copied = unpack(_FSXATTR, fcntl.ioctl(fd, _FSGETXATTR, bytes(28)))
    wanted = pack(_FSXATTR, flags | _INHERIT, size, extents, project, copied)
    fcntl.ioctl(fd, _FSSETXATTR, wanted)
