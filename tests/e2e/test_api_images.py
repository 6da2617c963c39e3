"""/images through the socket, as requests: what each version of the API says, and every refusal."""

import base64
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_server import ApiServer, Reply
from registry_server import RegistryServer, needs_registry, registry_server

from .conftest import Onggi

pytestmark = pytest.mark.root


def filters(**given: list[str]) -> str:
    return quote(json.dumps(given))


def listed(api: ApiServer, target: str) -> list[dict[str, Any]]:
    reply = api.request("GET", target)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json()
    return found


def message(reply: Reply) -> str:
    return str(reply.json()["message"])


@pytest.fixture
def tagged(api: ApiServer, onggi: Onggi, busybox: str) -> Iterator[str]:
    """A second name of busybox."""
    onggi("tag", busybox, "apitest/one:1")
    yield "apitest/one:1"
    onggi("rmi", "-f", "apitest/one:1", code=None)


# -- looking


def test_each_version_lists_in_its_own_way(api: ApiServer, busybox: str, tagged: str) -> None:
    (new,) = listed(api, f"/v1.51/images/json?filters={filters(reference=['apitest/*'])}")
    assert new["RepoTags"] == [tagged]
    assert new["RepoDigests"] == [] and new["Labels"] is None
    assert (new["SharedSize"], new["Containers"]) == (-1, 0)
    assert "VirtualSize" not in new
    (old,) = listed(api, "/v1.40/images/json?filter=apitest/one:1")
    assert old["VirtualSize"] == old["Size"] == new["Size"] > 0
    assert old["Containers"] == -1
    (shared,) = listed(
        api, f"/images/json?shared-size=1&filters={filters(reference=['apitest/*'])}"
    )
    assert shared["SharedSize"] >= 0


def test_nameless_images_are_called_none_by_old_versions(api: ApiServer, onggi: Onggi) -> None:
    id_ = onggi("import", "-", stdin="").stdout.strip()
    try:
        wanted = filters(dangling=["true"])
        (old,) = [
            item
            for item in listed(api, f"/v1.42/images/json?filters={wanted}")
            if item["Id"] == id_
        ]
        assert (old["RepoTags"], old["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])
        (new,) = [
            item
            for item in listed(api, f"/v1.43/images/json?filters={wanted}")
            if item["Id"] == id_
        ]
        assert (new["RepoTags"], new["RepoDigests"]) == ([], [])
    finally:
        onggi("rmi", id_)


def test_filters_of_every_age(api: ApiServer, tagged: str) -> None:
    for form in ({"reference": ["apitest/one"]}, {"reference": {"apitest/one": True}}):
        assert len(listed(api, f"/images/json?filters={quote(json.dumps(form))}")) == 1
    reply = api.request("GET", f"/images/json?filters={filters(nosuch=['x'])}")
    assert (reply.status, message(reply)) == (400, "invalid filter 'nosuch'")
    reply = api.request("GET", f"/images/json?filters={filters(dangling=['x'])}")
    assert (reply.status, message(reply)) == (400, "invalid filter 'dangling=[x]'")
    assert api.request("GET", "/images/json?filters=%7B").status == 400


def test_inspect(api: ApiServer, busybox: str, tagged: str) -> None:
    new = api.request("GET", "/images/apitest/one:1/json").json()
    assert tagged in new["RepoTags"]
    assert new["Config"]["Cmd"] == ["sh"] and new["Config"]["User"] == ""
    assert "Tty" not in new["Config"] and "VirtualSize" not in new
    old = api.request("GET", "/v1.43/images/apitest/one:1/json").json()
    assert old["Config"]["Tty"] is False
    assert old["VirtualSize"] == old["Size"] and old["Container"] == ""
    reply = api.request("GET", "/images/ghost/json")
    assert (reply.status, message(reply)) == (404, "No such image: ghost:latest")
    other = quote(json.dumps({"os": "linux", "architecture": "s390x"}))
    reply = api.request("GET", f"/images/busybox/json?platform={other}")
    assert reply.status == 404 and "the specified platform" in message(reply)
    assert api.request("GET", f"/v1.48/images/busybox/json?platform={other}").status == 200
    reply = api.request("GET", f"/images/busybox/json?platform={other}&manifests=1")
    assert reply.status == 400 and "conflicting options" in message(reply)
    for bad in ("{", "[]", "{}", '{"os":"linux"}', '{"variant":"v7"}'):
        reply = api.request("GET", f"/images/busybox/json?platform={quote(bad)}")
        assert reply.status == 400, bad


def test_history(api: ApiServer, busybox: str) -> None:
    (row,) = api.request("GET", "/images/busybox/history").json()
    assert row["Id"].startswith("sha256:") and "busybox:latest" in row["Tags"]
    assert set(row) == {"Comment", "Created", "CreatedBy", "Id", "Size", "Tags"}
    assert api.request("GET", "/images/ghost/history").status == 404


# -- naming


def test_tag(api: ApiServer, busybox: str, onggi: Onggi) -> None:
    reply = api.request("POST", "/images/busybox/tag?repo=apitest/tag&tag=x")
    assert (reply.status, reply.body) == (201, b"")
    assert onggi.out("images", "-q", "apitest/tag:x")
    (gone,) = api.request("DELETE", "/images/apitest/tag:x").json()
    assert gone == {"Untagged": "apitest/tag:x"}
    for query, status in (
        ("repo=apitest/tag&tag=a%20b", 400),
        ("repo=UPPER", 400),
        ("tag=x", 400),
        ("repo=sha256", 400),
        (f"repo=a@sha256:{'0' * 64}", 400),
    ):
        assert api.request("POST", f"/images/busybox/tag?{query}").status == status, query
    assert api.request("POST", "/images/ghost/tag?repo=a").status == 404


def test_remove(api: ApiServer, onggi: Onggi, tagged: str) -> None:
    onggi("create", "--name", "holder", tagged)
    onggi("tag", tagged, "apitest/two")
    assert api.request("DELETE", "/images/apitest/two").json() == [
        {"Untagged": "apitest/two:latest"}
    ]
    reply = api.request("DELETE", "/images/ghost")
    assert (reply.status, message(reply)) == (404, "No such image: ghost:latest")
    onggi("rm", "holder")


def test_prune(api: ApiServer, onggi: Onggi) -> None:
    (line,) = api.request("POST", "/images/create?fromSrc=-", layer()).lines()
    id_ = line["status"]
    reply = api.request("POST", f"/images/prune?filters={filters(**{'label!': ['keep']})}")
    report = reply.json()
    assert {"Deleted": id_} in report["ImagesDeleted"]
    assert report["SpaceReclaimed"] > 0
    again = api.request("POST", "/images/prune").json()
    assert again == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    reply = api.request("POST", f"/images/prune?filters={filters(dangling=['perhaps'])}")
    assert reply.status == 400


def test_search_refuses_before_it_asks_anybody(api: ApiServer) -> None:
    for query in ("limit=-1", "limit=x", f"filters={filters(nosuch=['1'])}", "term=http://x"):
        assert api.request("GET", f"/images/search?{query}").status == 400, query
    automated = filters(**{"is-automated": ["true"]})
    assert api.request("GET", f"/images/search?term=x&filters={automated}").json() == []


# -- archives


def test_get_and_load_of_several(api: ApiServer, onggi: Onggi, busybox: str, tagged: str) -> None:
    reply = api.request("GET", f"/images/get?names={tagged}&names=busybox")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
    assert sorted(image["RepoTags"]) == [tagged, "busybox:latest"]
    onggi("rmi", tagged)
    loaded = api.request("POST", "/images/load?quiet=1", reply.body)
    assert {"stream": f"Loaded image: {tagged}\n"} in loaded.lines()
    told = api.request("POST", "/images/load?quiet=0", reply.body).lines()
    assert any(line.get("status") == "Loading layer" for line in told)
    one = api.request("GET", f"/images/{tagged}/get")
    assert one.status == 200 and one.body
    assert api.request("GET", "/images/get?names=ghost").status == 404


def test_what_is_no_archive_is_an_error_in_the_stream(api: ApiServer) -> None:
    reply = api.request("POST", "/images/load", b"no archive" * 100)
    (line,) = reply.lines()
    assert reply.status == 200 and line["errorDetail"]["message"] == line["error"]


def layer() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    return data.getvalue()


def test_import(api: ApiServer, onggi: Onggi) -> None:
    query = (
        "fromSrc=-&repo=apitest/imported&message=said&changes=ENV%20A=1&changes=CMD%20%5B%22x%22%5D"
    )
    reply = api.request("POST", f"/images/create?{query}", layer())
    (line,) = reply.lines()
    found = api.request("GET", "/images/apitest/imported/json").json()
    assert line == {"status": found["Id"]}
    assert (found["Config"]["Env"], found["Config"]["Cmd"]) == (["A=1"], ["x"])
    assert found["Comment"] == "said"
    onggi("rmi", "apitest/imported")
    reply = api.request("POST", "/images/create?fromSrc=-&changes=RUN%20x", layer())
    assert reply.status == 400
    assert api.request("POST", "/images/create?fromSrc=-", b"x" * 2000).status >= 400


def test_import_from_a_url(api: ApiServer, onggi: Onggi) -> None:
    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(layer())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Site) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            source = f"127.0.0.1:{site.server_port}/layer.tar"
            reply = api.request("POST", f"/images/create?fromSrc={source}&repo=apitest/web&tag=1")
        finally:
            site.shutdown()
            thread.join()
    first, last = reply.lines()
    assert first == {"status": f"Downloading from http://{source}"}
    assert last["status"].startswith("sha256:")
    onggi("rmi", "apitest/web:1")
    refused = api.request("POST", f"/images/create?fromSrc={source}")
    assert refused.status == 503 and "connection refused" in message(refused)


# -- registries


def auth(**fields: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("reg"), users={"me": "pw"}) as server:
        yield server


@needs_registry
def test_push_and_pull_with_credentials(
    api: ApiServer, onggi: Onggi, busybox: str, guarded: RegistryServer
) -> None:
    name = f"{guarded.host}/apitest/private"
    onggi("tag", busybox, f"{name}:1")
    mine = auth(username="me", password="pw", serveraddress=guarded.host)
    refused = api.request("POST", f"/images/{name}/push?tag=1").lines()
    assert "errorDetail" in refused[-1]
    pushed = api.request("POST", f"/images/{name}/push?tag=1", X_Registry_Auth=mine).lines()
    assert pushed[0] == {"status": f"The push refers to repository [{name}]"}
    (aux,) = [line["aux"] for line in pushed if "aux" in line]
    assert aux["Tag"] == "1" and aux["Digest"].startswith("sha256:") and aux["Size"] > 0
    onggi("rmi", f"{name}:1")

    denied = api.request("POST", f"/images/create?fromImage={name}&tag=1")
    assert denied.status in (401, 404, 500) and "message" in denied.json()
    basic = auth(auth=base64.b64encode(b"me:pw").decode())
    for header in (mine, basic, mine.rstrip("=")):
        pulled = api.request(
            "POST", f"/images/create?fromImage={name}&tag=1", X_Registry_Auth=header
        )
        assert pulled.lines()[-1]["status"].startswith("Status: "), pulled.body
    assert pulled.lines()[0] == {"status": "Pulling from apitest/private", "id": "1"}
    digest = aux["Digest"]
    by_digest = api.request(
        "POST", f"/images/create?fromImage={name}&tag={digest}", X_Registry_Auth=mine
    )
    assert {"status": f"Digest: {digest}"} in by_digest.lines()
    every = api.request("POST", f"/images/create?fromImage={name}", X_Registry_Auth=mine)
    assert every.lines()[-1]["status"].startswith("Status: ")

    found = api.request("GET", f"/distribution/{name}:1/json", X_Registry_Auth=mine).json()
    assert found["Descriptor"]["digest"] == digest
    assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    assert api.request("GET", f"/distribution/{name}:1/json").status == 401
    onggi("rmi", f"{name}:1")
    onggi("image", "prune", "-f")


@needs_registry
def test_auth(api: ApiServer, guarded: RegistryServer) -> None:
    mine = {"username": "me", "password": "pw", "serveraddress": guarded.host}
    reply = api.request("POST", "/auth", mine)
    assert (reply.status, reply.json()) == (
        200,
        {"Status": "Login Succeeded", "IdentityToken": ""},
    )
    reply = api.request("POST", "/auth", {**mine, "password": "wrong"})
    assert reply.status == 401 and "wrong" not in message(reply)
    assert api.request("POST", "/auth", {}).status == 400
    assert api.request("POST", "/auth", {**mine, "registrytoken": "t"}).status == 501
    assert "pw" not in api.log.read_text().replace("pwd", "")


@pytest.mark.sec("E7")
@pytest.mark.parametrize("header", ["%%%", "bm8ganNvbg==", "WzFd", "_w==", "eyJ1c2VybmFtZSI6MX0="])
def test_unreadable_credentials_are_refused_and_not_repeated(api: ApiServer, header: str) -> None:
    for method, target in (
        ("POST", "/images/create?fromImage=localhost:1/x"),
        ("POST", "/images/busybox/push"),
        ("GET", "/distribution/localhost:1/x/json"),
    ):
        reply = api.request(method, target, X_Registry_Auth=header)
        assert reply.status == 400 and header not in message(reply)
    assert header not in api.log.read_text()


def test_credentials_of_a_megabyte_are_no_header(api: ApiServer) -> None:
    reply = api.request("POST", "/images/busybox/push", X_Registry_Auth="A" * (1 << 20))
    assert reply.status == 431


def test_pull_refuses_what_is_no_name(api: ApiServer) -> None:
    for query, status in (
        ("fromImage=UPPER", 400),
        ("fromImage=a&tag=b%20c", 400),
        ("fromImage=a&platform=%2F%2F", 400),
        ("fromImage=scratch", 403),
        (f"repo=a@sha256:{'0' * 64}", 400),
    ):
        assert api.request("POST", f"/images/create?{query}").status == status, query


# -- the docker client


def test_the_docker_client(api: ApiServer, onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    assert "busybox" in api.out("images")
    api.docker("tag", busybox, "apitest/cli")
    assert "apitest/cli" in api.out("images", "--format", "{{.Repository}}", "--digests")
    assert api.out("image", "inspect", "-f", "{{.Os}}", "apitest/cli") == "linux"
    assert api.out("history", "-q", "apitest/cli").count("\n") == 0
    archive = tmp_path / "saved.tar"
    api.docker("save", "-o", str(archive), "apitest/cli", busybox)
    assert api.out("rmi", "apitest/cli") == "Untagged: apitest/cli:latest"
    assert "Loaded image: apitest/cli:latest" in api.out("load", "-i", str(archive))
    imported = api.docker("import", "-", "apitest/cli:2", stdin="")
    assert imported.stdout.startswith("sha256:")
    assert "untagged: apitest/cli:2" in api.out("rmi", "apitest/cli", "apitest/cli:2").lower()
    assert "Total reclaimed space" in api.out("image", "prune", "-f")
    assert "No such image: ghost:latest" in api.docker("rmi", "ghost", code=1).stderr


@needs_registry
def test_the_docker_client_and_a_registry(
    api: ApiServer, onggi: Onggi, busybox: str, guarded: RegistryServer, tmp_path: Path
) -> None:
    mine = {"DOCKER_CONFIG": str(tmp_path)}
    name = f"{guarded.host}/apitest/cli:1"
    onggi("tag", busybox, name)
    refused = api.docker("push", name, code=1, **mine)
    assert "no basic auth credentials" in refused.stderr
    wrong = api.docker(
        "login", "-u", "me", "--password-stdin", guarded.host, stdin="wrong", code=1, **mine
    )
    assert "unauthorized" in wrong.stderr.lower()
    done = api.docker("login", "-u", "me", "--password-stdin", guarded.host, stdin="pw", **mine)
    assert "Login Succeeded" in done.stdout
    pushed = api.docker("push", name, **mine).stdout
    assert "1: digest: sha256:" in pushed
    api.docker("rmi", name)
    pulled = api.docker("pull", name, **mine).stdout
    assert f"Status: Downloaded newer image for {name}" in pulled
    assert "Status: Image is up to date" in api.docker("pull", "-a", name[:-2], **mine).stdout
    assert api.docker("pull", "-q", name, **mine).stdout.strip() == name
    api.docker("rmi", name)
