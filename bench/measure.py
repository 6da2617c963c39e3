"""Timing in turns: every engine once, then every engine again, so that what else the machine does
falls on all of them alike."""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Case:
    """One engine's part of a row. Only `run` is timed; a float that it returns is taken instead."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


@dataclass
class Result:
    """The samples of one row by engine, in `unit`. `target` are the ratios that onggi is to reach:
    to an engine, or to "best" of the others."""

    row: str
    unit: str
    samples: dict[str, list[float]]
    target: Mapping[str, float] = field(default_factory=dict)
    more_is_better: bool = False
    note: str = ""

    def median(self, engine: str) -> float:
        return statistics.median(self.samples[engine])

    def spread(self, engine: str) -> tuple[float, float]:
        """The quartiles; of few samples the extremes."""
        found = sorted(self.samples[engine])
        if len(found) < 4:
            return found[0], found[-1]
        low, _, high = statistics.quantiles(found, n=4)
        return low, high

    def best(self) -> str:
        """The best engine that is not ours; "" when there is none."""
        others = [name for name in self.samples if name != "onggi"]
        choose = max if self.more_is_better else min
        return choose(others, key=self.median, default="")

    def ratio(self, engine: str) -> float | None:
        other = self.best() if engine == "best" else engine
        if other not in self.samples or "onggi" not in self.samples:
            return None
        return self.median("onggi") / self.median(other)


def in_turns(cases: Mapping[str, Case], pairs: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Milliseconds of each case, `pairs` times after the warm-up."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(warm_up + pairs):
        for name, case in cases.items():
            case.before()
            begin = time.perf_counter()
            figure = case.run()
            took = (time.perf_counter() - begin) * 1000
            case.after()
            if turn >= warm_up:
                samples[name].append(figure if isinstance(figure, float) else took)
    return samples


def run(
    argv: Sequence[str], environment: Mapping[str, str], *, check: bool = True, input: str = ""
) -> str:
    """A command's standard output. It fails loudly: a row that did not do its work is no row."""
    done = subprocess.run(
        argv, env=dict(environment), input=input, capture_output=True, text=True, timeout=600
    )
    if check and done.returncode:
        raise SystemExit(
            f"bench: {' '.join(argv)}: exit {done.returncode}\n{done.stdout[-500:]}"
            f"{done.stderr[-2000:]}"
        )
    return done.stdout.strip()
