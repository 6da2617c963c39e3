"""The table of hints: every one in both languages, and near words that are near."""

import string

import pytest

from onggi.cli.hints import HINTS, edits, hint, memory_limit, nearest


@pytest.mark.parametrize("key", HINTS)
def test_both_languages_say_the_same_things(key: str) -> None:
    english, korean = HINTS[key]
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in
              (english, korean)]  # fmt: skip
    assert fields[0] == fields[1] and "\n" not in english + korean
    words = dict.fromkeys(fields[0], "X")
    assert hint(key, "en", **words) != hint(key, "ko", **words)


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("", "", 0), ("a", "", 1), ("exex", "exec", 1), ("sotp", "stop", 1), ("abc", "xyz", 3),
     ("imgaes", "images", 1)],
)  # fmt: skip
def test_edits(left: str, right: str, distance: int) -> None:
    assert edits(left, right) == edits(right, left) == distance


def test_nearest() -> None:
    commands = ["exec", "images", "inspect", "ps", "rm", "rmi", "run", "stop"]
    for word, near in (
        ("exex", "exec"),
        ("imgaes", "images"),
        ("sotp", "stop"),
        ("rnu", "run"),
        ("inspct", "inspect"),
        ("rn", ""),
        ("zz", ""),
        ("frobnicate", ""),
    ):
        assert nearest(word, commands) == near
    assert nearest("stop", ["stop"]) == ""


def test_limits_as_people_write_them() -> None:
    assert memory_limit(512 << 20) == "512 MB"
    assert memory_limit(2 << 30) == "2 GB"
    assert memory_limit(6 << 20) == "6 MB"
    assert memory_limit((6 << 20) + 1) == "6291457 bytes"
