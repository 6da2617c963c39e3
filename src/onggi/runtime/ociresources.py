"""`linux.resources` of an OCI configuration, as `create` and `update` read it."""

from collections.abc import Iterable

from ..errors import InvalidInput
from ..linux.cgroup import DEFAULT_DEVICES, DeviceRule
from ..linux.cgroupextra import Extra, Wish
from ..spec.container import DeviceRate, Resources
from ..typed import NamedTuple
from .reader import Reader

_SIZES = frozenset(f"{number}{unit}B" for unit in "KMGT" for number in (1 << n for n in range(10)))


class Limits(NamedTuple):
    resources: Resources
    devices: tuple[DeviceRule, ...]
    extra: Extra


def parse(resources: Reader) -> Limits:
    return Limits(parse_resources(resources), _device_rules(resources), _extra(resources))


def _device_rules(resources: Reader) -> tuple[DeviceRule, ...]:
    """The bundle's rules and then the devices that the specification always allows."""
    rules = [_device_rule(item) for item in resources.objects("devices")]
    if not rules or (rules[-1].allow and rules[-1].kind == "a"):
        return ()
    return (*rules, *(rule for rule in DEFAULT_DEVICES if rule.allow))


def _device_rule(item: Reader) -> DeviceRule:
    kind, access = item.get("type", str, "a"), item.get("access", str, "rwm")
    if kind not in ("a", "b", "c") or not set(access) <= set("rwm"):
        raise item.error("type", "or access is invalid")
    major, minor = item.get("major", int, -1), item.get("minor", int, -1)
    return DeviceRule(item.get("allow", bool, False), kind, major, minor, access or "rwm")


def parse_resources(resources: Reader) -> Resources:
    memory, cpu = resources.object("memory"), resources.object("cpu")
    block = resources.object("blockIO")
    pids = resources.object("pids")
    swappiness = memory.get("swappiness", int, -1)
    if not -1 <= swappiness <= 100:
        raise memory.error("swappiness", f"is {swappiness}, not from 0 to 100")
    return Resources(
        memory_bytes=max(0, memory.get("limit", int, 0)),
        memory_swap_bytes=memory.get("swap", int, 0),
        memory_reservation_bytes=max(0, memory.get("reservation", int, 0)),
        cpu_shares=cpu.get("shares", int, 0),
        cpu_period_us=cpu.get("period", int, 0),
        cpu_quota_us=cpu.get("quota", int, 0),
        cpuset_cpus=cpu.get("cpus", str, ""),
        cpuset_mems=cpu.get("mems", str, ""),
        pids_limit=pids.get("limit", int, 0),
        cpu_rt_period_us=cpu.get("realtimePeriod", int, 0),
        cpu_rt_runtime_us=cpu.get("realtimeRuntime", int, 0),
        memory_swappiness=swappiness,
        oom_kill_disable=memory.get("disableOOMKiller", bool, False),
        blkio_weight=block.get("weight", int, 0),
        blkio_weight_devices=_rates(block.objects("weightDevice"), "weight"),
        read_bps=_rates(block.objects("throttleReadBpsDevice"), "rate"),
        write_bps=_rates(block.objects("throttleWriteBpsDevice"), "rate"),
        read_iops=_rates(block.objects("throttleReadIOPSDevice"), "rate"),
        write_iops=_rates(block.objects("throttleWriteIOPSDevice"), "rate"),
    )


def _rates(items: Iterable[Reader], key: str) -> tuple[DeviceRate, ...]:
    return tuple(
        DeviceRate(
            f"{item.get('major', int, 0)}:{item.get('minor', int, 0)}", item.get(key, int, 0)
        )
        for item in items
    )


def _extra(resources: Reader) -> Extra:
    """What docker has no flag for."""
    wishes: list[Wish] = []
    for item in resources.objects("hugepageLimits"):
        size, limit = item.get("pageSize", str, ""), item.get("limit", int, 0)
        if size not in _SIZES:
            raise item.error("pageSize", f"is {size[:32]!r}, not a size such as 2MB")
        file = f"hugetlb.{size}"
        wishes.append(Wish("hugetlb", f"{file}.limit_in_bytes", f"{file}.max", str(limit)))
    network = resources.object("network")
    if network.has("classID"):
        wishes.append(Wish("net_cls", "net_cls.classid", "", str(network.get("classID", int))))
    for item in network.objects("priorities"):
        name = item.get("name", str, "")
        if not name or not name.isprintable() or " " in name:
            raise item.error("name", "is no network interface")
        value = f"{name} {item.get('priority', int, 0)}"
        wishes.append(Wish("net_prio", "net_prio.ifpriomap", "", value))
    rdma = resources.object("rdma")
    for device in rdma.names():
        item = rdma.object(device)
        words = [device]
        for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if item.has(key):
                words.append(f"{name}={item.get(key, int)}")
        wishes.append(Wish("rdma", "rdma.max", "rdma.max", " ".join(words)))
    cpu = resources.object("cpu")
    if cpu.has("idle"):
        wishes.append(Wish("cpu", "cpu.idle", "cpu.idle", str(cpu.get("idle", int))))
    if cpu.has("burst"):
        burst = str(cpu.get("burst", int))
        wishes.append(Wish("cpu", "cpu.cfs_burst_us", "cpu.max.burst", burst))
    unified = resources.string_map("unified")
    for name in unified:
        if "/" in name or "." not in name or name.startswith("."):
            raise InvalidInput(f"config.json: linux.resources.unified: {name[:64]!r} is no file")
    return Extra(tuple(wishes), tuple(unified.items()))
