"""kill -9 of a command in the middle of what it does: the next command just works."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_server import RegistryServer

from .conftest import Victim, children, is_alive, kill, kill_pid
from .stalling import StallingProxy, stalling_proxy

pytestmark = pytest.mark.root

DELAYS_S = [n * 0.004 for n in range(1, 21)]  # to 80 ms
BIG_BYTES = 24 << 20


@pytest.fixture
def proxy(registry: RegistryServer) -> Iterator[StallingProxy]:
    with stalling_proxy(registry.host) as proxy:
        yield proxy


def incompressible(path: Path, size: int = BIG_BYTES) -> None:
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))


def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> None:
    assert process.stdout is not None
    seen = b""
    while wanted not in seen:
        data = os.read(process.stdout.fileno(), 65536)
        assert data, f"no {wanted!r} in {seen!r}"
        seen += data


# -- pull, load


def test_pull(victim: Victim, busybox: str, proxy: StallingProxy, tmp_path: Path) -> None:
    """Wherever the answers stop: before the first, after the manifest, in the layers."""
    name = f"{proxy.host}/victim/big:1"
    context = tmp_path / "context"
    context.mkdir()
    incompressible(context / "one")
    incompressible(context / "two")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY one /\nCOPY two /\n")
    victim("build", "-q", "-t", name, str(context))
    victim("push", "-q", name)
    victim("rmi", name)
    victim("builder", "prune", "-af")
    for size in (0, 1, 1000, 5000, 1 << 20, BIG_BYTES, 2 * BIG_BYTES - (1 << 20)):
        proxy.stall_after(size)
        process = victim.start("pull", name)
        assert proxy.stalled.wait(60), kill(process)
        assert kill(process), size
        victim.works()
        assert name.rpartition(":")[0] not in victim.out("images")
        victim.settled()
    proxy.stall_after(None)
    victim("pull", name)
    assert victim.out("run", "--rm", name, "sh", "-c", "cat /one /two | wc -c") == str(
        2 * BIG_BYTES
    )
    victim("rmi", name)


def test_pull_while_it_is_stored(victim: Victim, busybox: str, proxy: StallingProxy) -> None:
    """At random moments of a pull that is not held up."""
    name = f"{proxy.host}/victim/small:1"
    victim("tag", busybox, name)
    victim("push", "-q", name)
    victim("rmi", name, busybox)
    chance = random.Random(5)
    struck = 0
    for _ in range(12):
        struck += victim.strike(chance.uniform(0.05, 0.4), "pull", name)
        victim.works()
        if name.rpartition(":")[0] in victim.out("images"):
            assert victim.out("run", "--rm", name, "echo", "whole") == "whole"
            victim("rmi", name)
    assert struck
    victim("pull", name)
    assert victim.out("run", "--rm", name, "echo", "whole") == "whole"


def test_load(victim: Victim, busybox: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    victim("save", "-o", str(archive), busybox)
    victim("rmi", busybox)
    data = archive.read_bytes()
    for size in (0, 10_000, len(data) // 2, len(data) - 1024):
        process = subprocess.Popen(
            [victim.command, "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=victim.environment,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(data[:size])
        process.stdin.flush()
        time.sleep(0.15)  # it waits for the rest for ever: this is for it to take what it has
        assert kill(process)
        process.stdin.close()
        victim.works()
        assert victim.out("images", "-q") == ""
        victim.settled()
    for delay_s in (0.05, 0.08, 0.1, 0.12, 0.15, 0.2):
        victim.strike(delay_s, "load", "-i", str(archive))
        victim.works()
    victim("load", "-i", str(archive))
    assert victim.out("run", "--rm", busybox, "echo", "whole") == "whole"


# -- build


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    incompressible(path / "big")
    return path


def test_build_in_run(victim: Victim, busybox: str, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN echo one > /one\n"
        "ARG WAIT\nRUN echo it-runs; sleep $WAIT; echo two > /two\n"
    )
    process = victim.start(
        "build", "--progress=plain", "--build-arg=WAIT=300", "-t", "app", str(context)
    )
    read_until(process, b"it-runs\n")
    assert kill(process)
    victim.works()
    assert victim.out("ps", "-aq") == ""
    victim.until_gone()  # the step's monitor ends the step
    told = victim("build", "--progress=plain", "--build-arg=WAIT=0", "-t", "app", str(context))
    assert "CACHED" in told.stdout + told.stderr or "Using cache" in told.stdout + told.stderr
    assert victim.out("run", "--rm", "app", "cat", "/one", "/two") == "one\ntwo"
    assert victim.rows("SELECT name FROM container WHERE purpose <> ''") == []
    assert os.listdir(victim.root / "containers") == []


def test_build_pruned_after(victim: Victim, busybox: str, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo it-runs; sleep 300\n")
    process = victim.start("build", "--progress=plain", str(context))
    read_until(process, b"it-runs\n")
    assert kill(process)
    victim.settled()
    assert os.listdir(victim.root / "containers") == []


@pytest.mark.parametrize("step", ["COPY big /", "RUN dd if=/dev/urandom of=/big bs=1M count=24"])
def test_build_while_it_stores(victim: Victim, busybox: str, context: Path, step: str) -> None:
    """At random moments of a COPY, and of a RUN and the commit behind it."""
    (context / "Dockerfile").write_text(f"FROM busybox\n{step}\nRUN ls -l /big\n")
    chance = random.Random(7)
    arguments = ("build", "--no-cache", "-t", "app", str(context))
    began = time.monotonic()
    victim(*arguments)
    whole_s = time.monotonic() - began
    victim("rmi", "app")
    tried = struck = 0
    while tried < 10 or struck < 5:
        tried += 1
        if victim.strike(chance.uniform(0.05, whole_s), *arguments):
            struck += 1
        else:
            whole_s = max(0.1, whole_s * 0.8)  # the machine is less busy than it was
        victim.works()
        assert victim.out("ps", "-aq") == ""
    victim("build", "-q", "-t", "app", str(context))
    assert victim.out("run", "--rm", "app", "stat", "-c", "%s", "/big") == str(BIG_BYTES)
    assert victim.rows("SELECT name FROM container WHERE purpose <> ''") == []


# -- containers


@pytest.mark.parametrize(
    "flags", [(), ("--rm",), ("-d",), ("-d", "--rm"), ("-d", "-p", "18088:80")]
)
def test_run(victim: Victim, busybox: str, flags: tuple[str, ...]) -> None:
    """Twenty times, each a little later: what is left can be listed and removed, and the same
    command works again."""
    foreground = "-d" not in flags
    for delay_s in DELAYS_S:
        victim.strike(delay_s, "run", *flags, busybox, "sleep", "300")
        victim.works()
        for line in victim.out("ps", "-a", "--format", "{{.State}}").splitlines():
            assert line in ("created", "running")
        victim.remove_containers()
        command = ("true",) if foreground else ("sleep", "300")
        victim("run", *flags, "--name", "again", busybox, *command, timeout_s=120)
        victim("rm", "-f", "again", code=None)
        assert victim.out("ps", "-aq") == ""
    victim.settled()


def test_the_same_port_after_a_killed_start(victim: Victim, busybox: str) -> None:
    """A start that was killed half-way keeps no port from the next one."""
    arguments = ("run", "-d", "-p", "18089:80", busybox, "sleep", "300")
    for delay_s in DELAYS_S:
        process = victim.start(*arguments)
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            pass
        process.send_signal(signal.SIGSTOP)  # it forks no other monitor while we look
        for pid in children(process.pid):
            kill_pid(pid)
        kill(process)
        running = victim.out("ps", "-q")
        if running:
            victim("rm", "-f", running)
        victim(*arguments, timeout_s=120)
        victim("rm", "-f", *victim.out("ps", "-q").split())
    victim.remove_containers()


def test_commit(victim: Victim, busybox: str) -> None:
    script = "dd if=/dev/urandom of=/big bs=1M count=24 2>/dev/null && echo done && sleep 300"
    victim("run", "-d", "--name", "source", busybox, "sh", "-c", script)
    victim.until("done", "logs", "source")
    for delay_s in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        victim.strike(delay_s, "commit", "source", "made")
        victim.works()
        state = victim.out("inspect", "-f", "{{.State.Status}}", "source")
        assert state == "running", f"after {delay_s}: {state}"
    victim("commit", "source", "made")
    assert victim.out("run", "--rm", "made", "stat", "-c", "%s", "/big") == str(BIG_BYTES)
    assert victim.out("exec", "source", "echo", "thawed") == "thawed"


def test_stop(victim: Victim, busybox: str) -> None:
    """A stop that is killed while it waits: the next one ends it."""
    victim(
        "run", "-d", "--name", "deaf", busybox, "sh", "-c", "trap '' TERM; sleep 300 & wait; wait"
    )
    for delay_s in (0.03, 0.1, 0.5):
        assert victim.strike(delay_s, "stop", "deaf")
        victim.works()
        assert victim.out("inspect", "-f", "{{.State.Status}}", "deaf") == "running"
    victim("stop", "-t", "0", "deaf")
    assert victim.out("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"


@pytest.mark.parametrize("how", ["stop", "kill", "rm", "wait"])
def test_a_monitor_is_killed(victim: Victim, busybox: str, how: str) -> None:
    """Its container lives on, or is seen to have ended; nobody knows the exit code: 255."""
    victim("run", "-d", "--name", "orphan", "-p", "18090:80", busybox, "sleep", "300")
    pid = int(victim.out("inspect", "-f", "{{.State.Pid}}", "orphan"))
    kill_pid(victim.monitor("orphan"))
    shown = victim.out("ps", "-a", "--format", "{{.Status}}")
    assert shown.startswith("Up") or (not is_alive(pid) and shown.startswith("Exited (255)")), shown
    if how == "rm":
        victim("rm", "-f", "orphan", timeout_s=120)
        assert victim.out("ps", "-aq") == ""
        assert not is_alive(pid)
        return
    if how == "wait":
        waiting = victim.popen("wait", "orphan")
        victim("kill", "orphan")
        assert waiting.communicate(timeout=60)[0] == "255\n"
    elif how == "stop":
        victim("stop", "-t", "1", "orphan", timeout_s=120)
    else:
        victim("kill", "orphan")
    victim.until("exited", "ps", "-a", "--format", "{{.State}}")
    assert not is_alive(pid)
    assert victim.out("inspect", "-f", "{{.State.ExitCode}}", "orphan") == "255"
    victim("start", "orphan", timeout_s=120)
    assert victim.out("exec", "orphan", "echo", "anew") == "anew"


def test_a_monitor_is_killed_under_its_client(victim: Victim, busybox: str) -> None:
    """The attached command waits for the container's end, and says 255."""
    script = "echo up; exec sleep 300"
    process = victim.start("run", "--name", "it", busybox, "sh", "-c", script)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"  # the row says running a moment earlier
        kill_pid(victim.monitor("it"))
        victim("stop", "-t", "0", "it", timeout_s=120)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 255, output
    finally:
        kill(process)


@pytest.mark.parametrize("flags", [(), ("-d",), ("-d", "--rm", "-p", "18091:80")])
def test_monitors_of_starts(victim: Victim, busybox: str, flags: tuple[str, ...]) -> None:
    """The monitor dies at any moment of the start: the command does not hang."""
    for delay_s in DELAYS_S:
        process = victim.start("run", *flags, busybox, "sleep", "300")
        time.sleep(delay_s)
        for pid in children(process.pid):
            kill_pid(pid)
        if "-d" in flags:
            process.communicate(timeout=60)
        else:
            kill(process)
        victim.works()
        victim.remove_containers()
    victim.settled()


def test_everything_at_once_is_killed(victim: Victim, busybox: str, context: Path) -> None:
    """As when the OOM killer or an operator takes all: commands and monitors together."""
    (context / "Dockerfile").write_text("FROM busybox\nCOPY big /\nRUN sleep 300\n")
    chance = random.Random(11)
    for _ in range(4):
        commands: list[Any] = [
            victim.start("run", "-d", "-p", "18092:80", busybox, "sleep", "300"),
            victim.start("run", "--rm", busybox, "sleep", "300"),
            victim.start("build", "--no-cache", str(context)),
        ]
        time.sleep(chance.uniform(0.05, 0.6))
        for pid in victim.processes():
            kill_pid(pid)
        for command in commands:
            kill(command)
        victim.works()
        victim.remove_containers()
        victim.settled()
    victim("run", "--rm", "-p", "18092:80", busybox, "true")
