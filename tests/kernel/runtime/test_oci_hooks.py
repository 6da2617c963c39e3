"""Hooks of an OCI bundle: when each runs, where, what it reads, and what its failure undoes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_bundle import Runtime

pytestmark = pytest.mark.root
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.fixture
def runtime(busybox_rootfs: Path, tmp_path: Path) -> Iterator[Runtime]:
    found = Runtime(tmp_path / "state", tmp_path / "bundle", busybox_rootfs)
    try:
        yield found
    finally:
        for name in found("list", "-q").split():
            found("delete", "--force", name)


@pytest.fixture
def notes(runtime: Runtime, tmp_path: Path) -> Path:
    """A directory of the host that the container has as /notes, and every hook writing there."""
    directory = tmp_path / "notes"
    directory.mkdir()
    runtime.config["root"]["readonly"] = False
    runtime.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": str(directory), "options": ["bind"]}
    )
    runtime.config["hooks"] = {kind: [hook(kind, directory)] for kind in KINDS}
    return directory


def hook(kind: str, directory: Path, then: str = "") -> dict[str, Any]:
    place = "/mnt" if kind == "startContainer" else str(directory)
    script = (
        f"cat > {place}/{kind}; readlink /proc/self/ns/mnt > {place}/{kind}.ns; "
        f"echo {kind} >> {place}/order; {then}"
    )
    env = ["PATH=/bin:/usr/bin"]
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": env, "timeout": 120}


def test_when_and_where(runtime: Runtime, notes: Path) -> None:
    runtime.config["annotations"] = {"a": "b"}
    runtime.args("sleep", "60")
    runtime.detached("create", "c1")
    assert (notes / "order").read_text().split() == list(KINDS[:3])
    runtime("start", "c1")
    assert (notes / "order").read_text().split() == list(KINDS[:5])
    pid = json.loads(runtime("state", "c1"))["pid"]
    inside = os.readlink(f"/proc/{pid}/ns/mnt")
    runtime("delete", "--force", "c1")
    assert (notes / "order").read_text().split() == list(KINDS)
    host = os.readlink("/proc/self/ns/mnt")
    seen = {kind: (notes / f"{kind}.ns").read_text().strip() for kind in KINDS}
    assert seen == {
        kind: inside if kind in ("createContainer", "startContainer") else host for kind in KINDS
    }
    states = {kind: json.loads((notes / kind).read_text()) for kind in KINDS}
    assert [states[kind]["status"] for kind in KINDS] == [
        "creating", "creating", "created", "created", "running", "stopped",
    ]  # fmt: skip
    assert {state["id"] for state in states.values()} == {"c1"}
    assert states["prestart"]["pid"] == pid
    assert states["startContainer"]["pid"] == 1  # as the container sees itself
    assert all(state["annotations"] == {"a": "b"} for state in states.values())
    assert all(state["bundle"] == str(runtime.bundle) for state in states.values())


@pytest.mark.parametrize("kind", KINDS[:5])
def test_one_that_fails(runtime: Runtime, notes: Path, kind: str) -> None:
    begun = f"until [ -e {notes}/ran ]; do sleep 0.05; done; " if kind == "poststart" else ""
    runtime.config["hooks"][kind] = [hook(kind, notes, begun + "echo it broke >&2; exit 3")]
    runtime.config["hooks"][kind].append(hook(kind, notes))  # never runs
    runtime.args("sh", "-c", "touch /mnt/ran; sleep 60")
    done = runtime.raw("run", "c1")
    assert done.returncode == 1
    said = f"error running {kind} hook #0 /bin/sh: exit status 3: it broke"
    assert said in done.stderr
    assert runtime("list", "-q") == ""
    assert (notes / "order").read_text().split() == [*KINDS[: KINDS.index(kind) + 1], "poststop"]
    assert (notes / "ran").exists() == (kind == "poststart")


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_one_that_takes_too_long(runtime: Runtime, notes: Path, kind: str) -> None:
    runtime.config["hooks"][kind] = [hook(kind, notes, "sleep 100") | {"timeout": 1}]
    runtime.args("true")
    done = runtime.raw("run", "c1")
    assert done.returncode == 1
    assert "did not finish within 1 s" in done.stderr
    assert runtime("list", "-q") == ""


def test_a_failing_poststop_is_a_warning(runtime: Runtime, notes: Path) -> None:
    runtime.config["hooks"]["poststop"].insert(0, hook("poststop", notes, "exit 4"))
    runtime.args("true")
    done = runtime.raw("run", "c1")
    assert done.returncode == 0
    assert "warning: error running poststop hook" in done.stderr
    assert (notes / "order").read_text().split()[-2:] == ["poststop", "poststop"]


def test_one_that_is_not_there(runtime: Runtime, notes: Path) -> None:
    runtime.config["hooks"]["startContainer"] = [{"path": "/bin/nope"}]
    runtime.args("true")
    done = runtime.raw("run", "c1")
    assert "error running startContainer hook #0 /bin/nope" in done.stderr
