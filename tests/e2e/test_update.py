"""`update` of what runs and what does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root
v1 = pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").is_dir(), reason="cgroup v1 only")


def host_config(onggi: Onggi, name: str) -> dict[str, Any]:
    (found,) = json.loads(onggi.out("inspect", name))
    config: dict[str, Any] = found["HostConfig"]
    return config


def limit(onggi: Onggi, name: str, file: str) -> str:
    return onggi.out("exec", name, "cat", f"/sys/fs/cgroup/{file}")


@v1
def test_a_running_container(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "runs", "-m", "64m", busybox, "sleep", "60")
    flags = ["-m", "100m", "--memory-swap", "200m", "--cpus", "0.5", "--pids-limit", "20",
             "-c", "512", "--cpuset-cpus", "0"]  # fmt: skip
    assert onggi.out("update", *flags, "runs") == "runs"
    assert limit(onggi, "runs", "memory/memory.limit_in_bytes") == str(100 << 20)
    assert limit(onggi, "runs", "memory/memory.memsw.limit_in_bytes") == str(200 << 20)
    assert limit(onggi, "runs", "cpu/cpu.cfs_quota_us") == "50000"
    assert limit(onggi, "runs", "cpu/cpu.shares") == "512"
    assert limit(onggi, "runs", "pids/pids.max") == "20"
    assert limit(onggi, "runs", "cpuset/cpuset.cpus") == "0"
    config = host_config(onggi, "runs")
    assert (config["Memory"], config["MemorySwap"]) == (100 << 20, 200 << 20)
    onggi("update", "-m", "32m", "runs")
    assert limit(onggi, "runs", "memory/memory.limit_in_bytes") == str(32 << 20)
    assert host_config(onggi, "runs")["NanoCpus"] == 500_000_000, "what is not given stays"


@v1
def test_a_stopped_container_starts_with_it(onggi: Onggi, busybox: str) -> None:
    onggi("create", "--name", "idle", busybox, "cat", "/sys/fs/cgroup/pids/pids.max")
    onggi("update", "--pids-limit", "33", "idle")
    assert onggi.out("start", "-a", "idle") == "33"


def test_several_and_the_restart_policy(onggi: Onggi, busybox: str) -> None:
    for name in ("one", "two"):
        onggi("create", "--name", name, busybox)
    assert onggi.out("update", "--restart", "on-failure:3", "one", "two") == "one\ntwo"
    policy = host_config(onggi, "two")["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}
    done = onggi("update", "--restart", "always", "one", "none", code=1)
    assert done.stdout == "one\n" and "No such container: none" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "you must provide one or more flags when using this command"),
        (["-m", "1m"], "Minimum memory limit allowed is 6MB"),
        (["-m", "300m"], "Memory limit should be smaller than already set memoryswap limit"),
        (["--cpu-quota", "5000"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (["--cpuset-cpus", "999"], "Requested CPUs are not available"),
        (["--restart", "sometimes"], "invalid restart policy"),
        (["--restart", "always"], "cannot be updated because AutoRemove is enabled"),
        (["--blkio-weight", "2000"], "Range of blkio weight is from 10 to 1000"),
    ],
)
def test_refusals_leave_everything(
    onggi: Onggi, busybox: str, flags: list[str], words: str
) -> None:
    onggi("create", "--rm", "--name", "kept", "-m", "64m", "--cpus", "1", busybox)
    before = host_config(onggi, "kept")
    done = onggi("update", *flags, "kept", code=1)
    assert words in done.stderr
    assert host_config(onggi, "kept") == before
