"""The prunes' filters, and `system df -v`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


def test_containers_by_label_and_age(onggi: Onggi, busybox: str) -> None:
    onggi("create", "--name", "kept", "-l", "keep=yes", busybox)
    onggi("create", "--name", "gone", "-l", "keep=no", busybox)
    prune = ["container", "prune", "-f", "--filter"]
    onggi(*prune, "until=24h")
    onggi(*prune, "label=other")
    assert len(onggi.out("ps", "-aq").split()) == 2
    out = onggi.out(*prune, "label!=keep=yes")
    assert out.startswith("Deleted Containers:\n") and "Total reclaimed space: 0B" in out
    assert onggi.out("ps", "-a", "--format", "{{.Names}}") == "kept"


def test_an_image_prune_collects_what_no_image_has(onggi: Onggi, busybox: str) -> None:
    stray = onggi.root / "layers" / f"{'0' * 64}.erofs"
    stray.write_bytes(b"x" * 4096)
    onggi("image", "prune", "-f")
    assert not stray.exists()
    assert onggi.out("run", "--rm", busybox, "echo", "whole") == "whole"


def test_volumes_by_label(onggi: Onggi, busybox: str) -> None:
    for name in ("one", "two"):
        onggi("volume", "create", "--label", f"n={name}", name)
    try:
        onggi("volume", "prune", "-f", "--filter", "label=n=one")
        assert onggi.out("volume", "ls", "-q").split() == ["one", "two"], "named ones stay"
        onggi("volume", "prune", "-af", "--filter", "label=n=one")
        assert onggi.out("volume", "ls", "-q") == "two"
    finally:
        onggi("volume", "prune", "-af")


@pytest.mark.parametrize(
    ("command", "filters", "words"),
    [
        ("container", ["status=exited"], "invalid filter 'status'"),
        ("volume", ["until=1h"], "invalid filter 'until'"),
        ("image", ["until=x"], 'failed to parse value as time or duration: "x"'),
        ("container", ["until=1h", "until=2h"], "more than one until filter specified"),
        ("builder", ["foo=1"], "invalid filter 'foo'"),
        ("system", ["foo=1"], "invalid filter 'foo'"),
    ],
)
def test_bad_filters(onggi: Onggi, command: str, filters: list[str], words: str) -> None:
    flags = [word for text in filters for word in ("--filter", text)]
    assert words in onggi(command, "prune", "-f", *flags, code=1).stderr


def test_disk_usage_one_by_one(lone_onggi: Onggi, base_image: Callable[[str], Path]) -> None:
    onggi = lone_onggi
    onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    onggi("run", "--name", "wrote", "busybox", "sh", "-c", "head -c 1000000 /dev/zero > /big")
    out = onggi.out("system", "df", "-v")
    for title in ("Images", "Containers", "Local Volumes"):
        assert f"{title} space usage:" in out
    assert "Build cache usage: " in out
    found = json.loads(onggi.out("system", "df", "-v", "--format", "json"))
    (container,) = found["Containers"]
    assert (container["Names"], container["Size"]) == ("wrote", "1MB")
    image = next(row for row in found["Images"] if row["Repository"] == "busybox")
    assert image["Containers"] == "1" and image["UniqueSize"] == image["Size"]
