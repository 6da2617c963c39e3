"""What somebody new types wrong, and what they are told: the table of the user's errors.

Docker's first line, stream and exit code stay; then at most one hint.
"""

import re
import subprocess
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


def build(onggi: Onggi, folder: Path, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
    (folder / "Dockerfile").write_text(text)
    return onggi("build", *flags, str(folder), code=None)


def test_exex(onggi: Onggi) -> None:
    done = onggi("exex", "-it", "x", "bash", code=1)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "onggi: unknown command: onggi exex"
    assert 'no command "exex" – did you mean: exec' in lines
    done = onggi("nothinglikeit", code=1)
    assert "did you mean" not in done.stderr


def test_a_command_in_a_group(onggi: Onggi) -> None:
    done = onggi("image", "lss", code=1)
    assert "did you mean: ls" in done.stderr


def test_build_without_context(onggi: Onggi) -> None:
    done = onggi("build", "-t", "test:latest", code=1)
    lines = done.stderr.splitlines()
    assert lines[0] == "onggi: 'onggi build' requires 1 argument"
    assert lines[-1] == (
        "missing the build context – did you mean: onggi build -t test:latest .  (the dot is the"
        " folder that is sent)"
    )


def test_misspelled_environment_names(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    done = build(
        onggi, tmp_path,
        f"FROM {busybox}\nENV PYTHONDONTWRITEBYCODE 1\n"
        "ENV PYTHONUNBUFERED=1 PYTHONPATH=/x MINE=2\n",
    )  # fmt: skip
    assert done.returncode == 0
    told = [line for line in done.stderr.splitlines() if "did you mean" in line]
    assert told == [
        "WARNING: line 2: ENV PYTHONDONTWRITEBYCODE is not read by Python – did you mean"
        " PYTHONDONTWRITEBYTECODE?",
        "WARNING: line 3: ENV PYTHONUNBUFERED is not read by Python – did you mean"
        " PYTHONUNBUFFERED?",
    ]


def test_copy_from_above(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/right").write_text("")
    context = tmp_path / "docker"
    (context / "app").mkdir(parents=True)  # what peers would take instead
    (context / "app/wrong").write_text("")
    done = build(onggi, context, f"FROM {busybox}\nCOPY ../app/ /app/\n", "-t", "above")
    assert done.returncode == 1
    assert f"COPY ../app/: {tmp_path}/app is outside the build context {context}" in done.stderr
    assert f"onggi build -f docker/Dockerfile {tmp_path}" in done.stderr
    assert "--build-context" in done.stderr
    assert onggi.out("images", "-q", "above") == ""
    (context / "Dockerfile").write_text(f"FROM {busybox}\nCOPY app /app/\n")
    onggi("build", "-q", "-f", "docker/Dockerfile", str(tmp_path), cwd=tmp_path)  # the way out


def test_copy_without_destination(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    done = build(onggi, tmp_path, f"FROM {busybox}\nCOPY ../app/\n")
    assert done.returncode == 1
    assert "COPY requires at least two arguments" in done.stderr
    assert "  2 | COPY ../app/" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "say where it goes in the image, for example: COPY ../app/ /app/"
    )


def test_form(onggi: Onggi, tmp_path: Path) -> None:
    done = build(onggi, tmp_path, "FORM python\n")
    assert done.returncode == 1
    assert "unknown instruction: FORM" in done.stderr
    assert "  1 | FORM python\n      ^^^^\n" in done.stderr
    assert done.stderr.splitlines()[-1] == "did you mean FROM python"


def test_upper_case_tag(onggi: Onggi, tmp_path: Path) -> None:
    done = build(onggi, tmp_path, "FROM scratch\n", "-t", "Test:Latest")
    assert done.returncode == 125
    lines = done.stderr.splitlines()
    assert lines[0] == (
        'invalid argument "Test:Latest" for "-t, --tag" flag: invalid reference format: repository'
        " name (library/Test) must be lowercase"
    )
    assert "did you mean" in lines[-1]
    assert "test:" in lines[-1].lower()


def test_a_source_that_is_missing(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    done = build(onggi, tmp_path, f"FROM {busybox}\nCOPY b.py /\n")
    assert done.returncode == 1
    assert '"/b.py": not found' in done.stderr or "b.py" in done.stderr
    assert "a.py" in done.stderr
    (tmp_path / "b.py").write_text("")
    (tmp_path / ".dockerignore").write_text("# sources\n*.py\n")
    done = build(onggi, tmp_path, f"FROM {busybox}\nCOPY b.py /\n")
    assert done.returncode == 1
    assert ".dockerignore" in done.stderr
    assert "*.py" in done.stderr


def test_pip_without_such_a_package(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """pip's own last words are what the hint is made of."""
    words = "ERROR: No matching distribution found for request"
    done = build(onggi, tmp_path, f"FROM {busybox}\nRUN echo {words} >&2; exit 1\n")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'pip found no "request" – did you mean "requests"? check the name first'
    )


def test_near_names_of_images_and_containers(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--pull", "never", "busybix", "true", code=125)
    assert done.stderr.splitlines()[0].endswith("No such image: busybix:latest")
    assert f"did you mean the image: {busybox}" in done.stderr
    onggi("create", "--name", "website", busybox, "true")
    done = onggi("logs", "webstie", code=1)
    assert done.stderr.splitlines() == [
        "Error response from daemon: No such container: webstie",
        "did you mean the container: website",
    ]


def test_flags(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--volum", "x", busybox, code=125)
    assert done.stderr.splitlines()[0] == "unknown flag: --volum"
    assert "did you mean: --volume" in done.stderr
    done = onggi("run", "-Z", busybox, code=125)
    assert "unknown shorthand flag: 'Z' in -Z" in done.stderr
    done = onggi("ps", "--nonsense", code=125)
    assert done.stderr.startswith("unknown flag: --nonsense\n")
    done = onggi("ps", "extra", code=1)
    assert "'onggi ps' accepts no arguments" in done.stderr
    done = onggi("rm", code=1)
    assert "'onggi rm' requires at least 1 argument" in done.stderr
    done = onggi("run", code=1)
    assert "'onggi run' requires at least 1 argument" in done.stderr
    done = onggi("rename", "a", code=1)
    assert "'onggi rename' requires 2 arguments" in done.stderr


def test_korean(onggi: Onggi, busybox: str) -> None:
    done = onggi("exex", code=1, LANG="ko_KR.UTF-8")
    assert done.stderr.splitlines()[0] == "onggi: unknown command: onggi exex"
    assert re.search('"exex".*혹시: exec', done.stderr)
    done = onggi("build", "-t", "test:latest", code=1, LANG="ko_KR.UTF-8")
    assert "혹시: onggi build -t test:latest ." in done.stderr


def test_137_is_explained(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "-m", "16m", "--memory-swap", "16m", busybox, "tail", "-c", "100m",
                 "/dev/zero", code=137)  # fmt: skip
    assert done.stderr.startswith("OOM-killed at 16 MB")
    done = onggi("run", "--rm", "--init", busybox, "sh", "-c", "kill -9 $$", code=137)
    assert done.stderr == "exit code 137: killed by SIGKILL\n"


def test_usage_is_docker_like(onggi: Onggi) -> None:
    done = onggi("run", "--help")
    assert done.stdout.startswith("Usage:  onggi run [OPTIONS] IMAGE [COMMAND] [ARG...]\n")
    assert "Create and run a new container from an image" in done.stdout
    assert done.stderr == ""
    assert onggi("help", "run").stdout == done.stdout
    assert onggi("--help").stdout == onggi().stdout
