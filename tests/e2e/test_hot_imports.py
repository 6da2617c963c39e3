"""What hot commands really load, their monitors too: modules that are asked for only as a command
runs escape the count of tests/unit/test_import_budget.py."""

import sys
from pathlib import Path

import pytest

import onggi as package
from heavy_modules import HEAVY, top_level

from .conftest import Onggi

pytestmark = pytest.mark.root

DRIVER = """
import os, sys
record, source, site, *arguments = sys.argv[1:]
def note(event, values):
    if event == "import":
        fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, values[0].encode() + b"\\n")
        os.close(fd)
sys.addaudithook(note)
sys.path.append(source)
sys.argv = ["", site, "onggi", *arguments]
from onggi.boot import boot
boot()
"""


def loaded_by(onggi: Onggi, record: Path, *arguments: str) -> set[str]:
    """The modules that one command imports from its start to the last word of its monitor."""
    record.unlink(missing_ok=True)
    own = sys.prefix + f"/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    python = Onggi(onggi.root.parent, Path(sys.executable))
    source = str(Path(package.__file__).parents[1])
    python("-I", "-S", "-c", DRIVER, str(record), source, own, *arguments)
    return {*record.read_text().split()}


def test_nothing_heavy_is_loaded_on_the_way(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    record = tmp_path / "imports"
    commands = (
        ("run", "-d", "--name", "kept", busybox, "sleep", "1000"),
        ("run", "--rm", busybox, "true"),
        (
            "run",
            "--rm",
            "-m",
            "64m",
            "-v",
            "/tmp:/tmp",
            "-e",
            "A=1",
            "--name",
            "other",
            busybox,
            "ls",
        ),
        ("exec", "kept", "true"),
        ("ps", "-a"),
        ("images",),
        ("inspect", "kept"),
        ("logs", "kept"),
        ("stop", "-t", "0", "kept"),
        ("start", "kept"),
        ("rm", "-f", "kept"),
    )
    for command in commands:
        found = loaded_by(onggi, record, *command)
        assert "onggi.cli.dispatch" in found
        assert top_level(found) & HEAVY == set(), command
    assert "onggi.monitor.main" in loaded_by(onggi, record, "run", "--rm", busybox, "true")
