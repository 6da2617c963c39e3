"""Real sockets on loopback addresses; no root needed."""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from onggi.errors import Conflict, InvalidInput
from onggi.network import ports
from onggi.spec.network import PortBinding

HERE = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind((HERE, 0))
        server.listen()
        yield server


def test_ephemeral_ports_become_real_numbers() -> None:
    asked = (PortBinding(HERE, 0, 80), PortBinding("", 0, 80), PortBinding(HERE, 0, 53, "udp"))
    real, held, _ = ports.reserve(asked, name="web")
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = map(int, file.read().split())
        assert all(low <= binding.host_port <= high for binding in real)
        assert [binding._replace(host_port=0) for binding in real] == list(asked)
        assert not any(os.get_inheritable(descriptor) for descriptor in held)
    finally:
        ports.release(held)


def test_a_held_port_is_refused_until_released() -> None:
    for protocol in ("tcp", "udp"):
        real, held, _ = ports.reserve((PortBinding(HERE, 0, 80, protocol),), name="one")
        with pytest.raises(Conflict):
            ports.reserve(real, name="two")
        with pytest.raises(Conflict):
            ports.reserve((real[0]._replace(host_ip=""),), name="two")
        ports.release(held)
        again, held, _ = ports.reserve(real, name="two")
        assert again == real
        ports.release(held)


def test_the_error_is_dockers_and_names_the_holder(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(Conflict) as caught:
        ports.reserve((PortBinding("", port, 80),), name="web")
    assert caught.value.message == (
        "driver failed programming external connectivity on endpoint web: failed to bind host "
        f"port for 0.0.0.0:{port}/tcp: address already in use"
    )
    hint = caught.value.hint or ""
    assert re.fullmatch(rf"port {port} is held by .+ \(pid {os.getpid()}\)", hint)


def test_all_or_none(taken: socket.socket) -> None:
    with closing(socket.socket()) as probe:
        probe.bind((HERE, 0))
        free = probe.getsockname()[1]
    wanted = (PortBinding(HERE, free, 80), PortBinding(HERE, taken.getsockname()[1], 81))
    with pytest.raises(Conflict):
        ports.reserve(wanted, name="web")
    _real, held, _ = ports.reserve(wanted[:1], name="web")
    ports.release(held)


def test_a_port_of_connections_in_time_wait_is_free(taken: socket.socket) -> None:
    address = taken.getsockname()
    with socket.create_connection(address) as client:
        server, _peer = taken.accept()
        server.close()  # closes first: this side keeps TIME_WAIT
        assert client.recv(1) == b""
    taken.close()
    with socket.socket() as naive, pytest.raises(OSError, match="in use"):
        naive.bind(address)
    _real, held, _ = ports.reserve((PortBinding(HERE, address[1], 80),), name="web")
    ports.release(held)


def test_nobody_answers_on_a_held_port() -> None:
    real, held, _ = ports.reserve((PortBinding(HERE, 0, 80),), name="web")
    with socket.socket() as client, pytest.raises(TimeoutError):
        client.settimeout(0.2)
        client.connect((HERE, real[0].host_port))
    ports.release(held)


@pytest.mark.sec("F8")
def test_one_of_many_wins() -> None:
    _real, held, _ = ports.reserve((PortBinding(HERE, 0, 80),), name="probe")
    port = _real[0].host_port
    ports.release(held)
    won: list[int] = []
    lost: list[Conflict] = []

    def contend(number: int) -> None:
        try:
            won.extend(ports.reserve((PortBinding("", port, 80),), name=f"c{number}")[1])
        except Conflict as error:
            lost.append(error)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ports.release(won)
    assert (len(won), len(lost)) == (1, 19)


def test_holder_of_nothing_is_none() -> None:
    assert ports.holder(PortBinding("", 1, 1)) is None


def test_refusals() -> None:
    with pytest.raises(InvalidInput):
        ports.reserve((PortBinding("localhost", 1, 1),), name="x")
    with pytest.raises(InvalidInput):
        ports.reserve((PortBinding("", 65536, 1),), name="x")
    with pytest.raises(Conflict, match="cannot assign requested address"):
        ports.reserve((PortBinding("203.0.113.7", 8000, 1),), name="x")


def test_a_range_takes_the_first_free_port() -> None:
    (first,), held, _ = ports.reserve((PortBinding("127.0.0.1", 0, 80),), name="x")
    try:
        wanted = first._replace(last_host_port=min(first.host_port + 20, 65535))
        (second,), more, _ = ports.reserve((wanted,), name="y")
        ports.release(more)
        assert first.host_port < second.host_port <= wanted.last_host_port
        assert second.last_host_port == 0
        with pytest.raises(Conflict, match="address already in use"):
            ports.reserve((first,), name="y")
    finally:
        ports.release(held)


def test_every_address_is_both_families_with_one_number() -> None:
    (port,), held, _ = ports.reserve(
        (PortBinding("", 0, 80),), name="x", reach=ports.Reach(v6=True)
    )
    try:
        assert len(held) == 2
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            with socket.socket(family) as other:
                if family == socket.AF_INET6:
                    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                with pytest.raises(OSError):
                    other.bind((address, port.host_port))
    finally:
        ports.release(held)


def test_sctp_has_a_number_whether_or_not_the_kernel_has_its_sockets() -> None:
    (port,), held, _ = ports.reserve((PortBinding("", 0, 80, "sctp"),), name="x")
    ports.release(held)
    assert port.host_port


def test_doors_are_what_the_kernel_does_not_lead_to_the_container() -> None:
    """Of a network with IPv4 alone: whoever knocks waits for the relay, instead of for nothing."""
    asked = (PortBinding("", 0, 80), PortBinding(HERE, 0, 81), PortBinding("::1", 0, 82, "udp"))
    real, held, doors = ports.reserve(asked, name="x", reach=ports.Reach(doors=True))
    try:
        families = []
        for descriptor in doors:
            with socket.socket(fileno=os.dup(descriptor)) as door:
                families.append(door.family)
        assert families == [socket.AF_INET6, socket.AF_INET6]
        assert len(held) == 4
        with (
            socket.create_connection(("::1", real[0].host_port), timeout=60),
            socket.socket(fileno=os.dup(doors[0])) as door,
        ):
            door.accept()[0].close()
    finally:
        ports.release(held)


def test_a_network_with_both_families_has_one_door() -> None:
    reach = ports.Reach(v6=True, doors=True)
    asked = (PortBinding("", 0, 80), PortBinding("", 0, 80, "sctp"))
    _real, held, doors = ports.reserve(asked, name="x", reach=reach)
    ports.release(held)
    assert doors == held[1:2]
