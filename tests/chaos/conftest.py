"""What chaos needs: a store under attack and what must be true of it after every blow."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..e2e.conftest import (  # noqa: F401 - two are fixtures
    Onggi,
    clean_host,
    host_state,
    left_behind,
    registry,
)

ID_LENGTH = 64


class Victim(Onggi):
    """The command, and ways to hurt it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.run = home / "run"

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """The command in the background, its output in a pipe."""
        return subprocess.Popen(
            [self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=self.environment,
        )

    def strike(self, after_s: float, *arguments: str) -> bool:
        """Start the command and kill it later; whether it was still there to be killed."""
        process = self.start(*arguments)
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            pass
        return kill(process)

    def processes(self) -> list[int]:
        """Every process of ours: commands and monitors. They carry our directories in their
        environment; a container's own process does not."""
        mark = f"ONGGI_RUN={self.run}".encode()
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, mark)
        ]

    def monitor(self, name: str) -> int:
        row = self.rows("SELECT state ->> 'monitor_pid' FROM container WHERE name = ?", name)
        return int(row[0][0])

    def rows(self, sql: str, *parameters: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.root / "onggi.db", timeout=30)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def works(self) -> None:
        """The commands that only look answer, and the database is whole."""
        self("ps", "-a")
        self("images", "-a")
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []

    def settled(self) -> None:
        """Nothing is left but what rows name; `system prune -f` is the next command."""
        self("system", "prune", "-f")
        self.until_gone()
        assert self.rows("SELECT name FROM container WHERE purpose <> ''") == []
        containers = {str(row[0]) for row in self.rows("SELECT id FROM container")}
        assert listing(self.root / "containers") == containers
        assert {name for name in listing(self.run) if len(name) == ID_LENGTH} <= containers
        # One empty lock may stay where a removal itself was killed; RUN goes with the boot.
        assert len(listing(self.run / "locks") - containers) <= 1
        assert listing(self.root / "tmp") == set()
        files = {f"{diff_id}" for (diff_id,) in self.rows("SELECT diff_id FROM layer_file")}
        assert len(listing(self.root / "layers")) == len(files)
        blobs = {str(d).partition(":")[2] for (d,) in self.rows("SELECT digest FROM blob")}
        assert listing(self.root / "blobs/sha256") == blobs
        assert self.rows("SELECT * FROM lease") == []

    def until_gone(self, timeout_s: float = 60, *, but: int = 0) -> None:
        """Until no process of ours is left, as after the last container's end; or so many."""
        deadline = time.monotonic() + timeout_s
        while len(left := self.processes()) > but:
            assert time.monotonic() < deadline, [cmdline(pid) for pid in left]
            time.sleep(0.02)


def _has(pid: int, mark: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return mark in environment and any(name in line for name in (b"__main__.py", b"soak.py"))
    except OSError:
        return False


def cmdline(pid: int) -> str:
    try:
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()!r}"
    except OSError:
        return f"{pid} (gone)"


def listing(path: Path) -> set[str]:
    return set(os.listdir(path)) if path.exists() else set()


def kill(process: subprocess.Popen[bytes]) -> bool:
    """SIGKILL and wait; whether it was still running."""
    alive = process.poll() is None
    process.kill()
    process.wait(60)
    if process.stdout:
        process.stdout.close()
    return alive


def kill_pid(pid: int) -> None:
    """SIGKILL somebody else's child, which may have ended already, and wait until it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        os.close(pidfd)


def is_alive(pid: int) -> bool:
    """Zombies whose parent has not looked yet count as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.fixture
def victim(clean_host: None, tmp_path: Path) -> Iterator[Victim]:  # noqa: F811
    if os.geteuid() != 0:
        pytest.skip("needs root")
    before = host_state()
    victim = Victim(tmp_path)
    yield victim
    victim.remove_containers()
    victim.settled()
    deadline = time.monotonic() + 60  # for those of another engine at work on this host
    while left := [line for line in left_behind(before) if line.startswith(("links", "tables"))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    shutil.rmtree(victim.root)


@pytest.fixture
def busybox(victim: Victim, base_image: Callable[[str], Path]) -> str:
    victim("load", "-q", "-i", str(base_image("busybox:latest")))
    return "busybox"
