"""However layers are mounted, containers and builds are the same."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", ["erofs", "erofs-loop", "directory"])
def test_layers_are_mounted_from(
    lone_onggi: Onggi, base_image: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    onggi = lone_onggi
    onggi("ps")
    trial = Path(onggi.environment["ONGGI_RUN"], "backend")
    onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    remembered = trial.read_text()
    found = onggi.out("info", "-f", "{{json .DriverStatus}}")
    ours = dict(json.loads(found))["Layer backend"]
    trial.write_text(remembered.replace(ours, kind))
    assert f"Layer backend: {kind}" in onggi.out("info")

    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN mkdir /a && echo one > /a/one && echo two > /two\nRUN rm /two\n"
    )
    onggi("build", "-q", "-t", "app", str(tmp_path))
    script = "cat /a/one; test ! -e /two && echo gone"
    for _ in range(5):  # a control group that forbids the loop devices is joined in parallel
        assert onggi.out("run", "--rm", "app", "sh", "-c", script) == "one\ngone"
    onggi("run", "--name", "it", "app", "touch", "/new")
    assert onggi.out("diff", "it") == "A /new"
