"""SECURITY 1A: paths, descriptors and foreign code at the border of host and container."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from attackers import RACE_SECONDS, Canary, swapping
from rawtar import member

pytestmark = pytest.mark.root
Onggi = Any  # conftest.Onggi: conftests cannot be imported by name
Image = Callable[..., str]
EXECS = 200 if RACE_SECONDS >= 20 else 60


def link(name: str, to: str) -> bytes:
    return member(name.encode(), kind=b"2", link=to.encode())


def script(name: str, text: str) -> bytes:
    return member(name.encode(), data=text.encode(), mode=b"0000755\0")


# -- A1, A8: the runtime's own program


@pytest.mark.sec("A1")
@pytest.mark.parametrize("how", ["plain", "script", "link", "thread", "pid", "busybox"])
def test_the_runtime_itself_is_no_command(
    onggi: Onggi, image: Image, canary: Canary, how: str
) -> None:
    command = {
        "plain": "/proc/self/exe", "script": "/s", "link": "/l", "thread": "/proc/thread-self/exe",
        "pid": "/proc/1/exe", "busybox": "/proc/self/../self/exe",
    }[how]  # fmt: skip
    name = image("exe", script("s", "#!/proc/self/exe\n"), link("l", "/proc/self/exe"))
    done = onggi("run", "--rm", "--entrypoint", command, name, code=126)
    assert "permission denied" in done.stderr
    onggi("run", "-d", "--name", "victim", name, "sleep", "100")
    onggi("exec", "victim", command, code=126)


@contextmanager
def grabbing(
    onggi: Onggi, programs: Path, interpreter: str, shared: Path, *flags: str, trace: bool = False
) -> Iterator[None]:
    """A container whose first process goes for every process it sees."""
    shared.mkdir(exist_ok=True)
    host = os.stat(interpreter)
    mode = ("trace",) if trace else ()
    onggi(
        "run", "-d", "--name", "grabber", "-v", f"{programs}:/p:ro", "-v", f"{shared}:/shared",
        *flags, "busybox", "/p/grab", str(host.st_dev), str(host.st_ino), *mode,
    )  # fmt: skip
    onggi.until("READY", "logs", "grabber")
    yield
    (shared / "stop").touch()
    onggi("wait", "grabber")


@pytest.mark.sec("A1")
@pytest.mark.sec("A8")
def test_a_container_gets_nothing_of_a_joining_process(
    onggi: Onggi, programs: Path, interpreter: str, tmp_path: Path, canary: Canary
) -> None:
    with grabbing(onggi, programs, interpreter, tmp_path / "shared", trace=True):
        for _ in range(EXECS):
            onggi("exec", "grabber", "true", code=None)  # the attacker may kill it
    log = onggi.out("logs", "grabber")
    assert "GOT" not in log, log[-2000:]
    assert int(log.split("REFUSED ")[-1].split()[0]) > 0, "the attacker never saw a joining process"


@pytest.mark.sec("A1")
def test_control_the_grabber_works_with_the_right_to_trace(
    onggi: Onggi, programs: Path, interpreter: str, tmp_path: Path, canary: Canary
) -> None:
    """Control: the same attacker, armed with CAP_SYS_PTRACE, does see joining processes. The
    program cannot be written even then."""
    with grabbing(onggi, programs, interpreter, tmp_path / "shared", "--cap-add", "SYS_PTRACE"):
        for _ in range(EXECS):
            onggi("exec", "grabber", "true")
            if "GOT exe" in (log := onggi.out("logs", "grabber")):
                break
    assert "GOT exe /proc" in log
    assert "for writing" not in log


@pytest.mark.sec("A1")
def test_a_command_swapped_for_the_runtime_itself(
    onggi: Onggi, programs: Path, image: Image, tmp_path: Path, canary: Canary
) -> None:
    """Between the look at a command and its execution its name becomes a link to /proc/self/exe."""
    leak, tries = race_commands(onggi, programs, image, tmp_path)
    assert tries > 20
    assert leak == "", leak


def race_commands(
    onggi: Onggi, programs: Path, image: Image, tmp_path: Path
) -> tuple[str, int]:
    """Exec a name that a racer swaps; what the loader of the container said, and how many tries."""
    loader = (programs / "loader").read_bytes()
    name = image("loader", member(b"lib64/ld-linux-x86-64.so.2", data=loader, mode=b"0000755\0"))
    shared = tmp_path / "shared"
    shared.mkdir()
    busybox = subprocess.run(["which", "busybox"], capture_output=True, text=True).stdout.strip()
    (shared / "true").write_bytes(Path(busybox).read_bytes())
    (shared / "true").chmod(0o755)
    (shared / "other").symlink_to("/proc/self/exe")
    onggi(
        "run", "-d", "--name", "racer", "-v", f"{programs}:/p:ro", "-v", f"{shared}:/shared",
        name, "/p/swap", "/shared/true", "/shared/other",
    )  # fmt: skip
    tries, end = 0, time.monotonic() + max(RACE_SECONDS, 4)
    leak = shared / "leak"
    while time.monotonic() < end and not leak.exists():
        onggi("exec", "racer", "/shared/true", code=None)
        tries += 1
    return (leak.read_text() if leak.exists() else ""), tries
