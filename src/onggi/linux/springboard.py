"""A program of ours that a container's process executes on its way to the command.

At the moment of execve a name can be swapped for a link to /proc/self/exe, which means whoever
executes: the host's interpreter would then run inside the container, there to be opened by it
(CVE-2019-5736; a look at the name beforehand only makes it a race). So the interpreter executes
this first: some thirty instructions in a sealed file in memory. From then on /proc/self/exe is that
file, and it is what does the last execve. The cost is one more execve, a tenth of a millisecond.

What it does, with argv = path, argv[0], argv[1], ...:

    fcntl(REPORT, F_SETFD, FD_CLOEXEC)
    execve(path, argv + 1, envp)
    write(REPORT, &result, 8); write(REPORT, path, strlen(path) + 1); exit_group(1)

Owns the machine code and the file; knows nothing of containers.
"""

import errno
import fcntl
import os
from struct import pack

from .. import signals as signal
from . import bpf, elf
from .libc import MACHINE

_MFD_EXEC = 0x10  # Linux 6.3
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
_ALLOW, _LOG = 0x7FFF0000, 0x7FFC0000
_FAILED = 0xFF  # the last byte of a small negative number


def make(report: int) -> int:
    """The file, which reports to that descriptor. OSError where there can be none: another machine,
    memory files forbidden, a limit on the size of files."""
    if MACHINE not in _CODE:
        raise OSError(errno.ENOSYS, f"no springboard for {MACHINE}")
    image = elf.program(MACHINE, _CODE[MACHINE][1](report))
    try:
        fd = os.memfd_create("onggi", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd = os.memfd_create("onggi", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        if os.write(fd, image) != len(image):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    finally:
        signal.signal(signal.SIGXFSZ, before)
    return fd


def passes(program: bytes) -> bool:
    """Whether a seccomp filter lets it do its work. A filter decides about the container's command;
    one that forbids these calls must not be what keeps the command from starting."""
    if not program:
        return True
    if MACHINE not in _CODE:
        return False
    architecture, calls = _CODE[MACHINE][0], _CALLS[MACHINE]
    instructions = bpf.disassemble(program)
    verdicts = (bpf.run(instructions, pack("=II56x", call, architecture)) for call in calls)
    return all(verdict in (_ALLOW, _LOG) for verdict in verdicts)


def failure(message: bytes) -> tuple[OSError, str] | None:
    """What a report says: execve's error and the path. None when it is none of ours."""
    if len(message) < 8 or message[7] != _FAILED:
        return None
    number = -int.from_bytes(message[:8], "little", signed=True)
    return OSError(number, os.strerror(number)), os.fsdecode(message[8:].rstrip(b"\0"))


def _x86_64(report: int) -> bytes:
    to_report = b"\xbf" + pack("<I", report)  # mov edi, REPORT
    write = b"\xb8\x01\0\0\0\x0f\x05"  # mov eax, 1; syscall
    return b"".join((
        to_report, b"\xbe\x02\0\0\0\xba\x01\0\0\0",  # mov esi, 2; mov edx, 1
        b"\xb8\x48\0\0\0\x0f\x05",  # mov eax, 72; syscall
        b"\x48\x8b\x04\x24",  # mov rax, [rsp]: argc
        b"\x48\x8d\x54\xc4\x10",  # lea rdx, [rsp + rax*8 + 16]: envp
        b"\x48\x8d\x74\x24\x10",  # lea rsi, [rsp + 16]: argv + 1
        b"\x48\x8b\x7c\x24\x08",  # mov rdi, [rsp + 8]: path
        b"\xb8\x3b\0\0\0\x0f\x05",  # mov eax, 59; syscall
        b"\x50",  # push rax
        to_report, b"\x48\x89\xe6\xba\x08\0\0\0", write,  # mov rsi, rsp; mov edx, 8
        b"\x48\x8b\x7c\x24\x10\x48\x89\xfe",  # mov rdi, [rsp + 16]; mov rsi, rdi
        b"\x31\xc0\x48\x83\xc9\xff\xf2\xae\x48\xf7\xd1",  # rcx = strlen + 1
        b"\x48\x89\xca", to_report, write,  # mov rdx, rcx
        b"\xbf\x01\0\0\0\xb8\xe7\0\0\0\x0f\x05",  # edi, eax = 1, 231; syscall
    ))  # fmt: skip


def _aarch64(report: int) -> bytes:
    def number(register: int, value: int) -> int:  # movz wN, #value
        return 0x52800000 | value << 5 | register

    call = 0xD4000001  # svc #0
    return b"".join(pack("<I", word) for word in (
        number(0, report), number(1, 2), number(2, 1), number(8, 25), call,
        0xF94003E3,  # ldr x3, [sp]: argc
        0x910003E4,  # mov x4, sp
        0x8B030C82, 0x91004042,  # add x2, x4, x3, lsl #3; add x2, x2, #16: envp
        0x91004081,  # add x1, x4, #16: argv + 1
        0xF9400480,  # ldr x0, [x4, #8]: path
        number(8, 221), call,
        0xF81F0FE0,  # str x0, [sp, #-16]!
        number(0, report), 0x910003E1, number(2, 8), number(8, 64), call,  # mov x1, sp
        0xF9400FE1,  # ldr x1, [sp, #24]: path
        0xD2800002,  # mov x2, #0
        0x38626823, 0x91000442, 0x35FFFFC3,  # ldrb w3, [x1, x2]; add x2, x2, #1; cbnz w3, -8
        number(0, report), number(8, 64), call,
        number(0, 1), number(8, 94), call,
    ))  # fmt: skip


# AUDIT_ARCH and the code; the calls it makes after the filter is loaded: execveat too.
_CODE = {"x86_64": (0xC000003E, _x86_64), "aarch64": (0xC00000B7, _aarch64)}
_CALLS = {"x86_64": (322, 72, 59, 1, 231), "aarch64": (281, 25, 221, 64, 94)}
