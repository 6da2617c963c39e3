"""System call filters that answer in the kernel's place, where it cannot do what programs expect.

`owners`: in a user namespace with one id, changing owners does nothing, and works. Programs that
install files give them to users who have no id here, which the kernel refuses ("zero consistency",
as Charliecloud builds images): files stay root's, who is the user.

`newer_than_proot`: system calls with paths that a proot of 2015 does not know, and would let pass
with the host's meaning, are said not to exist; the C library then uses the older ones.

Other filters still count; one that forbids such a call forbids it.
"""

import errno
from struct import pack

from . import seccomp
from .libc import MACHINE

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/filter.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ARCHITECTURE_AT, _NUMBER_AT = 4, 0
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OWNERS = {  # chown, fchown, lchown, fchownat, setgroups
    "x86_64": (92, 93, 94, 260, 116),
    "aarch64": (54, 55, 159),
}
_NEWER = {  # renameat2, execveat, statx; everywhere: openat2, faccessat2, mount_setattr, fchmodat2
    "x86_64": (316, 322, 332, 437, 439, 442, 452),
    "aarch64": (276, 281, 291, 437, 439, 442, 452),
}


def owners() -> None:
    """For this process and its children, for good. As for every filter: CAP_SYS_ADMIN here, or
    no_new_privs."""
    _load(program(_OWNERS.get(MACHINE, ()), 0))


def newer_than_proot() -> None:
    """Likewise."""
    _load(program(_NEWER.get(MACHINE, ()), errno.ENOSYS))


def program(calls: tuple[int, ...], answer: int) -> bytes:
    """Answers these calls with that errno, 0 for success; b"" for a machine we do not know."""
    if not calls:
        return b""
    last = len(calls) + 1  # of the tests: what they jump over to reach ALLOW
    code = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 0, last, _AUDIT[MACHINE])]
    code.append((_LOAD, 0, 0, _NUMBER_AT))
    code += [(_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | answer)]
    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def _load(code: bytes) -> None:
    if code:
        seccomp.load(code)
