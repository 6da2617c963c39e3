"""`onggi build` as a user types it: images, cache, errors that teach, builders that die."""

import json
import os
import signal
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root
UNIQUE = "cat /proc/sys/kernel/random/uuid"


def context(top: Path, dockerfile: str, **files: str) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    (top / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        path = top / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return top


def build(onggi: Onggi, top: Path, *flags: str, tag: str = "made") -> str:
    done = onggi("build", "-t", tag, *flags, str(top))
    return done.stdout + done.stderr


def fails(onggi: Onggi, top: Path, *flags: str, code: int = 1) -> str:
    done = onggi("build", *flags, str(top), code=code)
    assert "Traceback" not in done.stderr
    return done.stderr


def run(onggi: Onggi, *command: str, image: str = "made") -> str:
    return onggi.out("run", "--rm", image, *command)


def test_a_build_of_everything(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(
        tmp_path / "c",
        f"""# syntax=docker/dockerfile:1
ARG BASE={busybox}
FROM $BASE AS tools
RUN mkdir /out && echo tool > /out/tool && ln /out/tool /out/same
FROM $BASE AS unused
RUN exit 7
FROM ${{BASE}}
ARG WHO=nobody
ENV A="x y" \\
    B=$WHO
WORKDIR /srv
WORKDIR app
COPY src/ ./
COPY --from=tools /out /opt/
COPY --chown=7:8 --chmod=0600 *.txt /notes/
ADD all.tar /unpacked
RUN echo "$A $B $WHO" > /made-by-run && rm /notes/gone.txt
RUN ["/bin/sh", "-c", "echo exec >> /made-by-run"]
RUN <<END
echo heredoc >> /made-by-run
END
COPY <<END /etc/motd
hello $WHO
END
LABEL team=onggi
EXPOSE 8000
VOLUME /data
USER 1000:1000
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /made-by-run"]
""",
        src__main="main",
        src__deep__file="deep",
        src__cache_dot_pyc="noise",
        _dot_dockerignore="**/*.pyc\n",
        **{"keep.txt": "keep", "gone.txt": "gone"},
    )
    with tarfile.open(top / "all.tar", "w") as tar:
        tar.add(top / "src/main", "inside/main")
    out = build(onggi, top, "--build-arg", "WHO=me", "--label", "extra=1")
    assert "Successfully tagged made:latest" in out
    assert "exit 7" not in out
    assert run(onggi) == "x y me me\nexec\nheredoc"
    assert (
        run(onggi, "pwd; id -u; cat main deep/file; ls -A") == "/srv/app\n1000\nmaindeepdeep\nmain"
    )
    assert run(onggi, "cat /opt/tool /opt/same /unpacked/inside/main /etc/motd") == (
        "tool\ntool\nmainhello me"
    )
    owners = onggi.out("run", "--rm", "-u", "0", "made", "stat -c '%u:%g %a %n' /notes /notes/*")
    assert owners.splitlines() == [
        "7:8 600 /notes",
        "7:8 600 /notes/keep.txt",
    ]
    config = json.loads(onggi.out("inspect", "made"))[0]["Config"]
    assert config["Labels"] == {"team": "onggi", "extra": "1"}
    assert config["Env"][-2:] == ["A=x y", "B=me"]
    assert (config["WorkingDir"], config["User"]) == ("/srv/app", "1000:1000")
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert config["StopSignal"] == "SIGINT"
    history = onggi.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "made")
    assert "COPY --chown=7:8 --chmod=0600 *.txt /notes/ # buildkit" in history
    assert 'RUN |1 WHO=me /bin/sh -c echo "$A $B $WHO"' in history


def test_the_cache(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox}\nCOPY a /a\nRUN {UNIQUE} > /stamp\nCOPY b /b\nRUN cat /b\n"
    top = context(tmp_path / "c", text, a="1", b="1")
    build(onggi, top)
    first, stamp = onggi.out("images", "-q", "--no-trunc", "made"), run(onggi, "cat", "/stamp")

    os.utime(top / "a", (1, 1))
    again = build(onggi, top)
    assert again.count("Using cache") == 4
    assert onggi.out("images", "-q", "--no-trunc", "made") == first

    (top / "b").write_text("2")
    changed = build(onggi, top)
    assert changed.count("Using cache") == 2
    assert run(onggi, "cat", "/stamp", "/b") == f"{stamp}\n2"

    (top / "a").chmod(0o700)
    assert "Using cache" not in build(onggi, top)
    assert "Using cache" not in build(onggi, top, "--no-cache")
    assert run(onggi, "cat", "/stamp") != stamp


def test_the_same_inputs_give_the_same_layers(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox}\nCOPY . /srv/\nWORKDIR /new/place\n"
    layers = []
    for name in ("one", "two"):
        top = context(tmp_path / name, text, a="1", d__b="2")
        for path in (top, *sorted(top.rglob("*"))):
            os.utime(path, (10**9, 10**9))
        build(onggi, top, "--no-cache")
        layers.append(json.loads(onggi.out("inspect", "made"))[0]["RootFS"]["Layers"])
    assert layers[0] == layers[1]


def test_a_failed_run_says_step_line_command_and_code(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    top = context(
        tmp_path / "c",
        f"FROM {busybox}\nRUN {UNIQUE} > /good\n\nRUN exit 3\n",
    )
    done = onggi("build", str(top), code=1)
    assert "Step 3/3 : RUN exit 3" in done.stdout
    assert "The command '/bin/sh -c exit 3' returned a non-zero code: 3" in done.stderr
    assert "line 4 | RUN exit 3" in done.stderr
    (top / "Dockerfile").write_text(f"FROM {busybox}\nRUN {UNIQUE} > /good\n")
    assert "Using cache" in build(onggi, top)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("FORM x", ["unknown instruction: FORM", "^^^^", "did you mean FROM"]),
        ("COPY ../app/ /app/", ["outside the build context", "onggi build -f c/Dockerfile"]),
        ("COPY ../app/", ["requires at least two arguments", "COPY ../app/ /app/"]),
        ("COPY fiel /", ['"/fiel": not found', "did you mean file"]),
        ("COPY hidden /", [".dockerignore line 1 (hid*) excludes it"]),
        ("COPY link /", ["leads out of the build context"]),
        ("RUN --mount=type=cahce,target=/x y", ["unsupported mount type", "type=cache"]),
        ("RUN /nope", ["returned a non-zero code: 127", "line 2 | RUN /nope"]),
        ('RUN ["/nope"]', ["no such file or directory", "line 2 |"]),
        (
            "RUN echo No matching distribution found for request; exit 1",
            ['pip found no "request" – did you mean "requests"? check the name first'],
        ),
    ],
)
def test_errors_teach(
    onggi: Onggi, busybox: str, tmp_path: Path, line: str, told: list[str]
) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\n{line}\n", file="x", hidden="x")
    (top / ".dockerignore").write_text("hid*\n")
    (top / "link").symlink_to("/etc/passwd")
    error = fails(onggi, top)
    for text in told:
        assert text in error


def test_a_misspelt_python_variable_is_a_warning(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nENV PYTHONDONTWRITEBYCODE 1\n")
    assert "line 2: ENV PYTHONDONTWRITEBYCODE is not read by Python" in build(onggi, top)


def test_files_bound_into_every_run_leave_no_trace(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("lent")
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN cat /etc/pip.conf /new/x > /seen\n")
    build(onggi, top, "-v", f"{conf}:/etc/pip.conf:ro", "-v", f"{conf}:/new/x:ro")
    assert run(onggi, "sh", "-c", "cat /seen; ls -d /etc/pip.conf /new 2>&1; true").startswith(
        "lentlentls:"
    )


def test_no_dockerfile(onggi: Onggi, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.dev").write_text("FROM scratch\n")
    error = fails(onggi, tmp_path)
    assert "failed to read dockerfile: open Dockerfile: no such file or directory" in error
    assert "Dockerfile.dev" in error


def test_a_dockerfile_from_stdin_and_a_target(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    text = f"FROM {busybox} AS one\nCOPY f /f\nFROM one\nRUN exit 1\n"
    onggi("build", "-q", "-t", "made", "--target", "one", "-f", "-", str(tmp_path), stdin=text)
    assert run(onggi, "cat", "/f") == "x"


@pytest.mark.sec("D5")
def test_odd_files_in_the_context_do_not_hang(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nCOPY . /c/\nRUN ls -l /c\n", file="x")
    os.mkfifo(top / "fifo")
    Path(os.fsdecode(os.fsencode(top) + b"/new\nline\xff")).write_text("odd")
    subprocess.run(["truncate", "-s", "1G", str(top / "sparse")], check=True)
    (top / ".dockerignore").write_text("sparse\n")
    build(onggi, top)
    assert run(onggi, "sh", "-c", "cat /c/new*; test -p /c/fifo && echo fifo") == "oddfifo"


@pytest.mark.sec("D10")
def test_a_run_step_has_the_sandbox_of_run(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    probe = "grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status; ls /proc/kcore 2>&1 || true"
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN ({probe}) > /probe; env > /env\n")
    build(onggi, top)
    assert run(onggi, "cat", "/probe") == run(onggi, "sh", "-c", probe)
    names = {line.partition("=")[0] for line in run(onggi, "cat", "/env").splitlines()}
    assert names <= {"HOSTNAME", "SHLVL", "HOME", "PATH", "PWD"}


@pytest.mark.sec("D7")
def test_a_pulled_image_is_no_cache(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """An image that claims the same history must not stand in for the steps."""
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN echo real > /file\n")
    container = onggi.out("create", busybox, "sh", "-c", "echo fake > /file")
    onggi("start", "-a", container)
    onggi("commit", "--change", 'CMD ["sh"]', container, "fake")
    build(onggi, top)
    assert run(onggi, "cat", "/file") == "real"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_builder_that_dies_leaves_nothing(
    onggi: Onggi, busybox: str, tmp_path: Path, how: signal.Signals
) -> None:
    text = f"FROM {busybox}\nRUN {UNIQUE} > /good\nRUN echo begun; sleep 4242\n"
    top = context(tmp_path / "c", text)
    with onggi.popen("build", str(top)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("begun"):
                break
        process.send_signal(how)
        process.wait(timeout=60)
    deadline = time.monotonic() + 60
    while sleeping() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sleeping()
    (top / "Dockerfile").write_text(text.rpartition("RUN")[0])
    assert "Using cache" in build(onggi, top)
    # The step's monitor may still be at its last words: the next builder sweeps after it.
    while list((onggi.root / "containers").iterdir()) and time.monotonic() < deadline:
        build(onggi, top)
    assert not list((onggi.root / "containers").iterdir())


def sleeping() -> bool:
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if status.read_bytes() == b"sleep\x004242\x00":
                return True
        except OSError:
            continue
    return False


def test_builds_side_by_side(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox}\nRUN echo same > /same\nCOPY f /f\nRUN cat /f /same > /both\n"

    def one(number: int) -> str:
        top = context(tmp_path / str(number), text, f=str(number % 2))
        build(onggi, top, tag=f"made{number}")
        return run(onggi, "cat", "/both", image=f"made{number}")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == ["0same", "1same", "0same", "1same"]
