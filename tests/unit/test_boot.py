"""The launchers and boot: what runs when somebody types `onggi`, whatever surrounds them."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onggi import boot

CHECKOUT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
INTERPRETER = os.path.realpath(sys.executable)
MOST_MODULES = 20  # beside the bare interpreter's own
# Stands in for the real mains: the launcher's promises do not depend on what they do.
MAIN = """
import os, sys
def main(arguments, environ):
    if "full" in arguments:
        print("x")
        return 0
    if "modules" in arguments:
        print(*sys.modules)
        return 0
    import colorsys, json
    print(json.dumps({
        "program": %r, "arguments": arguments, "path": sys.path, "os": os.__file__,
        "colorsys": colorsys.__file__, "here": __file__, "flags": [sys.flags.isolated,
        sys.flags.no_site], "bytecode": not sys.dont_write_bytecode,
        "secret": environ.get("SSLKEYLOGFILE"),
        "open": [fd for fd in range(3) if os.path.exists(f"/proc/self/fd/{fd}")] + [
            len([fd for fd in os.listdir("/proc/self/fd")
                 if "shelf." not in os.path.realpath(f"/proc/self/fd/{fd}")])],
    }))
    return 7
"""


def lay_package(root: Path) -> None:
    package = root / "onggi"
    for name, program in (("cli", "onggi"), ("runtime", "onggi-runtime")):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
        (package / name / "main.py").write_text(MAIN % program)
    for name in ("__init__.py", "__main__.py", "boot.py", "shelf.py"):
        shutil.copy(CHECKOUT / "src/onggi" / name, package)


def lay_launchers(directory: Path, interpreter: bool = True) -> None:
    directory.mkdir(parents=True)
    for name in ("onggi", "onggi-runtime"):
        shutil.copy(CHECKOUT / "bin" / name, directory)
    if interpreter:
        (directory / VERSION).symlink_to(INTERPRETER)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A virtual environment as pip would leave it, in a directory with a space in its name."""
    home = tmp_path / "a place"
    lay_launchers(home / "bin")
    (home / "pyvenv.cfg").write_text(f"home = {os.path.dirname(INTERPRETER)}\n")
    lay_package(home / "lib" / VERSION / "site-packages")
    return home


def run(argv: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def report(argv: list[str | Path], **options: object) -> dict[str, object]:
    done = run(argv, **options)
    assert (done.stderr, done.returncode) == ("", 7)
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_both_commands_start_isolated(installed: Path) -> None:
    words = ["run", "-it", "two words", "", "*", "line\nbreak", "--", "-I"]
    for program in ("onggi", "onggi-runtime"):
        answer = report([installed / "bin" / program, *words])
        assert answer["program"] == program
        assert answer["arguments"] == words
        assert answer["flags"] == [1, 1]


def test_path_is_the_standard_library_and_the_environment(installed: Path) -> None:
    path = report([installed / "bin/onggi"])["path"]
    assert isinstance(path, list)
    assert path[-1] == str(installed / "lib" / VERSION / "site-packages")
    assert not [part for part in path[:-1] if "packages" in part or not part.startswith("/")]


def test_hostile_directory_and_environment_choose_nothing(installed: Path, tmp_path: Path) -> None:
    honest = report([installed / "bin/onggi"])
    trap = tmp_path / "trap"
    (trap / "onggi").mkdir(parents=True)
    names = ["os", "json", "colorsys", "site", "encodings", "sitecustomize", "usercustomize"]
    for name in [*names, "onggi/__init__", "onggi/boot", "startup"]:
        (trap / f"{name}.py").write_text("raise SystemExit('trojan ran')\n")
    for tool in ("readlink", VERSION, "python3", "dirname"):
        (trap / tool).write_text("#!/bin/sh\necho trojan ran\n")
        (trap / tool).chmod(0o755)
    environment = {
        "PATH": f"{trap}:{os.environ['PATH']}",
        "PYTHONPATH": str(trap),
        "PYTHONHOME": str(trap),
        "PYTHONSTARTUP": str(trap / "startup.py"),
        "PYTHONUSERBASE": str(trap),
        "PYTHONPLATLIBDIR": "trap",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error::startup.x",
        "CDPATH": str(trap),
        "ENV": str(trap / "startup.py"),
        "BASH_ENV": str(trap / "startup.py"),
        "SSLKEYLOGFILE": str(trap / "keys"),
    }
    assert report([installed / "bin/onggi"], cwd=trap, env=environment) == honest
    (tmp_path / "link").symlink_to(installed / "bin/onggi")
    assert report([tmp_path / "link"], cwd=trap, env=environment) == honest


def test_starts_no_other_program(installed: Path) -> None:
    report([installed / "bin/onggi"], env={"PATH": "/nonexistent"})


def test_found_through_links_relative_names_and_path(installed: Path, tmp_path: Path) -> None:
    honest = report([installed / "bin/onggi"])
    (tmp_path / "first").symlink_to("a place/bin/onggi")
    (tmp_path / "second").symlink_to(tmp_path / "first")
    assert report([tmp_path / "second"]) == honest
    assert report(["./onggi"], cwd=installed / "bin") == honest
    assert report(["sh", "onggi"], cwd=installed / "bin") == honest
    found = {"PATH": f"{installed / 'bin'}:/usr/bin:/bin"}
    assert report(["onggi"], env={**os.environ, **found}) == honest
    assert report(["/bin/sh", "-c", "onggi"], env=found) == honest


def test_editable_installation_and_checkout(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    lay_package(tree / "src")
    lay_launchers(tree / "bin", interpreter=False)
    venv = tmp_path / "venv"
    lay_launchers(venv / "bin")
    site = venv / "lib" / VERSION / "site-packages"
    site.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(INTERPRETER)}\n")
    (site / "_editable_impl_onggi.pth").write_text(f"{tree / 'src'}\n")
    answer = report([venv / "bin/onggi"])
    assert answer["here"] == str(tree / "src/onggi/cli/main.py")
    assert answer["path"][-2:] == [str(tree / "src"), str(site)]  # type: ignore[index]

    shutil.move(venv, tree / ".venv")
    site = tree / ".venv/lib" / VERSION / "site-packages"
    answer = report([tree / "bin/onggi"])
    assert answer["path"][-2:] == [str(tree / "src"), str(site)]  # type: ignore[index]


def test_user_installation_takes_the_system_interpreter_of_its_version(tmp_path: Path) -> None:
    lay_launchers(tmp_path / "bin", interpreter=False)
    lay_package(tmp_path / "lib" / VERSION / "site-packages")
    search = f"{os.path.dirname(INTERPRETER)}:/usr/bin:/bin"
    answer = report([tmp_path / "bin/onggi"], env={"PATH": search})
    assert answer["here"] == str(tmp_path / "lib" / VERSION / "site-packages/onggi/cli/main.py")


def test_nothing_beside_it_is_said(tmp_path: Path) -> None:
    lay_launchers(tmp_path / "bin")
    done = run([tmp_path / "bin/onggi-runtime"])
    assert done.returncode == 1
    assert done.stderr.startswith("onggi-runtime: no Python package of onggi")


def test_the_launchers_differ_in_one_line() -> None:
    one, other = ((CHECKOUT / "bin" / name).read_text() for name in ("onggi", "onggi-runtime"))
    assert one.replace("\nprogram=onggi\n", "\nprogram=onggi-runtime\n") == other


def test_closed_and_full_standard_streams(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin/onggi"
    assert run(["sh", "-c", '"$0" >&- <&-', command]).returncode == 7
    # The descriptor that listdir itself uses is the fourth: the file was not opened as 0.
    done = run(["sh", "-c", '"$0" <&-', command])
    assert json.loads(done.stdout)["open"][:3] == [0, 1, 2]
    done = run(["sh", "-c", '"$0" full >/dev/full', command])
    assert (done.returncode, done.stderr) == (1, "onggi: write error: No space left on device\n")


def test_launcher_and_boot_load_little(installed: Path) -> None:
    """What they cost is what they load; that the shell starts nothing is another test."""
    show = "import sys; print(*sys.modules)"
    bare = run([installed / "bin" / VERSION, "-I", "-S", "-c", show]).stdout.split()
    loaded = run([installed / "bin/onggi", "modules"]).stdout.split()
    assert loaded and len(set(loaded) - set(bare)) <= MOST_MODULES, set(loaded) - set(bare)


@pytest.mark.root
def test_root_refuses_code_that_others_can_change(installed: Path) -> None:
    site = installed / "lib" / VERSION / "site-packages"
    for place in (site, site / "onggi", installed):
        place.chmod(0o777)
        done = run([installed / "bin/onggi"])
        assert done.returncode == 1
        assert f"chmod go-w {place}" in done.stderr
        place.chmod(0o755)
    report([installed / "bin/onggi"])


@pytest.mark.root
def test_no_bytecode_in_a_tree_of_another_account(installed: Path) -> None:
    site = installed / "lib" / VERSION / "site-packages"
    for path in [site, *site.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert report([installed / "bin/onggi"])["bytecode"] is False
    assert not list(site.rglob("*.pyc"))


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[str, int], str]:
    def make(name: str, mode: int) -> str:
        path = tmp_path / name
        path.mkdir(exist_ok=True, parents=True)
        path.chmod(mode)
        return str(path)

    return make


def test_changeable_by_others(directory: Callable[[str, int], str]) -> None:
    assert boot.changeable_by_others([directory("safe", 0o755)]) == ""
    assert boot.changeable_by_others([directory("open", 0o757)]) == directory("open", 0o757)
    assert boot.changeable_by_others([directory("sticky", 0o1777)]) == directory("sticky", 0o1777)
    assert boot.changeable_by_others([directory("sticky/inner", 0o755)]) == ""
    assert boot.changeable_by_others([directory("open/inner", 0o755)]) == directory("open", 0o757)
    assert boot.changeable_by_others([directory("group", 0o775)]) in ("", directory("group", 0o775))


@pytest.mark.root
def test_a_group_counts_when_somebody_is_in_it(directory: Callable[[str, int], str]) -> None:
    path = directory("group", 0o775)
    busy = next(account for account in pwd.getpwall() if account.pw_gid not in (0, account.pw_uid))
    for owner, group, answer in (
        (0, 0, ""),
        (1234567, 1234567, ""),  # a private group
        (0, 1234567, ""),  # nobody's
        (0, busy.pw_gid, path),
        (busy.pw_uid, 1234567, ""),
    ):
        os.chown(path, owner, group)
        assert boot.changeable_by_others([path]) == answer


def test_site_directories(tmp_path: Path) -> None:
    venv, base = tmp_path / "venv", tmp_path / "usr"
    site = venv / "lib" / VERSION / "site-packages"
    site64 = venv / "lib64" / VERSION / "site-packages"
    shared = base / "lib/python3/dist-packages"
    for path in (site, site64, shared):
        path.mkdir(parents=True)

    def answer() -> list[str]:
        return boot.site_directories(str(site), str(base), VERSION)

    assert answer() == [str(site), str(site64), str(shared)]
    (venv / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    assert answer() == [str(site), str(site64)]
    (venv / "pyvenv.cfg").write_text("include-system-site-packages = True\n")
    assert answer() == [str(site), str(site64), str(shared)]
