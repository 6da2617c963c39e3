"""testcontainers-python from PyPI against the socket: PostgreSQL and Redis of Debian's packages,
and a reaper that removes what a killed test left, as Ryuk does.

Ryuk itself is an image that only a registry has. What the library and the reaper say to each other
and to the engine is the same here: a line with a label on a TCP connection, and when that is cut, a
list by label and the removal of what it says, through the mounted socket.
"""

import importlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from redis_image import redis_image

from .conftest import Onggi

pytest.importorskip("testcontainers")
pytestmark = [pytest.mark.root, pytest.mark.filterwarnings("ignore")]

# What the official image's entrypoint does with its three variables.
POSTGRES_START = """\
#!/bin/sh
set -e
as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -e /data/PG_VERSION ]; then
    install -d -o postgres -g postgres -m 700 /data
    printf %s "$POSTGRES_PASSWORD" >/tmp/password && chown postgres /tmp/password
    as initdb -D /data -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>/data/pg_hba.conf
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "CREATE DATABASE \\"$POSTGRES_DB\\"" |
            as postgres --single -D /data postgres >/dev/null
    fi
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups \\
    postgres -D /data -k /tmp -c "listen_addresses=*"
"""

REAPER = """\
import http.client, json, socket, sys, urllib.parse

class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

def ask(method, target):
    engine = Engine("localhost")
    engine.request(method, "/v1.29" + target)
    answer = engine.getresponse().read()
    return json.loads(answer) if answer else None

server = socket.create_server(("0.0.0.0", 8080))
print("reaper Started!", flush=True)
client, _ = server.accept()
labels = []
try:
    for line in client.makefile("rb"):
        labels.append(line.decode().strip().partition("label=")[2])
        client.sendall(b"ACK\\n")
except OSError:
    pass  # cut, not closed
chosen = urllib.parse.quote(json.dumps({"label": labels}))
for container in ask("GET", "/containers/json?all=1&filters=" + chosen):
    ask("DELETE", "/containers/" + container["Id"] + "?force=1&v=1")
for network in ask("GET", "/networks?filters=" + chosen):
    ask("DELETE", "/networks/" + network["Id"])
ask("POST", "/volumes/prune?filters=" + urllib.parse.quote(json.dumps({"label": labels})))
"""


def tar(**files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def built(api: ApiServer, tag: str, context: bytes) -> str:
    reply = api.request("POST", f"/build?t={tag}", context, Content_Type="application/x-tar")
    assert b"Successfully tagged" in reply.body, reply.body
    return tag


@pytest.fixture
def postgres_image(api: ApiServer, onggi: Onggi, loaded: Callable[[str], str]) -> str:
    loaded("postgres:15")
    dockerfile = 'FROM postgres:15\nCOPY start /start\nENTRYPOINT ["/start"]\nEXPOSE 5432\n'
    return built(api, "tc/postgres:15", tar(Dockerfile=dockerfile, start=POSTGRES_START))


@pytest.fixture
def testcontainers(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library, pointed at our socket as its documentation says."""
    monkeypatch.setenv("DOCKER_HOST", api.url)
    config = importlib.import_module("testcontainers.core.config").testcontainers_config
    config.ryuk_disabled = True
    config.sleep_time = 0.1
    config.max_tries = 1200
    yield importlib.import_module("testcontainers.core.container")


def test_postgres(testcontainers: Any, onggi: Onggi, postgres_image: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("testcontainers.community.postgres")
    with module.PostgresContainer(postgres_image, username="me", password="p'w", dbname="db") as pg:
        assert pg.get_connection_url().startswith("postgresql")
        question = ["psql", "-h", "/tmp", "-U", "me", "db", "-Atc", "select 6 * 7"]
        asked = pg.exec(testcontainers.ExecConfig(question, environment={"PGPASSWORD": "p'w"}))
        assert (asked.exit_code, asked.output) == (0, b"42\n")
        port = int(pg.get_exposed_port(5432))
        with socket.create_connection((pg.get_container_host_ip(), port), 60) as client:
            client.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # SSLRequest
            assert client.recv(1) in (b"N", b"S")
        out, err = pg.get_logs()
        assert b"database system is ready to accept connections" in out + err
        assert len(onggi.out("ps", "-q").split()) == 1
    assert onggi.out("ps", "-aq") == ""


def test_redis(testcontainers: Any, onggi: Onggi) -> None:
    pytest.importorskip("redis")
    onggi("load", "-q", "-i", str(redis_image()))
    module = importlib.import_module("testcontainers.community.redis")
    with module.RedisContainer("redis:7", password="pw") as container:
        client = container.get_client()
        assert client.set("key", "value") and client.get("key") == b"value"
        client.close()
    assert onggi.out("ps", "-aq") == ""


def test_networks_volumes_files_and_waits(
    testcontainers: Any, onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    waits = importlib.import_module("testcontainers.core.waiting_utils")
    networks = importlib.import_module("testcontainers.core.network")
    (tmp_path / "f").write_text("mounted\n")
    with networks.Network() as network:
        container = (
            testcontainers.DockerContainer(busybox)
            .with_command("sh -c 'cat /m/f; echo $A is up; exec sleep 1000'")
            .with_env("A", "variable")
            .with_volume_mapping(str(tmp_path), "/m")
            .with_tmpfs_mount("/t", "size=1m")
            .with_network(network)
            .with_network_aliases("box")
            .with_kwargs(hostname="named", cap_drop=["ALL"], mem_limit="64m")
        )
        with container:
            waits.wait_for_logs(container, "variable is up", timeout=60)
            assert b"mounted" in container.get_logs()[0]
            assert container.exec("hostname").output == b"named\n"
            assert container.exec(["sh", "-c", "exit 7"]).exit_code == 7
            info = container.get_wrapped_container().attrs
            assert info["HostConfig"]["Memory"] == 64 << 20
    assert onggi.out("ps", "-aq") == ""


def test_a_reaper_removes_what_a_killed_test_left(
    api: ApiServer, onggi: Onggi, busybox: str, loaded: Callable[[str], str]
) -> None:
    loaded("python:3.11")
    dockerfile = 'FROM python:3.11\nCOPY reaper.py /\nCMD ["python3", "/reaper.py"]\n'
    built(api, "tc/reaper:1", tar(Dockerfile=dockerfile, **{"reaper.py": REAPER}))
    program = textwrap.dedent(f"""
        import os, signal
        from testcontainers.core.container import DockerContainer
        container = DockerContainer({busybox!r}).with_command("sleep 1000").start()
        print(container.get_container_id(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={
            **os.environ,
            "DOCKER_HOST": api.url,
            "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": api.path,
            "RYUK_CONTAINER_IMAGE": "tc/reaper:1",
            "TC_POOLING_INTERVAL": "0.1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -9 and done.stdout.strip(), done.stderr
    deadline = time.monotonic() + 60
    while onggi.out("ps", "-aq"):  # the test's container, and the reaper's own after it
        assert time.monotonic() < deadline, onggi.out("ps", "-a")
        time.sleep(0.05)
