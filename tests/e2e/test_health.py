"""Health checks as a user sees them, and what they may not leave behind."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root
QUICK = ("--health-interval", "100ms")


def health(onggi: Onggi, name: str = "box") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(onggi.out("inspect", name))[0]["State"]["Health"]
    return found


def settled(onggi: Onggi, status: str) -> dict[str, Any]:
    onggi.until(status, "inspect", "-f", "{{.State.Health.Status}}", "box")
    return health(onggi)


def processes(onggi: Onggi) -> list[str]:
    """The container's, as its own ps sees them."""
    lines = onggi.out("exec", "box", "ps", "-o", "pid,stat,args").splitlines()[1:]
    return [line for line in lines if "ps -o" not in line]


def test_starting_then_healthy(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--health-cmd", "echo good; echo err >&2; test -e /ok",
          *QUICK, "--health-retries", "1000", busybox, "sleep", "600")  # fmt: skip
    assert "(health: starting)" in onggi.out("ps")
    assert onggi.out("ps", "-q", "--filter", "health=starting")
    onggi("exec", "box", "touch", "/ok")
    state = settled(onggi, "healthy")
    assert state["FailingStreak"] == 0
    assert "(healthy)" in onggi.out("ps")
    assert onggi.out("ps", "-q", "--filter", "health=healthy")
    assert not onggi.out("ps", "-q", "--filter", "health=none")
    last = state["Log"][-1]
    assert set(last) == {"Start", "End", "ExitCode", "Output"} and last["ExitCode"] == 0
    assert sorted(last["Output"].split()) == ["err", "good"]
    onggi("exec", "box", "rm", "/ok")
    deadline = time.monotonic() + DEADLINE_S
    while len(health(onggi)["Log"]) < 5:
        assert time.monotonic() < deadline
    time.sleep(0.3)
    assert len(health(onggi)["Log"]) == 5
    config = json.loads(onggi.out("inspect", "box"))[0]["Config"]["Healthcheck"]
    test = ["CMD-SHELL", "echo good; echo err >&2; test -e /ok"]
    assert config == {"Test": test, "Interval": 100_000_000, "Retries": 1000}
    onggi("stop", "-t", "0", "box")
    assert health(onggi)["Status"] == "unhealthy"  # docker's word for what is not checked


def zombies(onggi: Onggi) -> set[str]:
    """Those that stay; one that its parent is about to reap is none."""
    found = [{line.split()[0] for line in processes(onggi) if " Z " in line} for _ in range(3)]
    return set.intersection(*found)


def test_unhealthy_after_the_retries_and_back(onggi: Onggi, busybox: str) -> None:
    since = f"{time.time():.6f}"
    onggi("run", "-d", "--name", "box", "--health-cmd", "test -e /ok", *QUICK,
          "--health-retries", "2", busybox, "sleep", "600")  # fmt: skip
    assert settled(onggi, "unhealthy")["FailingStreak"] >= 2
    assert "(unhealthy)" in onggi.out("ps", "--filter", "health=unhealthy")
    onggi("exec", "box", "touch", "/ok")
    settled(onggi, "healthy")  # the event comes after it
    said = onggi.until("health_status: healthy", "events", "--since", since, "--until", "0s",
                       "--filter", "container=box", "--filter", "event=health_status",
                       "--format", "{{.Action}}")  # fmt: skip
    assert said.splitlines() == ["health_status: unhealthy", "health_status: healthy"]


def test_a_check_that_hangs_is_killed_with_all_its_group(onggi: Onggi, busybox: str) -> None:
    command = "echo begun; sleep 61 & sleep 62"
    onggi("run", "-d", "--name", "box", "--health-cmd", command, *QUICK, "--health-timeout",
          "150ms", "--health-retries", "3", busybox, "sleep", "600")  # fmt: skip
    settled(onggi, "unhealthy")
    deadline = time.monotonic() + DEADLINE_S
    while True:  # a busy machine may not come to the echo in time
        last = health(onggi)["Log"][-1]
        assert last["ExitCode"] == -1
        if last["Output"] == "Health check exceeded timeout (150ms): begun\n":
            break
        assert time.monotonic() < deadline, last
    hanging = [
        [line for line in processes(onggi) if "sleep 6" in line and "600" not in line]
        for _ in range(3)
    ]
    assert min(map(len, hanging)) <= 3, hanging  # those of one check; others may just be dying
    assert not zombies(onggi)
    shown = [line for line in processes(onggi) if "python" in line or "onggi " in line]
    assert shown == []  # the command line of the host is not the container's business


@pytest.mark.parametrize("command", ["sleep 0.01 & exit 0", "(sleep 0.01 &) ; exit 1"])
def test_what_a_check_leaves_is_reaped(onggi: Onggi, busybox: str, command: str) -> None:
    onggi("run", "-d", "--name", "box", "--health-cmd", command, "--health-interval", "20ms",
          busybox, "sleep", "600")  # fmt: skip
    settled(onggi, "healthy" if "exit 0" in command else "unhealthy")
    time.sleep(0.5)
    assert not zombies(onggi)


def test_much_output_is_cut_and_does_not_hold_it_up(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--health-cmd", "yes | head -c 3000000", *QUICK, busybox,
          "sleep", "600")  # fmt: skip
    output = settled(onggi, "healthy")["Log"][-1]["Output"]
    assert len(output) == 4096 and set(output) == {"y", "\n"}


def test_what_cannot_be_executed(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--entrypoint", "sleep", "--health-cmd", "/nonsense",
          *QUICK, "--health-retries", "1", busybox, "600")  # fmt: skip
    assert settled(onggi, "unhealthy")["Log"][-1]["ExitCode"] == 127


def test_the_start_period_forgives(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--health-cmd", "false", "--health-interval", "1h",
          "--health-retries", "1", "--health-start-period", "10m", "--health-start-interval",
          "50ms", busybox, "sleep", "600")  # fmt: skip
    deadline = time.monotonic() + DEADLINE_S
    while len((state := health(onggi))["Log"]) < 5:
        assert time.monotonic() < deadline
    assert (state["Status"], state["FailingStreak"]) == ("starting", 0)


def test_a_paused_container_does_not_fail(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--health-cmd", "true", *QUICK, "--health-timeout", "3s",
          "--health-retries", "1", busybox, "sleep", "600")  # fmt: skip
    settled(onggi, "healthy")
    onggi("pause", "box")
    time.sleep(3.5)
    onggi("unpause", "box")
    time.sleep(0.3)
    assert health(onggi)["Status"] == "healthy"


def test_the_image_says_it_and_the_user_may_not_want_it(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox}\nHEALTHCHECK --interval=100ms --start-interval=7s CMD echo from-image\n"
        'CMD ["sleep", "600"]\n'
    )
    onggi("build", "-q", "-t", "checked", str(tmp_path))
    onggi("run", "-d", "--name", "box", "--health-retries", "9", "checked")
    assert settled(onggi, "healthy")["Log"][-1]["Output"] == "from-image\n"
    config = json.loads(onggi.out("inspect", "box"))[0]["Config"]["Healthcheck"]
    assert config == {
        "Test": ["CMD-SHELL", "echo from-image"],
        "Interval": 100_000_000,
        "StartInterval": 7_000_000_000,
        "Retries": 9,
    }
    onggi("run", "-d", "--name", "unchecked", "--no-healthcheck", "checked")
    assert "Health" not in json.loads(onggi.out("inspect", "unchecked"))[0]["State"]
    assert onggi.out("ps", "--filter", "health=none", "--format", "{{.Names}}") == "unchecked"


def test_checks_go_on_after_a_restart(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "always", "--health-cmd", "true", *QUICK,
          busybox, "sh", "-c", "[ -e /again ] && exec sleep 600;"
          "while [ ! -e /again ]; do sleep 0.05; done; exit 1")  # fmt: skip
    settled(onggi, "healthy")
    onggi("exec", "box", "touch", "/again")
    onggi.until("1", "inspect", "-f", "{{.RestartCount}}", "box")
    settled(onggi, "healthy")
    onggi("rm", "-f", "box")


def test_the_process_is_small_and_goes_with_the_container(onggi: Onggi, busybox: str) -> None:
    before = watching(onggi)  # a server of other tests
    onggi("run", "-d", "--name", "box", "--health-cmd", "true", *QUICK, busybox, "sleep", "600")
    settled(onggi, "healthy")
    deadline = time.monotonic() + 60
    while (
        len(mine := (watching(onggi) & watching(onggi)) - before) != 2
    ):  # the monitor and the checker
        assert time.monotonic() < deadline, mine  # the one that tidies the network goes by itself
    own_kib = {pid: private_kib(pid) for pid in mine}
    assert max(own_kib.values()) < 16 << 10, own_kib
    onggi("rm", "-f", "box")
    deadline = time.monotonic() + DEADLINE_S
    while any(Path("/proc", pid).exists() for pid in mine):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def watching(onggi: Onggi) -> set[str]:
    time.sleep(0.1)
    run = f"ONGGI_RUN={onggi.environment['ONGGI_RUN']}".encode()
    pids = filter(str.isdigit, os.listdir("/proc"))
    return {pid for pid in pids if run in environment(pid)}


def environment(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "environ").read_bytes()
    except OSError:
        return b""


def private_kib(pid: str) -> int:
    lines = Path("/proc", pid, "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--health-interval=-5s"], "--health-interval cannot be negative"),
        (["--health-timeout=-5s"], "--health-timeout cannot be negative"),
        (["--health-retries=-1"], "--health-retries cannot be negative"),
        (["--health-start-period=-1s"], "--health-start-period cannot be negative"),
        (["--health-start-interval=-1s"], "--health-start-interval cannot be negative"),
        (["--health-interval=1ns"], "Interval in Healthcheck cannot be less than 1ms"),
        (["--health-timeout=1us"], "Timeout in Healthcheck cannot be less than 1ms"),
        (["--no-healthcheck", "--health-cmd=x"], "--no-healthcheck conflicts with --health-*"),
        (["--health-retries=x"], 'invalid argument "x" for "--health-retries" flag'),
        (["--health-interval=5"], 'time: missing unit in duration "5"'),
    ],
)
def test_refusals(onggi: Onggi, busybox: str, flags: list[str], refusal: str) -> None:
    assert refusal in onggi("run", *flags, busybox, "true", code=125).stderr
    assert onggi.out("ps", "-aq") == ""
