"""Real Dockerfiles: the image is what docker (BuildKit) and buildah made of the same file. The
configs must be equal, and the trees but for times; every exception is in LISTED with its reason.

What the two made is in recorded.json; `record` asks them again, and about the contexts that need
packages and wheels too (docs/builds-compared.md).
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import builders, images, odd
from .builders import Builder
from .images import Tree
from .listed import LISTED

pytestmark = pytest.mark.root

COMMAND = Path(sys.executable).parent / "onggi"
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())


class Side:
    def __init__(self, builder: Builder, base: Tree, scratch: Path) -> None:
        self._builder = builder
        self._base = base
        self._scratch = scratch
        self._built: dict[str, dict[str, Any]] = {}

    def made(self, name: str) -> dict[str, Any]:
        if name not in self._built:
            directory = Path(tempfile.mkdtemp(dir=self._scratch))
            self._builder.build(builders.prepared(name, directory), directory / "image.tar")
            built = images.read(directory / "image.tar")
            changed = images.changed(built.tree, self._base)
            self._built[name] = {"config": built.config, "changed": changed}
        return self._built[name]

    def of(self, text: str) -> dict[str, Any] | str:
        return odd.made(self._builder, text, self._base, self._scratch)


@pytest.fixture(scope="module")
def ours(
    base_image: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    home = tmp_path_factory.mktemp("onggi")
    environment = {"HOME": str(home), "ONGGI_ROOT": f"{home}/root", "ONGGI_RUN": f"{home}/run"}
    builder = builders.onggi(COMMAND, environment)
    archive = base_image("busybox:latest")
    builder.load(archive, "busybox:latest")
    yield Side(builder, images.read(archive).tree, tmp_path_factory.mktemp("contexts"))


@pytest.mark.parametrize("peer", ["docker", "buildah"])
@pytest.mark.parametrize("name", builders.contexts(offline=True))
def test_the_same_image(ours: Side, name: str, peer: str) -> None:
    theirs, mine = RECORDED[name][peer], ours.made(name)
    found = {
        key
        for part in ("config", "changed")
        for key in {*theirs[part], *mine[part]}
        if theirs[part].get(key) != mine[part].get(key)
    }
    assert found == set(LISTED.get((name, peer), {})), {
        key: (mine[part].get(key), theirs[part].get(key))
        for key in found
        for part in ("config", "changed")
    }


def test_every_context_is_compared() -> None:
    assert set(RECORDED) == set(builders.contexts(offline=True))
    assert len(builders.contexts()) >= 25


@pytest.mark.parametrize("number", range(len(odd.ODD)))
def test_an_odd_file_is_what_docker_makes_of_it(ours: Side, number: int) -> None:
    text = odd.ODD[number]
    assert ours.of(text) == json.loads(odd.RECORDED.read_text())[text], text
