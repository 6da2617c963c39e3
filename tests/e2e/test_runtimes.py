"""`--runtime`: the same container by onggi's own runtime, Debian's crun and Debian's runc."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root
Onggi = Any


@pytest.fixture(params=["onggi-runtime", "crun", "runc"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param != "onggi-runtime" and shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def test_run(onggi: Onggi, busybox: str, name: str) -> None:
    words = ("run", "--rm", "--runtime", name, "-e", "A=b", "-w", "/etc", "--user", "7:8")
    script = "echo $A; pwd; id -u; cat /sys/fs/cgroup/pids/pids.max; exit 5"
    done = onggi(*words, "--pids-limit", "44", busybox, "sh", "-c", script, code=5)
    assert done.stdout.split() == ["b", "/etc", "7", "44"]


def test_the_sandbox_is_the_same(onggi: Onggi, busybox: str, name: str) -> None:
    script = "grep -E '^(Cap|Secc|NoNew)' /proc/self/status; wc -c < /proc/kcore; unshare -m true"
    done = onggi("run", "--rm", "--runtime", name, busybox, "sh", "-c", script, code=1)
    own = onggi("run", "--rm", busybox, "sh", "-c", script, code=1)
    assert done.stdout == own.stdout


def test_streams_and_terminal(onggi: Onggi, busybox: str, name: str) -> None:
    words = ("run", "--rm", "-i", "--runtime", name, busybox)
    assert onggi(*words, "cat", stdin="typed").stdout == "typed"
    done = onggi("run", "--rm", "-t", "--runtime", name, busybox, "tty")
    assert done.stdout == "/dev/pts/0\n"


def test_volumes_network_and_files(onggi: Onggi, busybox: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    words = ("run", "--rm", "--runtime", name, "-v", f"{tmp_path}:/data", "-v", "vol:/vol")
    script = (
        "cat /data/file; touch /vol/x; ip -o addr show eth0 | wc -l; cut -f1 /etc/hosts | head -1"
    )
    assert onggi(*words, busybox, "sh", "-c", script).stdout.split() == ["content1", "127.0.0.1"]
    onggi("volume", "rm", "vol")


def test_life(onggi: Onggi, busybox: str, name: str) -> None:
    onggi("run", "-d", "--name", "life", "--runtime", name, busybox, "sleep", "600")
    shown = json.loads(onggi("inspect", "life").stdout)[0]
    assert shown["HostConfig"]["Runtime"] == name
    assert onggi("exec", "life", "sh", "-c", "id -u; exit 4", code=4).stdout == "0\n"
    onggi("exec", "life", "nope", code=127)
    assert onggi("exec", "-t", "life", "tty").stdout.startswith("/dev/pts/")
    onggi("pause", "life")
    onggi("unpause", "life")
    onggi("kill", "life")
    assert onggi("wait", "life").stdout == "137\n"
    onggi("start", "life")
    onggi("rm", "-f", "life")


@pytest.mark.parametrize(("command", "code"), [("nope", 127), ("/etc", 126)])
def test_what_cannot_be_executed(
    onggi: Onggi, busybox: str, name: str, command: str, code: int
) -> None:
    onggi("run", "--rm", "--runtime", name, busybox, command, code=code)


def test_nothing_shows_on_the_host(onggi: Onggi, busybox: str, name: str) -> None:
    before = set(Path("/proc/self/mountinfo").read_text().splitlines())
    onggi("run", "-d", "--name", "quiet", "--runtime", name, "--network", "none", busybox,
          "sleep", "600")  # fmt: skip
    assert set(Path("/proc/self/mountinfo").read_text().splitlines()) <= before
    onggi("rm", "-f", "quiet")


def test_a_runtime_that_is_not_there(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--runtime", "nope", busybox, "true", code=125)
    assert "unknown or invalid runtime name: nope" in done.stderr
