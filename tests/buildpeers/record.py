"""Builds every context with onggi, docker (BuildKit) and buildah, prints how they differ, and
writes what the two made of the offline contexts to recorded.json.

    tools/dockerd .venv/bin/python -m buildpeers.record [NAME...]    (PYTHONPATH=tests, as root)

Debian's docker and buildah; docker and dockerd are taken from PATH. Wheels come from pip's own
index, npm's packages from npm's own registry, Debian's from apt's.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import builders, images
from .builders import BASES, CONTEXTS, Builder
from .images import Built

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).parent / "recorded.json"
FETCHED = REPOSITORY / ".cache" / "buildpeers"


def main(names: list[str]) -> int:
    chosen = names or builders.contexts()
    bases = {
        name: base_image(BASES[name])
        for name in sorted({base for n in chosen for base in builders.bases_of(CONTEXTS / n)})
    }
    trees = {name: images.read(path).tree for name, path in bases.items()}
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    offline = builders.contexts(offline=True)
    for name in chosen:
        fetch(name, bases)
    with tempfile.TemporaryDirectory() as scratch:
        made = engines(Path(scratch))
        for builder in made:
            for name, path in bases.items():
                builder.load(path, BASES[name])
        for name in chosen:
            base = trees[builders.bases_of(CONTEXTS / name)[0]]
            built = {b.name: built_by(b, name, Path(scratch)) for b in made}
            show(name, built)
            if name in offline:
                recorded[name] = {
                    peer: {"config": b.config, "changed": images.changed(b.tree, base)}
                    for peer, b in built.items()
                    if peer != "onggi" and b is not None
                }
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return 0


def engines(scratch: Path) -> list[Builder]:
    command = Path(sys.executable).parent / "onggi"
    environment = {"ONGGI_ROOT": f"{scratch}/onggi", "ONGGI_RUN": f"{scratch}/onggi-run"}
    return [
        builders.onggi(command, environment),
        builders.docker(),
        builders.buildah(scratch / "buildah"),
    ]


def base_image(name: str) -> Path:
    done = subprocess.run([REPOSITORY / "tools/base_image", name], capture_output=True, check=True)
    return Path(done.stdout.decode().strip())


def built_by(builder: Builder, name: str, scratch: Path) -> Built | None:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    archive = directory / "image.tar"
    try:
        context = builders.prepared(name, directory, FETCHED)
        builder.build(context, archive)
        return images.read(archive)
    except RuntimeError as error:
        print(f"{name}: {builder.name} fails: {error}", file=sys.stderr)
        return None
    finally:
        shutil.rmtree(directory)


def show(name: str, built: dict[str, Built | None]) -> None:
    ours = built["onggi"]
    for peer in ("docker", "buildah"):
        theirs = built[peer]
        if ours is None or theirs is None:
            print(f"{name} {peer}: not built")
            continue
        found = differences(ours, theirs)
        print(f"{name} {peer}: {'equal' if not found else ''}")
        for line in found[:20]:
            print(f"    {line}")
    sys.stdout.flush()


def differences(ours: Built, theirs: Built) -> list[str]:
    keys = sorted({*ours.config, *theirs.config})
    found = [
        f"config {key}: ours {ours.config.get(key)!r}, theirs {theirs.config.get(key)!r}"
        for key in keys
        if ours.config.get(key) != theirs.config.get(key)
    ]
    for path in sorted({*ours.tree, *theirs.tree}):
        mine, other = ours.tree.get(path, "missing"), theirs.tree.get(path, "missing")
        if mine != other:
            found.append(f"{path}: ours {mine}, theirs {other}")
    return found


def fetch(name: str, bases: dict[str, Path]) -> None:
    """Wheels, npm's and Debian's packages that the context wants, once."""
    target, context = FETCHED / name, CONTEXTS / name
    if target.is_dir():
        return
    if (context / "requirements.txt").exists():
        wheels = target / "wheels"
        wheels.mkdir(parents=True)
        requirements = context / "requirements.txt"
        pip = [sys.executable, "-m", "pip", "download", "-q", "-d", wheels]
        which = ["--python-version", "3.11", "--only-binary", ":all:"]
        subprocess.run([*pip, *which, "-r", requirements], check=True)
        shutil.copy(requirements, wheels)
    if (context / "npm.txt").exists():
        packed = target / "packed"
        packed.mkdir(parents=True)
        wanted = (context / "npm.txt").read_text().split()
        subprocess.run(["npm", "pack", "--silent", *wanted], check=True, cwd=packed)
    packages = context / "packages.txt"
    if packages.exists():
        download(packages.read_text().split(), target / "debs", bases["debian"])


def download(packages: list[str], target: Path, base: Path) -> None:
    """With all that they need and the base image has not."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        status = Path(scratch, "status")
        status.write_bytes(images.content(base, "var/lib/dpkg/status"))
        options = ["-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={scratch}"]
        install = ["--print-uris", "--no-install-recommends", "-y", "install", *packages]
        listed = subprocess.run(
            ["apt-get", *options, "-qq", *install], check=True, capture_output=True, text=True
        ).stdout
        lines = [line for line in listed.splitlines() if line.startswith("'")]
        names = [line.split()[1].split("_")[0] for line in lines]
        subprocess.run(["apt-get", *options, "-qq", "download", *names], check=True, cwd=target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
