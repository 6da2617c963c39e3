"""What the text says; that it does what it says is shown in tests/kernel/test_network.py."""

import pytest

from onggi.errors import InvalidInput
from onggi.network import options, rules
from onggi.spec.network import Endpoint, Network, PortBinding

BRIDGE = Network("n1", "bridge", "bridge", "172.17.0.0/24", "172.17.0.1", "onggi0")
INNER = Network("n2", "inner", "bridge", "172.18.0.0/24", "172.18.0.1", "br-in", internal=True)
NONE = Network("n3", "none", "null")
DELETED = "add table inet onggi\ndelete table inet onggi\n"


def endpoint(network: Network, address: str, *ports: PortBinding) -> Endpoint:
    return Endpoint(network.id, address, address, 24, network.gateway, "", "veth0", ports)


def test_nothing_left_deletes_the_table() -> None:
    assert rules.render([], []) == DELETED
    assert rules.render([NONE], []) == DELETED
    assert rules.fingerprint(DELETED) == ""


def test_replaces_the_table_in_one_transaction() -> None:
    text = rules.render([BRIDGE], [])
    assert text.startswith(f"{DELETED}table inet onggi {{\n")
    assert text.count("table inet onggi {") == 1
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
    assert "8000" not in text and '"br-in" } masquerade' not in text
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
    assert "table inet onggi_1a {" in rules.render([BRIDGE], [], "onggi_1a")
    for name in ("", "x y", "1x", "x;"):
        with pytest.raises(InvalidInput):
            rules.render([], [], name)


SIX = BRIDGE._replace(
    id="6", bridge="br-six", subnet="172.19.0.0/24", gateway="172.19.0.1",
    subnet6="fd00:19::/64", gateway6="fd00:19::1", ipv6=True,
)  # fmt: skip


def test_both_families_are_published() -> None:
    at = endpoint(SIX, "172.19.0.2", PortBinding("", 80, 8000), PortBinding("::", 81, 8001))
    text = rules.render([SIX], [at._replace(address6="fd00:19::2")])
    assert "elements = { 80 : 172.19.0.2 . 8000 }" in text
    assert "elements = { 80 : fd00:19::2 . 8000, 81 : fd00:19::2 . 8001 }" in text
    assert "ip6 saddr fd00:19::/64 oifname" in text


def test_what_a_network_has_not_is_dropped() -> None:
    assert 'iifname "onggi0" meta nfproto ipv6 drop' in rules.render([BRIDGE], [])
    assert "nfproto ipv6 drop" not in rules.render([SIX], [])


def test_driver_options_shape_the_rules() -> None:
    text = rules.render([BRIDGE._replace(options={options.ICC: "false"})], [])
    assert 'iifname "onggi0" oifname "onggi0" accept' not in text
    text = rules.render([BRIDGE._replace(options={options.MASQUERADE: "false"})], [])
    assert 'oifname != { "lo", "onggi0" } masquerade' not in text
    routed = BRIDGE._replace(options={options.MODE_V4: "routed"})
    text = rules.render([routed], [endpoint(routed, "172.17.0.2", PortBinding("", 8000, 80))])
    assert "8000" not in text and "ip daddr 172.17.0.2 tcp dport 80 accept" in text
    assert 'oifname != { "lo", "onggi0" } masquerade' not in text
