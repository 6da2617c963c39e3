"""A published port: requests and bytes from this host to a container."""

import subprocess
from functools import partial
from pathlib import Path

from .. import world
from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine

PORTS = {"onggi": 7001, "docker": 7002, "podman": 7003}
SECONDS = 2


def published(stage: Stage) -> list[Result]:
    program = stage.home / "net"
    source = Path(__file__).parent.parent / "net.c"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)
    with stage.engines() as engines:
        for name, engine in engines.items():
            engine.call("run", "-d", "-p", f"{PORTS[name]}:7000", "-v", f"{program}:/net:ro",
                        "busybox", "/net", "serve", "7000")  # fmt: skip
        for name in engines:
            world.wait_for_port(PORTS[name], _own_address(), b"G\n")
        requests = _row(stage, engines, program, "requests/s", "ask", "16", str(SECONDS))
        one = _row(stage, engines, program, "µs", "ask", "1", str(SECONDS))
        flow = _row(stage, engines, program, "Gbit/s", "pour", str(SECONDS))
        stage.clear(engines)
    target = {"best": 1.0}
    return [
        Result("published port, 16 connections", "requests/s", requests, target,
               more_is_better=True),
        Result("published port, 1 connection, median", "µs", one, target),
        Result("published port, one flow", "Gbit/s", flow, target, more_is_better=True),
    ]  # fmt: skip


def _row(
    stage: Stage, engines: dict[str, Engine], program: Path, unit: str, verb: str, *words: str
) -> dict[str, list[float]]:
    cases = {
        name: Case(partial(_measure, program, verb, PORTS[name], words, unit == "µs"))
        for name in engines
    }
    return in_turns(cases, stage.few, warm_up=1)


def _measure(program: Path, verb: str, port: int, words: tuple[str, ...], second: bool) -> float:
    argv = [str(program), verb, _own_address(), str(port), *words]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    return float(done.stdout.split()[1 if second else 0])


def _own_address() -> str:
    """Not 127.0.0.1, which docker serves by a proxy of its own."""
    return world.ADDRESS
