"""What the text says; that it does what it says is shown in tests/kernel/test_network.py."""

import pytest

from onggi.errors import InvalidInput
from onggi.network import rules
from onggi.spec.network import Endpoint, Network, PortBinding

BRIDGE = Network("n1", "bridge", "bridge", "172.17.0.0/24", "172.17.0.1", "onggi0")
INNER = Network("n2", "inner", "bridge", "172.18.0.0/24", "172.18.0.1", "br-in", internal=True)
NONE = Network("n3", "none", "null")
DELETED = "add table ip onggi\ndelete table ip onggi\n"


def endpoint(network: Network, address: str, *ports: PortBinding) -> Endpoint:
    return Endpoint(network.id, address, address, 24, network.gateway, "", "veth0", ports)


def test_nothing_left_deletes_the_table() -> None:
    assert rules.render([], []) == DELETED
    assert rules.render([NONE], []) == DELETED
    assert rules.fingerprint(DELETED) == ""


def test_replaces_the_table_in_one_transaction() -> None:
    text = rules.render([BRIDGE], [])
    assert text.startswith(f"{DELETED}table ip onggi {{\n")
    assert text.count("table ip onggi {") == 1
    assert len(rules.fingerprint(text)) == 32


def test_order_of_records_does_not_matter() -> None:
    one = endpoint(BRIDGE, "172.17.0.2", PortBinding("", 8000, 80), PortBinding("", 53, 53, "udp"))
    two = endpoint(BRIDGE, "172.17.0.3", PortBinding("127.0.0.1", 8001, 80))
    turned = one._replace(ports=one.ports[::-1])
    assert rules.render([BRIDGE, INNER], [one, two]) == rules.render([INNER, BRIDGE], [two, turned])


def test_fingerprint_follows_the_content() -> None:
    bare = rules.render([BRIDGE], [])
    published = rules.render([BRIDGE], [endpoint(BRIDGE, "172.17.0.2", PortBinding("", 1, 2))])
    assert rules.fingerprint(bare) != rules.fingerprint(published)


def test_published_ports_are_maps() -> None:
    text = rules.render(
        [BRIDGE],
        [
            endpoint(
                BRIDGE,
                "172.17.0.2",
                PortBinding("", 8000, 80),
                PortBinding("0.0.0.0", 8001, 81),
                PortBinding("192.0.2.1", 8000, 82),
                PortBinding("", 5353, 53, "udp"),
            )
        ],
    )
    assert "elements = { 8000 : 172.17.0.2 . 80, 8001 : 172.17.0.2 . 81 }" in text
    assert "elements = { 192.0.2.1 . 8000 : 172.17.0.2 . 82 }" in text
    assert "elements = { 5353 : 172.17.0.2 . 53 }" in text
    one, every = text.index("map @tcp_one"), text.index("map @tcp_every")
    assert one < every  # the more specific wins


def test_internal_networks_publish_and_masquerade_nothing() -> None:
    text = rules.render([INNER], [endpoint(INNER, "172.18.0.2", PortBinding("", 8000, 80))])
    assert "8000" not in text and 'oifname != "br-in" masquerade' not in text
    assert 'iifname "br-in" oifname != "br-in" drop' in text


def test_never_accepts_in_a_base_chain_by_more_than_policy() -> None:
    text = rules.render([BRIDGE], [endpoint(BRIDGE, "172.17.0.2", PortBinding("", 8000, 80))])
    assert "policy drop" not in text


@pytest.mark.parametrize(
    "network",
    [
        BRIDGE._replace(bridge='x" drop'),
        BRIDGE._replace(bridge="sixteen-letters-"),
        BRIDGE._replace(subnet="172.17.0.0/24; flush ruleset"),
        BRIDGE._replace(gateway="172.17.0.1 accept"),
    ],
)
def test_odd_networks_never_become_text(network: Network) -> None:
    with pytest.raises(InvalidInput):
        rules.render([network], [])


@pytest.mark.parametrize(
    "binding",
    [
        PortBinding("1.2.3.4 }", 1, 1),
        PortBinding("", 0, 1),
        PortBinding("", 65536, 1),
        PortBinding("", 1, -1),
        PortBinding("", 1, 1, "tcp drop"),  # type: ignore[arg-type]
    ],
)
def test_odd_ports_never_become_text(binding: PortBinding) -> None:
    with pytest.raises(InvalidInput):
        rules.render([BRIDGE], [endpoint(BRIDGE, "172.17.0.2", binding)])
    with pytest.raises(InvalidInput):
        rules.render([BRIDGE], [endpoint(BRIDGE, "172.17.0.2;", PortBinding("", 1, 1))])


def test_another_table() -> None:
    assert rules.render([], [], "onggi_1a") == DELETED.replace("onggi", "onggi_1a")
    assert "table ip onggi_1a {" in rules.render([BRIDGE], [], "onggi_1a")
    for name in ("", "x y", "1x", "x;"):
        with pytest.raises(InvalidInput):
            rules.render([], [], name)
