"""Garbage collection: what somebody needs stays, the rest goes."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from onggi.errors import CorruptData, NotFound
from onggi.linux import process
from onggi.spec.digest import Digest
from onggi.store.layerrows import LayerRow, LayerRows
from onggi.store.store import Store
from sample import add_image, container, layer_tar

ONE, TWO = layer_tar({"one": b"1"}), layer_tar({"two": b"2"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def test_layers_of_images_containers_and_the_living_stay(store: Store) -> None:
    image = add_image(store, ONE)
    store.containers.insert(container(1, image))
    own = store.layers.ingest([TWO]).diff_id
    store.collect()
    assert store.layers.has(image.config.diff_ids[0])
    assert store.layers.has(own)
    store.images.remove(image.id, force=True)
    assert store.layers.has(image.config.diff_ids[0])
    store.containers.remove("0" * 63 + "1")
    store.layers.unpin()
    assert store.collect() >= 2 * 8192
    assert os.listdir(f"{store.root}/layers") == []


def test_a_dead_process_holds_nothing(store: Store) -> None:
    pid = os.fork()
    if pid == 0:
        store.layers.ingest([ONE])
        os._exit(0)
    os.waitpid(pid, 0)
    assert store.layers.has(Digest.of(ONE))
    store.collect()
    assert not store.layers.has(Digest.of(ONE))


def test_a_lease_of_an_earlier_boot_holds_nothing(store: Store) -> None:
    store.layers.ingest([ONE])
    store.db.execute("UPDATE lease SET boot_id = 'earlier'")
    store.collect()
    assert not store.layers.has(Digest.of(ONE))


def test_a_reused_pid_holds_nothing(store: Store) -> None:
    store.layers.ingest([ONE])
    store.db.execute("UPDATE lease SET pid_start = pid_start - 1")
    store.collect()
    assert not store.layers.has(Digest.of(ONE))


def test_pinned_layers_stay_until_an_image_holds_them(store: Store) -> None:
    image = add_image(store, ONE, tags=["a"])
    (diff_id,) = image.config.diff_ids
    assert store.layers.pin([diff_id, Digest.of(TWO)]) == {diff_id}
    store.images.remove("a")
    assert store.layers.has(diff_id)
    add_image(store, ONE, tags=["b"])
    store.images.remove("b")
    assert not store.layers.has(diff_id)


def test_a_layer_that_comes_again_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command collects whenever this one has looked at the rows."""
    diff_id = store.layers.ingest([ONE]).diff_id
    store.layers.unpin()
    looked = LayerRows.load

    def load(rows: LayerRows, diff_ids: Iterable[Digest]) -> dict[Digest, LayerRow]:
        found = looked(rows, diff_ids)
        store.collect()
        return found

    monkeypatch.setattr(LayerRows, "load", load)
    assert store.layers.ingest([ONE]).diff_id == diff_id
    monkeypatch.undo()
    assert store.layers.has(diff_id)


def test_nothing_happens_while_somebody_stores(store: Store) -> None:
    os.makedirs(f"{store.root}/layers")
    garbage = Path(store.root, "layers", "garbage")
    garbage.write_bytes(b"x" * 5000)
    with store.shared(), store.shared():
        assert store.collect() == 0
    assert garbage.exists()
    assert store.collect() >= 5000
    assert not garbage.exists()


def test_a_process_that_was_killed_does_not_keep_the_lock(store: Store) -> None:
    store.collect()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        hold = store.shared()
        os.write(write, b"x")
        os.read(read, 2)
        hold.close()
        os._exit(0)
    os.close(write)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(read)
    Path(store.root, "layers").mkdir()
    Path(store.root, "layers", "garbage").write_bytes(b"x")
    assert store.collect() > 0


def test_temporary_directories_of_the_dead_are_swept(store: Store) -> None:
    with store.scratch.directory() as mine:
        Path(mine, "file").write_text("x")
        me, start, _ = os.path.basename(mine).split(".")
        assert (int(me), int(start)) == (os.getpid(), process.start_time(os.getpid()))
        dead = Path(store.root, "tmp", f"{me}.{int(start) - 1}.abc")
        (dead / "deep").mkdir(parents=True)
        (Path(store.root, "tmp") / "not-ours").mkdir()
        store.collect()
        assert os.listdir(f"{store.root}/tmp") == [os.path.basename(mine)]
    assert os.listdir(f"{store.root}/tmp") == []


def test_blobs_are_stored_once_checked_and_collected(store: Store) -> None:
    digest, size = store.blobs.put([b"he", b"llo"])
    assert (digest, size) == (Digest.of(b"hello"), 5)
    assert store.blobs.put([b"hello"], digest, 5) == (digest, 5)
    assert store.blobs.read(digest) == b"hello"
    assert store.blobs.size(digest) == 5
    assert b"".join(store.blobs.reader(digest)()) == b"hello"
    for pieces, expected, length in (
        ([b"hellO"], digest, 5),
        ([b"hello", b"!"], digest, 5),
        ([b"hell"], digest, 5),
    ):
        with pytest.raises(CorruptData):
            store.blobs.put(pieces, expected, length)
    assert os.listdir(f"{store.root}/blobs/sha256") == [digest.hex]
    store.collect()
    assert not store.blobs.has(digest)
    for call in (store.blobs.read, store.blobs.size):
        with pytest.raises(NotFound):
            call(digest)
