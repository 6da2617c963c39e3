"""Rows of containers, and the names that are given out once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import Conflict, InvalidInput, NotFound
from onggi.spec.container import ContainerState
from onggi.store.store import Store
from sample import add_image, container, layer_tar


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def test_a_container_comes_back_as_it_was(store: Store) -> None:
    image = add_image(store, layer_tar({"a": b"1"}))
    store.volumes.create("data")
    one = container(1, image, status="running", volumes=["data"])
    store.containers.insert(one)
    assert store.containers.get(one.id) == one
    assert store.containers.get("name1") == one
    assert store.containers.get("/name1") == one
    assert store.containers.get(one.id[:12]) == one
    assert store.containers.names() == {"name1": one.id}


def test_a_taken_name_is_refused_in_dockers_words(store: Store) -> None:
    one = container(1, name="web")
    store.containers.insert(one)
    with pytest.raises(Conflict) as caught:
        store.containers.insert(container(2, name="web"))
    assert str(caught.value) == (
        f'Conflict. The container name "/web" is already in use by container "{one.id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    with pytest.raises(Conflict):
        store.containers.insert(container(1, name="other"))


def test_one_of_twenty_processes_gets_the_name(store: Store) -> None:
    store.containers.list()
    store.close()
    read, write = os.pipe()
    children = []
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # all start when the parent closes its end
            try:
                store.containers.insert(container(number, name="same"))
            except Conflict:
                os._exit(9)
            os._exit(0)
        children.append(pid)
    os.close(read)
    os.close(write)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sorted(statuses) == [0] + [9] * 19
    assert len(store.containers.list()) == 1


def test_unknown_and_ambiguous_references(store: Store) -> None:
    for number in (0xAB00, 0xAB01):
        one = container(1)._replace(id=f"{number:x}".ljust(64, "0"), name=f"n{number}")
        store.containers.insert(one)
    with pytest.raises(NotFound, match=r"^No such container: nix$"):
        store.containers.get("nix")
    with pytest.raises(InvalidInput, match="multiple IDs found with provided prefix: ab"):
        store.containers.get("ab")
    assert store.containers.get("ab01").name == f"n{0xAB01}"


def test_a_name_wins_over_the_start_of_an_id(store: Store) -> None:
    store.containers.insert(container(1)._replace(id="ab".ljust(64, "0")))
    named = container(2, name="ab")
    store.containers.insert(named)
    assert store.containers.get("ab") == named


def test_listing_chooses_by_status_and_purpose(store: Store) -> None:
    store.containers.insert(container(1, status="running"))
    store.containers.insert(container(2, status="exited"))
    store.containers.insert(container(3, status="running", purpose="build"))
    assert [c.name for c in store.containers.list()] == ["name2", "name1"]
    assert [c.name for c in store.containers.list(all=False)] == ["name1"]
    assert [c.name for c in store.containers.list(purpose=None)] == ["name3", "name2", "name1"]


def test_state_changes_are_read_and_written_in_one(store: Store) -> None:
    one = container(1)
    store.containers.insert(one)
    store.containers.update_state(one.id, ContainerState(status="running", pid=7))
    state = store.containers.change_state(one.id, lambda old: old._replace(exit_code=old.pid))
    assert state == ContainerState(status="running", pid=7, exit_code=7)
    assert store.containers.get(one.id).state == state
    with pytest.raises(NotFound):
        store.containers.update_state("f" * 64, state)


def test_rename_and_remove(store: Store) -> None:
    one, two = container(1), container(2)
    store.containers.insert(one)
    store.containers.insert(two)
    store.containers.rename(one.id, "fresh")
    assert store.containers.get("fresh").id == one.id
    with pytest.raises(Conflict):
        store.containers.rename(two.id, "fresh")
    with pytest.raises(NotFound):
        store.containers.rename("f" * 64, "free")
    store.containers.remove(one.id)
    store.containers.remove(one.id)
    store.containers.rename(two.id, "fresh")
    store.containers.update_config(two.id, two.config._replace(hostname="h2"))
    assert store.containers.get("fresh").config.hostname == "h2"


@pytest.mark.sec("97")
@pytest.mark.parametrize("column", ["config", "state"])
@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"options":{}}', '{"status":{}}', "null"])
def test_a_damaged_row_does_not_hide_the_others(store: Store, column: str, text: str) -> None:
    store.containers.insert(container(1))
    store.containers.insert(container(2))
    store.db.execute(f"UPDATE container SET {column} = ? WHERE name = 'name1'", (text,))
    two, one = store.containers.list()
    assert two == container(2)
    assert one.name == "name1"
    if one.state.status == "dead":
        assert "is damaged" in one.state.error
    store.containers.change_state(one.id, lambda state: state._replace(status="removing"))
    store.containers.remove(store.containers.get("name1").id)
    assert store.containers.list() == [two]


def test_a_container_needs_its_layers(store: Store) -> None:
    image = add_image(store, layer_tar({"a": b"1"}))
    store.images.remove(image.id)
    with pytest.raises(NotFound, match="has lost its layer"):
        store.containers.insert(container(1, image))


def test_a_container_of_a_volume_that_went_meanwhile_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="get data: no such volume"):
        store.containers.insert(container(1, volumes=["data"]))
    assert store.containers.list() == []


def test_volumes_know_their_users(store: Store) -> None:
    store.volumes.create("data", {"k": "v"})
    store.volumes.create("0123", anonymous=True)
    one = container(1, volumes=["data"])
    store.containers.insert(one)
    assert store.volumes.users("data") == [one.id]
    assert [volume.name for volume in store.volumes.unused()] == ["0123"]
    with pytest.raises(Conflict, match=rf"remove data: volume is in use - \[{one.id}\]"):
        store.volumes.remove("data")
    store.containers.remove(one.id)
    store.volumes.remove("data")
    store.volumes.remove("data")
    assert [volume.name for volume in store.volumes.list()] == ["0123"]
    with pytest.raises(NotFound, match="get data: no such volume"):
        store.volumes.get("data")


def test_creating_a_volume_twice_keeps_the_first(store: Store) -> None:
    first = store.volumes.create("data", {"k": "v"})
    assert store.volumes.create("data", {"other": "x"}) == first == store.volumes.get("data")
