"""hosts and resolv.conf: what docker writes, and nothing a hostile value could add."""

import pytest

from onggi.engine import hostfiles
from onggi.errors import InvalidInput


def test_hosts_names_the_container_and_the_extra_hosts() -> None:
    text = hostfiles.hosts(
        "web", "", ["172.17.0.2"], ["db:10.0.0.5", "h:host-gateway"], "172.17.0.1"
    )
    assert "127.0.0.1\tlocalhost\n" in text
    assert text.endswith("10.0.0.5\tdb\n172.17.0.1\th\n172.17.0.2\tweb\n")


def test_a_domain_name_comes_first() -> None:
    assert "1.2.3.4\tweb.example.org web\n" in hostfiles.hosts(
        "web", "example.org", ["1.2.3.4"], []
    )


def test_loopback_resolvers_are_left_out() -> None:
    host = "# x\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch a.b c\noptions ndots:2\n"
    assert hostfiles.resolv_conf(host) == "nameserver 10.1.1.1\nsearch a.b c\noptions ndots:2\n"
    assert "127.0.0.53" in hostfiles.resolv_conf(host, shares_host_network=True)


def test_no_resolver_left_falls_back() -> None:
    assert hostfiles.resolv_conf("nameserver 127.0.0.1\n").startswith("nameserver 8.8.8.8\n")


def test_flags_win() -> None:
    text = hostfiles.resolv_conf("nameserver 10.1.1.1\n", servers=["9.9.9.9"], search=["x.y"])
    assert text == "nameserver 9.9.9.9\nsearch x.y\n"


@pytest.mark.sec("C12")
@pytest.mark.parametrize("bad", ["a\nb", "a b", "", "a\tb", "a\0", "-x", "x" * 300])
def test_no_value_can_add_a_line(bad: str) -> None:
    for attempt in (
        lambda: hostfiles.hosts("h", "", (), [f"{bad}:1.2.3.4"]),
        lambda: hostfiles.hosts("h", "", (), [f"a:{bad}"]),
        lambda: hostfiles.resolv_conf("", servers=[bad]),
        lambda: hostfiles.resolv_conf("", search=[bad]),
        lambda: hostfiles.resolv_conf("", options=[bad]),
    ):
        with pytest.raises(InvalidInput):
            attempt()
