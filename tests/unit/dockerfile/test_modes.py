"""--chmod: octal and symbolic."""

import stat
import subprocess
from pathlib import Path

import pytest

from onggi.dockerfile.modes import changed, parse
from onggi.errors import InvalidInput

SYMBOLIC = [
    "+x", "u=rwX,go=rX", "g=u", "a-w", "o=", "u+s,g-s", "+t", "ug=rw,o=r", "u=rx-x", "go-rwx",
    "=r", "u=g,g=o", "a=rwxs", "g+u-x", "o+t",
]  # fmt: skip


@pytest.mark.parametrize("text", SYMBOLIC)
@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o4711, 0o2070])
def test_a_file_gets_what_chmod_gives(tmp_path: Path, text: str, mode: int) -> None:
    """chmod of the machine, under a umask of 0, is the judge."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    subprocess.run(["sh", "-c", 'umask 0; chmod -- "$1" "$2"', "sh", text, path], check=True)
    assert oct(changed(parse(text), mode, directory=False)) == oct(
        stat.S_IMODE(path.stat().st_mode)
    )


def test_a_directory_is_always_executable() -> None:
    assert changed(parse("u=rwX,go=rX"), 0o700, directory=True) == 0o755
    assert changed(parse("u=rwX,go=rX"), 0o600, directory=False) == 0o644


def test_octal() -> None:
    assert changed(parse("0755"), 0o4600, directory=False) == 0o755
    assert parse("7777") == 0o7777


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("64a", "it should be octal string and between 0 and 07777"),
        ("10000", "it should be octal string"),
        ("8", "it should be octal string"),
        ("u+y", "'u\\+y': invalid syntax"),
        ("X=", "invalid syntax"),
        ("u+x,", "invalid syntax"),
        ("-1", "invalid syntax"),
    ],
)
def test_what_is_no_mode(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        parse(text)
