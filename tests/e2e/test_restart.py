"""Restart policies as a user sees them: runs, back-off, stops, boots, and what a storm costs."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ports import free_port

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root


def state(onggi: Onggi, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(onggi.out("inspect", name))[0]
    return {**found["State"], "RestartCount": found["RestartCount"]}


def status(onggi: Onggi, name: str) -> str:
    return onggi.out("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.Status}}")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def monitors(onggi: Onggi) -> list[int]:
    """Processes of this engine that watch: those whose command line has gone on without it."""
    run = f"ONGGI_RUN={onggi.environment['ONGGI_RUN']}".encode()
    found = []
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            line = Path("/proc", pid, "cmdline").read_bytes()
            if b"/onggi/__main__.py" in line and run in Path("/proc", pid, "environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue
    return found


def nothing_watches(onggi: Onggi) -> bool:
    """Soon: the last monitor leaves a process that takes the idle network down."""
    deadline = time.monotonic() + DEADLINE_S
    while monitors(onggi) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not monitors(onggi)


def the_monitor(onggi: Onggi) -> int:
    """Of the only container, once the process that took an earlier idle network down is gone."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := monitors(onggi)) != 1:
        assert time.monotonic() < deadline, found
    return found[0]


def restarts(onggi: Onggi, name: str, least: int) -> int:
    """How many there were, once there were that many; it may be late to see the very number."""
    deadline = time.monotonic() + DEADLINE_S
    while (count := int(state(onggi, name)["RestartCount"])) < least:
        assert time.monotonic() < deadline, count
        time.sleep(0.05)
    return count


def test_on_failure_runs_again_so_many_times(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "on-failure:3", busybox,
          "sh", "-c", "echo run; exit 7")  # fmt: skip
    assert onggi.out("wait", "box") == "7"
    assert onggi.out("logs", "box").splitlines() == ["run"] * 4
    after = state(onggi, "box")
    assert (after["Status"], after["ExitCode"], after["RestartCount"]) == ("exited", 7, 3)
    policy = json.loads(onggi.out("inspect", "box"))[0]["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_on_failure_leaves_success_alone(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "on-failure", busybox, "true")
    assert onggi.out("wait", "box") == "0"
    assert state(onggi, "box")["RestartCount"] == 0


def test_ps_shows_restarting_and_stop_ends_it_at_once(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "always", busybox, "sh", "-c", "exit 3")
    restarts(onggi, "box", 6)  # the next wait takes 3.2 s
    assert onggi.until("Restarting", "ps", "--format", "{{.Status}}").startswith("Restarting (3) ")
    shown = state(onggi, "box")
    if shown["Status"] == "restarting":
        assert shown["Running"] and shown["Restarting"] and shown["Pid"] == 0
    deadline = time.monotonic() + DEADLINE_S
    while "container is restarting" not in (said := onggi("rm", "box", code=1).stderr):
        assert time.monotonic() < deadline, said  # it just ran
    onggi("stop", "box")
    count = state(onggi, "box")["RestartCount"]
    assert status(onggi, "box").startswith("Exited (3)")
    time.sleep(0.3)
    assert state(onggi, "box")["RestartCount"] == count
    onggi("start", "box")
    assert restarts(onggi, "box", 1) < count  # counts anew


@pytest.mark.parametrize("verb", [["stop", "-t", "0"], ["kill"], ["rm", "-f"]])
def test_a_user_ends_what_always_restarts(onggi: Onggi, busybox: str, verb: list[str]) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "always", busybox, "sleep", "600")
    onggi(*verb, "box")
    if verb[0] == "kill":
        onggi.out("wait", "box")
    left = onggi.out("ps", "-a", "--format", "{{.Names}} {{.State}}")
    assert left == ("" if verb[0] == "rm" else "box exited")
    assert nothing_watches(onggi)


def test_stops_race_with_restarts(onggi: Onggi, busybox: str) -> None:
    """A stop at any moment of a restart is the end of it."""
    for attempt in range(12):
        onggi("run", "-d", "--name", "box", "--restart", "always", busybox, "true")
        time.sleep(attempt * 0.017)
        onggi("stop", "-t", "0", "box")
        assert status(onggi, "box").startswith("Exited"), attempt
        assert nothing_watches(onggi)
        onggi("rm", "box")
    assert nothing_watches(onggi)


def test_a_signal_that_asks_for_no_end_keeps_the_policy(onggi: Onggi, busybox: str) -> None:
    script = "trap 'exit 9' HUP; echo up; while :; do sleep 0.05; done"
    onggi("run", "-d", "--name", "box", "--restart", "on-failure:1", busybox, "sh", "-c", script)
    onggi.until("up", "logs", "box")
    onggi("kill", "-s", "HUP", "box")
    onggi.until("1", "inspect", "-f", "{{.RestartCount}}", "box")


def test_a_run_that_cannot_start_gives_its_ports_back(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    source = tmp_path / "data"
    source.mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "stay").touch()
    port = free_port()
    onggi("run", "-d", "--name", "box", "--restart", "always", "-p", f"{port}:80",
          "-v", f"{source}:/data", busybox,
          "sh", "-c", "[ -e /data/stay ] && exec sleep 600; sleep 0.5")  # fmt: skip
    source.rmdir()
    restarts(onggi, "box", 4)
    error = onggi.until(str(source), "inspect", "-f", "{{.State.Error}}", "box")
    assert "already in use" not in error
    (tmp_path / "new").rename(source)
    onggi.until("running", "inspect", "-f", "{{.State.Status}}", "box")


def test_restart_runs_anew_also_what_removes_itself(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--rm", "--name", "box", busybox, "sleep", "600")
    before = state(onggi, "box")["Pid"]
    onggi("restart", "-t", "0", "box")
    assert state(onggi, "box")["Pid"] not in (0, before)
    onggi("stop", "-t", "0", "box")
    assert onggi.out("ps", "-aq") == ""


def test_the_foreground_ends_with_the_first_run(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--name", "box", "--restart", "always", busybox,
                 "sh", "-c", "echo one; sleep 0.2; exit 4", code=4)  # fmt: skip
    assert done.stdout == "one\n"
    restarts(onggi, "box", 2)
    assert "one\none\n" in onggi.out("logs", "box") + "\n"


def test_a_later_start_that_fails_is_tried_again(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    port = free_port()
    onggi("run", "-d", "--name", "box", "--restart", "on-failure", "-p", f"127.0.0.1:{port}:80",
          "-v", f"{tmp_path}:/data", busybox,
          "sh", "-c", "[ -e /data/stay ] && exec sleep 600; sleep 0.3; exit 1")  # fmt: skip
    with socket.socket() as thief:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                thief.bind(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        thief.listen()
        onggi.until("already in use", "inspect", "-f", "{{.State.Error}}", "box")
        onggi.until("restarting", "inspect", "-f", "{{.State.Status}}", "box")
        (tmp_path / "stay").touch()
    onggi.until("running", "inspect", "-f", "{{.State.Status}}", "box")
    assert state(onggi, "box")["Error"] == ""


def test_a_command_that_was_never_there_is_not_tried_again(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "always", busybox, "nonsense", code=127)
    assert state(onggi, "box")["Status"] == "created"


@pytest.mark.sec("S15")
def test_a_storm_is_cheap_and_leaks_nothing(onggi: Onggi, busybox: str) -> None:
    names = [f"box{number}" for number in range(8)]
    for name in names:
        onggi("run", "-d", "--name", name, "--restart", "always", busybox, "false")
    restarts(onggi, names[-1], 5)
    deadline = time.monotonic() + DEADLINE_S
    while len(watching := monitors(onggi)) != len(names):  # a start forks more of them
        assert time.monotonic() < deadline, watching
    fds = {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in watching}
    before, start = sum(map(cpu_s, watching)), time.monotonic()
    restarts(onggi, names[-1], 7)
    used, took = sum(map(cpu_s, watching)) - before, time.monotonic() - start
    assert used / took < 0.6  # of one core; it takes a tenth of that
    deadline = time.monotonic() + DEADLINE_S
    for pid in watching:
        while len(os.listdir(f"/proc/{pid}/fd")) > fds[pid] + 1:  # while it starts a run
            assert time.monotonic() < deadline
    onggi("stop", *names)
    assert nothing_watches(onggi)


def test_a_terminal_and_a_port_leak_nothing_from_run_to_run(onggi: Onggi, busybox: str) -> None:
    """The process closes its terminal before it ends: the monitor still holds the other side."""
    onggi("run", "-d", "-t", "-p", "127.0.0.1:0:80", "--name", "box", "--restart", "always",
          busybox, "sh", "-c", "exec <&- >&- 2>&-; sleep 0.05; exit 1")  # fmt: skip

    def descriptors(runs: int) -> set[str]:
        """While it waits for the next run, and nobody asks it anything."""
        restarts(onggi, "box", runs)
        deadline, found = time.monotonic() + DEADLINE_S, set[str]()
        while True:
            assert time.monotonic() < deadline, found
            before, links = state(onggi, "box"), Path(f"/proc/{the_monitor(onggi)}/fd")
            try:
                found = {os.readlink(link) for link in links.iterdir()}
            except FileNotFoundError:
                continue
            held = [target for target in found if "ptmx" in target or "socket:" in target]
            if before["Status"] == "restarting" and state(onggi, "box") == before and not held:
                return found

    first = descriptors(4)
    assert len(descriptors(6)) <= len(first)


def test_a_boot_starts_what_the_policies_say(lone_onggi: Onggi, base_image: Any) -> None:
    """`system stop` and a change of the boot id stand for the reboot."""
    onggi = lone_onggi
    onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    for policy in ("no", "always", "unless-stopped", "on-failure"):
        onggi("run", "-d", "--name", policy, "--stop-timeout", "0", "--restart", policy,
              "busybox", "sleep", "600")  # fmt: skip
    onggi("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "9")
    onggi("stop", "-t", "0", "stopped")
    onggi("create", "--name", "never", "--restart", "always", "busybox", "sleep", "600")

    def running() -> list[str]:
        return sorted(onggi.out("ps", "--format", "{{.Names}}").split())

    assert running() == ["always", "no", "on-failure", "unless-stopped"]
    assert sorted(onggi.out("system", "stop").split()) == running() or running() == []
    assert running() == []
    onggi("system", "start")
    assert running() == ["always", "on-failure", "unless-stopped"]
    onggi("stop", "-t", "0", "always", "unless-stopped", "on-failure")
    assert onggi.out("system", "start") == "always"


def test_what_ran_when_the_host_went_down_comes_back(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "--restart", "on-failure", busybox, "sleep", "600")
    os.kill(the_monitor(onggi), 9)
    os.kill(state(onggi, "box")["Pid"], 9)
    onggi.until("Exited (255)", "ps", "-a")
    assert onggi.out("system", "start") == "box"
    assert status(onggi, "box").startswith("Up")


def test_the_unit_names_this_command_and_these_directories(onggi: Onggi) -> None:
    unit = onggi.out("system", "unit")
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, *words = line.removeprefix("ExecStart=").split()
    assert os.access(program, os.X_OK)
    assert words[-2:] == ["system", "start"] and str(onggi.root) in words


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(onggi: Onggi, tmp_path: Path) -> None:
    unit = tmp_path / "onggi.service"
    unit.write_text(onggi.out("system", "unit"))
    argv = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert "onggi.service" not in done.stderr, done.stderr  # what it says of other units is theirs


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--restart", "foo"], "invalid restart policy: unknown policy 'foo'"),
        (["--restart", "always:3"], "maximum retry count can only be used with 'on-failure'"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--rm", "--restart", "always"], "cannot specify both --restart and --rm"),
    ],
)
def test_refusals(onggi: Onggi, busybox: str, flags: list[str], refusal: str) -> None:
    assert refusal in onggi("run", *flags, busybox, "true", code=125).stderr
    assert onggi.out("ps", "-aq") == ""
