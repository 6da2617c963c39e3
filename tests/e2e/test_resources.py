"""Limits as a user types them: what the kernel then holds, and docker's words for the rest."""

import json
import os
import time
from pathlib import Path

import pytest

from onggi.linux.cgroup import remove_group

from .conftest import Onggi

pytestmark = pytest.mark.root
CGROUPS = Path("/sys/fs/cgroup")
v1 = pytest.mark.skipif(not (CGROUPS / "memory").is_dir(), reason="cgroup v1 only")


def values(onggi: Onggi, busybox: str, flags: list[str], *files: str) -> list[str]:
    paths = [f"/sys/fs/cgroup/{file}" for file in files]
    return onggi.out("run", "--rm", *flags, busybox, "cat", *paths).splitlines()


@v1
def test_memory(onggi: Onggi, busybox: str) -> None:
    flags = ["-m", "64m", "--memory-swappiness", "7", "--oom-kill-disable",
             "--memory-reservation", "16m"]  # fmt: skip
    assert values(
        onggi, busybox, flags, "memory/memory.limit_in_bytes", "memory/memory.swappiness",
        "memory/memory.soft_limit_in_bytes", "memory/memory.oom_control",
    )[:4] == [str(64 << 20), "7", str(16 << 20), "oom_kill_disable 1"]  # fmt: skip


@v1
def test_block_io(onggi: Onggi, busybox: str) -> None:
    number = os.stat("/dev/loop0").st_rdev
    name = f"{os.major(number)}:{os.minor(number)}"
    flags = [
        "--device-read-bps", "/dev/loop0:1mb", "--device-write-bps", "/dev/loop0:2mb",
        "--device-read-iops", "/dev/loop0:100", "--device-write-iops", "/dev/loop0:200",
    ]  # fmt: skip
    files = [f"blkio/blkio.throttle.{what}_device" for what in
             ("read_bps", "write_bps", "read_iops", "write_iops")]  # fmt: skip
    assert values(onggi, busybox, flags, *files) == [
        f"{name} {1 << 20}", f"{name} {2 << 20}", f"{name} 100", f"{name} 200",
    ]  # fmt: skip


@v1
def test_real_time(onggi: Onggi, busybox: str) -> None:
    if not (CGROUPS / "cpu/cpu.rt_runtime_us").exists():
        pytest.skip("no real-time groups")
    flags = ["--cpu-rt-period", "1000000", "--cpu-rt-runtime", "1000"]
    files = ["cpu/cpu.rt_period_us", "cpu/cpu.rt_runtime_us"]
    assert values(onggi, busybox, flags, *files) == ["1000000", "1000"]


@v1
def test_cgroup_parent_is_the_users(onggi: Onggi, busybox: str) -> None:
    onggi(
        "run",
        "-d",
        "--name",
        "below",
        "--cgroup-parent",
        "/onggi-test/deep",
        busybox,
        "sleep",
        "60",
    )
    (found,) = json.loads(onggi.out("inspect", "below"))
    group = CGROUPS / "memory/onggi-test/deep" / found["Id"]
    try:
        assert str(found["State"]["Pid"]) in (group / "cgroup.procs").read_text().split()
        assert found["HostConfig"]["CgroupParent"] == "/onggi-test/deep"
        onggi("rm", "-f", "below")
        assert not group.exists() and group.parent.exists()
    finally:
        onggi("rm", "-f", "below")
        for path in CGROUPS.glob("*/onggi-test"):
            remove_group(str(path), time.monotonic() + 60)


def test_cgroup_namespace(onggi: Onggi, busybox: str) -> None:
    own = onggi.out("run", "--rm", busybox, "cat", "/proc/self/cgroup")
    host = onggi.out("run", "--rm", "--cgroupns", "host", busybox, "cat", "/proc/self/cgroup")
    assert "/onggi/" not in own and "/onggi/" in host


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (["--device-read-bps", "/dev/nosuch:1mb"], "/dev/nosuch: no such file or directory"),
        (["--memory-swappiness", "101"], "Valid memory swappiness range is 0-100"),
        (["--cpuset-mems", "77"], "Requested memory nodes are not available"),
        (["--cpuset-cpus", "x"], "Invalid value x for cpuset cpus"),
        (["--cpu-rt-runtime", "2000", "--cpu-rt-period", "1000"], "runtime cannot be higher than"),
        (["--io-maxiops", "5"], "linux does not support Maximum IO Bandwidth"),
        (["--isolation", "hyperv"], 'invalid isolation "hyperv" on linux'),
        (["--storage-opt", "size=1G"], "--storage-opt is supported only for overlay over xfs"),
        (["--storage-opt", "x"], "invalid storage option"),
        (["--cgroup-parent", "../x"], "invalid cgroup parent"),
        (["--cgroupns", "x"], "--cgroupns: invalid CGROUP mode"),
        (["--userns", "x"], "--userns: invalid USER mode"),
        (["--ip", "10.0.0.9"], "user specified IP address is supported on user defined networks"),
        (["--mac-address", "zz"], "zz is not a valid mac address"),
        (["--mac-address", "01:00:00:00:00:01"], "multicast"),
        (["--volume-driver", "nfs"], 'plugin "nfs" not found'),
    ],
)
def test_refusals(onggi: Onggi, busybox: str, flags: list[str], words: str) -> None:
    done = onggi("run", *flags, busybox, "true", code=125)
    assert words in done.stderr
    assert onggi.out("ps", "-aq") == "" and onggi.out("volume", "ls", "-q") == ""


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--kernel-memory", "8m"], "Specifying a kernel memory limit is deprecated"),
        (["--cpu-percent", "5"], "linux does not support CPU percent. Percent discarded."),
        (["--oom-kill-disable"], "OOM killer is disabled for the container, but no memory limit"),
    ],
)
def test_warnings(onggi: Onggi, busybox: str, flags: list[str], words: str) -> None:
    done = onggi("run", "--rm", *flags, busybox, "echo", "ran")
    assert done.stdout == "ran\n" and f"WARNING: {words}" in done.stderr


def test_what_changes_nothing_is_taken(onggi: Onggi, busybox: str) -> None:
    flags = ["--isolation", "default", "--userns", "host", "--annotation", "a=b",
             "--volume-driver", "local", "--cpuset-mems", "0"]  # fmt: skip
    assert onggi.out("run", "--rm", *flags, busybox, "echo", "ran") == "ran"


def test_mac_address(onggi: Onggi, busybox: str) -> None:
    flags = ["--mac-address", "92-D0-C6-0A-29-33"]
    out = onggi.out("run", "--rm", *flags, busybox, "cat", "/sys/class/net/eth0/address")
    assert out == "92:d0:c6:0a:29:33"


def test_shared_memory_goes_with_the_ipc_namespace(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "donor", "--ipc", "shareable", busybox, "sleep", "60")
    onggi("exec", "donor", "sh", "-c", "echo shared > /dev/shm/f")
    join = ["run", "--rm", "--ipc", "container:donor", busybox]
    assert onggi.out(*join, "sh", "-c", "cat /dev/shm/f; echo back > /dev/shm/g") == "shared"
    assert onggi.out("exec", "donor", "cat", "/dev/shm/g") == "back"
    ipc = ["readlink", "/proc/self/ns/ipc"]
    assert onggi.out(*join, *ipc) == onggi.out("exec", "donor", *ipc)
    assert "shm" not in onggi.out("run", "--rm", "--ipc", "none", busybox, "cat", "/proc/mounts")
    host = onggi.out("run", "--rm", "--ipc", "host", busybox, *ipc)
    assert host == os.readlink("/proc/self/ns/ipc")


@pytest.mark.sec("23")
def test_what_cannot_be_joined(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "private", busybox, "sleep", "60")
    done = onggi("run", "--rm", "--ipc", "container:private", busybox, "true", code=125)
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in done.stderr
    onggi("create", "--name", "stopped", "--ipc", "shareable", busybox)
    for kind in ("ipc", "pid"):
        done = onggi("run", "--rm", f"--{kind}", "container:stopped", busybox, "true", code=125)
        assert f"cannot join {kind} of a non running container" in done.stderr
