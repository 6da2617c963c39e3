"""The generations of a log as a reader finds them."""

import os
from pathlib import Path

from onggi.engine import logfiles


def test_oldest_first(tmp_path: Path) -> None:
    for name, text in (("log", "c"), ("log.1", "b"), ("log.2", "a")):
        (tmp_path / name).write_text(text)
    found = logfiles.generations(str(tmp_path / "log"))
    assert [os.read(file.plain(str(tmp_path)), 9) for file in found] == [b"a", b"b", b"c"]
    for file in found:
        file.close()


def test_a_rotation_while_they_are_opened_shows_none_twice(tmp_path: Path) -> None:
    """The newest is opened, becomes log.1, and is found there again."""
    (tmp_path / "log").write_text("b")
    os.link(tmp_path / "log", tmp_path / "log.1")
    (tmp_path / "log.2").write_text("a")
    found = logfiles.generations(str(tmp_path / "log"))
    assert [os.read(file.plain(str(tmp_path)), 9) for file in found] == [b"a", b"b"]
    for file in found:
        file.close()
