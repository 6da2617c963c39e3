"""Mount options, sysctls and the defaults: pure decisions."""

import pytest

from onggi.errors import InvalidInput
from onggi.runtime import plan
from onggi.runtime.plan import MountOptions, PlanMount, check_sysctl, parse_options, tmpfs_mount

RO, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), MountOptions()),
        (("ro", "nosuid"), MountOptions(set_attributes=RO | NOSUID)),
        (("ro", "rw"), MountOptions(clear_attributes=RO)),
        (("rw", "ro"), MountOptions(set_attributes=RO)),
        (("noexec", "exec", "dev"), MountOptions(clear_attributes=NOEXEC | NODEV)),
        (("rro", "rnosuid"), MountOptions(set_recursive=RO | NOSUID)),
        (("rbind", "rslave"), MountOptions(
            propagation=1 << 19, propagation_recursive=True, bind_recursive=True)),
        (("bind", "shared"), MountOptions(propagation=1 << 20)),
        (("private",), MountOptions(propagation=1 << 18)),
        (("rprivate",), MountOptions(propagation=1 << 18, propagation_recursive=True)),
        (("strictatime", "relatime"), MountOptions(set_attributes=0x20)),
        (("mode=755", "size=1k", "newinstance"), MountOptions(
            data=(("mode", "755"), ("size", "1k"), ("newinstance", None)))),
        (("defaults", "z", "nocopy", ""), MountOptions()),
        (("context=a=b",), MountOptions(data=(("context", "a=b"),))),
    ],
)  # fmt: skip
def test_options(words: tuple[str, ...], expected: MountOptions) -> None:
    assert parse_options(words) == expected


def test_default_mounts() -> None:
    mounts = {mount.target: parse_options(mount.options) for mount in plan.default_mounts(1 << 20)}
    assert list(mounts)[:2] == ["/proc", "/dev"]  # the order in which they nest
    guarded = NOSUID | NODEV | NOEXEC
    assert mounts["/proc"].set_attributes == guarded
    assert mounts["/sys"].set_attributes == mounts["/sys/fs/cgroup"].set_attributes == guarded | RO
    assert ("size", "1048576") in mounts["/dev/shm"].data
    assert mounts["/dev"].set_attributes & NODEV == 0
    privileged = {mount.target: mount.options for mount in plan.default_mounts(privileged=True)}
    assert "ro" not in privileged["/sys"]


def test_masks_grow_with_the_processors() -> None:
    assert plan.masked_paths(2)[-1] == "/sys/devices/system/cpu/cpu1/thermal_throttle"
    assert "/proc/kcore" in plan.masked_paths(0)


def test_tmpfs() -> None:
    mount = tmpfs_mount("/t", "size=64m,exec,uid=5")
    assert mount == PlanMount(
        "/t", "tmpfs", "tmpfs", ("nosuid", "noexec", "nodev", "size=64m", "exec", "uid=5")
    )
    assert parse_options(mount.options).set_attributes == NOSUID | NODEV
    for bad in ("source=/x", "lowerdir=/", "nonsense"):
        with pytest.raises(InvalidInput, match="invalid tmpfs option"):
            tmpfs_mount("/t", bad)


ALL = frozenset(("network", "ipc", "uts"))


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "1", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.5/forwarding", "1", "net/ipv4/conf/eth0.5/forwarding"),
        ("net.ipv4.ping_group_range", "0 2147483647", "net/ipv4/ping_group_range"),
        ("kernel.shmmax", "1", "kernel/shmmax"),
        ("fs.mqueue.msg_max", "10", "fs/mqueue/msg_max"),
        ("kernel.domainname", "x", "kernel/domainname"),
    ],
)
def test_sysctls(key: str, value: str, path: str) -> None:
    assert check_sysctl(key, value, ALL) == (path, value)


@pytest.mark.sec("B2")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel.core_pattern", "|/x"), ("kernel/core_pattern", "|/x"),
        ("vm.overcommit_memory", "1"),
        ("net", "1"), ("", "1"), (".", "1"), ("net..x", "1"), ("net.ipv4.", "1"),
        ("net.ipv4.ip_forward", "1\nx"), ("net.ipv4.ip_forward", "1\0"), ("net.ipv4.x", "é"),
        ("fs.mqueue../../kernel.x", "1"), ("net/../kernel/core_pattern", "1"),
        ("net.ipv4.ip_forward=1+kernel.core_pattern", "|/x"), ("net.ipv4.a b", "1"),
        ("net/ipv4/../../kernel/core_pattern", "1"), ("kernel.hostname", "x"),
        ("net.ipv4.\u0131p", "1"), ("/net/ipv4/ip_forward", "1"), ("kernel.shm", "1"),
    ],
)  # fmt: skip
def test_hostile_sysctls(key: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        check_sysctl(key, value, ALL)


def test_sysctls_of_a_shared_namespace() -> None:
    with pytest.raises(InvalidInput, match="the network namespace is the host's"):
        check_sysctl("net.ipv4.ip_forward", "1", frozenset(("ipc",)))
