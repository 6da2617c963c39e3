import pytest

from onggi.linux import bpf


def run(program: bytes, value: int) -> int:
    """A machine for programs that test one word: enough for jumps."""
    code = bpf.disassemble(program)
    at, accumulator = 0, value
    while True:
        kind, yes, no, k = code[at]
        at += 1
        if kind == bpf.RETURN:
            return k
        if kind == bpf.JUMP:
            at += k
        elif kind == bpf.EQUAL:
            at += yes if accumulator == k else no


def chain(length: int) -> bytes:
    """value == n returns n, for n below `length`, else 9999: the last test is far from its end."""
    assembler = bpf.Assembler()
    other = assembler.ret(9999)
    label = other
    for number in range(length):
        label = assembler.branch(bpf.EQUAL, number, assembler.ret(number), label)
    return assembler.finish(label)


@pytest.mark.parametrize("length", [1, 2, 126, 127, 128, 254, 255, 256, 257, 600, 1300])
def test_long_jumps_arrive(length: int) -> None:
    program = chain(length)
    for value in {0, 1, length // 2, length - 1}:
        assert run(program, value) == value if value < length else 9999
    assert run(program, length) == 9999


@pytest.mark.parametrize("distance", range(250, 262))
def test_both_targets_around_the_reach(distance: int) -> None:
    assembler = bpf.Assembler()
    no = assembler.ret(1)
    yes = assembler.ret(2)
    filler = yes
    for number in range(distance):
        filler = assembler.branch(bpf.EQUAL, 1000 + number, yes, filler)
    start = assembler.branch(bpf.EQUAL, 7, yes, no)
    program = assembler.finish(start)
    assert (run(program, 7), run(program, 8)) == (2, 1)


def test_equal_returns_are_shared() -> None:
    assembler = bpf.Assembler()
    assert assembler.ret(5) == assembler.ret(5)
    assert assembler.branch(bpf.EQUAL, 1, assembler.ret(5), assembler.ret(5)) == assembler.ret(5)


def test_too_long_a_program_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        chain(5000)


def test_half_an_instruction_is_no_program() -> None:
    with pytest.raises(ValueError, match="whole number"):
        bpf.disassemble(b"1234567")
