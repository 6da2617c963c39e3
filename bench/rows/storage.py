"""Images in and out. Each sample of what comes in is taken on a file system that was just made: on
one that has deleted much, ext4 with discard is many times slower."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .. import big, world
from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine

IN = {"best": 0.35}
OUT = {"best": 0.5}
REGISTRY = "127.0.0.1:5000"


def pull_gzip(stage: Stage) -> list[Result]:
    return _pull(stage, "gzip")


def pull_zstd(stage: Stage) -> list[Result]:
    return _pull(stage, "zstd")


def _pull(stage: Stage, form: str) -> list[Result]:
    with _registry(stage.home / "registry"):
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
             "--dest-compress-format", form, f"docker-archive:{stage.big}",
             f"docker://{REGISTRY}/big"],
            check=True,
        )  # fmt: skip

        def bring(engine: Engine) -> None:
            extra = ["--tls-verify=false"] if engine.name == "podman" else []
            engine.call("pull", "-q", *extra, f"{REGISTRY}/big")
            engine.call("run", "--rm", "--network", "none", f"{REGISTRY}/big", "true")

        return _fresh(stage, f"pull ({form}) to a started container", bring)


def load(stage: Stage) -> list[Result]:
    def bring(engine: Engine) -> None:
        engine.call("load", "-q", "-i", str(stage.big))
        engine.call("run", "--rm", "--network", "none", big.NAME, "true")

    return _fresh(stage, "load to a started container", bring)


def _fresh(stage: Stage, row: str, bring: Callable[[Engine], object]) -> list[Result]:
    samples: dict[str, list[float]] = {name: [] for name in stage.names}
    note = ""
    for _ in range(stage.few):
        for name in stage.names:
            with (
                world.file_system(stage.home / f"fresh-{name}") as home,
                world.ENGINES[name](home, second=True) as engine,
            ):
                begin = time.perf_counter()
                try:
                    bring(engine)
                    samples[name].append(time.perf_counter() - begin)
                except SystemExit:  # docker 20.10 pulls no zstd
                    note = f"{name} cannot"
    measured = {name: found for name, found in samples.items() if found}
    return [Result(row, "s", measured, IN, note=note)]


def push(stage: Stage) -> list[Result]:
    def send(engine: Engine) -> None:
        extra = ["--tls-verify=false"] if engine.name == "podman" else []
        engine.call("push", *extra, f"{REGISTRY}/out")

    with _with_big(stage) as engines:
        for engine in engines.values():
            engine.call("tag", big.NAME, f"{REGISTRY}/out")
        samples: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(stage.few):
            for name, engine in engines.items():
                with _registry(stage.home / "registry"):  # an empty one: nothing is there yet
                    begin = time.perf_counter()
                    send(engine)
                    samples[name].append(time.perf_counter() - begin)
    return [Result("push", "s", samples, OUT)]


def save(stage: Stage) -> list[Result]:
    target = stage.home / "saved.tar"
    with _with_big(stage) as engines:
        cases = {
            name: Case(
                partial(_seconds, engine, "save", "-o", str(target), big.NAME),
                after=partial(target.unlink, missing_ok=True),
            )
            for name, engine in engines.items()
        }
        samples = in_turns(cases, stage.few, warm_up=0)
    return [Result("save", "s", samples, OUT)]


def commit(stage: Stage) -> list[Result]:
    """Of a container that has copied 240 MB."""
    with _with_big(stage) as engines:
        for engine in engines.values():
            engine.call("run", "--name", "changed", "--network", "none", big.NAME,
                        "cp", "-r", "/usr/lib", "/copy")  # fmt: skip
        cases = {
            name: Case(
                partial(_seconds, engine, "commit", "changed", "committed"),
                after=partial(engine.call, "rmi", "committed"),
            )
            for name, engine in engines.items()
        }
        samples = in_turns(cases, stage.few, warm_up=0)
        stage.clear(engines)
    return [Result("commit of a 240 MB change", "s", samples, OUT)]


def _seconds(engine: Engine, *words: str) -> float:
    begin = time.perf_counter()
    engine.call(*words)
    return time.perf_counter() - begin


@contextlib.contextmanager
def _with_big(stage: Stage) -> Iterator[dict[str, Engine]]:
    with stage.engines() as engines:
        for engine in engines.values():
            if not engine.call("images", "-q", big.NAME):
                engine.call("load", "-q", "-i", str(stage.big))
        yield engines


@contextlib.contextmanager
def _registry(home: Path) -> Iterator[None]:
    """Debian's docker-registry, empty, on loopback."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "config.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {home}/data}}}}\n"
        f"http: {{addr: {REGISTRY}}}\n"
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(settings)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        world.wait_for_port(5000)
        yield
    finally:
        server.kill()
        server.wait()
        subprocess.run(["rm", "-rf", home], check=True)
