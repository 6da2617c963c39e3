"""Wrong requests on the wire, and the server as a program: TLS, signals, metrics, its own end."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from api_server import ApiServer, api_server
from ports import free_port

from .conftest import COMMAND, Onggi

pytestmark = pytest.mark.root
TIMEOUT_S = 60
POST = b"POST /containers/create HTTP/1.1\r\nHost: d\r\n"
JSON = POST + b"Content-Type: application/json\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /info HTTP/1.1\r\n"

# What is sent, and the statuses it may be answered with; the connection closes behind each.
MALFORMED: dict[str, tuple[bytes, set[int]]] = {
    "no Host": (GET + b"\r\n", {400}),
    "two Hosts": (GET + b"Host: a\r\nHost: b\r\n\r\n", {400}),
    "Content-Length and Transfer-Encoding": (
        JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "Transfer-Encoding and Content-Length": (
        JSON + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", {400}),
    "two Content-Lengths": (JSON + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", {400}),
    "Content-Length +2": (JSON + b"Content-Length: +2\r\n\r\n{}", {400}),
    "Content-Length 0_2": (JSON + b"Content-Length: 0_2\r\n\r\n{}", {400}),
    "Content-Length 0x2": (JSON + b"Content-Length: 0x2\r\n\r\n{}", {400}),
    "Content-Length 2.0": (JSON + b"Content-Length: 2.0\r\n\r\n{}", {400}),
    "Content-Length with a blank": (JSON + b"Content-Length: 2 2\r\n\r\n{}", {400}),
    "Content-Length over 64 bits": (JSON + b"Content-Length: 99999999999999999999\r\n\r\n", {400}),
    "chunk 0x2": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk +2": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk -2": (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk with a blank before": (CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n", {400}),
    "empty chunk size": (CHUNKED + b"\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk of 17 digits": (CHUNKED + b"00000000000000002\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk longer than it says": (CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk with bare line feeds": (CHUNKED + b"2\n{}\n0\n\n", {400}),
    "endless chunk extension": (CHUNKED + b"2;" + b"x" * 5000, {400}),
    "trailer without colon": (CHUNKED + b"2\r\n{}\r\n0\r\nnonsense\r\n\r\n", {400}),
    "gzip coding": (JSON + b"Transfer-Encoding: gzip\r\n\r\n", {501}),
    "identity coding": (JSON + b"Transfer-Encoding: identity\r\n\r\n", {501}),
    "bare line feeds": (b"GET /info HTTP/1.1\nHost: d\n\n", {400}),
    "bare line feed in a header": (GET + b"Host: d\nX: y\r\n\r\n", {400}),
    "bare carriage return": (GET + b"Host: d\r\rX: y\r\n\r\n", {400}),
    "folded header": (GET + b"Host: d\r\nX: a\r\n b\r\n\r\n", {400}),
    "header begins with a blank": (GET + b" Host: d\r\n\r\n", {400}),
    "blank before the colon": (GET + b"Host : d\r\n\r\n", {400}),
    "no colon": (GET + b"Host: d\r\nnonsense\r\n\r\n", {400}),
    "no name": (GET + b"Host: d\r\n: x\r\n\r\n", {400}),
    "name with a bracket": (GET + b"Host: d\r\nX(: x\r\n\r\n", {400}),
    "name in other letters": (GET + "Host: d\r\nXé: x\r\n\r\n".encode(), {400}),
    "NUL in a header": (GET + b"Host: d\r\nX: a\0b\r\n\r\n", {400}),
    "NUL in the target": (b"GET /in\0fo HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "escape character in a header": (GET + b"Host: d\r\nX: \x1b[2J\r\n\r\n", {400}),
    "blank in the target": (b"GET /in fo HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "target in other letters": ("GET /é HTTP/1.1\r\nHost: d\r\n\r\n".encode(), {400}),
    "header of 1 MiB": (GET + b"Host: d\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", {431}),
    "101 headers": (GET + b"Host: d\r\n" + b"X: y\r\n" * 101 + b"\r\n", {431}),
    "target of 20 KiB": (b"GET /" + b"x" * 20480 + b" HTTP/1.1\r\nHost: d\r\n\r\n", {414}),
    "HTTP/0.9": (b"GET /info\r\n\r\n", {400}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/3.0": (b"GET /info HTTP/3.0\r\nHost: d\r\n\r\n", {400}),
    "small letters": (b"get /info http/1.1\r\nHost: d\r\n\r\n", {400}),
    "two blanks": (b"GET  /info HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "tab": (b"GET\t/info HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "absolute form": (b"GET http://evil/info HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "authority form": (b"GET evil:80 HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "fragment": (b"GET /info#x HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    "CONNECT": (b"CONNECT d:80 HTTP/1.1\r\nHost: d\r\n\r\n", {405}),
    "TRACE": (b"TRACE /info HTTP/1.1\r\nHost: d\r\n\r\n", {405}),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), {400}),
    "an SSH greeting": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", {400}),
    "JSON alone": (b'{"Image":"x"}\r\n\r\n', {400}),
    "body of 65 MiB": (JSON + b"Content-Length: 68157440\r\n\r\n", {413}),
    "chunked body over the limit": (
        CHUNKED + b"900000\r\n" + b" " * 0x900000 + b"\r\n0\r\n\r\n", {413}),
    "truncated body": (JSON + b"Content-Length: 100\r\n\r\n{", {400}),
    "truncated chunk": (CHUNKED + b"64\r\n{", {400}),
    "attach behind a body": (
        b"POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n",
        {400}),
}  # fmt: skip

# Well-formed HTTP that asks for nonsense; the connection stays.
REFUSED: dict[str, tuple[str, str, bytes, dict[str, str], int, str]] = {
    "no such page": ("GET", "/nosuch", b"", {}, 404, "page not found"),
    "wrong method": ("PATCH", "/info", b"", {}, 404, "page not found"),
    "OPTIONS": ("OPTIONS", "/info", b"", {}, 404, "page not found"),
    "two slashes": ("GET", "//info", b"", {}, 404, "page not found"),
    "slash at the end": ("GET", "/info/", b"", {}, 404, "page not found"),
    "dots": ("GET", "/containers/../info", b"", {}, 404, "page not found"),
    "escaped dots": ("GET", "/containers/%2e%2e/info", b"", {}, 404, "page not found"),
    "bad escape": ("GET", "/containers/%zz/json", b"", {}, 400, "invalid URL escape"),
    "escaped NUL": ("GET", "/containers/%00/json", b"", {}, 400, "NUL"),
    "escaped bytes": ("GET", "/containers/%ff/json", b"", {}, 400, "UTF-8"),
    "bad query": ("GET", "/info?a=%", b"", {}, 400, "invalid URL escape"),
    "semicolon": ("GET", "/info?a;b", b"", {}, 400, "semicolon"),
    "too many parameters": ("GET", "/info?" + "a&" * 1001, b"", {}, 400, "too many"),
    "version too old": ("GET", "/v1.23/info", b"", {}, 400, "too old"),
    "version too new": ("GET", "/v1.99/info", b"", {}, 400, "too new"),
    "version of nonsense": ("GET", "/v1.x/info", b"", {}, 404, "page not found"),
    "version twice": ("GET", "/v1.43/v1.43/info", b"", {}, 404, "page not found"),
    "newer operation": ("POST", "/v1.24/containers/prune", b"", {}, 404, "page not found"),
    "limit is no number": ("GET", "/containers/json?limit=x", b"", {}, 400, "ParseInt"),
    "limit over 64 bits": ("GET", "/containers/json?limit=9" + "9" * 20, b"", {}, 400, "ParseInt"),
    "filters are no JSON": ("GET", "/containers/json?filters={", b"", {}, 400, "filters"),
    "filters are a list": ("GET", "/containers/json?filters=[]", b"", {}, 400, "invalid filter"),
    "unknown filter": ("GET", '/containers/json?filters={"x":["y"]}', b"", {}, 400, "filter"),
    "no body": ("POST", "/containers/create", b"", {"Content-Type": "application/json"}, 400,
                "EOF"),
    "no type": ("POST", "/containers/create", b"{}", {}, 400, "malformed Content-Type"),
    "text": ("POST", "/containers/create", b"{}", {"Content-Type": "text/plain"}, 400,
             "must be 'application/json'"),
    "form": ("POST", "/containers/create", b"a=b",
             {"Content-Type": "application/x-www-form-urlencoded"}, 400, "must be"),
    "name too short": ("POST", "/containers/x/rename?name=x", b"", {}, 404, "No such container"),
    "no name": ("POST", "/containers/x/rename", b"", {}, 400, "may be empty"),
    "swarm": ("GET", "/swarm", b"", {}, 503, "not a swarm manager"),
    "services": ("GET", "/services", b"", {}, 503, "not a swarm manager"),
    "swarm init": ("POST", "/swarm/init", b"", {}, 501, "swarm mode is not supported"),
    "plugin pull": ("POST", "/plugins/pull?remote=x", b"", {}, 501, "not supported"),
}  # fmt: skip

# Bodies of POST /containers/create, and what the refusal must name.
BODIES: dict[str, tuple[bytes, str]] = {
    "empty object": (b"{}", "config cannot be empty"),
    "null": (b"null", "config cannot be empty"),
    "list": (b"[]", "the request's body is a list"),
    "string": (b'"x"', "the request's body is a string"),
    "cut": (b'{"Image":', "invalid JSON"),
    "two documents": (b'{"Image":"x"} {}', "invalid JSON"),
    "duplicate key": (b'{"Image":"x","Image":"y"}', "duplicate key"),
    "NaN": (b'{"Image":"x","StopTimeout":NaN}', "invalid JSON"),
    "lone surrogate": (b'{"Image":"\\ud800"}', "invalid JSON"),
    "not UTF-8": (b'{"Image":"\xff"}', "invalid JSON"),
    "deep": (b'{"a":' + b"[" * 100_000, "nested deeper"),
    "NUL": (b'{"Image":"a\\u0000b"}', "Image holds a NUL"),
    "no image": (b'{"Cmd":["x"]}', "invalid reference format"),
    "bad image": (b'{"Image":"UPPER:case:"}', "invalid reference format"),
}
TYPES = {  # one wrong type for each kind of field
    "Cmd": 1, "Entrypoint": {}, "Env": "A=b", "Labels": ["a"], "Tty": "true", "OpenStdin": 1,
    "StopTimeout": "5", "User": 5, "ExposedPorts": [], "Volumes": "x", "Healthcheck": "x",
    "Healthcheck.Interval": "5s", "Healthcheck.Test": "x", "HostConfig": [],
    "HostConfig.Memory": "1g", "HostConfig.NanoCpus": 1.5, "HostConfig.Binds": "a:b",
    "HostConfig.Privileged": "yes", "HostConfig.PortBindings": [],
    "HostConfig.RestartPolicy": "always", "HostConfig.RestartPolicy.MaximumRetryCount": "3",
    "HostConfig.LogConfig.Config": [], "HostConfig.Ulimits": {}, "HostConfig.Devices": [1],
    "HostConfig.Sysctls": {"a": 1}, "HostConfig.Tmpfs": {"/t": 1}, "HostConfig.Mounts": {},
    "HostConfig.Dns": [1], "HostConfig.CapAdd": {}, "HostConfig.PidsLimit": True,
    "HostConfig.OomKillDisable": 0, "HostConfig.ShmSize": 1 << 63,
    "NetworkingConfig": [], "NetworkingConfig.EndpointsConfig": [],
}  # fmt: skip


def exchange(api: ApiServer, data: bytes, *, half_close: bool = False) -> bytes:
    """Everything that comes back until the server closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        wire.settimeout(TIMEOUT_S)
        wire.connect(api.path)
        try:
            wire.sendall(data)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # answered before it was all sent
        found = b""
        with suppress(ConnectionResetError):  # some of what we sent was not read
            while more := wire.recv(65536):
                found += more
        return found


@pytest.mark.sec("E4")
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(api: ApiServer, name: str) -> None:
    data, statuses = MALFORMED[name]
    answer = exchange(api, data, half_close=name.startswith("truncated"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in statuses, head
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["message"]


@pytest.mark.sec("E3")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(api: ApiServer, name: str) -> None:
    method, target, body, headers, status, text = REFUSED[name]
    connection = api.connection()
    try:
        for _ in range(2):  # the connection goes on
            connection.request(
                method, target.replace("{", "%7B").replace('"', "%22"), body, headers
            )
            answer = connection.getresponse()
            found = answer.read()
            assert (answer.status, text in json.loads(found)["message"]) == (status, True), found
            assert answer.headers["Api-Version"] == "1.51"
    finally:
        connection.close()


@pytest.mark.sec("E10")
@pytest.mark.parametrize("name", BODIES)
def test_bad_body(api: ApiServer, name: str) -> None:
    body, text = BODIES[name]
    reply = api.request("POST", "/containers/create", body, Content_Type="application/json")
    assert reply.status == 400
    assert text in reply.json()["message"]


@pytest.mark.sec("E10")
@pytest.mark.parametrize("path", TYPES)
def test_a_wrong_type_names_its_field(api: ApiServer, path: str) -> None:
    value: object = TYPES[path]
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    reply = api.request("POST", "/containers/create", {"Image": "x", **value})
    assert reply.status == 400, reply.body
    assert path in reply.json()["message"]


def test_slow_heads_and_silence_hold_nobody(api: ApiServer) -> None:
    wires = []
    try:
        for piece in (b"", b"GET /in", b"GET /info HTTP/1.1\r\nHost:"):
            for _ in range(20):
                wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                wires.append(wire)
                wire.connect(api.path)
                wire.sendall(piece)
        assert api.request("GET", "/_ping").body == b"OK"
    finally:
        for wire in wires:
            wire.close()


def test_requests_one_after_another_in_one_piece(api: ApiServer) -> None:
    one = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
    last = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    assert exchange(api, one * 5 + last).count(b"HTTP/1.1 200 OK") == 6


def test_http_1_0(api: ApiServer) -> None:
    answer = exchange(api, b"GET /_ping HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nOK")


def test_expect_continue(api: ApiServer) -> None:
    """The client's body is asked for only when it is wanted."""
    head = JSON + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        wire.settimeout(TIMEOUT_S)
        wire.connect(api.path)
        wire.sendall(head)
        assert wire.recv(65536).startswith(b"HTTP/1.1 100 ")
        wire.sendall(b"{}")
        assert wire.recv(65536).startswith(b"HTTP/1.1 400 ")
    unwanted = head.replace(b"/containers/create", b"/nosuch")
    assert exchange(api, unwanted).startswith(b"HTTP/1.1 404 ")


@pytest.mark.sec("E6")
def test_the_socket_is_for_its_group(api: ApiServer) -> None:
    status = os.stat(api.path)
    assert status.st_mode & 0o777 == 0o660
    assert status.st_uid == 0


@pytest.mark.sec("E6")
def test_a_socket_to_look_only(onggi: Onggi, tmp_path: Path, busybox: str) -> None:
    path = tmp_path / "look.sock"
    with api_server(COMMAND, onggi.environment, tmp_path, "--read-only", str(path)) as whole:
        body = {"Image": busybox, "Cmd": ["true"], "HostConfig": {"Binds": [f"{path}:/s"]}}
        made = whole.request("POST", "/containers/create", body).json()
        assert "socket of the API is mounted at /s" in made["Warnings"][0]
        looks = ApiServer(str(path), onggi.environment, whole.log, 0)
        assert len(looks.request("GET", "/containers/json?all=1").json()) == 1
        assert looks.request("HEAD", "/_ping").status == 200
        for method, target in (
            ("POST", "/containers/create"), ("DELETE", f"/containers/{made['Id']}"),
            ("PUT", f"/containers/{made['Id']}/archive?path=/"), ("POST", "/v1.43/auth"),
            ("GET", f"/containers/{made['Id']}/attach/ws?stream=1&stdin=1"),
        ):  # fmt: skip
            assert looks.request(method, target).status == 403, target
    assert not path.exists()


# -- the program


@pytest.mark.sec("E1")
def test_tcp_without_certificates_is_refused(onggi: Onggi) -> None:
    for address in ("tcp://127.0.0.1:2375", "tcp://0.0.0.0:2375", "tcp://:2375"):
        refused = onggi("serve", "-H", address, code=1)
        assert "without TLS" in refused.stderr
        assert all(way in refused.stderr for way in ("--tlsverify", "unix://", "fd://"))
    incomplete = onggi("serve", "-H", "tcp://127.0.0.1:2376", "--tlsverify", code=1)
    assert "--tlscacert, --tlscert, --tlskey" in incomplete.stderr
    for address in ("x", "http://x", "tcp://h:x", "unix://relative"):
        assert "invalid bind address" in onggi("serve", "-H", address, code=1).stderr


def certificates(directory: Path) -> None:
    """An authority, a server and a client of it, and a client of another authority."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    extension = directory / "server.ext"
    extension.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for authority in ("ca", "otherca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                f"/CN={authority}", "-keyout", f"{authority}.key", "-out",
                f"{authority}.pem")  # fmt: skip
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "otherca")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout",
                f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{authority}.pem",
                "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", "server.ext",
                "-out", f"{name}.pem")  # fmt: skip


class Tcp:
    """A server on TCP with client certificates."""

    def __init__(self, port: int, directory: Path) -> None:
        self.port = port
        self.directory = directory

    def ask(self, head: str, client: str = "client") -> str:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if client:
            context.load_cert_chain(
                self.directory / f"{client}.pem", self.directory / f"{client}.key"
            )
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wire,
        ):
            wire.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            return wire.recv(65536).decode()


@pytest.fixture(scope="module")
def tcp(shared_onggi: Onggi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tcp]:
    directory = tmp_path_factory.mktemp("tls")
    certificates(directory)
    port = free_port()
    flags = ["-H", f"tcp://127.0.0.1:{port}", "--tlsverify"]
    for flag, name in (("cacert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")):
        flags += [f"--tls{flag}", str(directory / name)]
    with api_server(COMMAND, shared_onggi.environment, directory, *flags):
        yield Tcp(port, directory)


def test_tcp_with_a_certificate(tcp: Tcp, api: ApiServer) -> None:
    assert tcp.ask("GET /_ping HTTP/1.1\nHost: localhost").startswith("HTTP/1.1 200 ")
    found = api.docker(
        "--tlsverify", "--tlscacert", str(tcp.directory / "ca.pem"),
        "--tlscert", str(tcp.directory / "client.pem"), "--tlskey",
        str(tcp.directory / "client.key"), "-H", f"tcp://localhost:{tcp.port}", "version",
        "--format", "{{.Server.APIVersion}}", DOCKER_HOST="",
    )  # fmt: skip
    assert found.stdout == "1.51\n"


@pytest.mark.sec("E1")
@pytest.mark.parametrize("client", ["", "stranger"])
def test_tcp_knows_its_clients(tcp: Tcp, client: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        answer = tcp.ask("GET /_ping HTTP/1.1\nHost: localhost", client)
        raise ConnectionError if not answer else AssertionError(answer)


@pytest.mark.sec("E2")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: evil", 421), ("Host: evil:2376", 421), ("Host: localhost.evil", 421),
        ("Host: [::2]", 421), ("Host: ", 421), ("Host: localhost\nOrigin: http://evil", 403),
        ("Host: localhost\nOrigin: null", 403), ("Host: localhost\nOrigin: https://localhost", 403),
        ("Host: LOCALHOST:1", 200), ("Host: 127.0.0.1", 200), ("Host: [::1]:2376", 200),
    ],
)  # fmt: skip
def test_whom_tcp_answers(tcp: Tcp, headers: str, status: int) -> None:
    assert tcp.ask(f"GET /_ping HTTP/1.1\n{headers}").startswith(f"HTTP/1.1 {status} ")


def test_attach_over_tls(tcp: Tcp, api: ApiServer, busybox: str) -> None:
    """A hijacked stream and the half-close of its input, through the docker client."""
    flags = ["--tlsverify", "-H", f"tcp://localhost:{tcp.port}"]
    for flag, name in (("cacert", "ca.pem"), ("cert", "client.pem"), ("key", "client.key")):
        flags += [f"--tls{flag}", str(tcp.directory / name)]
    text = "over tls\n" * 20_000
    done = api.docker(*flags, "run", "-i", "--rm", busybox, "cat", stdin=text, DOCKER_HOST="")
    assert done.stdout == text


@pytest.mark.sec("E7")
def test_the_log_tells_no_secrets(api: ApiServer) -> None:
    marker = "s3cr3t-" + os.urandom(8).hex()
    api.request("POST", f"/build?buildargs={marker}&remote=x", X_Registry_Config=marker)
    api.request("POST", f"/images/create?fromSrc={marker}", X_Registry_Auth=marker)
    api.request("POST", "/auth", {"username": "u", "password": marker})
    api.request("POST", f"/commit?comment={marker}&container=nosuch")
    assert "POST /build?buildargs=[redacted]&remote=x" in (text := api.log.read_text())
    assert marker not in text


def test_metrics(onggi: Onggi, tmp_path: Path, api: ApiServer) -> None:
    with api_server(COMMAND, onggi.environment, tmp_path, "--metrics") as server:
        server.request("GET", "/_ping")
        deadline = time.monotonic() + 60
        counted = 'onggi_api_requests_total{operation="GET /_ping",status="200"} 1'
        while counted not in (reply := server.request("GET", "/metrics")).body.decode():
            assert time.monotonic() < deadline, reply.body  # it counts when it has answered
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert api.request("GET", "/metrics").status == 404


def test_a_second_server_does_not_take_the_socket(api: ApiServer, onggi: Onggi) -> None:
    refused = onggi("serve", "-H", api.url, code=1)
    assert "another server is there" in refused.stderr
    assert api.request("GET", "/_ping").status == 200


def test_a_killed_server_touches_no_container(onggi: Onggi, tmp_path: Path, busybox: str) -> None:
    """Nor does one that is asked to stop; and the next one knows what the first one started."""
    path, log = tmp_path / "k.sock", tmp_path / "k.log"

    def started() -> "subprocess.Popen[bytes]":
        with log.open("ab") as file:
            process = subprocess.Popen(
                [COMMAND, "serve", "-H", f"unix://{path}"],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=onggi.environment,
            )  # fmt: skip
        api = ApiServer(str(path), onggi.environment, log, 0)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                assert api.request("GET", "/_ping").status == 200
                return process
            except OSError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)

    api = ApiServer(str(path), onggi.environment, log, 0)
    process = started()
    try:
        script = "trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done"
        body = {"Image": busybox, "Cmd": ["sh", "-c", script]}
        container = api.request("POST", "/containers/create?name=survivor", body).json()["Id"]
        assert api.request("POST", f"/containers/{container}/start").status == 204
        pid = onggi.out("inspect", "-f", "{{.State.Pid}}", "survivor")
        for number in (signal.SIGKILL, signal.SIGTERM):
            children = spawner_of(process.pid)
            assert children
            process.send_signal(number)
            process.wait(TIMEOUT_S)
            await_end(children)
            assert onggi.out("inspect", "-f", "{{.State.Pid}}", "survivor") == pid
            assert onggi.out("exec", "survivor", "echo", "alive") == "alive"
            process = started()
        assert api.request("POST", f"/containers/{container}/stop").status == 204
        assert onggi.out("logs", "survivor") == "told"
        found = api.request("GET", f"/containers/{container}/json").json()["State"]
        assert (found["Status"], found["ExitCode"]) == ("exited", 0)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
    assert not path.exists()


def spawner_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while any(Path(f"/proc/{pid}/status").exists() and not is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline, f"the spawner outlives its server: {pids}"
        time.sleep(0.02)


def is_zombie(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_units(onggi: Onggi) -> None:
    text = onggi.out("serve", "--print-unit")
    assert "ListenStream=" in text and "serve -H fd://" in text
    assert "KillMode=process" in text


def test_socket_activation(onggi: Onggi, tmp_path: Path) -> None:
    """As systemd hands a socket over: descriptor 3, and who it is for in the environment."""
    path = tmp_path / "handed.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(16)
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
            "os.execv(sys.argv[2], [sys.argv[2], 'serve', '-H', 'fd://'])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno()), str(COMMAND)],
            pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=onggi.environment,
        )  # fmt: skip
        try:
            api = ApiServer(str(path), onggi.environment, tmp_path / "none", 0)
            assert api.request("GET", "/_ping").body == b"OK"
        finally:
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
    without = onggi("serve", "-H", "fd://", code=1)
    assert "handed over no socket" in without.stderr
