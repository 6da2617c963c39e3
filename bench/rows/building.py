"""Builds: a Django project from its Dockerfile, with the wheels beside it, so that no index is
asked. Docker's is BuildKit."""

import shutil
import time
from functools import partial
from pathlib import Path

from .. import world
from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine

DOCKERFILE = """\
FROM python:3.11
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY wheels /wheels
COPY requirements.txt /app/
RUN pip install --no-index --find-links /wheels -r requirements.txt
COPY . /app/
CMD ["./manage.py", "runserver", "0:8000"]
"""
TARGETS = {
    "cached": {"docker": 0.9, "podman": 0.15},
    "changed": {"docker": 0.9, "podman": 0.15},
    "cold": {"best": 0.8},
}
PRUNE = {
    "onggi": ("builder", "prune", "-af"),
    "docker": ("builder", "prune", "-af"),
    "podman": ("image", "prune", "-f"),
}


def builds(stage: Stage) -> list[Result]:
    context = stage.home / "context"
    shutil.copytree(world.REPOSITORY / "examples" / "django", context)
    shutil.copytree(stage.wheels, context / "wheels")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / ".dockerignore").write_text("wheels-not\n")
    with stage.engines() as engines:
        for engine in engines.values():
            if not engine.call("images", "-q", "python:3.11"):
                engine.call("load", "-q", "-i", str(stage.python))
        return [
            _row(stage, engines, context, "cold"),
            _row(stage, engines, context, "cached"),
            _row(stage, engines, context, "changed"),
        ]


def _row(stage: Stage, engines: dict[str, Engine], context: Path, kind: str) -> Result:
    """The same context for all: what one build changes in it is put back before the next."""
    cases = {
        name: Case(
            partial(_build, engine, context),
            before=partial(_prepare, engine, context, kind),
        )
        for name, engine in engines.items()
    }
    cold = kind == "cold"
    samples = in_turns(cases, stage.few if cold else stage.pairs, warm_up=0 if cold else 1)
    names = {"cached": "fully cached", "changed": "one file changed", "cold": "cold, offline"}
    return Result(f"build, {names[kind]}", "s", samples, TARGETS[kind])


def _prepare(engine: Engine, context: Path, kind: str) -> None:
    if kind == "cold":
        engine.call("rmi", "-f", "built", check=False)
        engine.call(*PRUNE[engine.name], check=False)
    if kind == "changed":
        (context / "config" / "changed.py").write_text(f"WHEN = {time.time_ns()}\n")


def _build(engine: Engine, context: Path) -> float:
    extra = ["--isolation", "oci"] if engine.name == "podman" else []
    if engine.name == "podman":
        extra += ["--layers", "--pull-never"]
    begin = time.perf_counter()
    engine.call("build", "-q", "-t", "built", *extra, str(context))
    return time.perf_counter() - begin
