import pytest

from onggi.errors import InvalidInput, Unavailable
from onggi.network import ipam


def test_first_choice_is_dockers() -> None:
    assert ipam.choose_subnet([], []) == "172.17.0.0/24"


def test_skips_routed_and_taken_ranges() -> None:
    taken = ["172.18.0.0/24"]
    assert ipam.choose_subnet(["172.17.0.0/16", "10.0.0.0/8"], taken) == "172.19.0.0/24"
    assert ipam.choose_subnet(["172.17.0.128/25"], []) == "172.18.0.0/24"
    assert ipam.choose_subnet(["172.16.0.0/12"], []) == "192.168.0.0/24"


def test_goes_on_inside_the_ranges() -> None:
    heads = [f"172.{second}.0.0/24" for second in range(17, 32)]
    assert ipam.choose_subnet([], heads) == "172.17.1.0/24"


def test_says_so_when_everything_is_taken() -> None:
    with pytest.raises(Unavailable, match="could not find an available"):
        ipam.choose_subnet(["172.16.0.0/12", "192.168.0.0/16"], [])


def test_next_address_is_the_lowest_free_one() -> None:
    subnet, gateway = "172.17.0.0/24", "172.17.0.1"
    assert ipam.next_address(subnet, gateway, []) == "172.17.0.2"
    assert ipam.next_address(subnet, gateway, ["172.17.0.2", "172.17.0.4"]) == "172.17.0.3"
    everything = [f"172.17.0.{n}" for n in range(2, 255)]
    assert ipam.next_address(subnet, gateway, everything[:-1]) == "172.17.0.254"
    with pytest.raises(Unavailable, match="no available IPv4 addresses"):
        ipam.next_address(subnet, gateway, everything)


def test_gateway_elsewhere_leaves_the_first_address() -> None:
    assert ipam.next_address("10.1.0.0/30", "10.1.0.2", []) == "10.1.0.1"


def test_mac_comes_from_the_address() -> None:
    assert ipam.mac_for("172.17.0.2") == "02:42:ac:11:00:02"


def test_gateway_and_membership() -> None:
    assert ipam.gateway_of("172.17.0.0/24") == "172.17.0.1"
    assert ipam.prefix_length_of("172.17.0.0/24") == 24
    assert ipam.contains("172.17.0.0/24", "172.17.0.255")
    assert not ipam.contains("172.17.0.0/24", "172.17.1.0")
    with pytest.raises(InvalidInput, match="too small"):
        ipam.gateway_of("172.17.0.0/31")


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", "1.2.3.+4", "1_0.1.1.1",
     "1.2.3.4 ", "١.2.3.4", "1.2.3.9999999999999999999", "a.b.c.d", "1..2.3"],
)  # fmt: skip
def test_refuses_odd_addresses(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid IPv4 address"):
        ipam.parse_address(text)


@pytest.mark.parametrize(
    "text", ["172.17.0.0", "172.17.0.0/", "172.17.0.0/33", "172.17.0.1/24", "172.17.0.0/2_4"]
)
def test_refuses_odd_subnets(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid subnet"):
        ipam.parse_subnet(text)


def test_overlap() -> None:
    others = ["10.0.0.0/8", "172.18.0.0/24"]
    assert ipam.overlaps_any("10.1.2.0/24", others)
    assert ipam.overlaps_any("172.16.0.0/12", others)
    assert not ipam.overlaps_any("172.18.1.0/24", others)
