"""`images --filter`: which images a list shows, and under which of their names."""

import pytest

from onggi.engine import imagelist
from onggi.errors import InvalidInput, NotFound
from onggi.spec.digest import Digest
from onggi.spec.image import Image, ImageConfig
from onggi.spec.platform import Platform

DIGEST = "sha256:" + "d" * 64


def image(created_ns: int, *tags: str, digests: tuple[str, ...] = (), **labels: str) -> Image:
    identity = Digest(f"sha256:{created_ns:064x}")
    config = ImageConfig(Platform("linux", "amd64"), (), labels=labels)
    return Image(identity, config, None, 1, created_ns, tags, digests)


OLD = image(10, "docker.io/library/python:3.11", "docker.io/me/app:1", a="1", b="")
PULLED = image(20, digests=(f"docker.io/library/python@{DIGEST}",), a="2")
NEW = image(30)
ALL = [OLD, PULLED, NEW]


def find(name: str) -> Image:
    if name == "pulled":
        return PULLED
    raise NotFound(f"No such image: {name}")


def chosen(**filters: list[str]) -> list[Image]:
    return [item.image for item in imagelist.select(ALL, filters, find=find, now_ns=35)]


def test_newest_first() -> None:
    assert chosen() == [NEW, PULLED, OLD]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"dangling": ["true"]}, [NEW, PULLED]),
        ({"dangling": ["0"]}, [OLD]),
        ({"label": ["a"]}, [PULLED, OLD]),
        ({"label": ["a=1", "b"]}, [OLD]),
        ({"before": ["pulled"]}, [OLD]),
        ({"since": ["pulled"]}, [NEW]),
        ({"until": ["0.000000025"]}, [PULLED, OLD]),
        ({"since": ["pulled"], "dangling": ["false"]}, []),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: list[Image]) -> None:
    assert chosen(**filters) == expected


@pytest.mark.parametrize(
    ("pattern", "tags", "digests"),
    [
        ("python", 1, 1),
        ("python:3.11", 1, 0),
        ("py*", 1, 1),
        ("python:3*", 1, 0),
        ("*", 1, 1),
        ("python:3.12", 0, 0),
        ("*/python", 0, 0),
        ("docker.io/library/python:3.11", 1, 0),
        ("me/*", 1, 0),
    ],
)
def test_a_reference_keeps_the_names_it_takes(pattern: str, tags: int, digests: int) -> None:
    found = imagelist.select(ALL, {"reference": [pattern]}, find=find, now_ns=35)
    assert sum(len(item.tags) for item in found) == tags
    assert sum(len(item.digests) for item in found) == digests


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"no-such": ["x"]}, "invalid filter 'no-such'"),
        ({"dangling": ["maybe"]}, r"invalid filter 'dangling=\[maybe\]'"),
        ({"dangling": ["true", "false"]}, r"invalid filter 'dangling=\[true false\]'"),
        ({"until": ["soon"]}, "failed to parse value as time or duration"),
    ],
)
def test_refused(filters: dict[str, list[str]], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        chosen(**filters)


def test_a_bound_that_is_no_image() -> None:
    with pytest.raises(NotFound):
        chosen(before=["ghost"])
