"""cgroup v2's device access control: an eBPF program made from a list of rules.

The kernel runs the program at each open and mknod of a device node in the group; its context is
struct bpf_cgroup_dev_ctx {u32 access << 16 | type; u32 major; u32 minor}, non-zero allows.
"""

import os
from collections.abc import Sequence
from struct import pack

from .cgroup import DeviceRule
from .libc import address, buffer, syscall

_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_LOAD_WORD, _MOVE, _AND, _SHIFT_RIGHT = 0x61, 0xBF, 0x54, 0x74
_SET, _EXIT, _JUMP_EQUAL, _JUMP_NOT_EQUAL = 0xB7, 0x95, 0x15, 0x55
_CONTEXT, _RESULT, _TYPE, _WANTED, _MAJOR, _MINOR, _SCRATCH = 1, 0, 2, 3, 4, 5, 6
Instruction = tuple[int, int, int, int, int]  # opcode, destination, source, offset, immediate


def assemble(rules: Sequence[DeviceRule]) -> bytes:
    """The program: rules from the last to the first, the first that matches decides, else deny."""
    code: list[Instruction] = [
        (_LOAD_WORD, _TYPE, _CONTEXT, 0, 0),
        (_MOVE, _WANTED, _TYPE, 0, 0),
        (_AND, _TYPE, 0, 0, 0xFFFF),
        (_SHIFT_RIGHT, _WANTED, 0, 0, 16),
        (_LOAD_WORD, _MAJOR, _CONTEXT, 4, 0),
        (_LOAD_WORD, _MINOR, _CONTEXT, 8, 0),
    ]
    for rule in reversed(rules):
        code += _one(rule)
        if rule.kind == "a":
            break  # nothing before it can matter, and the verifier refuses unreachable code
    else:
        code += _verdict(False)
    return b"".join(
        pack("=BBhi", opcode, source << 4 | destination, offset, immediate)
        for opcode, destination, source, offset, immediate in code
    )


def _verdict(allow: bool) -> list[Instruction]:
    return [(_SET, _RESULT, 0, 0, int(allow)), (_EXIT, 0, 0, 0, 0)]


def _one(rule: DeviceRule) -> list[Instruction]:
    """Tests that jump past the verdict when the rule does not match.

    An allow rule matches when it covers all of the access that is asked, a deny rule when it covers
    any of it.
    """
    tests: list[Instruction] = []
    if rule.kind != "a":
        tests.append((_JUMP_NOT_EQUAL, _TYPE, 0, 0, _TYPES[rule.kind]))
        access = sum(_ACCESS[letter] for letter in rule.access)
        if rule.allow and access != 7:
            tests.append((_MOVE, _SCRATCH, _WANTED, 0, 0))
            tests.append((_AND, _SCRATCH, 0, 0, ~access & 7))
            tests.append((_JUMP_NOT_EQUAL, _SCRATCH, 0, 0, 0))
        elif not rule.allow and access != 7:
            tests.append((_MOVE, _SCRATCH, _WANTED, 0, 0))
            tests.append((_AND, _SCRATCH, 0, 0, access))
            tests.append((_JUMP_EQUAL, _SCRATCH, 0, 0, 0))
        if rule.major >= 0:
            tests.append((_JUMP_NOT_EQUAL, _MAJOR, 0, 0, rule.major))
        if rule.minor >= 0:
            tests.append((_JUMP_NOT_EQUAL, _MINOR, 0, 0, rule.minor))
    whole = [*tests, *_verdict(rule.allow)]
    return [
        (opcode, destination, source, len(whole) - 1 - index, immediate)
        if opcode in (_JUMP_NOT_EQUAL, _JUMP_EQUAL)
        else (opcode, destination, source, offset, immediate)
        for index, (opcode, destination, source, offset, immediate) in enumerate(whole)
    ]


def attach(directory: str, rules: Sequence[DeviceRule]) -> None:
    """Load and attach; the group keeps the program until it is removed."""
    program = _load(assemble(rules))
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        arguments = buffer(pack("=IIII", group, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
        syscall("bpf", _PROG_ATTACH, arguments, 16)
    finally:
        os.close(group)
        os.close(program)


def _load(code: bytes) -> int:
    instructions, licence = buffer(code), buffer(b"GPL\0")
    arguments = buffer(
        pack(
            "=IIQQIIQII16s",
            _PROG_TYPE_CGROUP_DEVICE, len(code) // 8, address(instructions), address(licence),
            0, 0, 0, 0, 0, b"onggi_devices",
        )
    )  # fmt: skip
    return syscall("bpf", _PROG_LOAD, arguments, len(bytes(arguments)))
