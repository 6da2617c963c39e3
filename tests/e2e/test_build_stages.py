"""Independent stages at once: faster, the same result, and nothing left when one fails."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import build, context, fails, run

pytestmark = pytest.mark.root


def meeting(names: str, busybox: str) -> str:
    """Stages that end only when all of them run at the same time, seen through a shared cache."""
    mount = "--mount=type=cache,target=/meet,id={key}"
    waits = " && ".join(f"until test -e /meet/{name}; do sleep 0.05; done" for name in names)
    stages = [
        f"FROM {busybox} AS {name}\nRUN {mount} > /meet/{name}; echo here {name}; {waits}; "
        f"echo {name} > /out"
        for name in names
    ]
    copies = [f"COPY --from={name} /out /{name}" for name in names]
    return "\n".join([*stages, f"FROM {busybox}", *copies, "RUN cat /? > /seen"])


def test_stages_run_at_the_same_time(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = meeting("abcd", busybox).replace("{key}", tmp_path.name)
    out = build(onggi, context(tmp_path / "c", text + "\n"))
    assert run(onggi, "cat", "/seen") == "a\nb\nc\nd"
    for name in "abcd":
        assert f" here {name}" in out or f"here {name}\n" in out
    again = build(onggi, tmp_path / "c")
    assert again.count("Using cache") == 9
    steps = [line for line in again.split("\n") if line.startswith("Step ")]
    assert steps == sorted(steps, key=lambda line: int(line.split()[1].partition("/")[0]))


def test_one_processor_or_two_give_the_same_image(
    lone_onggi: Onggi, onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    """SOURCE_DATE_EPOCH, no cache, another store: the same digest."""
    saved = tmp_path / "busybox.tar"
    onggi("save", "-o", str(saved), busybox)
    lone_onggi("load", "-q", "-i", str(saved))
    stages = "\n".join(f"FROM {busybox} AS s{n}\nRUN echo {n} > /f{n}" for n in range(6))
    copies = "\n".join(f"COPY --from=s{n} /f{n} /" for n in range(6))
    text = f"{stages}\nFROM {busybox}\n{copies}\nCOPY . /c\nWORKDIR /new\nRUN touch /stamp\n"
    top = context(tmp_path / "c", text, a="1", d__b="2")
    flags = ("build", "-q", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", str(top))
    cpus = sorted(os.sched_getaffinity(0))
    ids = [onggi.out(*flags), lone_onggi.out(*flags)]
    os.sched_setaffinity(0, cpus[:1])
    try:
        ids.append(lone_onggi.out(*flags))
    finally:
        os.sched_setaffinity(0, cpus)
    assert len(set(ids)) == 1
    created = json.loads(onggi.out("inspect", ids[0]))[0]["Created"]
    assert created.startswith("2001-09-09T01:46:40")


def test_a_stage_that_fails_ends_the_others(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox} AS slow
RUN sleep 4243
FROM {busybox} AS bad
RUN sleep 0.3; echo last words; exit 3
FROM {busybox}
COPY --from=slow / /
COPY --from=bad / /
"""
    top = context(tmp_path / "c", text)
    began = time.monotonic()
    done = onggi("build", str(top), code=1)
    assert time.monotonic() - began < 600
    assert "returned a non-zero code: 3" in done.stderr and "line 4 | RUN sleep" in done.stderr
    assert "last words" in done.stdout
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", "^sleep 4243"], capture_output=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list((onggi.root / "containers").iterdir())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_die_with_the_builder(
    onggi: Onggi, busybox: str, tmp_path: Path, how: signal.Signals
) -> None:
    stages = "".join(f"FROM {busybox} AS s{n}\nRUN echo begun; sleep 424{n}\n" for n in (4, 5))
    text = stages + f"FROM {busybox}\nCOPY --from=s4 / /\nCOPY --from=s5 / /\n"
    top = context(tmp_path / "c", text)
    with onggi.popen("build", str(top)) as process:
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun += "begun" in line and "Step" not in line
            if begun == 2:
                break
        process.send_signal(how)
        process.wait(timeout=60)
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", "^sleep 424[45]"], capture_output=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    small = context(tmp_path / "small", f"FROM {busybox}\n")
    while list((onggi.root / "containers").iterdir()):
        assert time.monotonic() < deadline
        build(onggi, small)


def test_an_error_before_any_work(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox} AS a\nRUN sleep 600\nFROM {busybox}\nCOPY nope /\nCOPY --from=a / /\n"
    began = time.monotonic()
    assert '"/nope": not found' in fails(onggi, context(tmp_path / "c", text))
    assert time.monotonic() - began < 300
