"""From a command to its end: run, and exec in what runs."""

from functools import partial

from ..measure import Case, Result, in_turns
from ..stage import Stage


def default_network(stage: Stage) -> list[Result]:
    return [_run(stage, "run --rm busybox true", (), {"docker": 0.15, "podman": 0.15})]


def no_network(stage: Stage) -> list[Result]:
    return [
        _run(
            stage,
            "run --rm --network none busybox true",
            ("--network", "none"),
            {"docker": 0.15, "podman": 0.30},
        )
    ]


def _run(stage: Stage, row: str, flags: tuple[str, ...], target: dict[str, float]) -> Result:
    with stage.engines() as engines:
        cases = {
            name: Case(partial(engine.call, "run", "--rm", *flags, "busybox", "true"))
            for name, engine in engines.items()
        }
        return Result(row, "ms", in_turns(cases, stage.pairs, warm_up=2), target)


def execute(stage: Stage) -> list[Result]:
    with stage.engines() as engines:
        for engine in engines.values():
            engine.call("run", "-d", "--name", "host", "busybox", "sleep", "100000")
        cases = {
            name: Case(partial(engine.call, "exec", "host", "true"))
            for name, engine in engines.items()
        }
        samples = in_turns(cases, stage.pairs, warm_up=2)
        stage.clear(engines)
    return [Result("exec CONTAINER true", "ms", samples, {"docker": 0.30, "podman": 0.20})]
