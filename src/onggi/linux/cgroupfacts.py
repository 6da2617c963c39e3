"""Which limits this host's control groups can set: what decides docker's "discarded" warnings."""

import os

from ..typed import NamedTuple
from .cgroup import Layout, host_layout, read


class Facts(NamedTuple):
    """What can be limited. `cpus` and `nodes` are those that may be asked for, as lists."""

    memory: bool = True
    swap: bool = True
    reservation: bool = True
    swappiness: bool = True
    oom_disable: bool = True
    cpu_shares: bool = True
    cpu_quota: bool = True
    cpu_real_time: bool = True
    cpuset: bool = True
    pids: bool = True
    weight: bool = True
    weight_device: bool = True
    throttle: bool = True
    processors: int = 1
    cpus: str = ""
    nodes: str = ""


def host_facts(layout: Layout | None = None) -> Facts:
    layout = host_layout() if layout is None else layout
    v1 = any(not kind.startswith("name=") for kind, _ in layout.v1)
    facts = _v1(dict(layout.v1)) if v1 else _v2(layout.v2)
    return facts._replace(processors=os.cpu_count() or 1)


def _v1(points: dict[str, str]) -> Facts:
    def has(controller: str, *files: str) -> bool:
        point = points.get(controller)
        return point is not None and (
            not files or any(os.path.exists(f"{point}/{file}") for file in files)
        )

    cpuset = points.get("cpuset", "")
    return Facts(
        memory=has("memory"),
        swap=has("memory", "memory.memsw.limit_in_bytes"),
        reservation=has("memory", "memory.soft_limit_in_bytes"),
        swappiness=has("memory", "memory.swappiness"),
        oom_disable=has("memory", "memory.oom_control"),
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_quota=has("cpu", "cpu.cfs_quota_us"),
        cpu_real_time=has("cpu", "cpu.rt_runtime_us"),
        cpuset=has("cpuset"),
        pids=has("pids"),
        # bfq's weights are not in the root group, its counters are
        weight=has("blkio", "blkio.weight", "blkio.bfq.io_serviced"),
        weight_device=has("blkio", "blkio.weight_device", "blkio.bfq.io_serviced"),
        throttle=has("blkio", "blkio.throttle.read_bps_device"),
        cpus=read(f"{cpuset}/cpuset.cpus").strip() if cpuset else "",
        nodes=read(f"{cpuset}/cpuset.mems").strip() if cpuset else "",
    )


def _v2(point: str) -> Facts:
    controllers = set(read(f"{point}/cgroup.controllers").split()) if point else set()
    return Facts(
        memory="memory" in controllers,
        swap="memory" in controllers,
        reservation="memory" in controllers,
        swappiness=False,
        oom_disable=False,
        cpu_shares="cpu" in controllers,
        cpu_quota="cpu" in controllers,
        cpu_real_time=False,
        cpuset="cpuset" in controllers,
        pids="pids" in controllers,
        weight="io" in controllers,
        weight_device="io" in controllers,
        throttle="io" in controllers,
        cpus=read(f"{point}/cpuset.cpus.effective").strip() if point else "",
        nodes=read(f"{point}/cpuset.mems.effective").strip() if point else "",
    )
