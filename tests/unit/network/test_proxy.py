"""The relay of published ports in user space: streams and datagrams through it, over loopback."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from onggi.network.proxy import Relay, Target

LOCAL = "127.0.0.1"


@contextmanager
def relayed(kind: int, port: int, host: str = LOCAL) -> Iterator[tuple[str, int]]:
    """The address that leads to this port of ours through a relay."""
    reader, writer = os.pipe()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as door:
        door.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            door.listen(1)
        address = door.getsockname()[:2]
        protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        thread = threading.Thread(target=Relay(reader, [(door, Target(protocol, LOCAL, port))]).run)
        thread.start()
        try:
            yield address
        finally:
            os.close(writer)
            thread.join()
            os.close(reader)


def received(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def test_a_stream_both_ways_with_its_ends() -> None:
    data = os.urandom(3 << 20)
    with socket.create_server((LOCAL, 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                got = received(connection)  # until the client has said all
                connection.sendall(got[::-1])

        server = threading.Thread(target=serve)
        server.start()
        with (
            relayed(socket.SOCK_STREAM, listener.getsockname()[1]) as address,
            socket.create_connection(address, timeout=60) as client,
        ):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert received(client) == data[::-1]
        server.join()


def test_nobody_listens() -> None:
    with socket.create_server((LOCAL, 0)) as free:
        port = free.getsockname()[1]
    with (
        relayed(socket.SOCK_STREAM, port) as address,
        socket.create_connection(address, timeout=60) as client,
    ):
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass


def test_many_at_once() -> None:
    with ExitStack() as undo:
        listener = undo.enter_context(socket.create_server((LOCAL, 0), backlog=64))
        address = undo.enter_context(relayed(socket.SOCK_STREAM, listener.getsockname()[1]))
        clients = [socket.create_connection(address, timeout=60) for _ in range(40)]
        servers = [listener.accept()[0] for _ in clients]
        for number, client in enumerate(clients):
            client.sendall(bytes([number]))
        numbers = [server.recv(1)[0] for server in servers]
        for server, number in zip(servers, numbers, strict=True):
            server.sendall(bytes([number + 100]))
        assert [client.recv(1)[0] for client in clients] == list(range(100, 140))
        for one in (*clients, *servers):
            one.close()


def test_it_ends_for_want_of_connections_and_the_doors_stay() -> None:
    """Two relays after one another: what comes in between waits at the door."""
    reader, writer = os.pipe()
    with (
        socket.create_server((LOCAL, 0)) as listener,
        socket.create_server((LOCAL, 0)) as door,
    ):
        target = Target("tcp", LOCAL, listener.getsockname()[1])
        for word in (b"one", b"two"):
            with socket.create_connection(door.getsockname(), timeout=60) as client:
                relay = Relay(reader, [(door.dup(), target)], patience_s=0.01)
                thread = threading.Thread(target=relay.run)
                thread.start()
                server, _ = listener.accept()
                with server:
                    client.sendall(word)
                    server.settimeout(60)
                    assert server.recv(16) == word
                assert client.recv(16) == b""
            thread.join(60)
            assert not thread.is_alive()
    os.close(reader)
    os.close(writer)


def test_datagrams_and_a_client_of_the_other_family() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOCAL, 0))
        server.settimeout(60)
        with relayed(socket.SOCK_DGRAM, server.getsockname()[1], "::1") as address:
            for word in (b"one", b"two"):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
                    client.settimeout(60)
                    client.sendto(word, address)
                    data, sender = server.recvfrom(16)
                    server.sendto(data.upper(), sender)
                    assert client.recv(16) == word.upper()
