"""Attacks on builds that need an attacker at work: a race for a cache's folder, a frontend."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attackers import COMPILER, SWAP, compiled

from .conftest import Onggi
from .test_build import build, context, fails, run

pytestmark = pytest.mark.root
DEADLINE_S = 300


@contextmanager
def racer(onggi: Onggi, busybox: str, tmp_path: Path, canary: Path) -> Iterator[Path]:
    """A RUN that swaps /c/sub, a folder of the cache, with a link to the host's canary, as fast as
    it can; the cache's directory on the host."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    name = f"race-{tmp_path.name}"
    text = f"""FROM {busybox}
COPY swap /swap
RUN --mount=type=cache,target=/c,id={name} mkdir -p /c/sub && ln -sfn {canary} /c/link; \\
    echo begun; /swap /c/sub /c/link
"""
    top = context(tmp_path / "racer", text)
    compiled(SWAP, top / "swap")
    with onggi.popen("build", str(top)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("begun"):
                break
        try:
            (note,) = [
                p for p in (onggi.root / "buildcache-mounts").glob("*.id") if p.read_text() == name
            ]
            yield note.with_suffix("")
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/of-the-host").write_text("x")
    return tmp_path / "canary"


@pytest.mark.sec("D1")
def test_a_raced_folder_of_a_cache(
    onggi: Onggi, busybox: str, tmp_path: Path, canary: Path
) -> None:
    """Until the victim has met the link and the folder a few times each: never the host."""
    with racer(onggi, busybox, tmp_path, canary) as directory:
        name = directory.with_suffix(".id").read_text()
        step = f"RUN --mount=type=cache,target=/t,id={name},source=sub ls -A /t > /seen; > /t/mine"
        top = context(tmp_path / "victim", f"FROM {busybox}\n{step}\n")
        met = {True: 0, False: 0}
        deadline = time.monotonic() + DEADLINE_S
        while min(met.values()) < 3:
            assert time.monotonic() < deadline, met
            done = onggi("build", "-t", "made", "--no-cache", str(top), code=None)
            met[done.returncode == 0] += 1
            if done.returncode:
                assert f'"sub": not found in the cache {name}' in done.stderr
            else:
                assert run(onggi, "cat", "/seen") in ("", "mine")
    assert [path.name for path in canary.iterdir()] == ["of-the-host"]


@pytest.mark.sec("D1")
def test_control_by_its_name_the_raced_folder_is_the_host(
    onggi: Onggi, busybox: str, tmp_path: Path, canary: Path
) -> None:
    with racer(onggi, busybox, tmp_path, canary) as directory:
        deadline = time.monotonic() + DEADLINE_S
        seen: set[str] = set()
        while "of-the-host" not in seen:
            assert time.monotonic() < deadline
            seen |= {path.name for path in (directory / "sub").iterdir()}


def test_a_folder_of_a_cache(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN --mount=type=cache,target=/c,id=p mkdir -p /c/a/b && echo x > /c/a/b/f && ln -sfn a/b /c/l
RUN --mount=type=cache,target=/c,id=p,source=a/b cat /c/f > /1
RUN --mount=type=cache,target=/c,id=p,source=/l cat /c/f > /2
"""
    build(onggi, context(tmp_path / "c", text))
    assert run(onggi, "cat", "/1", "/2") == "x\nx"
    text = f"FROM {busybox}\nRUN --mount=type=cache,target=/c,id=p,source=a/b/f true\n"
    assert '"a/b/f": not found in the cache p' in fails(onggi, context(tmp_path / "c", text))


@pytest.mark.sec("D3")
@pytest.mark.sec("D6")
def test_no_frontend_of_others_is_run(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Neither fetched nor started, whoever names it: nothing of it could write anywhere."""
    top = context(tmp_path / "c", f"# syntax=127.0.0.1:9/evil\nFROM {busybox}\n")
    assert "custom frontends are not run: 127.0.0.1:9/evil" in fails(onggi, top)
    (top / "Dockerfile").write_text(f"FROM {busybox}\n")
    given = ("--build-arg", "BUILDKIT_SYNTAX=127.0.0.1:9/evil")
    assert "custom frontends are not run" in fails(onggi, top, *given)
    build(onggi, top, "--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1.7")
    done = subprocess.run(
        [onggi.command, "build", "-"], input=b"# syntax=evil/x\nFROM a\n", capture_output=True,
        env=onggi.environment,
    )  # fmt: skip
    assert done.returncode == 1 and b"custom frontends are not run" in done.stderr


@pytest.mark.sec("D11")
def test_files_that_are_too_much(onggi: Onggi, tmp_path: Path) -> None:
    """A line, a file, a value that grows: told in words, at once."""
    top = context(tmp_path / "c", "FROM scratch\n")
    bomb = "ENV A=" + "x" * 1000 + "\n" + "ENV A=$A$A$A$A$A$A$A$A$A$A\n" * 12
    for text, told in (
        ("FROM scratch\nLABEL a=" + "x" * (1 << 20) + "\n", "line greater than max"),
        ("FROM scratch\n" + "# c\n" * (3 << 20), "larger than"),
        ("FROM scratch\n" + bomb, "line 6"),
    ):
        (top / "Dockerfile").write_text(text)
        assert told in fails(onggi, top)
