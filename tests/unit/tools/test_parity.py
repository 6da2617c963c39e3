"""docs/parity.md says what the tables of commands and flags say today."""

import subprocess
import sys
from pathlib import Path

from onggi.cli import refused, tree
from onggi.cli.dispatch import load

CHECKOUT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    tool = [sys.executable, str(CHECKOUT / "tools/parity"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_is_refused_is_not_done() -> None:
    for path in refused.COMMANDS:
        assert path in tree.NOT_YET and path not in tree.COMMANDS


def test_every_refused_flag_is_one_of_dockers_that_is_not_done() -> None:
    flags = [load(path).flags for path in tree.COMMANDS]
    for name in refused.FLAGS:
        assert any(name in table and not table[name].supported for table in flags), name
