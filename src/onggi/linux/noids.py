"""A system call filter for a user namespace with one id: changing owners does nothing, and works.

Programs that install files give them to users who have no id here, which the kernel refuses. With
this filter the calls say that all is well, without doing anything ("zero consistency", as
Charliecloud builds images): files stay root's, who is the user. Other filters still count; one that
forbids such a call forbids it.
"""

from struct import pack

from . import seccomp
from .libc import MACHINE

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/filter.h
_ALLOW, _DONE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ERRNO with errno 0
_ARCHITECTURE_AT, _NUMBER_AT = 4, 0
# AUDIT_ARCH; chown, fchown, lchown, fchownat, setgroups
_CALLS = {
    "x86_64": (0xC000003E, (92, 93, 94, 260, 116)),
    "aarch64": (0xC00000B7, (54, 55, 159)),
}


def program() -> bytes:
    """b"" for a machine that we do not know."""
    if MACHINE not in _CALLS:
        return b""
    architecture, calls = _CALLS[MACHINE]
    last = len(calls) + 1  # of the tests: what they jump over to reach ALLOW
    code = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 0, last, architecture)]
    code.append((_LOAD, 0, 0, _NUMBER_AT))
    code += [(_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DONE)]
    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def load() -> None:
    """For this process and its children, for good. As for every filter: CAP_SYS_ADMIN here, or
    no_new_privs."""
    code = program()
    if code:
        seccomp.load(code)
