"""Image references as docker reads and shows them."""

import pytest

from onggi.errors import InvalidInput
from onggi.spec.reference import parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("centos", "docker.io/library/centos:latest", "centos:latest"),
        ("python:3.11", "docker.io/library/python:3.11", "python:3.11"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("docker.io/python", "docker.io/library/python:latest", "python:latest"),
        ("index.docker.io/me/x:1", "docker.io/me/x:1", "me/x:1"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
        ("ghcr.io/o/r__a-b.c", "ghcr.io/o/r__a-b.c:latest", "ghcr.io/o/r__a-b.c:latest"),
    ],
)
def test_good(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    "text",
    ["", "x:bad tag", "x@sha256:123", "http://x/y", "a//b", "x:-t", "a" * 300, "x:", "-x", "x/",
     "a" * 64, "x:" + "t" * 129, "é", "x\n", "../x", "x@md5:" + "a" * 32],
)  # fmt: skip
def test_bad(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"invalid re"):
        parse_reference(text)


def test_upper_case_gets_a_hint() -> None:
    with pytest.raises(InvalidInput, match="must be lowercase") as caught:
        parse_reference("Test:Latest")
    assert caught.value.hint == "did you mean test:latest"
