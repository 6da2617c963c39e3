"""Memory, CPU and process limits: written to the control group, and felt."""

from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root

CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = (CGROUPS / "cgroup.controllers").exists()
# One process charges memory and asks to be the victim: a second one that is charged while the first
# is still dying can cost another process its life (kernel, mm/oom_kill.c: MMF_OOM_SKIP).
EAT = "(echo 1000 > /proc/self/oom_score_adj; exec tail -c 200m /dev/zero)"
# By controller: the file that holds the limit in each hierarchy.
FILES = {
    "memory": ("memory/{}/memory.limit_in_bytes", "{}/memory.max"),
    "pids": ("pids/{}/pids.max", "{}/pids.max"),
    "quota": ("cpu/{}/cpu.cfs_quota_us", "{}/cpu.max"),
    "shares": ("cpu/{}/cpu.shares", "{}/cpu.weight"),
    "cpus": ("cpuset/{}/cpuset.cpus", "{}/cpuset.cpus"),
}


def limit(container_id: str, key: str) -> str:
    """What the kernel says."""
    found = FILES[key][UNIFIED].format(f"onggi/{container_id}")
    return (CGROUPS / found).read_text().strip()


def test_limits_are_in_the_control_group(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "-m", "64m", "--pids-limit", "50", "--cpus", "0.5",
                     "--cpuset-cpus", "0", busybox, "sleep", "600")  # fmt: skip
    assert limit(full, "memory") == str(64 << 20)
    assert limit(full, "pids") == "50"
    assert limit(full, "cpus") == "0"
    assert limit(full, "quota").split()[0] == "50000"
    shares = onggi.out("run", "-d", "--cpu-shares", "512", busybox, "sleep", "600")
    assert limit(shares, "shares") == ("20" if UNIFIED else "512")
    quota = onggi.out("run", "-d", "--cpu-period", "50000", "--cpu-quota", "20000", busybox,
                      "sleep", "600")  # fmt: skip
    assert limit(quota, "quota").split()[0] == "20000"
    host = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}"
    assert onggi.out("inspect", "-f", host, full) == "67108864 500000000 50"


def test_an_exec_is_under_the_same_limits(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--pids-limit", "20", busybox, "sleep", "600")
    done = onggi(
        "exec",
        full,
        "sh",
        "-c",
        "for i in $(seq 40); do sleep 600 >/dev/null 2>&1 & done",
        code=None,
    )
    assert "can't fork" in done.stderr


def test_processes(onggi: Onggi, busybox: str) -> None:
    script = "for i in $(seq 40); do sleep 600 >/dev/null 2>&1 & done"
    done = onggi("run", "--rm", "--pids-limit", "20", busybox, "sh", "-c", script, code=None)
    assert "can't fork" in done.stderr


def test_out_of_memory_is_told(onggi: Onggi, busybox: str) -> None:
    # The shell is PID 1 and becomes the eater: its death is the container's.
    eat = "exec tail -c 200m /dev/zero"
    done = onggi("run", "--name", "fat", "-m", "32m", "--memory-swap", "32m", busybox, "sh", "-c",
                 eat, code=137)  # fmt: skip
    assert done.stderr == (
        "OOM-killed at 32 MB: the container reached its memory limit (raise it with -m)\n"
    )
    state = "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}"
    assert onggi.out("inspect", "-f", state, "fat") == "true 137 exited"
    done = onggi("start", "-a", "fat", code=137)
    assert "OOM-killed at 32 MB" in done.stderr


def test_out_of_memory_with_rm_and_detached(onggi: Onggi, busybox: str) -> None:
    eat = ["-m", "32m", "--memory-swap", "32m", busybox, "tail", "-c", "200m", "/dev/zero"]
    done = onggi("run", "--rm", *eat, code=137)
    assert "OOM-killed at 32 MB" in done.stderr
    full = onggi.out("run", "-d", *eat)
    assert onggi.out("wait", full) == "137"
    assert onggi.out("inspect", "-f", "{{.State.OOMKilled}}", full) == "true"


def test_a_child_killed_for_memory_is_no_end(onggi: Onggi, busybox: str) -> None:
    script = f"{EAT}; echo survived"
    done = onggi("run", "--rm", "-m", "32m", "--memory-swap", "32m", busybox, "sh", "-c", script)
    assert done.stdout == "survived\n"


def test_a_child_killed_for_memory_is_told_while_the_container_runs(
    onggi: Onggi, busybox: str
) -> None:
    onggi("run", "-d", "--name", "fat", "-m", "32m", "--memory-swap", "32m", busybox, "sh", "-c",
          f"{EAT}; echo survived; exec sleep 600")  # fmt: skip
    onggi.until("survived", "logs", "fat")
    shown = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]
    onggi.until("oom", *shown, "--filter", "event=oom", "--filter", "container=fat")
    state = "{{.State.OOMKilled}} {{.State.Status}} {{.State.ExitCode}}"
    onggi.until("true running 0", "inspect", "-f", state, "fat")
    onggi("kill", "-s", "KILL", "fat")
    assert onggi.out("wait", "fat") == "137"
    assert onggi.out("inspect", "-f", state, "fat").startswith("true exited")
    onggi("start", "fat")
    onggi.until("true running 0", "inspect", "-f", state, "fat")  # the script eats again


def test_a_kill_is_told_apart(onggi: Onggi, busybox: str) -> None:
    process = onggi.popen("run", "--name", "box", "-m", "32m", busybox, "sh", "-c",
                          "echo up; sleep 600")  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    onggi("kill", "box")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 137
    assert told == "exit code 137: killed by SIGKILL\n"
    assert onggi.out("inspect", "-f", "{{.State.OOMKilled}}", "box") == "false"


def test_swap_may_not_be_less_than_memory(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "-m", "64m", "--memory-swap", "32m", busybox, "true", code=125)
    assert "Minimum memoryswap limit should be larger than memory limit, see usage" in done.stderr
    done = onggi("run", "--cpus", "100000", busybox, "true", code=125)
    assert "range of CPUs is from 0.01 to " in done.stderr


def test_no_group_is_left(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "-m", "64m", busybox, "sleep", "600")
    onggi("rm", "-f", full)
    assert not list(CGROUPS.glob(f"**/{full}"))
