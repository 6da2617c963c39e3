"""The image service over a real store."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.engine import eventlog
from onggi.engine.engine import Engine
from onggi.engine.layersink import LayerSink
from onggi.engine.pruning import Chosen
from onggi.errors import NotFound
from sample import add_image, container, layer_tar

BASE = layer_tar({"base": b"1"})
TOP = layer_tar({"top": b"2" * 5000})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "root"), str(tmp_path / "run"))
    yield made
    made.close()


def test_prune_takes_what_has_no_name_and_says_what_that_freed(engine: Engine) -> None:
    named = add_image(engine.store, BASE, tags=["base"])
    loose = add_image(engine.store, BASE, TOP)
    pruned = engine.images.prune(Chosen())
    assert pruned.removed[0] == ("Deleted", loose.id)
    assert pruned.reclaimed_bytes == len(TOP)  # the base is the other image's, too
    assert [image.id for image in engine.images.list()] == [named.id]
    events = eventlog.read(
        engine.events, since_ns=1, until_ns=time.time_ns(), filters={"event": ["prune"]}
    )
    assert [event["Actor"]["Attributes"] for event in events] == [{"reclaimed": str(len(TOP))}]


def test_prune_of_everything_spares_what_a_container_is_of(engine: Engine) -> None:
    used = add_image(engine.store, BASE, tags=["used"])
    add_image(engine.store, BASE, TOP, tags=["idle", "idle:2"])
    engine.store.containers.insert(container(1, used))
    pruned = engine.images.prune(Chosen(), everything=True)
    assert pruned.removed[:2] == (("Untagged", "idle:2"), ("Untagged", "idle:latest"))
    assert pruned.reclaimed_bytes == len(TOP)
    assert [image.id for image in engine.images.list()] == [used.id]
    with pytest.raises(NotFound):
        engine.images.get("idle")


def test_prune_by_label(engine: Engine) -> None:
    kept = add_image(engine.store, BASE, labels={"keep": "1"})
    add_image(engine.store, BASE)
    engine.images.prune(Chosen(not_labels=("keep",)))
    assert [image.id for image in engine.images.list()] == [kept.id]


def test_a_pull_that_fails_holds_nothing(engine: Engine) -> None:
    """In a server, which lives on."""
    layer = engine.store.layers.ingest([TOP]).diff_id
    sink = LayerSink(engine.store, "docker.io/library/x")
    with pytest.raises(KeyboardInterrupt), sink:
        sink.expect([layer])
        raise KeyboardInterrupt
    engine.store.collect()
    assert not engine.store.layers.has(layer)
