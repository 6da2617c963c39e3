"""What only looks: with one container and with many."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..measure import Case, Result, in_turns
from ..stage import Stage

COMMANDS = {
    "ps": ("ps",),
    "ps -a": ("ps", "-a"),
    "images": ("images",),
    "inspect": ("inspect", "looked-at"),
    "logs": ("logs", "looked-at"),
}


def lists(stage: Stage) -> list[Result]:
    results = []
    more = 499 if not stage.quick else 49
    with stage.engines() as engines:
        for engine in engines.values():
            engine.call("run", "-d", "--name", "looked-at", "busybox", "sh", "-c",
                        "echo hello; sleep 100000")  # fmt: skip
        medians: dict[str, float] = {}
        for count in (1, more + 1):
            if count > 1:
                for engine in engines.values():
                    with ThreadPoolExecutor(2) as pool:
                        list(pool.map(lambda _, e=engine: e.call("create", "busybox", "true"),
                                      range(more)))  # fmt: skip
            for name, words in COMMANDS.items():
                cases = {
                    engine.name: Case(partial(engine.call, *words)) for engine in engines.values()
                }
                samples = in_turns(cases, stage.pairs)
                result = Result(f"{name}, {count} containers", "ms", samples, {"docker": 1.0})
                ours = result.median("onggi") if "onggi" in samples else 0.0
                if count == 1:
                    medians[name] = ours
                elif ours:
                    result.note = f"{ours / medians[name]:.2f}× of 1 container (≤ 2)"
                results.append(result)
        stage.clear(engines)
    return results
