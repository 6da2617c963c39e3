"""What containers use right now: CPU, memory, network, block devices, processes.

A sample is read from the control group and from the network namespace of the first process; shares
of CPU time need two samples. Nothing here waits.
"""

import os
import time

from ..spec.container import Container
from ..typed import NamedTuple
from .cgroups import cgroup_of
from .reaper import ACTIVE


class Sample(NamedTuple):
    """Of one container at one moment. All 0 for one that does not run."""

    time_ns: int = 0  # monotonic
    cpu_ns: int = 0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    pids: int = 0


def sample(container: Container) -> Sample:
    if container.state.status not in ACTIVE or not container.state.pid:
        return Sample()
    used = cgroup_of(container).stats()
    host_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    received, sent = _network(container)
    return Sample(
        time_ns=time.monotonic_ns(),
        cpu_ns=used.cpu_ns,
        memory_bytes=used.memory_bytes,
        memory_limit_bytes=min(used.memory_limit_bytes or host_memory, host_memory),
        received_bytes=received,
        sent_bytes=sent,
        read_bytes=used.read_bytes,
        written_bytes=used.written_bytes,
        pids=used.pids,
    )


def cpu_percent(before: Sample, now: Sample) -> float:
    """Of one processor, so that two busy ones are 200."""
    elapsed = now.time_ns - before.time_ns
    used = now.cpu_ns - before.cpu_ns
    return 100.0 * used / elapsed if before.time_ns and elapsed > 0 and used > 0 else 0.0


def memory_percent(now: Sample) -> float:
    limit = now.memory_limit_bytes
    return 100.0 * now.memory_bytes / limit if limit else 0.0


class Traffic(NamedTuple):
    """Of one direction of an interface."""

    size_bytes: int
    packets: int
    errors: int
    dropped: int


Interfaces = dict[str, tuple[Traffic, Traffic]]  # received and sent, by name


def interfaces(container: Container) -> Interfaces:
    """Of a container that has a network of its own; the host's is not counted as a container's."""
    if container.config.options.host.network_mode == "host" or not container.state.pid:
        return {}
    try:
        with open(f"/proc/{container.state.pid}/net/dev", encoding="ascii") as file:
            return parse_interfaces(file.read(1 << 20))
    except OSError:
        return {}  # it has just ended


def parse_interfaces(text: str) -> Interfaces:
    """Every interface but the loopback one, from the text of /proc/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = [int(number) for number in numbers.split()]
        if name.strip() != "lo" and len(fields) > 11:
            found[name.strip()] = (Traffic(*fields[:4]), Traffic(*fields[8:12]))
    return found


def _network(container: Container) -> tuple[int, int]:
    """(received, sent) of all its interfaces."""
    found = interfaces(container).values()
    return sum(i.size_bytes for i, _ in found), sum(o.size_bytes for _, o in found)
