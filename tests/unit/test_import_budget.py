"""What the path of `run`, `exec`, `ps` and the monitor may load (ARCHITECTURE, "Processes")."""

import subprocess
import sys
from pathlib import Path

import pytest

import onggi
from heavy_modules import HEAVY, top_level

SOURCE = str(Path(onggi.__file__).parents[1])
PATHS = {
    "run": ("cli.main", "cli.dispatch", "cli.commands.run", "engine.engine", "engine.launch",
            "engine.watch", "engine.run", "engine.wiring", "engine.volumes"),
    "exec": ("cli.main", "cli.dispatch", "cli.commands.exec", "engine.engine", "engine.execs"),
    "ps": ("cli.main", "cli.dispatch", "cli.commands.ps", "engine.engine"),
    "runtime": ("runtime.main", "runtime.commands"),
}  # fmt: skip


# Modules in all, those of the standard library too: each costs a start 0.1 ms (docs/bench.md).
MOST = {"run": 228, "exec": 180, "ps": 130, "runtime": 114}


def loaded_by(*modules: str) -> set[str]:
    """Names in sys.modules after importing these, in an isolated interpreter."""
    imports = "".join(f"import onggi.{module}\n" for module in modules)
    code = f"import sys\nsys.path.insert(0, {SOURCE!r})\n{imports}print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


@pytest.mark.parametrize("path", PATHS)
def test_nothing_heavy_is_loaded(path: str) -> None:
    loaded = loaded_by(*PATHS[path])
    assert not top_level(loaded) & HEAVY
    assert len(loaded) <= MOST[path], sorted(name for name in loaded if name.startswith("onggi."))


def test_the_check_can_fail() -> None:
    assert top_level(loaded_by("store.sink")) & HEAVY
