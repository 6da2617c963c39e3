"""The program that holds a pod's namespaces: it sleeps, and as process 1 leaves no zombie behind.

    rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8)    whose parent ignores it is reaped by the kernel
    for (;;) pause()                             ppoll(NULL, 0, NULL, NULL) where there is no pause

Some 250 bytes, one page of them mapped, no memory of its own but its stack. Nothing but SIGKILL
from outside ends it where it is process 1 of a pid namespace, as it always is here.
"""

import errno
from struct import pack

from . import elf
from .libc import MACHINE

_IGNORE = pack("<4Q", 1, 0, 0, 0)  # struct sigaction: SIG_IGN, flags, restorer, mask


def program(machine: str = MACHINE) -> bytes:
    """The file. Raises OSError (ENOSYS) for a machine whose instructions we do not have."""
    if machine not in _CODE:
        raise OSError(errno.ENOSYS, f"no program to hold a pod's namespaces on {machine}")
    return elf.program(machine, _CODE[machine])


_X86_64 = b"".join((
    b"\xbf\x11\0\0\0",  # mov edi, 17: SIGCHLD
    b"\x48\x8d\x35\x18\0\0\0",  # lea rsi, [rip + 24]: the structure
    b"\x31\xd2",  # xor edx, edx
    b"\x41\xba\x08\0\0\0",  # mov r10d, 8: bytes of a signal set
    b"\xb8\x0d\0\0\0\x0f\x05",  # mov eax, 13; syscall: rt_sigaction
    b"\xb8\x22\0\0\0\x0f\x05",  # mov eax, 34; syscall: pause
    b"\xeb\xf7",  # jmp -9: again
    _IGNORE,
))  # fmt: skip

_AARCH64 = b"".join((
    *(pack("<I", word) for word in (
        0x52800220,  # mov w0, #17: SIGCHLD
        0x10000181,  # adr x1, +48: the structure
        0xD2800002,  # mov x2, #0
        0xD2800103,  # mov x3, #8
        0xD28010C8, 0xD4000001,  # mov x8, #134; svc #0: rt_sigaction
        0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003,  # mov x0 ... x3, #0
        0xD2800928, 0xD4000001,  # mov x8, #73; svc #0: ppoll
        0x17FFFFFA,  # b -24: again
    )),
    _IGNORE,
))  # fmt: skip

_CODE = {"x86_64": _X86_64, "aarch64": _AARCH64}
