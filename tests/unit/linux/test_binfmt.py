"""Which emulators are registered, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from onggi.errors import Unsupported
from onggi.linux import binfmt

ENTRY = """{state}
interpreter {interpreter}
flags: {flags}
offset {offset}
magic {magic}
mask {mask}
"""
HEAD = binfmt.program_head("riscv64").hex()
MASK = "ffffffffffffff00fffffffffffffffffeffffff"  # as qemu's own scripts


def put(
    directory: Path, name: str, state: str = "enabled", flags: str = "OCF", offset: str = "0",
    magic: str = HEAD,
) -> None:  # fmt: skip
    text = ENTRY.format(
        state=state, interpreter="/q", flags=flags, offset=offset, magic=magic, mask=MASK
    )
    (directory / name).write_text(text)


def test_found(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("enabled\n")
    put(tmp_path, "qemu-riscv64")
    assert binfmt.handlers("riscv64", str(tmp_path)) == [("/q", "OCF")]
    assert binfmt.handlers("s390x", str(tmp_path)) == []
    assert binfmt.handlers("pdp11", str(tmp_path)) == []
    binfmt.require("riscv64", str(tmp_path))


@pytest.mark.parametrize(
    "entry",
    [{"state": "disabled"}, {"offset": "4"}, {"offset": "x"}, {"magic": ""}, {"magic": "zz"},
     {"magic": "7f454c46" + "00" * 30}],
)  # fmt: skip
def test_not_found(tmp_path: Path, entry: dict[str, str]) -> None:
    put(tmp_path, "one", **entry)
    with pytest.raises(Unsupported, match="no emulator is registered"):
        binfmt.require("riscv64", str(tmp_path))


def test_without_the_flag_f(tmp_path: Path) -> None:
    put(tmp_path, "one", flags="OC")
    with pytest.raises(Unsupported, match="without the flag F"):
        binfmt.require("riscv64", str(tmp_path))
    with pytest.raises(Unsupported):
        binfmt.require("riscv64", str(tmp_path / "none"))


def test_big_endian() -> None:
    assert binfmt.program_head("s390x")[16:] == b"\0\2\0\x16"
