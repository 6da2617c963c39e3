"""`pip install .` as a user does it, and what the installed commands run."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a fresh virtual environment with onggi in it."""
    home = tmp_path_factory.mktemp("install") / "venv"
    venv.create(home, with_pip=True)
    pip = [
        str(home / "bin/python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--retries=10",
    ]
    done = subprocess.run([*pip, str(CHECKOUT)], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return home / "bin"


def output_of(argv: list[str | Path], **options: object) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_both_commands_are_there(installed: Path) -> None:
    assert output_of([installed / "onggi", "--version"]).startswith("onggi version ")
    assert "onggi-runtime" in output_of([installed / "onggi-runtime", "--version"])


def test_code_is_compiled_and_data_is_along(installed: Path) -> None:
    package = next(installed.parent.glob("lib/python3*/site-packages/onggi"))
    sources = {path.stem for path in package.rglob("*.py")}
    compiled = {path.name.split(".")[0] for path in package.rglob("*.pyc")}
    assert sources == compiled, sources ^ compiled
    kept = [path for path in (CHECKOUT / "src/onggi").rglob("*") if path.is_file()]
    for path in kept:
        if path.parent.name != "__pycache__":  # compiled modules, the shelf
            assert (package / path.relative_to(CHECKOUT / "src/onggi")).exists(), path


def test_trojans_in_the_callers_directory_do_not_run(installed: Path, tmp_path: Path) -> None:
    for name in sys.stdlib_module_names | {"onggi", "urllib3", "zstandard", "isal"}:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('trojan')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "os.py"),
    }
    listed = output_of([installed / "onggi", "--help"], cwd=tmp_path, env=environment)
    lines = [line for line in listed.splitlines() if line.startswith("  ")]
    commands = [line.split()[0] for line in lines if line[2].isalpha()]  # not a wrapped flag's help
    assert {"run", "build", "pull", "ps"} <= set(commands)
    for name in commands:
        argv: list[str | Path] = [installed / "onggi", name, "--help"]
        assert "trojan" not in output_of(argv, cwd=tmp_path, env=environment)
