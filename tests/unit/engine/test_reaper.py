"""Who finds a dead container cleans up behind it, but never what a start is just making."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from onggi.engine.events import Events
from onggi.engine.paths import Paths
from onggi.engine.reaper import LOST, Reaper
from onggi.spec.container import Container, ContainerState
from onggi.store.store import Store
from sample import container


class World(NamedTuple):
    store: Store
    paths: Paths
    reaper: Reaper
    cleaned: list[Container]
    dead: Container  # its row says that it runs


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root, run = str(tmp_path / "root"), str(tmp_path / "run")
    store, paths, cleaned = Store(root, run), Paths(root, run), list[Container]()

    def clean(container: Container) -> None:
        cleaned.append(container)
        paths.remove_running(container.id)

    dead = container(1, name="dead", status="running")
    paths.make_container(dead.id)
    paths.make_running(dead.id)
    store.containers.insert(dead)
    yield World(store, paths, Reaper(store, paths, clean, Events(run)), cleaned, dead)
    store.close()


def test_the_end_is_recorded_and_cleaned_up_once(world: World) -> None:
    seen = world.reaper.observe(world.dead)
    assert (seen.state.status, seen.state.exit_code) == ("exited", LOST)
    assert world.cleaned == [seen]
    assert world.reaper.observe(world.store.containers.get(world.dead.id)) == seen
    assert world.cleaned == [seen]


def test_who_has_the_lock_cleans_up_itself(world: World) -> None:
    with world.paths.locked(world.dead.id):
        seen = world.reaper.observe(world.dead)  # does not wait
        assert seen.state.status == "exited"
        assert world.cleaned == []
    world.reaper.observe(seen)  # whoever looks next, if the lock's holder did not
    assert world.cleaned == [seen]


def test_a_run_that_began_meanwhile_keeps_what_it_has(world: World) -> None:
    with world.paths.locked(world.dead.id):
        seen = world.reaper.observe(world.dead)
        world.store.containers.update_state(world.dead.id, ContainerState(status="running"))
    world.reaper.observe(seen)  # as somebody saw it before
    assert world.cleaned == []


def test_one_that_is_gone_leaves_no_lock(world: World) -> None:
    with world.paths.locked(world.dead.id):
        seen = world.reaper.observe(world.dead)
    world.store.containers.remove(world.dead.id)
    world.paths.remove_container(world.dead.id)
    world.reaper.observe(seen)
    assert world.cleaned == []
    assert list((Path(world.paths.run) / "locks").iterdir()) == []
