"""What a container uses, once or every second."""

import os
import select
import time

from ..engine import stats as measure
from ..engine.inspection import ZERO_TIME, rfc3339
from ..engine.reaper import ACTIVE
from ..engine.stats import Interfaces, Sample, Traffic
from ..errors import NotFound
from ..spec.container import Container
from ..typed import Any, NamedTuple
from .call import Answer, Call, json_answer
from .route import Route

INTERVAL_S = 1.0


class Look(NamedTuple):
    """One sample with the wall clock and the host's own use of its processors."""

    at_ns: int = 0
    host_cpu_ns: int = 0
    sample: Sample = Sample()
    interfaces: Interfaces = {}  # noqa: RUF012 - never mutated


def stats(call: Call) -> Answer | None:
    container = call.engine.containers.get(call.params["id"])
    before = Look()
    if not call.query.flag("stream", default=True):
        if not call.query.flag("one-shot"):
            before = look(container)
            _pause(call)
            container = call.engine.containers.get(container.id)
        return json_answer(document(container, before, look(container)))
    with call.stream("application/json") as out:
        while True:
            now = look(container)
            out.json(document(container, before, now))
            before = now
            if _pause(call):
                return None
            try:
                container = call.engine.containers.get(container.id)
            except NotFound:
                return None


def _pause(call: Call) -> bool:
    """Until the next sample; whether the client has gone."""
    poll = select.poll()
    poll.register(call.exchange, select.POLLRDHUP)
    return bool(poll.poll(INTERVAL_S * 1000))


def look(container: Container) -> Look:
    if container.state.status not in ACTIVE:
        return Look()
    sample = measure.sample(container)
    return Look(time.time_ns(), _host_cpu_ns(), sample, measure.interfaces(container))


def _host_cpu_ns() -> int:
    """Time that all processors have spent, idle or not, as docker counts it."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:8]
    return sum(map(int, fields)) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def document(container: Container, before: Look, now: Look) -> dict[str, Any]:
    """Docker's JSON object; what cannot be told is left out or 0."""
    sample = now.sample
    found: dict[str, Any] = {
        "name": f"/{container.name}",
        "id": container.id,
        "read": rfc3339(now.at_ns) if now.at_ns else ZERO_TIME,
        "preread": rfc3339(before.at_ns) if before.at_ns else ZERO_TIME,
        "pids_stats": {"current": sample.pids} if now.at_ns else {},
        "blkio_stats": _block_io(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before),
        "memory_stats": {
            "usage": sample.memory_bytes,
            "limit": sample.memory_limit_bytes,
            "stats": {},
        }
        if now.at_ns
        else {},
    }
    if now.at_ns and container.config.options.host.network_mode not in ("none", "host"):
        found["networks"] = {
            name: {**_traffic("rx", received), **_traffic("tx", sent)}
            for name, (received, sent) in sorted(now.interfaces.items())
        }
    return found


def _cpu(at: Look) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": at.sample.cpu_ns,
            "usage_in_kernelmode": 0,
            "usage_in_usermode": at.sample.cpu_ns,
        },
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    if at.at_ns:
        found["system_cpu_usage"] = at.host_cpu_ns
        found["online_cpus"] = os.cpu_count() or 1
    return found


def _traffic(direction: str, of: Traffic) -> dict[str, int]:
    return {
        f"{direction}_bytes": of.size_bytes,
        f"{direction}_packets": of.packets,
        f"{direction}_errors": of.errors,
        f"{direction}_dropped": of.dropped,
    }


def _block_io(now: Look) -> dict[str, Any]:
    amounts = (("read", now.sample.read_bytes), ("write", now.sample.written_bytes))
    entries = [{"major": 0, "minor": 0, "op": op, "value": value} for op, value in amounts]
    names = ("io_serviced", "io_queue", "io_service_time", "io_wait_time", "io_merged", "io_time")
    rest = dict.fromkeys([f"{name}_recursive" for name in names])
    return {
        "io_service_bytes_recursive": entries if now.at_ns else None,
        **rest,
        "sectors_recursive": None,
    }


ROUTES = (Route("GET", "/containers/{id}/stats", stats),)
