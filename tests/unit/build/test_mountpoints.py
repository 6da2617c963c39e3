"""Empty places for mounts go away again; nothing else does."""

from pathlib import Path

import pytest

from onggi.build import mountpoints

from .trees import make, opened


def test_what_is_missing_before(tmp_path: Path) -> None:
    make(tmp_path, {"etc/hosts": "", "run/x": "", "var/run": "-> /run"})
    with opened(tmp_path, rooted=True) as root:
        found = mountpoints.missing(root, ["/etc/hosts", "/etc/pip.conf", "/a/b/c", "/var/run/d"])
    assert found == ["etc/pip.conf", "a", "a/b", "a/b/c", "run/d"]


def test_only_empty_ones_are_removed(tmp_path: Path) -> None:
    upper = make(tmp_path, {"etc/pip.conf": "", "a/b/c": "", "d/e": "filled", "f": None})
    mountpoints.remove(str(upper), ["etc/pip.conf", "a", "a/b", "a/b/c", "d", "d/e", "f", "gone"])
    assert sorted(str(p.relative_to(upper)) for p in upper.rglob("*")) == ["d", "d/e", "etc"]


@pytest.mark.sec("D2")
def test_a_parent_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    canary = make(tmp_path / "host", {"canary": ""})
    upper = make(tmp_path / "upper", {"mnt": f"-> {canary}", "l": "-> /etc/hosts"})
    mountpoints.remove(str(upper), ["mnt/canary", "l"])
    assert (canary / "canary").exists()
    assert (upper / "l").is_symlink()
