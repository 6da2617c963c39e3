"""Another engine on our runtime: podman finds in onggi-runtime what it expects of one."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onggi.linux.cgroup import remove_group

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]
PROGRAM = Path(__file__).parents[3] / "bin/onggi-runtime"
Podman = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def podman(base_image: Callable[[str], Path]) -> Iterator[Podman]:
    """podman with storage of its own (below a short path: it wants that) and our runtime."""
    home = tempfile.mkdtemp(prefix="onggi-", dir="/var/tmp")
    top = [
        "podman", "--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp",
        "--storage-driver", "vfs", "--runtime", str(PROGRAM),
        "--cgroup-manager", "cgroupfs", "--events-backend", "none",
    ]  # fmt: skip

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*top, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )

    before = set(Path("/sys/fs/cgroup").glob("*/libpod_parent"))
    try:
        loaded = run("load", "-i", str(base_image("busybox:latest")))
        assert loaded.returncode == 0, loaded
        yield run
    finally:
        run("rm", "--all", "--force", "--time", "0")
        run("rmi", "--all", "--force")
        shutil.rmtree(home)
        for path in set(Path("/sys/fs/cgroup").glob("*/libpod_parent")) - before:
            remove_group(str(path), time.monotonic() + 60)


def test_run(podman: Podman) -> None:
    done = podman("run", "--rm", "--network", "none", "busybox", "sh", "-c", "id -u; exit 3")
    assert (done.returncode, done.stdout) == (3, "0\n"), done


def test_a_container_in_the_background(podman: Podman) -> None:
    words = ("run", "-d", "--name", "one", "--network", "none", "--pids-limit", "50", "busybox")
    done = podman(*words, "sleep", "60")
    assert done.returncode == 0, done
    assert podman("exec", "-e", "A=b", "one", "sh", "-c", "echo $A; exit 4").returncode == 4
    assert podman("inspect", "-f", "{{.State.Status}}", "one").stdout == "running\n"
    assert podman("stop", "-t", "0", "one").returncode == 0
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "one").stdout == "137\n"


def test_a_command_that_is_not_there(podman: Podman) -> None:
    done = podman("run", "--rm", "--network", "none", "busybox", "nope")
    assert done.returncode == 127, done
    assert "executable file not found" in done.stderr
