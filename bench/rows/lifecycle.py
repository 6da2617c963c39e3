"""The verbs on containers that stay. The command obeys SIGTERM: that is what is stopped."""

from collections.abc import Callable
from functools import partial

from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine

OBEDIENT = ("busybox", "sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 100000 & wait")
TARGET = {"best": 0.4}


def _running(engine: Engine) -> None:
    """A container whose shell has set its trap."""
    engine.call("run", "-d", "--name", "one", *OBEDIENT)
    while "ready" not in engine.call("logs", "one"):
        pass


def _remove(engine: Engine) -> None:
    engine.call("rm", "-f", "one", check=False)


def _row(
    stage: Stage,
    row: str,
    run: Callable[[Engine], object],
    before: Callable[[Engine], object] = lambda engine: None,
    after: Callable[[Engine], object] = _remove,
) -> list[Result]:
    with stage.engines() as engines:
        cases = {
            name: Case(
                partial(run, engine),
                partial(before, engine),
                partial(after, engine),
            )
            for name, engine in engines.items()
        }
        return [Result(row, "ms", in_turns(cases, stage.pairs), TARGET)]


def detached(stage: Stage) -> list[Result]:
    return _row(stage, "run -d", lambda e: e.call("run", "-d", "--name", "one", *OBEDIENT))


def start(stage: Stage) -> list[Result]:
    return _row(
        stage,
        "start",
        lambda e: e.call("start", "one"),
        before=lambda e: e.call("create", "--name", "one", *OBEDIENT),
    )


def stop(stage: Stage) -> list[Result]:
    return _row(stage, "stop (it obeys)", lambda e: e.call("stop", "one"), before=_running)


def remove(stage: Stage) -> list[Result]:
    return _row(
        stage,
        "rm -f (it runs)",
        lambda e: e.call("rm", "-f", "one"),
        before=_running,
        after=lambda e: None,
    )
