"""The docker client itself against `onggi serve`, with the scenes that were recorded against
docker's own daemon: what a user of docker sees must not change with the engine behind the socket.

What onggi's own command line does otherwise is listed in docs/differences.md, and may be so here.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api_server import api_server

from .listed import LINES
from .scenes import SCENES
from .sides import IMAGE, Side, recorded
from .test_differential import parts

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def docker(
    base_image: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    program = shutil.which("docker")
    if os.geteuid() != 0 or program is None:
        pytest.skip("needs root and the docker client")
    home = tmp_path_factory.mktemp("served")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ONGGI_ROOT": str(home / "root"),
        "ONGGI_RUN": str(home / "run"),
    }
    with api_server(Path(sys.executable).parent / "onggi", environment, home) as api:
        side = Side(program, api.environment, base_image(IMAGE))
        side.prepare()
        yield side
        side.clean()


@pytest.mark.parametrize("scene", SCENES)
def test_the_client_sees_no_difference(scene: str, docker: Side) -> None:
    theirs = recorded()[scene]
    problems = []
    for line, ours in docker.play(scene).items():
        different = parts(theirs[line], ours)
        if not different <= LINES.get(line.partition(" ")[2], frozenset()):
            problems += [line, f"  docker: {theirs[line]}", f"  onggi:  {ours}"]
    assert not problems, "\n".join(problems)
