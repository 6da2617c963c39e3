"""Whether the thousandth container costs what the first did."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..measure import Result
from ..stage import Stage


def sequence(stage: Stage) -> list[Result]:
    """1,000 containers one after the other, and the kernel memory that stays behind."""
    count, window = (1000, 100) if not stage.quick else (100, 20)
    with stage.engines() as engines:
        engine = engines["onggi"]
        before = _slab_mb()
        took = []
        for _ in range(count):
            begin = time.perf_counter()
            engine.call("run", "--rm", "--network", "none", "busybox", "true")
            took.append((time.perf_counter() - begin) * 1000)
        grown = _slab_mb() - before
    first, last = took[:window], took[-window:]
    ratio = statistics.median(last) / statistics.median(first)
    return [
        Result(f"{count} runs in a row: the last {window}", "ms", {"onggi": last},
               note=f"{ratio:.2f}× of the first (≤ 1.2); slab grew by {grown:.0f} MB")
    ]  # fmt: skip


def crowd(stage: Stage) -> list[Result]:
    """500 idle containers at once: the time to start each, and the memory of the host for each."""
    count, window = (500, 100) if not stage.quick else (50, 20)
    with stage.engines() as engines:
        engine = engines["onggi"]
        before = _used_mb()
        took = []
        for number in range(count):
            begin = time.perf_counter()
            engine.call("run", "-d", "--name", f"crowd-{number}", "busybox", "sleep", "99999")
            took.append((time.perf_counter() - begin) * 1000)
        each = (_used_mb() - before) / count
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: engine.call("rm", "-f", f"crowd-{n}"), range(count)))
        stage.clear(engines)
    first, last = took[:window], took[-window:]
    ratio = statistics.median(last) / statistics.median(first)
    return [
        Result(f"{count} idle at once: start of the last {window}", "ms", {"onggi": last},
               note=f"{ratio:.2f}× of the first (≤ 1.2); {each:.1f} MB of the host each")
    ]  # fmt: skip


def _field(name: str) -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _slab_mb() -> float:
    return _field("SUnreclaim")


def _used_mb() -> float:
    return _field("MemTotal") - _field("MemAvailable")
