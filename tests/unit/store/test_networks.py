"""Rows of networks: addresses and host ports are given out once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onggi.errors import Conflict, InvalidInput, NotFound
from onggi.spec.network import Endpoint, Network, PortBinding
from onggi.store.store import Store
from sample import container

NET = Network("a" * 64, "bridge", "bridge", "172.30.0.0/24", "172.30.0.1", "onggi0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    store.networks.insert(NET)
    yield store
    store.close()


def at(
    who: str, address: str, *ports: PortBinding, network: Network = NET
) -> Callable[[frozenset[str]], Endpoint]:
    return lambda used: Endpoint(
        network.id, who, address, 24, "172.30.0.1", "02:42", f"veth{who}", ports
    )


def test_networks_are_found_by_id_name_and_prefix(store: Store) -> None:
    other = NET._replace(id="ab" * 32, name="other")
    store.networks.insert(other)
    assert store.networks.get("bridge") == store.networks.get(NET.id) == NET
    assert store.networks.get("abab") == other
    assert [network.name for network in store.networks.list()] == ["bridge", "other"]
    with pytest.raises(NotFound, match=r"^network nix not found$"):
        store.networks.get("nix")
    with pytest.raises(InvalidInput, match=r"network a is ambiguous \(2 matches"):
        store.networks.get("a")
    with pytest.raises(Conflict, match="network with name other already exists"):
        store.networks.insert(NET._replace(id="c" * 64, name="other"))


def test_an_address_is_given_once(store: Store) -> None:
    made = store.networks.add_endpoint(NET.id, at("one", "172.30.0.2"))
    assert store.networks.endpoints(container_id="one") == [made]
    with pytest.raises(Conflict, match="Address already in use"):
        store.networks.add_endpoint(NET.id, at("two", "172.30.0.2"))
    with pytest.raises(Conflict, match="already attached"):
        store.networks.add_endpoint(NET.id, at("one", "172.30.0.3"))
    with pytest.raises(NotFound):
        store.networks.add_endpoint("f" * 64, at("one", "172.30.0.3"))
    store.networks.release("one")
    store.networks.release("one")
    store.networks.add_endpoint(NET.id, at("two", "172.30.0.2"))


def test_addresses_chosen_by_many_processes_differ(store: Store) -> None:
    store.close()
    children = []
    for number in range(12):
        pid = os.fork()
        if pid == 0:

            def choose(used: frozenset[str], who: str = str(number)) -> Endpoint:
                free = next(n for n in range(2, 250) if f"172.30.0.{n}" not in used)
                return at(who, f"172.30.0.{free}")(used)

            store.networks.add_endpoint(NET.id, choose)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 12
    assert len({each.address for each in store.networks.endpoints(network_id=NET.id)}) == 12


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        (PortBinding("", 80, 1), PortBinding("", 80, 2), True),
        (PortBinding("0.0.0.0", 80, 1), PortBinding("127.0.0.1", 80, 2), True),
        (PortBinding("127.0.0.1", 80, 1), PortBinding("127.0.0.2", 80, 2), False),
        (PortBinding("::", 80, 1), PortBinding("0.0.0.0", 80, 2), False),
        (PortBinding("", 80, 1), PortBinding("::1", 80, 2), True),
        (PortBinding("", 80, 1), PortBinding("", 80, 2, "udp"), False),
        (PortBinding("", 80, 1), PortBinding("", 81, 2), False),
    ],
)
def test_a_host_port_is_given_once(
    store: Store, first: PortBinding, second: PortBinding, clash: bool
) -> None:
    store.networks.add_endpoint(NET.id, at("one", "172.30.0.2", first))
    if not clash:
        store.networks.add_endpoint(NET.id, at("two", "172.30.0.3", second))
        return
    with pytest.raises(Conflict, match=r"Bind for .*:80 failed: port is already allocated"):
        store.networks.add_endpoint(NET.id, at("two", "172.30.0.3", second))
    assert store.networks.endpoints(container_id="two") == []
    store.networks.release("one")
    store.networks.add_endpoint(NET.id, at("two", "172.30.0.3", second))


def test_a_network_in_use_stays(store: Store) -> None:
    user = container(1, name="web")
    store.containers.insert(user)
    store.networks.add_endpoint(NET.id, at(user.id, "172.30.0.2"))
    with pytest.raises(Conflict) as caught:
        store.networks.remove(NET.id)
    assert str(caught.value) == (
        "error while removing network: network bridge has active endpoints "
        f'(name:"web" id:"{user.id[:12]}")'
    )
    store.networks.release(user.id, NET.id)
    store.networks.remove(NET.id)
    store.networks.remove(NET.id)
    assert store.networks.list() == []


def test_a_changed_network_is_stored(store: Store) -> None:
    store.networks.replace(NET._replace(subnet="10.1.0.0/24"))
    assert store.networks.get("bridge").subnet == "10.1.0.0/24"
