"""The one file of the hot modules' code: taken when it is right, passed over when it is not."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.shelf import Shelf


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two modules in a package, importable; forgotten afterwards."""
    root = tmp_path / "shelved"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "one.py").write_text("VALUE = 1\n\n\ndef where():\n    return __file__\n")
    (root / "two.py").write_text("VALUE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "shelved"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def shelf_of(package: Path, owner: int | None = None) -> Shelf:
    return Shelf(str(package / "shelf"), os.getuid() if owner is None else owner)


def stocked(package: Path) -> None:
    import shelved.one

    assert shelved.one.VALUE == 1
    shelf_of(package).stock((f"{package}/",))
    forget()


def test_a_module_comes_from_the_shelf(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(package)
    shelf = shelf_of(package)
    monkeypatch.setattr(sys, "meta_path", [shelf, *sys.meta_path])
    import shelved.one
    import shelved.two

    assert shelved.one.__spec__.loader is shelf and shelved.one.where() == f"{package}/one.py"
    assert shelved.__spec__.loader is shelf and shelved.__path__ == [str(package)]
    assert shelved.two.VALUE == 2 and shelved.two.__spec__.loader is not shelf
    shelf.stock((f"{package}/",))  # the second joins the first
    forget()
    again = shelf_of(package)
    assert again.find_spec("shelved.one") and again.find_spec("shelved.two")
    again.close()
    assert not again.find_spec("shelved.one")


def test_a_changed_source_is_read_anew(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(package)
    source = package / "one.py"
    before = source.stat()
    source.write_text(source.read_text().replace("1", "7"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    shelf = shelf_of(package)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert shelf.find_spec("shelved.one") is None and shelf.find_spec("shelved")
    source.unlink()
    assert shelf.find_spec("shelved.one") is None


def test_a_file_that_others_could_have_written_does_not_count(package: Path) -> None:
    stocked(package)
    file = package / "shelf"
    assert shelf_of(package).find_spec("shelved.one")
    assert not shelf_of(package, owner=os.getuid() + 1).find_spec("shelved.one")
    file.chmod(0o664)
    assert not shelf_of(package).find_spec("shelved.one")
    file.chmod(0o644)
    (package / "link").symlink_to(file)
    assert not Shelf(str(package / "link"), os.getuid()).find_spec("shelved.one")


@pytest.mark.parametrize("wrong", [b"", b"onggi shelf 1\n", b"onggi shelf 0\n" + bytes(100)])
def test_another_version_is_no_shelf(package: Path, wrong: bytes) -> None:
    stocked(package)
    (package / "shelf").write_bytes(wrong)
    assert not shelf_of(package).find_spec("shelved.one")
    (package / "shelf").unlink()
    assert not shelf_of(package).find_spec("shelved.one")


def test_where_nothing_can_be_written_nothing_is(package: Path) -> None:
    import shelved.one

    assert shelved.one.VALUE == 1
    Shelf(str(package / "missing" / "shelf"), os.getuid()).stock((f"{package}/",))
    assert sorted(path.name for path in package.iterdir() if path.suffix != ".py") in (
        [], ["__pycache__"],
    )  # fmt: skip
