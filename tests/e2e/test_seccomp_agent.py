"""A seccomp profile whose SCMP_ACT_NOTIFY an agent answers."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


class Agent:
    """It answers nothing: what it is asked about fails with ENOSYS when it lets go."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(60)

    def called(self) -> dict[str, Any]:
        """The message of one process; its listener is let go."""
        connection, _ = self.listener.accept()
        with connection:
            text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == ["anon_inode:seccomp notify"]
        os.close(fds[0])
        message: dict[str, Any] = json.loads(text)
        return message


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path / "s")
    yield agent
    agent.listener.close()


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": str(tmp_path / "s"), "listenerMetadata": "meta",
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}],
    }))  # fmt: skip
    return f"seccomp={path}"


def test_the_agent_is_asked_for_run_and_exec(
    onggi: Onggi, busybox: str, agent: Agent, profile: str
) -> None:
    script = "hostname changed; exec sleep 600"
    container = onggi.out("run", "-d", "--name", "box", "--security-opt", profile, busybox,
                          "sh", "-c", script)  # fmt: skip
    message = agent.called()
    pid = int(onggi.out("inspect", "-f", "{{.State.Pid}}", "box"))
    assert (message["fds"], message["metadata"], message["pid"]) == (["seccompFd"], "meta", pid)
    assert (message["state"]["id"], message["state"]["pid"]) == (container, pid)
    process = onggi.popen("exec", "box", "hostname", "changed")
    assert agent.called()["state"]["id"] == container
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1 and "unction not implemented" in told


def test_without_its_agent_nothing_starts(onggi: Onggi, busybox: str, profile: str) -> None:
    done = onggi("run", "--rm", "--security-opt", profile, busybox, "true", code=125)
    assert "seccomp listener" in done.stderr
    done = onggi("run", "--rm", "--init", "--security-opt", profile, busybox, "true", code=125)
    assert "cannot be used with --init" in done.stderr
