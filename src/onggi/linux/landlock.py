"""Landlock: a process gives up rights for itself and its descendants, for good.

Owns the three system calls and the table of what each version of them knows. A kernel without
Landlock has version 0; whoever asks for more than a version can do is told, never left to guess.
"""

import errno
import os
import stat
from collections.abc import Iterable
from struct import pack

from .libc import syscall

ABSTRACT_SOCKETS, SIGNALS = 1, 2  # scopes: neither reaches a process outside; version 6
SCOPES_VERSION = 6
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
# Write, remove and make of every kind; renames between directories since 2, truncation since 3.
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))


def version() -> int:
    """What the running kernel has; 0 where it has, or allows, none."""
    try:
        return syscall("landlock_create_ruleset", None, 0, _VERSION_FLAG)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def restrict(scopes: int, writable: Iterable[int] | None) -> None:
    """Reach nobody outside by `scopes`; write only below the `writable` files and directories
    (descriptors), everywhere where it is None. Needs CAP_SYS_ADMIN or no_new_privs."""
    have = version()
    handled = 0
    if writable is not None:
        handled = _WRITES | (_REFER if have >= 2 else 0) | (_TRUNCATE if have >= 3 else 0)
    attributes = pack("=QQQ", handled, 0, scopes)
    size = 24 if scopes else 8
    ruleset = syscall("landlock_create_ruleset", attributes[:size], size, 0)
    try:
        for fd in writable or ():
            rights = handled
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                rights &= _WRITE_FILE | _TRUNCATE
            rule = pack("=Qi", rights, fd)
            syscall("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
