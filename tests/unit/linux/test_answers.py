"""Filters that answer in the kernel's place, run by our own interpreter of BPF."""

from struct import pack

import pytest

from onggi.linux import answers, bpf
from onggi.linux.libc import MACHINE

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE, 0)


@pytest.mark.skipif(not ARCHITECTURE, reason="no filters for this machine")
@pytest.mark.parametrize("answer", [0, 38])
def test_only_the_named_calls_are_answered(answer: int) -> None:
    calls = (92, 260, 437)
    code = bpf.disassemble(answers.program(calls, answer))
    for number in range(500):
        verdict = bpf.run(code, pack("=II56x", number, ARCHITECTURE))
        assert verdict == (ERRNO | answer if number in calls else ALLOW)
        assert bpf.run(code, pack("=II56x", number, 0x40000003)) == ALLOW


def test_nothing_to_answer_is_no_filter() -> None:
    assert answers.program((), 0) == b""
