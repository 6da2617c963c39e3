"""POST /build through the socket: contexts, parameters that act, failures, clients that go."""

import base64
import gzip
import io
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from api_server import ApiServer, Reply
from registry_server import needs_registry, registry_server

from .conftest import Onggi

pytestmark = pytest.mark.root


def context(dockerfile: str, **files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in {"Dockerfile": dockerfile, **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


class Builder:
    """Builds as apitest/built, unless it is told another name."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api

    def __call__(self, body: bytes, api_version: str = "1.51", **parameters: Any) -> Reply:
        asked = {"t": "apitest/built", **parameters}
        query = urlencode({k: v for k, v in asked.items() if v is not None}, doseq=True)
        return self.api.request(
            "POST", f"/v{api_version}/build?{query}", body, Content_Type="application/x-tar"
        )

    def output(self, body: bytes, **parameters: Any) -> str:
        """What a build that must succeed said."""
        lines = self(body, **parameters).lines()
        assert "error" not in lines[-1], lines
        return "".join(line.get("stream", "") for line in lines)

    def image(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.request("GET", "/images/apitest/built/json").json()
        return found


@pytest.fixture
def build(api: ApiServer, onggi: Onggi, busybox: str) -> Iterator[Builder]:
    yield Builder(api)
    onggi("rmi", "-f", "apitest/built", code=None)
    onggi("image", "prune", "-f")


def test_a_build_speaks_as_the_classic_builder(build: Builder) -> None:
    lines = build(context('FROM busybox\nRUN echo hello > /f && cat /f\nCMD ["x"]\n')).lines()
    said = [line["stream"] for line in lines if "stream" in line]
    assert said[0] == "Step 1/3 : FROM busybox\n"
    assert "hello\n" in said
    (aux,) = [line["aux"] for line in lines if "aux" in line]
    assert aux == {"ID": build.image()["Id"]}
    short = aux["ID"].removeprefix("sha256:")[:12]
    assert said[-2:] == [
        f"Successfully built {short}\n",
        "Successfully tagged apitest/built:latest\n",
    ]
    again = build(context('FROM busybox\nRUN echo hello > /f && cat /f\nCMD ["x"]\n')).lines()
    assert {"stream": " ---> Using cache\n"} not in again  # it is one line with what follows
    assert any(" ---> Using cache\n" in line.get("stream", "") for line in again)
    assert not any(
        "aux" in line for line in build(context("FROM busybox"), api_version="1.29").lines()
    )


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_files_come_from_the_context(build: Builder, pack: Any) -> None:
    files = {".dockerignore": "secret\n", "a/b": "inside", "secret": "no"}
    body = pack(context("FROM busybox\nCOPY . /c\nRUN cat /c/a/b && test ! -e /c/secret", **files))
    assert "inside" in build.output(body, nocache=1)


def test_a_dockerfile_alone(build: Builder) -> None:
    assert "alone" in build.output(b"FROM busybox\nRUN echo alone\n")


def test_an_archive_without_its_end(build: Builder, tmp_path: Path, api: ApiServer) -> None:
    """As docker's client sends it when the Dockerfile is not in the context."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context/file").write_text("inside\n")
    (tmp_path / "Other").write_text("FROM busybox\nCOPY . /c\nRUN ls -A /c && cat /c/file\n")
    done = api.docker("build", "-f", str(tmp_path / "Other"), str(tmp_path / "context"))
    assert "inside\n" in done.stdout
    assert ".dockerfile" not in done.stdout
    body = context("FROM busybox\nCOPY last /x\nRUN cat /x\n", last="last words")
    data_end = body.rindex(b"last words") + len("last words")
    assert "last words" in build.output(body[:data_end])
    assert "last words" in build.output(body[: data_end + 7], nocache=1)
    reply = build(body[: data_end - 1], nocache=1)
    assert "cut short" in str(reply.body)


def test_another_dockerfile(build: Builder) -> None:
    body = context("FROM nothing", **{"sub/Other": "FROM busybox\nRUN echo other"})
    assert "other" in build.output(body, dockerfile="sub/Other")
    reply = build(body, dockerfile="none")
    assert reply.status in (400, 404, 500) and "none" in reply.json()["message"]


def test_what_steps_get(build: Builder) -> None:
    text = """FROM busybox AS first
ARG A=0
RUN echo A=$A && cat /etc/hosts && df -k /dev/shm | tail -1 && ulimit -n
FROM busybox
RUN echo never
"""
    output = build.output(
        context(text),
        buildargs=json.dumps({"A": "7", "UNSET": None}),
        extrahosts=["db:10.9.8.7", "cache:10.9.8.6"],
        shmsize=3 << 20,
        ulimits=json.dumps([{"Name": "nofile", "Soft": 321, "Hard": 654}]),
        target="first",
        labels=json.dumps({"by": "api"}),
        networkmode="none",
        memory=64 << 20,
        nocache=1,
        rm="False",
        cachefrom=json.dumps(["busybox"]),
    )
    assert "A=7\n" in output and "never" not in output
    assert "10.9.8.7" in output and "10.9.8.6" in output
    assert "3072" in output and "321\n" in output
    assert build.image()["Config"]["Labels"] == {"by": "api"}


def test_several_names(build: Builder, api: ApiServer, onggi: Onggi) -> None:
    output = build.output(
        context("FROM busybox\nLABEL n=1"), t=["apitest/built", "apitest/second:2"]
    )
    assert "Successfully tagged apitest/second:2\n" in output
    onggi("rmi", "apitest/second:2")
    nameless = build.output(context("FROM busybox\nLABEL n=2"), t=None)
    assert "Successfully tagged" not in nameless


def test_squash(build: Builder, api: ApiServer) -> None:
    build.output(context("FROM busybox\nRUN echo a > /a\nRUN echo b > /b\n"), squash=1)
    base = api.request("GET", "/images/busybox/json").json()["RootFS"]["Layers"]
    assert len(build.image()["RootFS"]["Layers"]) == len(base) + 1


def test_quiet(build: Builder) -> None:
    (line,) = build(context("FROM busybox\nRUN echo x"), q=1).lines()
    assert line == {"stream": f"{build.image()['Id']}\n"}
    lines = build(context("FROM busybox\nRUN echo shown; exit 3"), q=1).lines()
    assert {"stream": "shown\n"} in lines and "returned a non-zero code: 3" in lines[-1]["error"]


def test_failures(build: Builder) -> None:
    lines = build(context("FROM busybox\nRUN echo before; exit 3")).lines()
    assert {"stream": "before\n"} in lines
    assert lines[-1]["errorDetail"] == {"code": 3, "message": lines[-1]["error"]}
    assert "returned a non-zero code: 3" in lines[-1]["error"]
    for text in ("FROM busybox\nNONSENSE x", "", "RUN before from"):
        reply = build(context(text))
        assert reply.status == 400 and reply.json()["message"], text
    for parameters in ({"t": "UPPER"}, {"version": "2"}, {"target": "none"}):
        assert build(context("FROM busybox"), **parameters).status in (400, 501), parameters
    assert build(b"").status == 400
    assert build(b"\x1f\x8bnot really gzip" * 100).status >= 400


class Site(BaseHTTPRequestHandler):
    """/context.tar.gz and /Dockerfile."""

    def do_GET(self) -> None:
        text = b"FROM busybox\nRUN echo from afar\n"
        found = {
            "/context.tar.gz": gzip.compress(context("FROM busybox\nCOPY f /\nRUN cat f", f="far")),
            "/Dockerfile": text,
        }.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *_: object) -> None:
        pass


def test_a_remote_context(build: Builder) -> None:
    with HTTPServer(("127.0.0.1", 0), Site) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            where = f"http://127.0.0.1:{site.server_port}"
            assert "far" in build.output(b"", remote=f"{where}/context.tar.gz", nocache=1)
            assert "from afar" in build.output(b"", remote=f"{where}/Dockerfile", nocache=1)
            assert build(b"", remote=f"{where}/nothing.tar").status >= 400
        finally:
            site.shutdown()
            thread.join()


def test_a_remote_context_is_an_address(build: Builder) -> None:
    assert build(b"", remote="http://127.0.0.1:1/x.tar").status >= 400
    assert build(b"", remote="nothing://x").status == 400
    for path in ("/etc", ".", "-"):  # no directory of the server's host
        reply = build(b"", remote=path)
        assert (reply.status, "could not be recognized" in reply.body.decode()) == (400, True)


@needs_registry
def test_base_images_are_pulled_with_the_clients_credentials(
    build: Builder, api: ApiServer, onggi: Onggi, tmp_path: Path
) -> None:
    with registry_server(tmp_path, users={"me": "pw"}) as registry:
        name = f"{registry.host}/apitest/base"
        secret = {"username": "me", "password": "pw"}
        header = base64.urlsafe_b64encode(json.dumps(secret).encode()).decode()
        onggi("tag", "busybox", name)
        api.request("POST", f"/images/{name}/push?tag=latest", X_Registry_Auth=header)
        onggi("rmi", name)
        body = context(f"FROM {name}\nRUN echo pulled")
        assert "error" in build(body).body.decode() or build(body).status >= 400
        lent = base64.urlsafe_b64encode(json.dumps({registry.host: secret}).encode()).decode()
        reply = api.request(
            "POST", "/build?t=apitest/built", body, X_Registry_Config=lent,
            Content_Type="application/x-tar",
        )  # fmt: skip
        said = reply.lines()
        assert {"stream": "pulled\n"} in said, said
        assert any(line.get("status") == "Pull complete" or "Pulling from" in line.get("status", "")
                   for line in said)  # fmt: skip
        onggi("rmi", "-f", "apitest/built", name)


@pytest.mark.sec("E5")
def test_a_build_ends_with_its_client(build: Builder, api: ApiServer, onggi: Onggi) -> None:
    body = context("FROM busybox\nRUN echo started && sleep 7531\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect(api.path)
        client.sendall(
            b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        said = b""
        while b"started" not in said:
            more = client.recv(65536)
            assert more, said
            said += more
    deadline = time.monotonic() + 60
    while sleeping():
        assert time.monotonic() < deadline, "the step goes on without its client"
        time.sleep(0.05)
    assert onggi.out("ps", "-aq") == ""


def sleeping() -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"sleep\x007531" in Path("/proc", pid, "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def test_an_image_brings_its_cache_along(
    build: Builder, api: ApiServer, onggi: Onggi, tmp_path: Path
) -> None:
    """`cachefrom`, of an image that is all that is left of an earlier build."""
    body = context("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /stamp")
    build.output(body, nocache=1, buildargs=json.dumps({"BUILDKIT_INLINE_CACHE": "1"}))
    first = build.image()
    onggi("save", "-o", str(tmp_path / "image.tar"), "apitest/built")
    onggi("rmi", "-f", "apitest/built")
    onggi("builder", "prune", "-af")
    onggi("load", "-qi", str(tmp_path / "image.tar"))
    onggi("tag", "apitest/built", "apitest/cache:1")
    try:
        said = build.output(body, cachefrom=json.dumps(["nothing:here", "apitest/cache:1"]))
        assert "Using cache" in said
        assert build.image()["RootFS"] == first["RootFS"]
        onggi("builder", "prune", "-af")
        assert "Using cache" not in build.output(body)
    finally:
        onggi("rmi", "-f", "apitest/cache:1")


def test_prune(build: Builder, api: ApiServer) -> None:
    build.output(context("FROM busybox\nRUN echo for the cache > /f"))
    for query, status in (
        ("keep-storage=x", 400),
        ("max-used-space=five", 400),
        (f"filters={quote(json.dumps({'nosuch': ['1']}))}", 400),
        (f"filters={quote(json.dumps({'inuse': ['perhaps']}))}", 400),
        (f"filters={quote(json.dumps({'type': ['regular', 'other']}))}", 400),
        (f"filters={quote(json.dumps({'until': ['1h', '2h']}))}", 400),
        (f"filters={quote(json.dumps({'id': ['(']}))}", 400),
    ):
        assert api.request("POST", f"/build/prune?{query}").status == status, query
    fresh = quote(json.dumps({"until": ["24h"]}))
    kept = api.request("POST", f"/build/prune?filters={fresh}").json()
    assert kept == {"CachesDeleted": None, "SpaceReclaimed": 0}
    for filters in ({"type": ["exec.cachemount"]}, {"description": ["x"]}, {"parent": ["x"]},
                    {"inuse": ["true"]}, {"shared": ["1"], "private": ["1"]}):  # fmt: skip
        chosen = quote(json.dumps(filters))
        kept = api.request("POST", f"/build/prune?all=1&filters={chosen}").json()
        assert kept["CachesDeleted"] is None, filters
    assert api.request("POST", "/build/prune").status == 200  # leaves what an image has
    chosen = quote(json.dumps({"type": {"regular": True}, "inuse": ["0"]}))
    report = api.request("POST", f"/build/prune?all=1&filters={chosen}").json()
    assert report["CachesDeleted"] and report["SpaceReclaimed"] >= 0  # the image has its layer
    assert api.request("POST", "/build/cancel?id=x").status == 404
    assert api.request("POST", "/build/cancel").status == 400


def test_the_docker_client(build: Builder, api: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nARG A\nCOPY f /f\nRUN cat /f && echo A=$A\n"
    )
    (tmp_path / "f").write_text("file\n")
    done = api.docker("build", "-t", "apitest/built", "--build-arg", "A=9", str(tmp_path))
    assert "file\n" in done.stdout and "A=9\n" in done.stdout
    assert "Successfully tagged apitest/built:latest" in done.stdout
    assert api.out("build", "-q", str(tmp_path), "--build-arg", "A=9") == build.image()["Id"]
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 4\n")
    assert "returned a non-zero code: 4" in api.docker("build", str(tmp_path), code=4).stderr
    assert "Total" in api.out("builder", "prune", "-f")
