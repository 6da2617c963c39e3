"""A full disk under the store: one clear line, nothing half-listed, and deleting works."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_server import RegistryServer

from .conftest import Victim

pytestmark = pytest.mark.root

SIZE_BYTES = 160 << 20


@pytest.fixture(params=["ext4", "tmpfs"])
def small(request: pytest.FixtureRequest, victim: Victim, tmp_path: Path) -> Iterator[Victim]:
    """A store on a file system of its own."""
    victim.root.mkdir(mode=0o700)
    if request.param == "tmpfs":
        options = ["-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "small"]
    else:
        image = tmp_path / "disk"
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        options = ["-o", "loop", str(image)]
    subprocess.run(["mount", *options, str(victim.root)], check=True)
    try:
        yield victim
        victim.remove_containers()
        victim.settled()
    finally:
        victim.until_gone()
        subprocess.run(["umount", str(victim.root)], check=True)


def fill(victim: Victim, leave_bytes: int = 0) -> Path:
    """Take all the space that is left but that."""
    path = victim.root / "filler"
    space = os.statvfs(victim.root)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        step = 1 << 20
        left = space.f_bavail * space.f_frsize - leave_bytes
        block = bytes(step)
        while left > 0:
            try:
                left -= os.write(fd, block[: min(step, left)])
            except OSError:
                if step == 512:
                    break
                step = 512 if leave_bytes == 0 else step
                if leave_bytes:
                    break
    finally:
        os.close(fd)
    return path


def one_line(done: "subprocess.CompletedProcess[str]") -> None:
    """Says that the disk is full, in a line or with a hint, and shows no trace of ours."""
    assert done.returncode != 0
    assert "no space left" in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 5, done.stderr


def test_pull_build_and_load(
    small: Victim, base_image: Callable[[str], Path], registry: RegistryServer, tmp_path: Path
) -> None:
    archive = str(base_image("busybox:latest"))
    small("load", "-q", "-i", archive)
    context = tmp_path / "context"
    context.mkdir()
    (context / "big").write_bytes(os.urandom(40 << 20))
    (context / "Dockerfile").write_text("FROM busybox\nCOPY big /\n")
    name = f"{registry.host}/full/big:1"
    small("build", "-q", "-t", name, str(context))
    big = tmp_path / "big.tar"
    small("save", "-o", str(big), name)
    small("push", "-q", name)
    small("rmi", name)
    small("builder", "prune", "-af")
    before = small.out("images", "-a")

    filler = fill(small, leave_bytes=20 << 20)
    one_line(small("pull", name, code=None))
    one_line(small("load", "-q", "-i", str(big), code=None))
    one_line(small("build", "-q", "-t", "copied", str(context), code=None))
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=60 2>/dev/null\n"
    )
    done = small("build", "-t", "ran", str(context), code=None)
    assert done.returncode != 0
    small.works()
    assert small.out("images", "-a") == before
    small.settled()

    filler.unlink()
    small("pull", "-q", name)
    assert small.out("run", "--rm", name, "stat", "-c", "%s", "/big") == str(40 << 20)
    small("rmi", name)


def test_what_deletes_works_at_zero_bytes(small: Victim, base_image: Callable[[str], Path]) -> None:
    small("load", "-q", "-i", str(base_image("busybox:latest")))
    small("tag", "busybox", "spare")
    small("run", "-d", "--name", "runs", "busybox", "sleep", "300")
    small("run", "--name", "ended", "busybox", "sh", "-c", "dd if=/dev/zero of=/x bs=1M count=5")
    small("create", "--name", "new", "busybox", "true")
    filler = fill(small)
    for command in (
        ("ps", "-a"),
        ("images",),
        ("inspect", "runs"),
        ("logs", "runs"),
        ("stop", "-t", "0", "runs"),
        ("rm", "ended"),
        ("rm", "-f", "runs"),
        ("rmi", "spare"),
    ):
        small(*command, timeout_s=120)
    fill(small)
    small("system", "prune", "-f", timeout_s=120)
    assert small.out("ps", "-aq") == ""
    small("rmi", "busybox", timeout_s=120)
    assert small.out("images", "-q") == ""
    filler.unlink()
    small.works()
    small("load", "-q", "-i", str(base_image("busybox:latest")))
    small("run", "--rm", "busybox", "true")


def test_runs_on_a_full_disk(small: Victim, base_image: Callable[[str], Path]) -> None:
    """A container that cannot be made is told so; one that runs keeps running."""
    small("load", "-q", "-i", str(base_image("busybox:latest")))
    small("run", "-d", "--name", "runs", "busybox", "sh", "-c", "while sleep 0.05; do date; done")
    filler = fill(small)
    for _ in range(40):  # until even the ballast is used up
        done = small("run", "busybox", "sh", "-c", "cat /bin/busybox > /copy", code=None)
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
        if done.returncode == 125:
            break
    assert small.out("inspect", "-f", "{{.State.Status}}", "runs") == "running"
    small.works()
    filler.unlink()
    small("stop", "-t", "0", "runs")
    small.remove_containers()
    assert small.out("run", "--rm", "busybox", "echo", "fine") == "fine"
