"""The engine inside a Python program: run a container and have its output, warm."""

import subprocess
import sys
from functools import partial

from ..measure import Case, Result, in_turns
from ..stage import Stage

PROGRAM = """
import sys, time
import onggi
with onggi.connect(root=sys.argv[1], run=sys.argv[2]) as client:
    for number in range(int(sys.argv[3]) + 3):
        begin = time.perf_counter()
        client.run("busybox", ["true"])
        if number > 2:
            print((time.perf_counter() - begin) * 1000, flush=True)
"""


def in_process(stage: Stage) -> list[Result]:
    with stage.engines() as engines:
        ours = engines["onggi"].environment
        argv = [sys.executable, "-c", PROGRAM, ours["ONGGI_ROOT"], ours["ONGGI_RUN"],
                str(stage.pairs)]  # fmt: skip
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300)
        others = {
            name: Case(partial(engine.call, "run", "--rm", "busybox", "true"))
            for name, engine in engines.items()
            if name != "onggi"
        }
        samples = {
            "onggi": [float(line) for line in done.stdout.split()],
            **in_turns(others, stage.pairs),
        }
    return [Result("Python API: run and wait, warm (others: run)", "ms", samples,
                   {"docker": 0.06})]  # fmt: skip
