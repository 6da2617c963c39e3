"""System calls and libc functions through `_ctypes`, without `import ctypes` (2 ms cheaper).

The only module that touches ctypes. Everything else in `linux` calls `syscall`. Numbers are the
kernel's per-architecture tables (arch/*/syscalls/*.tbl); those from 424 on are the same everywhere.
"""

import _ctypes
import errno
import os
from collections.abc import Callable

from ..typed import Any

Argument = Any  # int, bytes, None or a `buffer`
_ct: Any = _ctypes  # the type stubs know ctypes, not what lies under it


class _Long(_ct._SimpleCData):  # type: ignore[misc]
    _type_ = "l"


class _Pointer(_ct._SimpleCData):  # type: ignore[misc]
    _type_ = "P"


class _Char(_ct._SimpleCData):  # type: ignore[misc]
    _type_ = "c"


_CDECL, _PYTHON_API, _USE_ERRNO = 1, 4, 8
_process = _ct.dlopen(None, 2)


def _function(name: str, flags: int, arguments: int) -> Callable[..., int]:
    kind = type(name, (_ct.CFuncPtr,), {"_flags_": flags, "_restype_": _Long})
    function: Any = kind(_ct.dlsym(_process, name))
    # A pointer argument takes an int of full register width, bytes, None or one of our buffers.
    function.argtypes = (_Pointer,) * arguments
    prototype: Callable[..., int] = function
    return prototype


_syscall = _function("syscall", _CDECL | _USE_ERRNO, 7)  # releases the GIL
_syscall_gil = _function("syscall", _CDECL | _PYTHON_API | _USE_ERRNO, 7)  # keeps it: clone3
before_fork = _function("PyOS_BeforeFork", _CDECL | _PYTHON_API, 0)
after_fork_parent = _function("PyOS_AfterFork_Parent", _CDECL | _PYTHON_API, 0)
after_fork_child = _function("PyOS_AfterFork_Child", _CDECL | _PYTHON_API, 0)

_X86_64 = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308, "prctl": 157,
    "seccomp": 317, "capget": 125, "capset": 126, "sethostname": 170, "setdomainname": 171,
    "keyctl": 250, "personality": 135, "memfd_create": 319, "ioprio_set": 251, "bpf": 321,
    "execveat": 322, "inotify_init1": 294, "inotify_add_watch": 254, "inotify_rm_watch": 255,
    "gettid": 186, "kcmp": 312,
    "pidfd_send_signal": 424, "fstatfs": 138, "process_vm_writev": 311, "syncfs": 306,
    "sync_file_range": 277,
    "setfsuid": 122, "setfsgid": 123, "sched_setattr": 314, "rt_sigaction": 13,
}  # fmt: skip
_AARCH64 = {
    "mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97, "setns": 268, "prctl": 167,
    "seccomp": 277, "capget": 90, "capset": 91, "sethostname": 161, "setdomainname": 162,
    "keyctl": 219, "personality": 92, "memfd_create": 279, "ioprio_set": 30, "bpf": 280,
    "execveat": 281, "inotify_init1": 26, "inotify_add_watch": 27, "inotify_rm_watch": 28,
    "gettid": 178, "kcmp": 272,
    "pidfd_send_signal": 424, "fstatfs": 44, "process_vm_writev": 271, "syncfs": 267,
    "sync_file_range": 84,
    "setfsuid": 151, "setfsgid": 152, "sched_setattr": 274, "rt_sigaction": 134,
}  # fmt: skip
_EVERYWHERE = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "pidfd_getfd": 438,
    "mount_setattr": 442, "quotactl_fd": 443,
    "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
}  # fmt: skip
MACHINE = os.uname().machine
_numbers = {**(_AARCH64 if MACHINE == "aarch64" else _X86_64), **_EVERYWHERE}


def syscall(name: str, *arguments: Argument) -> int:
    """Call `name`; up to six int, bytes, None or buffer arguments. Retries EINTR.

    Raises OSError with the call's name as its filename-like context.
    """
    number = _numbers[name]
    padded = arguments + (0,) * (6 - len(arguments))
    while True:
        result = _syscall(number, *padded)
        if result >= 0:
            return result
        code = _ct.get_errno()
        if code != errno.EINTR:
            raise OSError(code, f"{name}: {os.strerror(code)}")


def syscall_once_gil(name: str, *arguments: Argument) -> tuple[int, int]:
    """One call with the GIL held; (result, errno). For clone3, which returns twice."""
    result = _syscall_gil(_numbers[name], *arguments, *(0,) * (6 - len(arguments)))
    return result, (_ct.get_errno() if result < 0 else 0)


def buffer(content: int | bytes) -> Any:
    """A writable C array of that many zero bytes, or holding a copy of `content`."""
    size = content if isinstance(content, int) else len(content)
    kind = type("Buffer", (_ct.Array,), {"_type_": _Char, "_length_": size})
    array = kind()
    if isinstance(content, bytes):
        array.raw = content
    return array


def address(array: Any) -> int:
    """The address of a `buffer`, for use inside another structure. Keep the buffer alive."""
    location: int = _ct.addressof(array)
    return location
