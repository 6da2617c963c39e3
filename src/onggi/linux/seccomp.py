"""Installs system call filters, and keeps compiled ones so that a start need not compile.

What is needed on every start is small and here; profiles, tables and the compiler are imported only
when a program is not in the cache. Never decides what is allowed.
"""

import os
import zlib
from struct import pack

from ..typed import TYPE_CHECKING
from . import libc
from .capability import mask_of

if TYPE_CHECKING:
    from . import seccomp_profile

_SET_MODE_FILTER = 1
NEW_LISTENER = 0x8
_INSTRUCTION_SIZE = 8
_MAX_BYTES = 4096 * _INSTRUCTION_SIZE
_SOURCES = ("bpf", "seccomp_compiler", "seccomp_default", "seccomp_profile", "syscall_tables")


def load(program: bytes, flags: int = 0) -> int:
    """Filter the calling thread and its children for good. With NEW_LISTENER among the flags,
    returns the descriptor that answers SCMP_ACT_NOTIFY.

    Needs CAP_SYS_ADMIN in the user namespace, or no_new_privs; the caller has one thread.
    """
    code = libc.buffer(program)
    # struct sock_fprog: the number of instructions, and where they are
    description = pack("@HP", len(program) // _INSTRUCTION_SIZE, libc.address(code))
    return libc.syscall("seccomp", _SET_MODE_FILTER, flags, description)


def cached_program(directory: str, profile_json: str, capabilities: frozenset[str]) -> bytes:
    """The program for a profile ("" is the default one) on this machine, compiled at most once.

    `directory` is made if missing and must be ours alone: what lies in it is trusted. A cache that
    cannot be written costs time, nothing else.
    """
    path = f"{directory}/{_key(profile_json, capabilities)}.bpf"
    program = _read(path)
    if not program:
        program = compile_now(profile_json, capabilities)
        _write(directory, path, program)
    return program


def compile_now(profile_json: str, capabilities: frozenset[str]) -> bytes:
    """Raises InvalidInput or Unsupported, saying where, for a profile that cannot be had."""
    from . import seccomp_profile

    if profile_json:
        return _compile(seccomp_profile.parse_profile(profile_json), capabilities)
    return _compile(seccomp_profile.default_profile(), capabilities)


def compile_with_flags(
    profile: object, capabilities: frozenset[str], *, listener: bool
) -> tuple[bytes, int]:
    """The program and `load`'s flags of an OCI profile, given as parsed JSON."""
    from . import seccomp_profile

    parsed = seccomp_profile.profile_from(profile, listener=listener)
    return _compile(parsed, capabilities), parsed.flags


def _compile(profile: "seccomp_profile.Profile", capabilities: frozenset[str]) -> bytes:
    from . import seccomp_compiler

    host = os.uname()
    kernel = kernel_version(host.release)
    return seccomp_compiler.compile_profile(profile, capabilities, host.machine, kernel)


def kernel_version(release: str) -> tuple[int, int]:
    """The (6, 1) of "6.1.0-13-amd64"."""
    major, minor, *_ = release.replace("-", ".").split(".")
    return int(major), int(minor)


def _key(profile_json: str, capabilities: frozenset[str]) -> str:
    """Everything the program depends on, our own sources of this very version included."""
    host = os.uname()
    parts = [host.machine, host.release]
    here, suffix = os.path.split(__file__)[0], os.path.splitext(__file__)[1]
    for name in _SOURCES:
        source = os.stat(f"{here}/{name}{suffix}")
        parts.append(f"{source.st_size} {source.st_mtime_ns}")
    if not profile_json:  # on the way of every `run`, which need not load hashlib for it
        version = zlib.crc32("\n".join(parts).encode())
        return f"default-{mask_of(capabilities):x}-{version:08x}"
    import hashlib

    parts += [",".join(sorted(capabilities)), profile_json]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(path: str) -> bytes:
    """The cached program, b"" if there is none that could be one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        program = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    whole = len(program) % _INSTRUCTION_SIZE == 0 and len(program) <= _MAX_BYTES
    return program if whole else b""


def _write(directory: str, path: str, program: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o600)
    except OSError:
        return
    try:
        if os.write(descriptor, program) == len(program):
            os.rename(temporary, path)
        else:  # full: the next start compiles again
            os.unlink(temporary)
    except OSError:
        os.unlink(temporary)
    finally:
        os.close(descriptor)
