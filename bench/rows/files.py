"""The file system that a process in a container sees."""

import re
import time
from functools import partial
from pathlib import Path

from ..measure import Case, Result, in_turns
from ..stage import Stage
from ..world import Engine

IMAGE = "files:latest"
WORK = {
    "import django, warm": ("python3", "-c", "import django.core.handlers.wsgi, django.db.models"),
    "find /": ("sh", "-c", "find /usr /lib /bin -xdev | wc -l"),
    "tar of /usr": ("sh", "-c", "tar -cf - /usr 2>/dev/null | cat > /dev/null"),
    "10,000 small writes": (
        "python3", "-c",
        "import os\nos.mkdir('/w')\nfor i in range(10000): open(f'/w/{i}', 'w').write('x' * 100)\n"
        "import shutil; shutil.rmtree('/w')",
    ),
}  # fmt: skip


def file_system(stage: Stage) -> list[Result]:
    with stage.engines() as engines:
        _images(stage, engines)
        for engine in engines.values():
            engine.call("run", "-d", "--name", "fs", "--network", "none", IMAGE, "sleep", "99999")
        results = []
        cold = {
            name: Case(partial(_inside, engine, *WORK["import django, warm"]), before=_forget_pages)
            for name, engine in engines.items()
        }
        samples = in_turns(cold, stage.few, warm_up=1)
        results.append(Result("import django, cold", "ms", samples, {"docker": 1.1}))
        for row, command in WORK.items():
            cases = {n: Case(partial(_inside, engine, *command)) for n, engine in engines.items()}
            often = stage.few if row.startswith(("tar", "10,000")) else stage.pairs
            samples = in_turns(cases, often, warm_up=1)
            results.append(Result(row, "ms", samples, {"docker": 1.1}))
        results.append(_page_cache(engines))
        stage.clear(engines)
    return results


def _images(stage: Stage, engines: dict[str, Engine]) -> None:
    """Python with Django, of one archive for all: made by the first engine."""
    first = next(iter(engines.values()))
    archive = stage.home / "files.tar"
    if not first.call("images", "-q", "python:3.11"):
        first.call("load", "-q", "-i", str(stage.python))
    first.call("run", "--name", "maker", "--network", "none", "-v", f"{stage.wheels}:/wheels:ro",
               "python:3.11", "pip", "install", "-q", "--no-index", "--find-links", "/wheels",
               "django")  # fmt: skip
    first.call("commit", "maker", IMAGE)
    first.call("rm", "maker")
    first.call("save", "-o", str(archive), IMAGE)
    for engine in list(engines.values())[1:]:
        engine.call("load", "-q", "-i", str(archive))
        if not engine.call("images", "-q", IMAGE):
            engine.call("tag", f"localhost/{IMAGE}", IMAGE)
    archive.unlink()


def _inside(engine: Engine, *command: str) -> float:
    """Milliseconds as the container's shell sees them: without the exec around it."""
    script = 'a=$(date +%s%N); "$@" >/dev/null; b=$(date +%s%N); echo $((b - a))'
    said = engine.call("exec", "fs", "sh", "-c", script, "sh", *command)
    return int(re.findall(r"\d+", said)[-1]) / 1e6


def _page_cache(engines: dict[str, Engine]) -> Result:
    """What reading all of /usr once adds to the page cache: a layer must not be cached twice."""
    samples = {}
    for name, engine in engines.items():
        _forget_pages()
        before = _cached_mb()
        engine.call("exec", "fs", "sh", "-c", "tar -cf - /usr 2>/dev/null | cat > /dev/null")
        samples[name] = [_cached_mb() - before]
    return Result("page cache of reading /usr", "MB", samples, {"docker": 1.5})


def _cached_mb() -> float:
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"^Cached:\s+(\d+)", text, re.MULTILINE)[1]) / 1024  # type: ignore[index]


def _forget_pages() -> None:
    time.sleep(0.2)
    Path("/proc/sys/vm/drop_caches").write_text("3")
