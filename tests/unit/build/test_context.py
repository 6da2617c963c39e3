"""Walking a context: what is seen, what is refused, and that nothing waits."""

import os
import socket
from pathlib import Path

import pytest

from onggi.errors import InvalidInput, NotFound

from .trees import make, opened


def walked(top: Path, path: str = "", ignore: str = "", rooted: bool = False) -> list[str]:
    with opened(top, ignore=ignore, rooted=rooted) as tree:
        return [entry.path for entry in tree.walk(path)]


def test_a_walk_is_sorted_by_bytes_parents_first(tmp_path: Path) -> None:
    make(tmp_path, {"b/z": "", "b/a": "", "a": "", "b.c": "", "é": "", "Z": ""})
    assert walked(tmp_path) == ["", "Z", "a", "b", "b/a", "b/z", "b.c", "é"]


def test_links_are_entries_not_followed(tmp_path: Path) -> None:
    make(tmp_path, {"d/f": "", "l": "-> d", "dangling": "-> nope", "out": "-> /etc"})
    with opened(tmp_path) as tree:
        kinds = {entry.path: (entry.kind, entry.target) for entry in tree.walk("")}
    assert kinds["l"] == ("link", "d")
    assert kinds["out"] == ("link", "/etc")
    assert "l/f" not in kinds


def test_ignored_entries_are_not_there(tmp_path: Path) -> None:
    make(tmp_path, {"a.pyc": "", "a.py": "", ".git/x": "", "d/b.pyc": "", "d/b.py": ""})
    assert walked(tmp_path, ignore=".git\n**/*.pyc\n") == ["", "a.py", "d", "d/b.py"]


def test_an_ignored_directory_appears_for_what_a_negation_brings_back(tmp_path: Path) -> None:
    make(tmp_path, {"docs/a": "", "docs/keep/x": "", "docs/keep/y": "", "z": ""})
    rules = "docs\n!docs/keep/x\n"
    assert walked(tmp_path, ignore=rules) == ["", "docs", "docs/keep", "docs/keep/x", "z"]


def test_what_is_ignored_is_not_even_opened(tmp_path: Path) -> None:
    make(tmp_path, {"secret/x": "", "f": ""})
    (tmp_path / "secret").chmod(0)
    try:
        assert walked(tmp_path, ignore="secret") == ["", "f"]
    finally:
        (tmp_path / "secret").chmod(0o755)


@pytest.mark.sec("D5")
def test_fifos_sockets_and_odd_names_do_not_hang(tmp_path: Path) -> None:
    make(tmp_path, {"f": ""})
    os.mkfifo(tmp_path / "fifo")
    odd = os.fsdecode(b"new\nline\xff")
    make(tmp_path, {odd: ""})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with opened(tmp_path) as tree:
            found = {entry.path: entry.kind for entry in tree.walk("")}
            assert found == {"": "directory", "f": "file", "fifo": "fifo", odd: "file"}
            with pytest.raises(InvalidInput, match="changed its type"):
                tree.open("fifo")


# -- sources


def found(top: Path, pattern: str, ignore: str = "") -> list[str]:
    with opened(top, ignore=ignore) as tree:
        return tree.find(pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.txt", ["a.txt"]), ("/a.txt", ["a.txt"]), ("./d/../a.txt", ["a.txt"]), (".", [""]),
        ("*.txt", ["a.txt", "b.txt"]), ("?.txt", ["a.txt", "b.txt"]), ("[^a].txt", ["b.txt"]),
        ("d/*", ["d/a.txt", "d/e"]), ("*/a.txt", ["d/a.txt"]), ("d/*/f", ["d/e/f"]),
        ("d*", ["d"]), ("*", ["a.txt", "b.txt", "d"]), ("nope*", []), ("d/nope/*", []),
        ("l/*", ["d/a.txt", "d/e"]),
    ],
)  # fmt: skip
def test_find(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    make(tmp_path, {"a.txt": "", "b.txt": "", "d/a.txt": "", "d/e/f": ""})
    if pattern.startswith("l"):
        make(tmp_path, {"l": "-> d"})
    assert found(tmp_path, pattern) == expected


def test_a_wildcard_does_not_see_what_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, {"a.txt": "", "b.txt": ""})
    assert found(tmp_path, "*.txt", "a.txt") == ["b.txt"]


def test_a_bad_wildcard(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="syntax error in pattern"):
        found(make(tmp_path, {}), "a[")


def test_a_missing_source_names_its_neighbour(tmp_path: Path) -> None:
    make(tmp_path, {"requirements.txt": "", "d/settings.py": ""})
    with pytest.raises(NotFound, match=r'"/requirement\.txt": not found') as caught:
        found(tmp_path, "requirement.txt")
    assert caught.value.hint == "did you mean requirements.txt"
    with pytest.raises(NotFound) as caught:
        found(tmp_path, "d/setings.py")
    assert caught.value.hint == "did you mean d/settings.py"
    with pytest.raises(NotFound) as caught:
        found(tmp_path, "something-else")
    assert caught.value.hint == f"there is no something-else in {tmp_path}"


def test_an_ignored_source_names_the_line(tmp_path: Path) -> None:
    make(tmp_path, {"b.py": ""})
    with pytest.raises(NotFound, match=r"\.dockerignore line 2 \(\*\.py\) excludes it"):
        found(tmp_path, "b.py", "# x\n*.py\n")


@pytest.mark.sec("D5")
@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "d/../../outside", "../"])
def test_a_link_out_of_the_context_is_refused(tmp_path: Path, target: str) -> None:
    top = make(tmp_path / "ctx", {"d/x": "", "l": f"-> {target}"})
    make(tmp_path, {"outside": "secret"})
    with pytest.raises(InvalidInput, match="leads out of the build context"):
        found(top, "l")


def test_links_inside_are_followed_for_a_source(tmp_path: Path) -> None:
    make(tmp_path, {"d/f": "", "l": "-> d/../d", "m": "-> l/f", "loop": "-> loop"})
    with opened(tmp_path) as tree:
        assert tree.resolve("m") == "d/f"
        assert tree.resolve("l") == "d"
        with pytest.raises(InvalidInput, match="too many levels"):
            tree.find("loop")


def test_a_rooted_tree_keeps_absolute_links_inside(tmp_path: Path) -> None:
    make(tmp_path, {"real/f": "", "var": "-> /real", "up": "-> ../../../real"})
    with opened(tmp_path, rooted=True) as tree:
        assert tree.resolve("var/f") == "real/f"
        assert tree.resolve("up/f") == "real/f"
