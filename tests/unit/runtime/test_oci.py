"""config.json, read strictly: errors name the field."""

import copy
from typing import Any

import pytest

from onggi.errors import InvalidInput, OnggiError, Unsupported
from onggi.linux.cgroup import DeviceRule
from onggi.runtime import oci
from onggi.runtime.plan import BindRoot, Device, Namespace, PlanMount, Scheduling

MAP = [{"containerID": 0, "hostID": 100000, "size": 10}]
USER = [{"type": "mount"}, {"type": "user"}]
TIME = [{"type": "mount"}, {"type": "time"}]


def config(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(oci.default_config())
    for path, value in changes.items():
        here = document
        *parents, last = path.split("__")
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
    return document


def test_our_own_default() -> None:
    bundle = oci.parse(config(), "/b")
    assert bundle.plan.root == BindRoot("/b/rootfs")
    assert bundle.plan.process.user == "0:0"
    assert bundle.plan.process.capabilities.bounding == 1 << 29 | 1 << 5 | 1 << 10
    assert bundle.plan.process.capabilities.ambient == 0
    assert bundle.plan.read_only
    assert Namespace("pid") in bundle.plan.namespaces
    assert bundle.devices[0] == DeviceRule(False, "a")
    assert DeviceRule(True, "c", 1, 3) in bundle.devices
    assert bundle.plan.mounts[0].target == "/proc"


def test_values() -> None:
    bundle = oci.parse(
        config(
            process__user={"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27},
            process__rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}],
            process__oomScoreAdj=17,
            process__consoleSize={"height": 3, "width": 4},
            mounts=[
                {"destination": "/a/../b", "type": "none", "source": "rel", "options": ["rbind"]},
                {"destination": "c", "type": "tmpfs"},
                {"destination": "/sys/fs/cgroup", "type": "cgroup2"},
            ],
            linux__devices=[{"path": "/dev/x", "type": "u", "major": 1, "minor": 2, "uid": 3}],
            linux__namespaces=[{"type": "mount"}, {"type": "network", "path": "/n"}],
            linux__sysctl={"net.x.y": "1"},
            linux__cgroupsPath="/p/c",
            linux__resources={"memory": {"limit": 9, "swap": -1}, "cpu": {"quota": 5, "shares": 6},
                              "pids": {"limit": 3}},
            hooks={"prestart": [{"path": "/h", "args": ["h", "a"], "timeout": 5}]},
            annotations={"a": "b"},
        ),
        "/bundle",
    )  # fmt: skip
    process = bundle.plan.process
    assert (process.user, process.group_add, process.umask) == ("5:6", ("7", "8"), 0o27)
    assert process.rlimits == (("core", 0, -1),)
    assert (process.oom_score_adj, process.rows, process.columns) == (17, 3, 4)
    assert bundle.plan.mounts == (
        PlanMount("/b", "bind", "/bundle/rel", ("rbind",)),
        PlanMount("/c", "tmpfs"),
        PlanMount("/sys/fs/cgroup", "cgroup"),
    )
    assert bundle.plan.devices == (Device("/dev/x", "c", 1, 2, 0o666, 3),)
    assert bundle.plan.namespaces == (Namespace("mount"), Namespace("network", "/n"))
    assert bundle.plan.sysctls == (("net.x.y", "1"),)
    assert bundle.cgroup_path == "/p/c"
    assert (bundle.resources.memory_bytes, bundle.resources.memory_swap_bytes) == (9, -1)
    assert bundle.devices == ()  # nothing said: everything allowed
    assert bundle.hooks["prestart"] == (oci.Hook("/h", ("h", "a"), (), 5),)
    assert bundle.annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ociVersion": "2.0"}, "ociVersion"),
        ({"ociVersion": 1}, "ociVersion"),
        ({"process": None}, "process is missing"),
        ({"process": []}, "process is missing"),
        ({"process": "x"}, "process must be an object"),
        ({"process__args": []}, "process.args must not be empty"),
        ({"process__args": ["a", 1]}, "process.args[1] must be a string"),
        ({"process__args": ["a\0b"]}, "process.args[0]"),
        ({"process__cwd": "rel"}, "process.cwd must be an absolute path"),
        ({"process__user": {"uid": "0"}}, "process.user.uid must be of type int"),
        ({"process__user": {"uid": True}}, "process.user.uid must be of type int"),
        ({"process__rlimits": [{"type": "RLIMIT_X"}]}, "invalid ulimit type"),
        ({"process__rlimits": [{"type": "RLIMIT_CORE", "soft": 5, "hard": 1}]}, "less than"),
        ({"process__rlimits": [{"type": "RLIMIT_CORE"}] * 2}, "given twice"),
        ({"process__capabilities": {"bounding": ["CAP_NOPE"]}}, "unknown capability"),
        ({"root": {}}, "root.path is missing"),
        ({"mounts": [{"type": "tmpfs"}]}, "mounts[0].destination is missing"),
        ({"mounts": [{"destination": "/x"}]}, "mounts[0].type is missing"),
        ({"mounts": ["x"]}, "mounts[0] must be an object"),
        ({"linux__namespaces": [{"type": "bogus"}]}, "namespaces[0].type"),
        ({"linux__namespaces": [{"type": "pid"}]}, "must have a mount namespace"),
        ({"linux__namespaces": [{"type": "mount"}] * 2}, "given twice"),
        ({"linux__maskedPaths": ["rel"]}, "not absolute"),
        ({"linux__devices": [{"type": "x", "path": "/x"}]}, "devices[0].type"),
        ({"linux__devices": [{"type": "c", "path": "x"}]}, "must be absolute"),
        ({"linux__sysctl": {"a": 1}}, "linux.sysctl.a must be a string"),
        ({"hooks": {"poststop": [{"path": "rel"}]}}, "hooks.poststop[0].path must be absolute"),
        ({"hooks": {"poststop": [{"path": "/x", "timeout": -1}]}}, "timeout must be greater"),
        ({"hooks": {"createContainer": [{"path": "x"}]}}, "hooks.createContainer[0].path"),
        ({"linux__uidMappings": MAP}, "linux.uidMappings needs a user namespace"),
        ({"linux__namespaces": USER}, "linux.uidMappings must map the container's 0"),
        (
            {"linux__namespaces": USER, "linux__uidMappings": [*MAP, *MAP]},
            "linux.uidMappings[1].size overlaps",
        ),
        (
            {"linux__namespaces": USER, "linux__uidMappings": [{"containerID": 0, "hostID": -1}]},
            "linux.uidMappings[0].hostID is -1",
        ),
        (
            {"linux__namespaces": USER, "linux__uidMappings": MAP},
            "linux.gidMappings must map the container's 0",
        ),
        ({"linux__timeOffsets": {"monotonic": {"secs": 1}}}, "needs a new time namespace"),
        (
            {"linux__namespaces": TIME, "linux__timeOffsets": {"wall": {}}},
            "linux.timeOffsets.wall is no clock",
        ),
        ({"linux__rootfsPropagation": "odd"}, "linux.rootfsPropagation is 'odd'"),
        ({"linux__personality": {"domain": "BSD"}}, "linux.personality.domain is 'BSD'"),
        ({"linux__personality": {"domain": "LINUX", "flags": ["X"]}}, "flags must be empty"),
        ({"process__scheduler": {"policy": "SCHED_X"}}, "process.scheduler.policy is 'SCHED_X'"),
        ({"process__scheduler": {"policy": "SCHED_RR", "flags": ["X"]}}, "scheduler.flags has 'X'"),
        ({"process__scheduler": {"policy": "SCHED_RR", "nice": 40}}, "scheduler.nice is 40"),
        ({"process__ioPriority": {"class": "X"}}, "process.ioPriority.class is 'X'"),
        (
            {"process__ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 9}},
            "process.ioPriority.priority is 9",
        ),
        ({"process__execCPUAffinity": {"initial": "a"}}, "execCPUAffinity.initial has 'a'"),
        ({"process__execCPUAffinity": {"initial": "0-99999999"}}, "initial has '0-99999999'"),
        ({"process__execCPUAffinity": {"final": "\u00b2"}}, "execCPUAffinity.final has"),
        ({"mounts": [{"destination": "/proc\0x", "type": "tmpfs"}]}, "mounts[0].destination holds"),
        ({"linux__sysctl": {"net.a\0": "1"}}, "linux.sysctl.net.a"),
        ({"process__user": {"additionalGids": ["x"]}}, "process.user.additionalGids[0]"),
        ({"mounts": [{"destination": "/x", "type": "bind", "uidMappings": MAP}]}, "together"),
        (
            {"linux__resources": {"hugepageLimits": [{"pageSize": "2mb"}]}},
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        ({"linux__resources": {"unified": {"../x": "1"}}}, "linux.resources.unified: '../x'"),
        ({"linux__resources": {"memory": {"swappiness": 101}}}, "memory.swappiness is 101"),
        (
            {"linux__seccomp": {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}},
            "cannot be used for write",
        ),
        (
            {"linux__seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "x"}},
            "linux.seccomp.listenerPath must be absolute",
        ),
    ],
)
def test_errors_name_the_field(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        oci.parse(config(**changes), "/b")
    assert text in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"process__apparmorProfile": "x"},
        {"process__selinuxLabel": "x"},
        {"linux__mountLabel": "x"},
        {
            "linux__seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }
        },
        {"linux__intelRdt": {"closID": "x"}},
    ],
)
def test_what_is_not_done_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        oci.parse(config(**changes), "/b")


@pytest.mark.parametrize("junk", [None, [], "x", 1, {}, {"ociVersion": "1.0.0"}])
def test_junk(junk: Any) -> None:
    with pytest.raises(OnggiError):
        oci.parse(junk, "/b")


def test_user_and_time_namespaces() -> None:
    changes = {
        "linux__namespaces": [*USER, {"type": "time"}],
        "linux__uidMappings": MAP,
        "linux__gidMappings": [{"containerID": 0, "hostID": 200000, "size": 10}],
        "linux__timeOffsets": {"boottime": {"secs": -5, "nanosecs": 7}},
        "linux__rootfsPropagation": "rshared",
    }
    plan = oci.parse(config(**changes), "/b").plan
    assert plan.uid_map == ((0, 100000, 10),)
    assert plan.gid_map == ((0, 200000, 10),)
    assert plan.time_offsets == (("boottime", -5, 7),)
    assert (plan.propagation, plan.propagation_recursive) == (1 << 20, True)


def test_scheduling() -> None:
    changes = {
        "process__scheduler": {"policy": "SCHED_BATCH", "nice": 5,
                               "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "process__ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7},
        "process__execCPUAffinity": {"initial": "0-1,4", "final": "2"},
        "linux__personality": {"domain": "LINUX32"},
    }  # fmt: skip
    assert oci.parse(config(**changes), "/b").plan.process.scheduling == Scheduling(
        (3, 1, 5, 0, 0, 0, 0), (3, 7), 8, frozenset((0, 1, 4)), frozenset((2,))
    )


def test_limits_beyond_dockers() -> None:
    resources = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "network": {"classID": 7, "priorities": [{"name": "eth0", "priority": 3}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3}},
        "cpu": {"burst": 100},
        "unified": {"memory.high": "1000000"},
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]},
    }
    bundle = oci.parse(config(linux__resources=resources), "/b")
    assert bundle.extra.unified == (("memory.high", "1000000"),)
    assert [(wish.v1_file, wish.value) for wish in bundle.extra.wishes] == [
        ("hugetlb.2MB.limit_in_bytes", "4096"), ("net_cls.classid", "7"),
        ("net_prio.ifpriomap", "eth0 3"), ("rdma.max", "mlx5_1 hca_handle=3"),
        ("cpu.cfs_burst_us", "100"),
    ]  # fmt: skip
    assert bundle.resources.blkio_weight == 10
    assert bundle.resources.read_bps == (("8:0", 9),)
