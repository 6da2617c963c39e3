"""An assembler for classic BPF as seccomp runs it (linux/filter.h), written from the end backwards.

A program is emitted last instruction first: what an instruction jumps to is always there already,
so every jump distance is known at once and needs no second pass. A `Label` is an instruction's
distance from the end. Conditional jumps reach 255 instructions; longer ones get an unconditional
one put next to them. Whoever calls decides what is tested; nothing here knows system calls.
"""

import sys
from struct import Struct

from ..typed import NewType

Label = NewType("Label", int)

LOAD, JUMP, RETURN = 0x20, 0x05, 0x06  # ld [k]; ja k; ret k
EQUAL, GREATER, GREATER_EQUAL = 0x15, 0x25, 0x35  # jump if A == k, A > k, A >= k
AND = 0x54  # A &= k
MAX_INSTRUCTIONS = 4096
_REACH = 255
_INSTRUCTION = Struct("=HBBI")  # struct sock_filter: code, jump true, jump false, k
SIZE = _INSTRUCTION.size

Instruction = tuple[int, int, int, int]


class Assembler:
    def __init__(self) -> None:
        self._reversed: list[Instruction] = []
        self._returns: dict[int, Label] = {}

    def ret(self, value: int) -> Label:
        """Return `value`; an equal return that is near enough is shared."""
        known = self._returns.get(value)
        # Half the reach: what branches to it may still grow a little before it does.
        if known is None or len(self._reversed) - known > _REACH // 2:
            known = self._returns[value] = self._emit((RETURN, 0, 0, value))
        return known

    def load(self, offset: int, then: Label) -> Label:
        """Load the 32-bit word of the data at `offset`, then go on at `then`."""
        self._fall_into(then)
        return self._emit((LOAD, 0, 0, offset))

    def mask(self, bits: int, then: Label) -> Label:
        self._fall_into(then)
        return self._emit((AND, 0, 0, bits))

    def branch(self, test: int, value: int, yes: Label, no: Label) -> Label:
        """Go to `yes` if the accumulator passes the test against `value`, else to `no`."""
        if yes == no:
            return yes
        yes = self._reachable(yes)
        no = self._reachable(no)  # a detour moves `yes` one further away: it has one to spare
        return self._emit((test, self._distance(yes), self._distance(no), value))

    def finish(self, start: Label) -> bytes:
        """The program, beginning at `start`; ValueError when the kernel would refuse its size."""
        self._fall_into(start)
        code = self._reversed[::-1]
        if len(code) > MAX_INSTRUCTIONS:
            raise ValueError(f"{len(code)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)

    def _emit(self, instruction: Instruction) -> Label:
        self._reversed.append(instruction)
        return Label(len(self._reversed) - 1)

    def _distance(self, target: Label) -> int:
        """Jump distance to `target` from the instruction that is emitted next."""
        return len(self._reversed) - 1 - target

    def _reachable(self, target: Label) -> Label:
        if self._distance(target) > _REACH - 1:
            return self._jump(target)
        return target

    def _jump(self, target: Label) -> Label:
        return self._emit((JUMP, 0, 0, self._distance(target)))

    def _fall_into(self, target: Label) -> None:
        """Make `target` what runs after the instruction that is emitted next."""
        if self._distance(target):
            self._jump(target)


def disassemble(program: bytes) -> list[Instruction]:
    if len(program) % SIZE:
        raise ValueError("a BPF program is a whole number of instructions")
    return list(_INSTRUCTION.iter_unpack(program))


def run(program: list[Instruction], data: bytes) -> int:
    """What a program of ours returns for that data, as the kernel would run it."""
    at = value = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        if code == RETURN:
            return k
        if code == LOAD:
            value = int.from_bytes(data[k : k + 4], sys.byteorder)
        elif code == AND:
            value &= k
        elif code == JUMP:
            at += k
        elif code == EQUAL:
            at += yes if value == k else no
        elif code == GREATER:
            at += yes if value > k else no
        elif code == GREATER_EQUAL:
            at += yes if value >= k else no
        else:
            raise ValueError(f"BPF instruction {code:#x} is none of ours")
