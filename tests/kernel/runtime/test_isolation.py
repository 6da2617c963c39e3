"""What a process in a container can see and touch."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onggi.runtime import plan

pytestmark = pytest.mark.root
Box = Any  # conftest.Box: conftests cannot be imported by name


def test_own_namespaces(box: Box) -> None:
    kinds = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    result = box.sh(" ".join(f"readlink /proc/self/ns/{kind};" for kind in kinds))
    inside = result.out.split()
    assert len(inside) == 6
    for kind, link in zip(kinds, inside, strict=True):
        assert link != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_process_one_and_hostname(box: Box) -> None:
    assert box.sh("echo $$ $(hostname); ls /proc | grep -c '^[0-9]'").out.startswith("1 box\n")


@pytest.mark.sec("A14")
def test_no_mount_of_the_host_is_left(box: Box) -> None:
    mounts = box.sh("cat /proc/self/mountinfo").out.splitlines()
    points = [line.split()[4] for line in mounts]
    assert points.count("/") == 1
    types = {line.split(" - ")[1].split()[0] for line in mounts}
    assert types <= {"overlay", "proc", "tmpfs", "devpts", "sysfs", "cgroup", "cgroup2", "mqueue"}
    assert box.sh("cd /; cd ..; cd ../..; ls -i -d . /").out.split()[0] != str(os.stat("/").st_ino)


@pytest.mark.sec("A2")
def test_only_three_descriptors(box: Box) -> None:
    noise = [os.open("/", os.O_RDONLY) for _ in range(50)]
    try:
        for fd in noise:
            os.set_inheritable(fd, True)
        listed = box.sh("for f in /proc/self/fd/*; do echo ${f##*/}; done").out.split()
    finally:
        for fd in noise:
            os.close(fd)
    # The shell holds the directory it lists for a moment.
    assert [fd for fd in listed if fd in ("0", "1", "2")] == ["0", "1", "2"]
    assert len(listed) <= 4


@pytest.mark.sec("B3")
def test_capabilities_are_docker_default_and_nothing_is_inheritable(box: Box) -> None:
    status = dict(
        line.split(":\t")
        for line in box.sh("grep -E '^(Cap|NoNew|Seccomp)' /proc/self/status").out.splitlines()
    )
    assert status["CapBnd"] == status["CapPrm"] == status["CapEff"] == "00000000a80425fb"
    assert status["CapInh"] == status["CapAmb"] == "0" * 16
    assert status["NoNewPrivs"] == "0"


def test_a_user_has_no_effective_capabilities(box: Box) -> None:
    out = box.sh("grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status", user="1000").out
    assert {line.split()[1] for line in out.splitlines()} == {"0" * 16}


def test_ambient_capabilities_reach_a_user(box: Box) -> None:
    mask = 1 << 10  # NET_BIND_SERVICE
    wanted = plan.Capabilities(mask, mask, mask, mask, mask)
    out = box.sh("grep -E '^Cap(Prm|Eff)' /proc/self/status", user="1000", capabilities=wanted).out
    assert {line.split()[1] for line in out.splitlines()} == {f"{mask:016x}"}


def test_masked_paths_are_empty(box: Box) -> None:
    script = """
        for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
            [ -e $p ] && wc -c < $p; done
        for d in /sys/firmware /proc/acpi /sys/devices/virtual/powercap; do
            [ -e $d ] && ls $d | wc -l; done; true"""
    result = box.sh(script)
    assert result.code == 0
    assert set(result.out.split()) == {"0"}
    assert "Read-only" in box.sh("touch /sys/firmware/x").err


@pytest.mark.sec("A3")
def test_a_mask_is_no_device_of_the_host_and_cannot_be_changed(box: Box) -> None:
    result = box.sh("chmod 600 /proc/timer_list; stat -c %a /dev/null")
    assert "Read-only" in result.err
    assert result.out == "666\n"
    assert os.stat("/dev/null").st_mode & 0o777 == 0o666


@pytest.mark.sec("B2")
@pytest.mark.parametrize(
    "path", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/0/x", "/sys/x"]
)
def test_system_files_are_read_only(box: Box, path: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    result = box.sh(f"echo h > {path}")
    assert result.code != 0
    assert "Read-only" in result.err or "nonexistent" in result.err
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_devices(box: Box) -> None:
    script = """
        head -c 4 /dev/zero | wc -c; echo x > /dev/null; echo x > /dev/full
        head -c3 /dev/urandom | wc -c
        for l in ptmx fd stdin core; do readlink /dev/$l; done
        stat -c '%a %F' /dev/tty /dev/shm /dev/mqueue
        ls /dev"""
    result = box.sh(script)
    assert result.out.startswith("4\n3\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/kcore\n")
    assert "No space left" in result.err
    assert "666 character special file\n1777 directory\n1777 directory\n" in result.out
    assert "sda" not in result.out and "kmsg" not in result.out


@pytest.mark.sec("B12")
def test_a_device_that_was_not_given_cannot_be_opened(box: Box) -> None:
    result = box.sh("mknod /tmp/loop b 7 0 && head -c1 /tmp/loop")
    assert result.code != 0
    assert "Operation not permitted" in result.err


@pytest.mark.sec("B15")
def test_own_control_groups_read_only(box: Box) -> None:
    result = box.sh("cat /proc/self/cgroup; ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/memory/x")
    assert {line.rpartition(":")[2] for line in result.out.splitlines() if ":" in line} == {"/"}
    assert "onggi" not in result.out
    assert "Read-only" in result.err


@pytest.mark.sec("B1")
def test_no_release_agent(box: Box) -> None:
    assert "release_agent" not in box.sh("find /sys/fs/cgroup -maxdepth 2").out


def test_environment_and_umask_and_signals(box: Box) -> None:
    import signal

    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        result = box.sh("env; umask; grep -E '^Sig(Ign|Blk)' /proc/self/status", env=("A=1", "A=2"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "A=2\n" in result.out and "A=1\n" not in result.out
    assert "HOME=/root\n" in result.out
    assert "0022\n" in result.out
    ignored = result.out.partition("SigIgn:")[2].split()[0]
    assert int(ignored, 16) & ~0b110 == 0  # a shell of its own accord may ignore HUP/INT


@pytest.mark.sec("B8")
def test_own_session_keyring(box: Box) -> None:
    assert box.sh("cat /proc/keys | wc -c").out == "0\n"


@pytest.mark.sec("A6")
@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("target", ["/tmp", "../../../../tmp", "/nowhere"])
def test_a_system_directory_that_is_a_link_is_refused(
    box: Box, layer: Callable[[str], Path], name: str, target: str
) -> None:
    (layer("evil") / name).symlink_to(target)
    box.layers = (box._work / "evil",)
    made = {"fd", "self", "sys", "null", "pts", "fs", "kernel"}  # what is mounted or made there
    there = made & set(os.listdir("/tmp"))
    with pytest.raises(Exception, match="must be an ordinary directory"):
        box.run("true")
    assert made & set(os.listdir("/tmp")) == there


@pytest.mark.sec("A6")
def test_links_in_an_image_stay_inside(box: Box, layer: Callable[[str], Path]) -> None:
    evil = layer("evil")
    outside = evil.parent / "outside"
    outside.mkdir()
    (evil / "etc").mkdir()
    (evil / "etc/hosts").symlink_to(str(outside / "hosts"))
    (evil / "etc/hostname").symlink_to("../../../../../../run/deep/hostname")
    (evil / "data").symlink_to(str(outside))
    box.layers = (evil,)
    hosts = evil.parent / "hosts"
    hosts.write_text("127.0.0.1 me\n")
    mounts = [
        plan.PlanMount("/etc/hosts", "bind", str(hosts), ("rw",)),
        plan.PlanMount("/etc/hostname", "bind", str(hosts), ("rw",)),
        plan.PlanMount("/data/deep", "tmpfs", "tmpfs"),
    ]
    result = box.sh("cat /etc/hosts /etc/hostname; touch /data/deep/x", mounts=mounts)
    assert result.out == "127.0.0.1 me\n" * 2
    assert list(outside.iterdir()) == []


@pytest.mark.sec("B2")
def test_sysctls_of_the_network_namespace(box: Box) -> None:
    sysctls = (("net.ipv4.ping_group_range", "0 2147483647"),)
    out = box.sh("cat /proc/sys/net/ipv4/ping_group_range", sysctls=sysctls).out
    assert out.split() == ["0", "2147483647"]


def test_joined_network_namespace(box: Box) -> None:
    first = box.start("sleep", "60")
    group = box.cgroup
    others = tuple(wanted for wanted in plan.NEW_NAMESPACES if wanted.kind != "network")
    shared = plan.Namespace("network", "", first.pid, first.started.pid_start)
    result = box.sh("readlink /proc/self/ns/net", namespaces=(*others, shared))
    assert result.out.strip() == os.readlink(f"/proc/{first.pid}/ns/net")
    group.kill_all()
    first.finish()
    with pytest.raises(Exception, match="is not running"):
        box.run("true", namespaces=(*others, shared))


def test_joined_pid_namespace(box: Box) -> None:
    first = box.start("sleep", "60")
    others = tuple(wanted for wanted in plan.NEW_NAMESPACES if wanted.kind != "pid")
    shared = plan.Namespace("pid", "", first.pid, first.started.pid_start)
    before = os.readlink("/proc/self/ns/pid_for_children")
    result = box.sh("ps", namespaces=(*others, shared))
    assert "sleep 60" in result.out
    assert os.readlink("/proc/self/ns/pid_for_children") == before


def test_host_namespaces(box: Box) -> None:
    only_mounts = (plan.Namespace("mount"),)
    out = box.sh("for k in net ipc uts pid; do readlink /proc/self/ns/$k; done",
                 namespaces=only_mounts, hostname="").out  # fmt: skip
    assert out.split() == [os.readlink(f"/proc/self/ns/{k}") for k in ("net", "ipc", "uts", "pid")]
