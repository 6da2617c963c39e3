"""The cache of compiled filters; that they work is shown in tests/kernel/test_seccomp.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onggi.errors import InvalidInput
from onggi.linux import seccomp

CAPABILITIES = frozenset({"KILL", "CHOWN"})
OTHER = '{"defaultAction": "SCMP_ACT_ALLOW"}'


@pytest.fixture(autouse=True)
def known_machine() -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("no filter for this machine")


def test_compiles_once_and_keeps_it(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "seccomp"
    program = seccomp.cached_program(str(directory), "", CAPABILITIES)
    (kept,) = directory.iterdir()
    assert kept.read_bytes() == program == seccomp.compile_now("", CAPABILITIES)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    kept.write_bytes(b"8 bytes!")  # what is there is used
    assert seccomp.cached_program(str(directory), "", CAPABILITIES) == b"8 bytes!"


def test_each_profile_and_capability_set_has_its_own(tmp_path: Path) -> None:
    for text, capabilities in (
        ("", CAPABILITIES),
        ("", frozenset({"KILL"})),
        (OTHER, CAPABILITIES),
    ):
        seccomp.cached_program(str(tmp_path), text, capabilities)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"odd", b"x" * (8 * 4096 + 8)])
def test_a_broken_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    program = seccomp.cached_program(str(tmp_path), "", CAPABILITIES)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    assert seccomp.cached_program(str(tmp_path), "", CAPABILITIES) == program
    assert kept.read_bytes() == program


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    program = seccomp.cached_program(str(tmp_path), "", CAPABILITIES)
    (kept,) = tmp_path.iterdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"8 bytes!")
    kept.unlink()
    kept.symlink_to(elsewhere)
    assert seccomp.cached_program(str(tmp_path), "", CAPABILITIES) == program
    assert elsewhere.read_bytes() == b"8 bytes!"


def test_works_without_a_cache() -> None:
    assert seccomp.cached_program("/proc/nowhere", "", CAPABILITIES)


def test_a_bad_profile_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        seccomp.cached_program(str(tmp_path), "{", CAPABILITIES)
    assert list(tmp_path.iterdir()) == []


def test_a_hit_imports_no_compiler(tmp_path: Path) -> None:
    seccomp.cached_program(str(tmp_path), "", CAPABILITIES)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from onggi.linux import seccomp\n"
        "assert seccomp.cached_program(sys.argv[2], '', frozenset({'KILL', 'CHOWN'}))\n"
        "print(*(name for name in sys.modules if name.startswith('onggi')))\n"
    )
    source = str(Path(seccomp.__file__).parents[2])
    argv = [sys.executable, "-I", "-c", code, source, str(tmp_path)]
    loaded = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert {name.rpartition(".")[2] for name in loaded} == {
        "onggi", "linux", "libc", "seccomp", "capability", "errors", "typed"
    }  # fmt: skip
