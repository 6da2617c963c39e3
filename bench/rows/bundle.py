"""onggi-runtime beside crun and runc on one bundle with docker's seccomp profile."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from ..measure import Case, Result, in_turns, run
from ..stage import Stage
from ..world import environment

TARGET = {"crun": 1.0, "runc": 0.6}


def runtime(stage: Stage) -> list[Result]:
    home = stage.home / "bundle"
    _bundle(stage, home)
    ours = str(Path(sys.executable).parent / "onggi-runtime")
    tools = {"onggi": ours, "crun": "crun", "runc": "runc"}
    results = []
    for row, cold in (("warm", False), ("cold", True)):
        cases = {
            name: Case(
                partial(run, [program, "run", "--bundle", str(home), "one"], environment()),
                before=_forget_pages if cold else lambda: None,
            )
            for name, program in tools.items()
        }
        pairs = stage.pairs if not cold else max(3, stage.pairs // 2)
        samples = in_turns(cases, pairs, warm_up=1)
        results.append(Result(f"runtime: run of a bundle, {row}", "ms", samples, TARGET))
    shutil.rmtree(home)
    return results


def _bundle(stage: Stage, home: Path) -> None:
    """What podman would hand to crun for `run --network none busybox true`, without a terminal."""
    root = home / "rootfs"
    (root / "bin").mkdir(parents=True)
    for name in ("dev", "proc", "sys", "etc"):
        (root / name).mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    shutil.copy("/bin/busybox", root / "bin/true")
    subprocess.run(["crun", "spec"], cwd=home, env=environment(), check=True)
    config = json.loads((home / "config.json").read_text())
    config["process"].update(args=["/bin/true"], terminal=False)
    config["root"] = {"path": "rootfs", "readonly": True}
    config["linux"]["seccomp"] = json.loads(stage.seccomp.read_text())
    config["linux"]["resources"] = {"memory": {"limit": 1 << 28}, "pids": {"limit": 200}}
    (home / "config.json").write_text(json.dumps(config))


def _forget_pages() -> None:
    """Programs and libraries are read from the disk again."""
    Path("/proc/sys/vm/drop_caches").write_text("1")
