"""The default filter in the real kernel, in a forked child that asks for what it must not get."""

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
from collections.abc import Callable

import pytest

from onggi.linux import seccomp

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's"),
]
DOCKER = frozenset(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE"
    " SYS_CHROOT KILL AUDIT_WRITE".split()
)
EPERM, ENOSYS = errno.EPERM, errno.ENOSYS
NEWUSER = 0x10000000
X32 = 0x40000000
_library = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """0, or the errno."""
    padded = [ctypes.c_ulong(each) for each in arguments + (0,) * (6 - len(arguments))]
    ctypes.set_errno(0)
    result = _library.syscall(ctypes.c_long(number), *padded)
    return ctypes.get_errno() if result == -1 else 0


def call_32(number: int, first: int = 0, second: int = 0) -> int:
    """A 32-bit system call of a 64-bit process: int 0x80 with eax, ebx and ecx; 0 or the errno."""
    code = (
        b"\x53\xb8" + number.to_bytes(4, "little")  # push rbx; mov eax, number
        + b"\xbb" + first.to_bytes(4, "little")  # mov ebx, first
        + b"\xb9" + second.to_bytes(4, "little")  # mov ecx, second
        + b"\xcd\x80\x5b\xc3"  # int 0x80; pop rbx; ret
    )  # fmt: skip
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return -min(function(), 0)


def filtered(program: bytes, probe: Callable[[], dict[str, int]]) -> dict[str, int] | int:
    """What `probe` returns in a child under the filter, or the signal that ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(program)
            os.write(writing, json.dumps(probe()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        said = answers.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return -status if status else dict(json.loads(said))


def asked() -> dict[str, int]:
    return {
        "getpid": call(39),
        "io_uring_setup": call(425, 1, 0),
        "AF_ALG": call(41, 38, 5, 0),
        "AF_ALG in the lower half": call(41, (1 << 32) + 38, 5, 0),
        "AF_VSOCK": call(41, 40, 1, 0),
        "AF_VSOCK in the lower half": call(41, (1 << 32) + 40, 1, 0),
        "AF_INET": call(41, 2, 1, 0),
        "keyctl": call(250, 0, 0xFFFFFFFD, 0),
        "unshare": call(272, NEWUSER),
        "clone": call(56, NEWUSER | signal.SIGCHLD),
        "clone3": call(435, 0, 0),
        "mount": call(165, 0, 0, 0, 0, 0),
        "bpf": call(321, 0, 0, 0),
        "userfaultfd": call(323, 0),
        "open_by_handle_at": call(304, 0, 0, 0),
        "ptrace": call(101, 99, 0, 0),
        "999": call(999),
        "x32 keyctl": call(X32 + 250, 0, 0, 0),
        "x32 getpid": call(X32 + 39),
    }


@pytest.mark.sec("B6")
@pytest.mark.sec("B7")
@pytest.mark.sec("B8")
@pytest.mark.sec("B10")
@pytest.mark.sec("B16")
def test_the_default_filter() -> None:
    answers = filtered(seccomp.compile_now("", DOCKER), asked)
    assert isinstance(answers, dict), f"killed by signal {answers}"
    denied = {name for name, answer in answers.items() if answer == EPERM}
    assert denied == {
        "io_uring_setup", "AF_ALG", "AF_ALG in the lower half", "AF_VSOCK",
        "AF_VSOCK in the lower half", "keyctl", "unshare", "clone", "mount", "bpf", "userfaultfd",
        "open_by_handle_at", "x32 keyctl",
    }  # fmt: skip
    assert answers["getpid"] == answers["AF_INET"] == 0
    assert answers["clone3"] == answers["999"] == ENOSYS
    assert answers["ptrace"] == errno.ESRCH  # it reached the kernel: no such process
    assert answers["x32 getpid"] in (0, ENOSYS)  # allowed, as by docker; this kernel may lack x32


def test_the_calls_would_work_without_it() -> None:
    """The control: what the test above sees is the filter, not the kernel."""
    allow = seccomp.compile_now('{"defaultAction": "SCMP_ACT_ALLOW"}', DOCKER)
    answers = filtered(allow, asked)
    assert answers == signal.SIGSYS  # x32 is no part of this profile
    answers = filtered(allow, lambda: {"vsock": call(41, 40, 1, 0), "ring": call(425, 1, 0)})
    assert answers == {"vsock": 0, "ring": errno.EFAULT}


def test_wide_family_is_a_hole_in_the_profile_as_written_by_docker() -> None:
    """Why our rule looks at 32 bits: the register is wider than the kernel's argument."""
    test = {"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}
    rules = [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [test]}]
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
    answers = filtered(
        seccomp.compile_now(text, DOCKER),
        lambda: {"narrow": call(41, 40, 1, 0), "wide": call(41, (1 << 32) + 40, 1, 0)},
    )
    assert answers == {"narrow": EPERM, "wide": 0}


@pytest.mark.sec("B16")
def test_32_bit_calls_meet_the_same_list() -> None:
    answers = filtered(
        seccomp.compile_now("", DOCKER),
        lambda: {
            "getpid": call_32(20),
            "io_uring_setup": call_32(425, 1),
            "AF_ALG": call_32(359, 38, 5),
            "keyctl": call_32(288),
            "unshare": call_32(310, NEWUSER),
            "clone3": call_32(435),
            "999": call_32(999),
        },
    )
    assert isinstance(answers, dict), f"killed by signal {answers}"
    if answers["getpid"]:
        pytest.skip("this kernel does not run 32-bit calls")
    assert {name for name, answer in answers.items() if answer == EPERM} == {
        "io_uring_setup", "AF_ALG", "keyctl", "unshare",
    }  # fmt: skip
    assert answers["clone3"] == answers["999"] == ENOSYS


@pytest.mark.sec("B16")
def test_a_foreign_architecture_is_killed() -> None:
    only = '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}'
    program = seccomp.compile_now(only, DOCKER)
    assert filtered(program, lambda: {"getpid": call_32(20)}) == signal.SIGSYS
    assert filtered(program, lambda: {"x32": call(X32 + 39)}) == signal.SIGSYS
    assert filtered(program, lambda: {"own": call(39)}) == {"own": 0}


def test_capabilities_open_their_calls() -> None:
    with_admin = seccomp.compile_now("", DOCKER | {"SYS_ADMIN"})

    def probe() -> dict[str, int]:
        return {"clone3": call(435, 0, 0), "mount": call(165, 0, 0, 0, 0, 0)}

    assert filtered(with_admin, probe) == {"clone3": errno.EINVAL, "mount": errno.EFAULT}


def test_load_refuses_what_is_no_program() -> None:
    with pytest.raises(OSError, match="seccomp"):
        seccomp.load(b"")
