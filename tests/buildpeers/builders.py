"""The builders, each as a function: a context's directory to a docker-archive of the image."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

CONTEXTS = Path(__file__).parent / "contexts"
BASES = {"busybox": "busybox:latest", "debian": "debian:bookworm", "python": "python:3.11"}
Run = Callable[[Sequence[str]], None]


class Builder(NamedTuple):
    name: str
    load: Callable[[Path, str], None]  # an archive of a base image, and its name
    build: Callable[[Path, Path], None]  # a context, and where the archive goes


def contexts(*, offline: bool = False) -> list[str]:
    """Their names; `offline` are those that need nothing fetched and no Debian."""
    found = sorted(path.name for path in CONTEXTS.iterdir())
    return [name for name in found if not offline or bases_of(CONTEXTS / name) == ["busybox"]]


def bases_of(context: Path) -> list[str]:
    """The images of BASES that the Dockerfile names, that of the last stage first."""
    lines = (context / "Dockerfile").read_text().splitlines()
    named = [line for line in reversed(lines) if line.startswith(("FROM ", "ARG "))]
    return list(dict.fromkeys(name for line in named for name in BASES if name in line))


def prepared(name: str, into: Path, fetched: Path | None = None) -> Path:
    """A copy of a context with the modes that a checkout usually has, and with the wheels and
    packages that were fetched for it."""
    made = into / name
    shutil.copytree(CONTEXTS / name, made, symlinks=True)
    if fetched is not None and (fetched / name).is_dir():
        shutil.copytree(fetched / name, made, dirs_exist_ok=True)
    for directory, _, files in os.walk(made):
        os.chmod(directory, 0o755)
        for file in files:
            path = Path(directory, file)
            if not path.is_symlink():
                path.chmod(0o755 if path.suffix == ".sh" else 0o644)
    return made


def run(argv: Sequence[str | Path], **environment: str) -> None:
    done = subprocess.run(argv, capture_output=True, env={**os.environ, **environment})
    if done.returncode:
        told = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.returncode}\n{told[-3000:]}")


def onggi(command: Path, environment: dict[str, str]) -> Builder:
    def build(context: Path, archive: Path) -> None:
        run([command, "build", "-q", "--network", "none", "-t", "compared", context], **environment)
        run([command, "save", "-o", archive, "compared"], **environment)

    return Builder("onggi", lambda path, name: run([command, "load", "-qi", path], **environment),
                   build)  # fmt: skip


def docker() -> Builder:
    """The docker on PATH with the daemon of DOCKER_HOST, its builder BuildKit."""

    def build(context: Path, archive: Path) -> None:
        run(["docker", "build", "-q", "--network", "none", "-t", "compared", context],
            DOCKER_BUILDKIT="1")  # fmt: skip
        run(["docker", "save", "-o", archive, "compared"])

    return Builder("docker", lambda path, name: run(["docker", "load", "-qi", path]), build)


def buildah(home: Path) -> Builder:
    def buildah(*words: str | Path) -> None:
        run(["buildah", "--root", home / "root", "--runroot", home / "run",
             "--storage-driver", "vfs", *words])  # fmt: skip

    def build(context: Path, archive: Path) -> None:
        buildah("bud", "-q", "--network", "host", "--isolation", "chroot", "--format", "docker",
                "--layers", "-t", "localhost/compared", context)  # fmt: skip
        archive.unlink(missing_ok=True)
        buildah("push", "-q", "localhost/compared", f"docker-archive:{archive}:compared:latest")

    def load(path: Path, name: str) -> None:
        buildah("pull", "-q", f"docker-archive:{path}")

    return Builder("buildah", load, build)
