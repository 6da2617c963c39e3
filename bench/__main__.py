"""`python -m bench`: see docs/bench.md. As root."""

import argparse
import datetime
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

from . import big, table, world
from .measure import Result
from .rows import ROWS
from .stage import Stage


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"which rows (all): {' '.join(ROWS)}")
    parser.add_argument("--pairs", type=int, default=0, help="how often each (10; with --quick 5)")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--engines", default="onggi,docker,podman")
    parser.add_argument("--json", type=Path, help="keep the samples in this file")
    parser.add_argument("--markdown", type=Path, help="write the table as Markdown")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    unknown = set(parsed.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {' '.join(sorted(unknown))}; there are {' '.join(ROWS)}")
    parsed.pairs = parsed.pairs or (5 if parsed.quick else 10)
    return parsed


def base_image(name: str) -> Path:
    made = subprocess.run(
        [world.REPOSITORY / "tools/base_image", name],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(made.stdout.strip())


def seccomp_file(home: Path) -> Path:
    """Docker's default profile as podman has it on disk, resolved by our own compiler's tables."""
    from .profile import oci_profile

    path = home / "seccomp.json"
    path.write_text(oci_profile())
    return path


def about(versions: dict[str, str]) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": platform.release(),
        "processors": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        **versions,
    }


def inside(parsed: argparse.Namespace) -> int:
    world.furnish()
    names = tuple(parsed.engines.split(","))
    stage = Stage(
        parsed.inside,
        parsed.pairs,
        parsed.quick,
        names,
        seccomp_file(parsed.inside),
        (base_image("busybox:latest"),),
        base_image("python:3.11"),
        big.archive(world.CACHE / "big.tar"),
        world.wheels(),
    )
    results: list[Result] = []
    with stage.opened(), stage.engines() as engines:
        versions = {name: engine.version for name, engine in engines.items()}
        for name in parsed.rows or ROWS:
            print(f"bench: {name} …", file=sys.stderr, flush=True)
            results += ROWS[name](stage)
    facts = about(versions)
    print(table.text(results))
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if parsed.json:
        table.save(parsed.json, results, facts)
    if parsed.markdown:
        parsed.markdown.write_text(table.markdown(results) + "\n")
    return 0


def main() -> int:
    parsed = arguments()
    if os.geteuid():
        sys.exit("bench: needs root")
    if parsed.inside:
        return inside(parsed)
    world.install()
    for name in ("busybox:latest", "python:3.11"):  # may need the outside
        base_image(name)
    world.wheels()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    words = sys.argv[1:]
    for flag in ("json", "markdown"):
        path = getattr(parsed, flag)
        if path:
            words += [f"--{flag}", str(path.resolve())]
    return world.enter(words)


if __name__ == "__main__":
    sys.exit(main())
