"""Asks a docker daemon every scene and writes recorded.json: see docs/differences.md.

`make differential`, which is `tools/dockerd python -m differential.record` with `tests` on
PYTHONPATH. With `--check` nothing is written: exit code 1 and a list if docker now says otherwise.
The daemon's store is emptied of containers, volumes and images: never point it at one in use.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from .objects import objects
from .scenes import SCENES
from .sides import RECORDED, Outcome, Side, recorded

CHECKOUT = Path(__file__).parent.parent.parent


def docker_side(archive: Path) -> Side:
    environment = {"HOME": "/nonexistent", "DOCKER_HOST": os.environ["DOCKER_HOST"]}
    return Side("docker", environment, archive)


def base_image() -> Path:
    tool = [str(CHECKOUT / "tools/base_image"), "busybox:latest"]
    return Path(subprocess.run(tool, capture_output=True, text=True, check=True).stdout.strip())


def main(arguments: list[str]) -> int:
    docker = docker_side(base_image())
    docker.prepare()
    form = "client {{.Client.Version}}, daemon {{.Server.Version}}"
    versions = docker.checked("version", "-f", form)
    found = objects(docker)
    scenes = {scene: docker.play(scene) for scene in SCENES}
    if arguments == ["--check"]:
        return check(scenes)
    document = {"versions": versions.strip(), "scenes": scenes, "objects": found}
    RECORDED.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return 0


def check(scenes: dict[str, dict[str, Outcome]]) -> int:
    before, code = recorded(), 0
    for scene, lines in scenes.items():
        for line, outcome in lines.items():
            if before.get(scene, {}).get(line) != outcome:
                print(f"{scene}: {line}\n  was {before.get(scene, {}).get(line)}\n  now {outcome}")
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
