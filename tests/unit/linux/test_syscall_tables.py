"""Our tables against the headers and libraries of the machine, where it has them."""

import ctypes
import re
from pathlib import Path

import pytest

from onggi.linux import syscall_tables

HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")
LIBSECCOMP = {
    "x86_64": 0xC000003E, "i386": 0x40000003, "x32": 0x4000003E,
    "aarch64": 0xC00000B7, "arm": 0x40000028,
}  # fmt: skip
NUMBER = re.compile(r"#define __NR_(\w+)\s+\(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?$", re.MULTILINE)


@pytest.mark.parametrize(("table", "header"), [("x86_64", "64"), ("i386", "32"), ("x32", "x32")])
def test_equal_to_the_kernels_headers(table: str, header: str) -> None:
    path = HEADERS / f"unistd_{header}.h"
    if not path.exists():
        pytest.skip("no x86 kernel headers here")
    known = {name: int(number) for name, number in NUMBER.findall(path.read_text())}
    assert len(known) > 300
    ours = {
        name: number & ~syscall_tables.X32_BIT
        for name, number in syscall_tables.numbers(table).items()
    }
    assert known.items() <= ours.items()
    newer = {name: number for name, number in ours.items() if name not in known}
    assert all(number > max(known.values()) or number >= 335 for number in newer.values())


@pytest.mark.parametrize("table", LIBSECCOMP)
def test_equal_to_libseccomp(table: str) -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("no libseccomp here")
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    ours = syscall_tables.numbers(table)
    bit = syscall_tables.X32_BIT if table == "x32" else 0
    compared = 0
    for number in range(bit, bit + 600):
        name = resolve(LIBSECCOMP[table], number)
        if name:
            assert ours.get(name.decode()) == number, name
            compared += 1
    assert compared > 300


def test_numbers_are_unique_but_for_aliases() -> None:
    for table in LIBSECCOMP:
        numbers = syscall_tables.numbers(table)
        assert len(numbers) - len(set(numbers.values())) == (table == "arm")


def test_newest_calls_are_there() -> None:
    assert syscall_tables.numbers("x86_64")["removexattrat"] == 466
    assert syscall_tables.numbers("aarch64")["mseal"] == 462
    assert syscall_tables.numbers("arm")["set_tls"] == 0xF0005
    assert "memfd_secret" not in syscall_tables.numbers("arm")
