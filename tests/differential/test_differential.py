"""The same commands on docker and on onggi, and the same objects looked at.

Docker's side is recorded.json (`make differential` asks a real daemon again). A difference must be
listed in docs/differences.md with its reason, or the test fails; so must a listed one that is none.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import objects as inspected
from .listed import FIELDS, LINES
from .scenes import SCENES
from .sides import IMAGE, RECORDED, Outcome, Side, lines_of, recorded

pytestmark = pytest.mark.root

NOT_THERE = re.compile(r"is not supported( yet$|: )")  # docs/parity.md's business


@pytest.fixture(scope="module")
def onggi(
    base_image: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    home = tmp_path_factory.mktemp("onggi")
    environment = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ONGGI_ROOT": str(home / "root"),
        "ONGGI_RUN": str(home / "run"),
    }
    command = Path(sys.executable).parent / "onggi"
    side = Side(str(command), environment, base_image(IMAGE))
    side.prepare()
    yield side
    side.clean()


def parts(theirs: Outcome, ours: Outcome) -> frozenset[str]:
    """Which of code, out and err differ."""
    return frozenset(
        name for name, one, other in zip(Outcome._fields, theirs, ours, strict=True) if one != other
    )


@pytest.mark.parametrize("scene", SCENES)
def test_same_as_docker(scene: str, onggi: Side) -> None:
    docker = recorded()[scene]
    problems = []
    for line, ours in onggi.play(scene).items():
        assert line in docker, f"not recorded yet (make differential): {line}"
        bare = line.partition(" ")[2]
        different = parts(docker[line], ours)
        if different and NOT_THERE.search(ours.err):
            continue
        listed = LINES.get(bare, frozenset())
        if different != listed and lines_of(scene).count(bare) == 1:
            problems += [f"{line}\n  differs in {set(different)}, listed {set(listed)}",
                         f"  docker: {docker[line]}", f"  onggi:  {ours}"]  # fmt: skip
        elif not different <= listed:
            problems += [line, f"  docker: {docker[line]}", f"  onggi:  {ours}"]
    assert not problems, "\n".join(problems)


def test_listed_lines_exist() -> None:
    known = {line for scene in SCENES for line in lines_of(scene)}
    assert not [line for line in LINES if line not in known]


def test_inspect_has_dockers_fields(onggi: Side) -> None:
    docker: dict[str, Any] = json.loads(RECORDED.read_text())["objects"]
    found = list(inspected.differences(docker, inspected.objects(onggi)))
    unlisted = [item for item in found if (item.field, item.what) not in FIELDS]
    assert not unlisted, "\n".join(map(str, unlisted))
    stale = FIELDS - {(item.field, item.what) for item in found}
    assert not stale, f"listed, but there is no such difference: {sorted(stale)}"


def test_enough_is_compared() -> None:
    assert sum(len(lines_of(scene)) for scene in SCENES) >= 600
