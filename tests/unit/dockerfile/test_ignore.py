"""The rules of .dockerignore, against what docker's own matcher answers."""

import time

import pytest

from onggi.dockerfile.ignore import parse
from onggi.errors import InvalidInput


def excluded(patterns: str, path: str) -> bool:
    return parse(patterns.encode()).why(path) is not None


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "file", True),
        ("**", "dir/file", True),
        ("**/", "file", True),
        ("**/", "dir/file", True),
        ("**/**", "dir/dir2/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir", False),
        ("dir/**", "dir/dir2/file", True),
        ("**/dir", "dir", True),
        ("**/dir", "dir/file", True),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/*", "dir/dir2/dir2/file", True),
        ("**/dir2/**", "dir/dir2/dir2/file", True),
        ("**file", "file", True),
        ("**file", "dir/file", True),
        ("**file", "dir/dir2/xfile", True),
        ("**/file", "dir/xfile", False),
        ("**/file*txt", "dir/dir/file.txt", True),
        ("**/file*.txt*", "dir/dir/file.txt.bak", True),
        ("a**/*.txt", "a/dir/dir/file.txt", True),
        ("a**/*.txt", "a/dir/file.txt", True),
        ("a/**/*.txt", "a/file.txt", True),
        ("a[b-d]e", "ace", True),
        ("a[b-d]e", "ae", False),
        ("a[^b-d]e", "aze", True),
        ("a[\\]b]c", "a]c", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a?b", "axb", True),
        ("a?b", "a/b", False),
        ("abc.def", "abcdef", False),
        ("abc.def", "abc.def", True),
        ("*", "x/y", True),
        ("*.md", "x/y.md", False),
        ("node_modules/", "node_modules/x", True),
        ("/top", "top", True),
        ("./top", "top", True),
        ("a/../b", "b", True),
        ("# a comment", "# a comment", False),
        ("  spaced  ", "spaced", True),
        ("x(y)+z|$", "x(y)+z|$", True),
        ("", "anything", False),
        (".git", ".github", False),
    ],
)
def test_one_pattern(pattern: str, path: str, expected: bool) -> None:
    assert excluded(pattern, path) is expected


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "x.md", True),
        ("!README.md\n*.md", "README.md", True),
        ("docs\n!docs/README.md", "docs/README.md", False),
        ("docs\n!docs/README.md", "docs/other", True),
        ("**\n!src/**\nsrc/*.pyc", "src/a.py", False),
        ("**\n!src/**\nsrc/*.pyc", "src/a.pyc", True),
        ("*\n!dir/\ndir/x", "dir/x", True),
        ("! spaced", "spaced", False),
    ],
)
def test_the_last_match_wins(patterns: str, path: str, expected: bool) -> None:
    assert excluded(patterns, path) is expected


def test_the_rule_that_excluded_is_named() -> None:
    rule = parse(b"# c\n\n*.log\n!keep.log\n").why("x.log")
    assert rule is not None
    assert (rule.line, rule.text) == (3, "*.log")


def test_pruning() -> None:
    rules = parse(b"a\n!a/b\nc\n")
    assert not rules.prunes(rules.verdict("a"))
    assert rules.prunes(rules.verdict("c"))


@pytest.mark.parametrize("pattern", ["[", "[]a]", "a[", "[a-]", "[-a]", "a\\", "[^]", "!", "! "])
def test_bad_patterns_name_their_line(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        parse(f"ok\n{pattern}\n".encode())


def test_bytes_that_are_not_utf8() -> None:
    assert parse(b"caf\xe9*\n").why(b"caf\xe9.txt".decode("utf-8", "surrogateescape"))


def test_a_byte_order_mark_is_no_pattern() -> None:
    assert excluded("\ufeffa", "a")


@pytest.mark.sec("D11")
@pytest.mark.parametrize("pattern", ["**/" * 1000 + "x", "*a" * 500, "?" * 1000, "[a]" * 1000])
def test_hostile_patterns_are_linear(pattern: str) -> None:
    rules = parse(pattern.encode())
    started = time.process_time()
    assert rules.why("a/" * 1000 + "b" if "/" in pattern else "a" * 200 + "b") is None
    assert time.process_time() - started < 20


def test_many_paths_and_many_patterns() -> None:
    rules = parse("\n".join(f"dir{n}/*.log" for n in range(1000)).encode())
    started = time.process_time()
    for n in range(1000):
        rules.verdict(f"src/module{n}/file.py")
    assert time.process_time() - started < 20
