"""Where `cp` puts things: docker's table."""

import pytest

from onggi.cli.copyplan import Landing, Place, absolute, landing, rename_member, split_argument
from onggi.cli.session import CommandError

FILE, DIRECTORY = Place("/src/name", True), Place("/src/name", True, True)
CONTENTS = Place("/src/name/.", True, True)


@pytest.mark.parametrize(
    ("source", "target", "where"),
    [
        (FILE, Place("/d", True, True), Landing("/d", "name")),
        (FILE, Place("/d/", True, True), Landing("/d/", "name")),
        (FILE, Place("/d/f", True), Landing("/d", "f")),
        (FILE, Place("/d/new", False), Landing("/d", "new")),
        (FILE, Place("/new", False), Landing("/", "new")),
        (DIRECTORY, Place("/d", True, True), Landing("/d", "name")),
        (DIRECTORY, Place("/d/new", False), Landing("/d", "new")),
        (DIRECTORY, Place("/d/new/", False), Landing("/d", "new")),
        (CONTENTS, Place("/d", True, True), Landing("/d", "")),
        (CONTENTS, Place("/d/new", False), Landing("/d", "new")),
        (FILE, Place("/", True, True), Landing("/", "name")),
        (FILE, Place("/d/.", True, True), Landing("/d", "name")),
    ],
)
def test_landings(source: Place, target: Place, where: Landing) -> None:
    assert landing(source, target) == where


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (DIRECTORY, Place("/d/f", True), "cannot copy directory"),
        (FILE, Place("/d/f/", True), "not a directory"),
        (FILE, Place("/d/new/", False), "destination directory must exist"),
    ],
)
def test_refusals(source: Place, target: Place, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        landing(source, target)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("c:/x", ("c", "/x")), ("/a:b", ("", "/a:b")), ("./a:b", ("", "./a:b")), ("a", ("", "a")),
     ("-", ("", "-")), ("c:", ("c", "")), ("c:x:y", ("c", "x:y"))],
)  # fmt: skip
def test_arguments(text: str, parts: tuple[str, str]) -> None:
    assert split_argument(text) == parts


@pytest.mark.parametrize(
    ("path", "clean"),
    [("a", "/here/a"), ("a/", "/here/a/"), ("a/.", "/here/a/."), (".", "/here/."),
     ("..", "/"), ("/", "/"), ("/x/../y", "/y"), ("//x", "/x"), ("../../..", "/"), ("/.", "/.")],
)  # fmt: skip
def test_absolute_paths(path: str, clean: str) -> None:
    assert absolute(path, "/here") == clean


@pytest.mark.parametrize(
    ("path", "old", "new", "result"),
    [
        (b"name/x", b"name", b"other", b"other/x"),
        (b"name", b"name", b"other", b"other"),
        (b"./name/x", b"name", b"other", b"other/x"),
        (b"elsewhere/x", b"name", b"other", b""),
        (b"x", b"", b"new", b"new/x"),
        (b".", b"", b"new", b"new"),
        (b"x/y", b"", b"", b"x/y"),
        (b"name/x", b"name", b"", b"x"),
    ],
)
def test_members(path: bytes, old: bytes, new: bytes, result: bytes) -> None:
    assert rename_member(path, old, new) == result
