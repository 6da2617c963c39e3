"""Many containers: started and removed at once, and what idle ones hold."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine
from .lifecycle import OBEDIENT

AT_ONCE = 8


def many(stage: Stage) -> list[Result]:
    """50 `run -d`, eight at a time, then `rm -f` of them all in the same way."""
    count = 50 if not stage.quick else 16
    with stage.engines() as engines:
        cases = {name: Case(partial(_many, engine, count)) for name, engine in engines.items()}
        samples = in_turns(cases, max(1, stage.pairs // 5), warm_up=0)
    row = f"{count} containers in parallel, then removed"
    return [Result(row, "s", samples, {"best": 0.4})]


def _many(engine: Engine, count: int) -> float:
    names = [f"many-{number}" for number in range(count)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: engine.call("run", "-d", "--name", n, *OBEDIENT),
                      names))  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: engine.call("rm", "-f", n), names))
    return time.perf_counter() - begin


def idle(stage: Stage) -> list[Result]:
    """Private memory of every process an engine keeps for its containers, without the containers:
    of one alone, and of each of ten."""
    results = []
    for count, row in ((1, "idle container, alone"), (10, "idle container, each of 10")):
        samples: dict[str, list[float]] = {}
        with stage.engines() as engines:
            for name, engine in engines.items():
                before = _processes()
                for _ in range(count):
                    engine.call("run", "-d", "busybox", "sleep", "9999")
                time.sleep(1)
                helpers = [p for p in _processes() - before if _command(p) != "sleep"]
                samples[name] = [sum(_private_mb(p) for p in helpers) / count]
                stage.clear({name: engine})
        note = "target ≤ 3 MB" if count == 1 else "target ≤ 1 MB"
        results.append(Result(row, "MB", samples, note=note))
    return results


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _private_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return kilobytes / 1024
