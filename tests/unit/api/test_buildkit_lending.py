"""The socket between a build and its client's session, without a build."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onggi.api.buildkit import grpc
from onggi.api.buildkit import messages_pb2 as pb
from onggi.api.buildkit.http2 import Channel, Stream
from onggi.api.buildkit.lending import lending
from onggi.api.buildkit.sessions import Session, Sessions
from onggi.build.borrowed import Borrowed, Lender
from onggi.errors import NotFound, Unavailable
from onggi.httpd.exchange import Gone
from onggi.registry.credentials import HUB_KEY

AUTH = "/moby.filesync.v1.Auth/Credentials"
SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
CHECK, FORWARD = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"
DEADLINE_S = 60


def credentials(call: grpc.Incoming) -> None:
    host = pb.CredentialsRequest.FromString(call.one()).Host
    answers = {
        "registry-1.docker.io": pb.CredentialsResponse(Username="me", Secret="word"),
        "r.example": pb.CredentialsResponse(Secret="token"),
    }
    call.send(answers.get(host, pb.CredentialsResponse()).SerializeToString())


def secret(call: grpc.Incoming) -> None:
    name = pb.NameRequest.FromString(call.one()).ID
    if name != "known":
        raise grpc.Failed(grpc.NOT_FOUND, "not found")
    call.send(pb.Bytes(data=bytes(range(256))).SerializeToString())


def check(call: grpc.Incoming) -> None:
    if pb.NameRequest.FromString(call.one()).ID != "default":
        raise grpc.Failed(grpc.UNKNOWN, "unset ssh forward key")
    call.send(b"")


def forward(call: grpc.Incoming) -> None:
    assert call.metadata("buildkit.ssh.id") == "default"
    while (message := call.receive()) is not None:
        heard = pb.Bytes.FromString(message).data
        call.send(pb.Bytes(data=heard.upper()).SerializeToString())


METHODS = {AUTH: credentials, SECRET: secret, CHECK: check, FORWARD: forward}


@contextmanager
def session(methods: dict[str, grpc.Method]) -> Iterator[Session]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, b"", client=True)

    def accept(stream: Stream) -> None:
        grpc.serve(stream, methods, lambda: None)

    client = Channel(theirs, b"", client=False, accept=accept)
    threads = [threading.Thread(target=channel.run), threading.Thread(target=client.run)]
    for thread in threads:
        thread.start()
    try:
        yield Session("s", frozenset(path.lower() for path in methods), channel)
    finally:
        channel.close()
        client.close()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        ours.close()
        theirs.close()


def test_what_is_lent(tmp_path: Path) -> None:
    with session(METHODS) as client, lending(client, str(tmp_path)) as fd:
        lender = Lender(fd)
        found = lender.credential(HUB_KEY)
        assert found is not None and (found.username, found.password) == ("me", "word")
        token = lender.credential("r.example")
        assert token is not None and (token.username, token.identity_token) == ("", "token")
        assert lender.credential("elsewhere") is None

        secrets = Borrowed(lender.secret)
        assert secrets.get("unknown") is None and "known" in secrets
        assert secrets["known"].value == bytes(range(256)) and list(secrets) == ["known"]

        agents = Borrowed(lender.agent)
        assert agents.get("other") is None
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.settimeout(DEADLINE_S)
                agent.connect(agents["default"])
                agent.sendall(b"question")
                assert agent.recv(100) == b"QUESTION"
        assert len(os.listdir(tmp_path)) == 1
        left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # still open at the end
        left.connect(agents["default"])
    left.settimeout(DEADLINE_S)
    assert left.recv(1) == b""
    left.close()
    assert not os.listdir(tmp_path)


def test_many_ask_at_once(tmp_path: Path) -> None:
    with session(METHODS) as client, lending(client, str(tmp_path)) as fd:
        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.append(Lender(fd).secret("known")))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert len(found) == 20 and None not in found


def test_a_client_that_offers_nothing(tmp_path: Path) -> None:
    with session({}) as client, lending(client, str(tmp_path)) as fd:
        lender = Lender(fd)
        assert lender.secret("known") is None and lender.credential(HUB_KEY) is None
        assert lender.agent("default") is None


def test_a_client_that_has_gone(tmp_path: Path) -> None:
    with session(METHODS) as client:
        client.channel.close()
        with lending(client, str(tmp_path)) as fd, pytest.raises(Unavailable):
            Lender(fd).secret("known")
    lender = Lender(os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(Unavailable):
        lender.secret("known")


def test_sessions_are_found_by_their_ids() -> None:
    sessions = Sessions()
    with pytest.raises(NotFound, match="no active session for x"):
        sessions.find("x", 0.01)


def test_calls_and_streams() -> None:
    def echo(call: grpc.Incoming) -> None:
        while (message := call.receive()) is not None:
            call.send(message)

    def fails(call: grpc.Incoming) -> None:
        raise grpc.Failed(5, "no: 100% ünknown\n", [pb.Any(type_url="u", value=b"v")])

    def breaks(call: grpc.Incoming) -> None:
        raise ZeroDivisionError

    with session({"/echo": echo, "/fails": fails, "/breaks": breaks}) as client:
        large = os.urandom(3 << 20)  # more than any window
        assert client.caller.ask("/echo", large) == large
        with pytest.raises(grpc.Failed) as failed:
            client.caller.ask("/fails", b"")
        assert (failed.value.code, failed.value.message) == (5, "no: 100% ünknown\n")
        assert failed.value.details[0].value == b"v"
        for path, code in {"/breaks": grpc.INTERNAL, "/none": grpc.UNIMPLEMENTED}.items():
            with pytest.raises(grpc.Failed) as failed:
                client.caller.ask(path, b"")
            assert failed.value.code == code
        call = client.caller.call("/echo")
        call.send(b"x")
        assert call.receive() == b"x"
        call.give_up()
        with pytest.raises(Gone):
            call.send(b"y")
        assert client.caller.ask("/echo", b"still") == b"still"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + (1 << 20).to_bytes(3, "big") + bytes(6),
        b"",
    ],
)
def test_bytes_that_are_no_http2(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=Channel(ours, b"", client=False).run)
        thread.start()
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
