"""Cache directories of builds, made by several at once."""

import os
from pathlib import Path

import pytest

from onggi.build.graph import RunMount
from onggi.build.mountcache import CacheMounts
from onggi.store.store import Store

pytestmark = pytest.mark.root


def test_the_first_of_two_directories_stays(tmp_path: Path) -> None:
    """Another builder makes the same empty directory, and has it mounted, while we make ours."""
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"))
    wanted = RunMount("cache", "/c", id="x", mode=0o755)
    seen = []

    def meanwhile(directory: int) -> None:
        with CacheMounts(store).opened(wanted, None) as fd:
            seen.append(os.fstat(fd))
            os.close(fd)

    with CacheMounts(store).opened(wanted, meanwhile) as fd:
        assert os.fstat(fd).st_ino == seen[0].st_ino and os.fstat(fd).st_nlink == 2
        os.close(fd)
    names = os.listdir(tmp_path / "root/buildcache-mounts")
    assert len([name for name in names if "." not in name]) == 1
    assert not [name for name in names if ".new." in name]
    store.close()
