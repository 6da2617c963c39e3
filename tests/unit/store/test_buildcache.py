"""The build cache's rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.store.buildcache import CacheRecord
from onggi.store.store import Store
from sample import add_image, layer_tar


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def test_a_record_holds_its_own_layer_and_misses_without_the_base(store: Store) -> None:
    base = layer_tar({"base": b"1"})
    image = add_image(store, base, tags=["base"])
    own = store.layers.ingest([layer_tar({"step": b"2"})]).diff_id
    record = CacheRecord(
        "key", "parent", own, "{}", '{"i":1}', 5, 5, 10, (image.config.diff_ids[0], own)
    )
    store.cache.record(record)
    store.layers.unpin()
    assert store.cache.lookup("key") == record
    store.images.remove("base")
    assert store.layers.has(own)
    assert store.cache.lookup("key") is None
    add_image(store, base, tags=["base"])
    assert store.cache.lookup("key") == record
    store.cache.remove(("key",))
    store.collect()
    assert not store.layers.has(own)


def test_records_are_listed_by_use(store: Store) -> None:
    for number in range(3):
        store.cache.record(CacheRecord(f"k{number}", "p", "", "{}", "{}", number, number, 0))
    store.cache.note((), ("k0",), 9)
    assert [record.key for record in store.cache.list()] == ["k1", "k2", "k0"]
    assert store.cache.lookup("nix") is None
    store.cache.note((), (), 1)
    store.cache.remove(())
