"""Image archives between us and skopeo, both ways."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.store.store import Store
from sample import add_image, layer_tar

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def skopeo(*arguments: str) -> str:
    command = ["skopeo", "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def saved(store: Store, path: Path) -> Path:
    with path.open("wb") as file:
        store.archive.save(["app:1"], file.write)
    return path


def test_skopeo_reads_ours_as_both_kinds(store: Store, tmp_path: Path) -> None:
    layers = [layer_tar({"a": b"1"}), layer_tar({"b": b"2" * 3000})]
    image = add_image(store, *layers, tags=["app:1"], cmd=("sh",))
    path = saved(store, tmp_path / "ours.tar")
    for transport in ("docker-archive", "oci-archive"):
        seen = json.loads(skopeo("inspect", "--config", f"{transport}:{path}"))
        assert seen["rootfs"]["diff_ids"] == list(image.config.diff_ids)
        assert seen["config"]["Cmd"] == ["sh"]
    skopeo("inspect", f"oci-archive:{path}:1")


@pytest.mark.parametrize(
    ("transport", "compression"),
    [("docker-archive", ""), ("oci-archive", "gzip"), ("oci-archive", "zstd")],
)
def test_we_read_skopeos(store: Store, tmp_path: Path, transport: str, compression: str) -> None:
    layers = [layer_tar({"a": b"1"}), layer_tar({"b": b"2" * 3000})]
    image = add_image(store, *layers, tags=["app:1"], cmd=("sh",))
    path = saved(store, tmp_path / "ours.tar")
    theirs = tmp_path / "theirs.tar"
    more = ["--dest-compress-format", compression] if compression else []
    skopeo("copy", "-q", *more, f"docker-archive:{path}", f"{transport}:{theirs}:me/copy:2")
    store.images.remove("app:1")
    with theirs.open("rb") as file:
        assert store.archive.load(file.read) == ["Loaded image: me/copy:2"]
    loaded = store.images.get("me/copy:2")
    assert loaded.config.diff_ids == image.config.diff_ids
    assert loaded.config.cmd == ("sh",)
