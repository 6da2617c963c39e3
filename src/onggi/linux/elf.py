"""Static programs from a few instructions: the file that execve takes. Pure."""

from struct import pack

_BASE = 0x400000
_MACHINES = {"x86_64": 62, "aarch64": 183}
_LOAD, _STACK = 1, 0x6474E551
_EXECUTE, _WRITE, _READ = 1, 2, 4
_PAGE = 0x10000  # the largest that either machine has


def program(machine: str, code: bytes) -> bytes:
    """A static program of one read-only segment, with a stack that is not executable. It begins at
    the first byte of `code`, which may stand anywhere."""
    headers = 64 + 2 * 56
    size = headers + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += pack(
        "<HHIQQQIHHHHHH", 2, _MACHINES[machine], 1, _BASE + headers, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = pack("<IIQQQQQQ", _LOAD, _READ | _EXECUTE, 0, _BASE, _BASE, size, size, _PAGE)
    stack = pack("<IIQQQQQQ", _STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code
