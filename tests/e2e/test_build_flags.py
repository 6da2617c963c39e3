"""Flags of build that have no place elsewhere, docker buildx's words, and contexts of layouts."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run

pytestmark = pytest.mark.root


def layers_of(onggi: Onggi, image: str) -> list[str]:
    found: list[str] = json.loads(onggi.out("inspect", "-f", "{{json .RootFS.Layers}}", image))
    return found


SQUASH = """FROM {busybox} AS base
RUN mkdir -p /d/keep /d/gone /e && echo a > /d/keep/a && echo b > /d/gone/b && echo c > /e/c && \\
    echo same > /d/same && ln /d/same /d/twin && chmod 751 /d
FROM base
RUN rm -r /d/gone /e && ln -s /d /e && echo new > /d/keep/new && chmod 700 /d/keep/a
RUN rm /d/keep/new && mkdir /d/more && echo z > /d/more/z && touch -d @1 /d/more
RUN rm /d/same && echo SAME > /d/same && rmdir /home && echo file > /home
ENV A=1
"""
LOOK = "cd / && find d e home -exec stat -c '%n %F %a %u' {} + | sort; cat d/same d/twin e/keep/a"


def test_squash(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """The same files in one layer on the base."""
    top = context(tmp_path / "c", SQUASH.format(busybox=busybox))
    build(onggi, top, tag="plain")
    build(onggi, top, "--target", "base", tag="base")
    build(onggi, top, "--squash")
    assert run(onggi, "sh", "-c", LOOK) == run(onggi, "sh", "-c", LOOK, image="plain")
    assert run(onggi, "stat", "-c", "%Y", "/d/more") == "1"
    assert "A=1" in run(onggi, "env")
    base = layers_of(onggi, busybox)
    first = layers_of(onggi, "made")
    assert first[:-1] == base and len(layers_of(onggi, "plain")) > len(first)
    history = onggi.out("history", "--format", "{{.Comment}} {{.Size}}", "made").split("\n")
    assert history[0].startswith("squashed layers") and not history[0].endswith(" 0B")
    build(onggi, top, "--squash", tag="again")
    assert layers_of(onggi, "again") == first
    scratch = context(tmp_path / "s", "FROM scratch\nCOPY a /a\nCOPY b /b\n", a="1", b="2")
    build(onggi, scratch, "--squash", tag="small")
    assert len(layers_of(onggi, "small")) == 1
    onggi("build", "--squash", "-o", str(tmp_path / "out"), str(scratch))
    assert (tmp_path / "out/b").read_text() == "2"


def test_the_words_of_buildx(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    onggi("buildx", "build", "-t", "made", "--builder", "default", "-D", "--compress", str(top))
    assert len(run(onggi, "cat", "/stamp")) == 36
    assert "regular" in onggi.out("buildx", "du", "--verbose")
    onggi("buildx", "prune", "-f", "--filter", "id=none")
    bake = onggi("buildx", "bake", code=1).stderr
    assert "is not supported: it reads files of its own" in bake
    assert 'no builder "other" found' in fails(onggi, top, "--builder", "other")


def test_security_options_of_steps(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN grep Seccomp: /proc/self/status > /s\n")
    build(onggi, top, "--no-cache")
    assert run(onggi, "cat", "/s").split() == ["Seccomp:", "2"]
    build(onggi, top, "--no-cache", "--security-opt", "seccomp=unconfined")
    assert run(onggi, "cat", "/s").split() == ["Seccomp:", "0"]
    assert "Invalid --security-opt" in fails(onggi, top, "--security-opt", "nonsense", code=1)


def test_the_variable_of_reproducible_builds(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    onggi("build", "-t", "made", str(top), SOURCE_DATE_EPOCH="86400")
    assert onggi.out("inspect", "-f", "{{.Created}}", "made").startswith("1970-01-02T00:00:00")
    assert run(onggi, "stat", "-c", "%Y", "/stamp") == "86400"


def test_a_layout_as_a_context(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """A base image, and files to copy, of an image that no store knows."""
    made = context(tmp_path / "m", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    onggi("build", "-t", "first:1", "-o", f"type=oci,dest={tmp_path}/i.tar", str(made))
    stamp = run(onggi, "cat", "/stamp", image="first:1")
    onggi("rmi", "first:1")
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "i.tar", "-C", layout], check=True)
    text = (
        f"FROM base\nCOPY --from={busybox} /bin/busybox /other\nCOPY --from=base /stamp /copied\n"
    )
    top = context(tmp_path / "c", text)
    for where in (layout, f"{layout}:1"):
        build(onggi, top, "--build-context", f"base=oci-layout://{where}")
        assert run(onggi, "cat", "/stamp", "/copied").split() == [stamp, stamp]
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    build(onggi, top, "--build-context", f"base=oci-layout://{layout}@{digest}")
    wrong = fails(onggi, top, "--build-context", f"base=oci-layout://{layout}:2")
    assert "0 entries of the name '2'" in wrong
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    onggi("builder", "prune", "-af")
    onggi("rmi", "made")


IDENTITIES = """import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ['SSH_AUTH_SOCK'])
s.sendall(bytes((0, 0, 0, 1, 11)))
answer = s.recv(9999)
print(answer[4], int.from_bytes(answer[5:9], 'big'))
"""


def key(path: Path, passphrase: str = "", *more: str) -> Path:
    command = ["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *more]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def agents() -> set[str]:
    done = subprocess.run(["pgrep", "-x", "ssh-agent"], capture_output=True, text=True)
    return set(done.stdout.split())


def agents_go(before: set[str]) -> None:
    deadline = time.monotonic() + 60
    while left := agents() - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_ssh_keys_as_files(onggi: Onggi, python: str, tmp_path: Path) -> None:
    """An agent with these keys for as long as the build; a passphrase is refused in words."""
    text = f"FROM {python}\nCOPY ask /ask\nRUN --mount=type=ssh python3 /ask > /seen\n"
    top = context(tmp_path / "c", text, ask=IDENTITIES)
    one, two = key(tmp_path / "one"), key(tmp_path / "two", "", "-t", "ecdsa")
    before = agents()
    build(onggi, top, "--ssh", f"default={one},{two}")
    assert run(onggi, "cat", "/seen") == "12 2"
    agents_go(before)
    private = one.read_text().split("\n")[2]
    image = onggi.out("inspect", "made") + onggi.out("history", "--no-trunc", "made")
    assert private not in image
    locked = key(tmp_path / "locked", "secret words")
    for path in (locked, key(tmp_path / "old", "secret words", "-m", "PEM", "-t", "rsa")):
        error = fails(onggi, top, "--ssh", f"default={path}")
        assert "has a passphrase" in error and "ssh-add" in error
    assert "nor a private key" in fails(onggi, top, "--ssh", f"default={one}.pub")
    assert "No such file" in fails(onggi, top, "--ssh", "default=/none")
    one.chmod(0o644)
    assert "SSH key" in fails(onggi, top, "--no-cache", "--ssh", f"default={one}")
    agents_go(before)
