"""`registry serve`: the local store as a registry of docker's, podman's and skopeo's kind."""

import hashlib
import http.client
import json
import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Onggi
from .peers import Podman, skopeo

pytestmark = pytest.mark.root


class Registry:
    def __init__(self, port: int) -> None:
        self.port = port
        self.name = f"127.0.0.1:{port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read()
        finally:
            connection.close()

    def code_of(self, method: str, path: str, body: bytes | None = None, **headers: str) -> str:
        status, _, data = self.ask(method, path, body, **headers)
        return f"{status} {json.loads(data)['errors'][0]['code']}"


@contextmanager
def served(onggi: Onggi, *flags: str) -> Iterator[Registry]:
    process = onggi.popen("registry", "serve", "--listen", "127.0.0.1:0", "-q", *flags)
    try:
        assert process.stderr is not None
        deadline = time.monotonic() + 60
        ready = select.select([process.stderr], [], [], deadline - time.monotonic())[0]
        line = process.stderr.readline() if ready else ""
        found = re.search(r"registry listens on 127\.0\.0\.1:([0-9]+)", line)
        assert found, line
        yield Registry(int(found[1]))
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "fault" not in errors


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_images_are_given(onggi: Onggi, busybox: str, lone_onggi: Onggi, tmp_path: Path) -> None:
    onggi("tag", busybox, "team/app:1")
    with served(onggi) as registry:
        assert registry.ask("GET", "/v2/")[0] == 200
        names = json.loads(registry.ask("GET", "/v2/_catalog")[2])["repositories"]
        assert {"busybox", "team/app"} <= set(names)
        status, headers, data = registry.ask("GET", "/v2/_catalog?n=1")
        assert json.loads(data)["repositories"] == names[:1]
        assert f"last={names[0]}" in headers["link"]
        assert json.loads(registry.ask("GET", "/v2/team/app/tags/list")[2]) == {
            "name": "team/app", "tags": ["1"],
        }  # fmt: skip
        status, headers, manifest = registry.ask("GET", "/v2/busybox/manifests/latest")
        assert headers["docker-content-digest"] == digest_of(manifest)
        by_digest = f"/v2/library/busybox/manifests/{digest_of(manifest)}"
        assert registry.ask("GET", by_digest)[2] == manifest
        assert registry.ask("HEAD", by_digest)[1]["content-length"] == str(len(manifest))
        layer = json.loads(manifest)["layers"][0]
        path = f"/v2/busybox/blobs/{layer['digest']}"
        blob = registry.ask("GET", path)[2]
        assert (digest_of(blob), len(blob)) == (layer["digest"], layer["size"])
        status, headers, part = registry.ask("GET", path, Range="bytes=1000-1999")
        assert (status, part) == (206, blob[1000:2000])
        assert headers["content-range"] == f"bytes 1000-1999/{len(blob)}"
        assert registry.ask("GET", path, Range=f"bytes={len(blob)}-")[0] == 416
        assert registry.code_of("GET", "/v2/nosuch/tags/list") == "404 NAME_UNKNOWN"
        assert registry.code_of("GET", "/v2/busybox/manifests/no") == "404 MANIFEST_UNKNOWN"
        unknown = f"/v2/busybox/blobs/sha256:{'0' * 64}"
        assert registry.code_of("GET", unknown) == "404 BLOB_UNKNOWN"
        assert registry.code_of("POST", "/v2/busybox/blobs/uploads/", b"") == "405 UNSUPPORTED"
        assert registry.code_of("PUT", "/v2/busybox/manifests/x", b"{}") == "405 UNSUPPORTED"
        assert registry.ask("GET", "/v2/", Host="evil.example")[0] == 421
        skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{registry.name}/team/app:1",
             f"oci:{tmp_path}/copy:1")  # fmt: skip
        lone_onggi("pull", f"{registry.name}/busybox")
    assert lone_onggi.out("run", "--rm", f"{registry.name}/busybox", "echo", "here") == "here"
    lone_onggi("rmi", f"{registry.name}/busybox")


def test_what_is_pushed_is_given_back_as_it_came(
    onggi: Onggi, busybox: str, lone_onggi: Onggi, tmp_path: Path
) -> None:
    onggi("save", "-o", str(tmp_path / "image.tar"), busybox)
    with served(lone_onggi, "--writable") as registry:
        place = f"docker://{registry.name}/pushed/box:1"
        skopeo("copy", "-q", "--dest-tls-verify=false", "--dest-compress-format", "gzip",
             f"docker-archive:{tmp_path}/image.tar", place)  # fmt: skip
        _, _, manifest = registry.ask("GET", "/v2/pushed/box/manifests/1")
        (layer,) = json.loads(manifest)["layers"]
        assert layer["mediaType"].endswith("gzip")
        blob = registry.ask("GET", f"/v2/pushed/box/blobs/{layer['digest']}")[2]
        assert digest_of(blob) == layer["digest"]
        assert blob[:2] == b"\x1f\x8b"
        lone_onggi("image", "prune", "-f")
        skopeo("copy", "-q", "--src-tls-verify=false", place, f"dir:{tmp_path}/back")
        assert (tmp_path / "back" / "manifest.json").read_bytes() == manifest
        assert lone_onggi.out("run", "--rm", "pushed/box:1", "echo", "here") == "here"
        onggi("tag", busybox, f"{registry.name}/from/onggi:2")
        onggi("push", f"{registry.name}/from/onggi:2")
        onggi("rmi", f"{registry.name}/from/onggi:2")
    tags = lone_onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(tags) == ["from/onggi:2", "pushed/box:1"]
    lone_onggi("rmi", *tags)
    assert not list((lone_onggi.root / "blobs" / "sha256").iterdir())


def test_podman_pulls_and_pushes(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    podman = Podman(tmp_path / "podman")
    with served(onggi, "--writable") as registry:
        podman.pull(f"{registry.name}/{busybox}")
        podman("push", "-q", "--tls-verify=false", podman.policy, f"{registry.name}/{busybox}",
               f"{registry.name}/from/podman:2")  # fmt: skip
    assert onggi.out("run", "--rm", "from/podman:2", "echo", "here") == "here"
    onggi("rmi", "from/podman:2")


def test_uploads_part_by_part(lone_onggi: Onggi) -> None:
    """The ways of distribution-spec to bring a blob in, and those that are refused."""
    data = b"x" * 5000
    digest = digest_of(data)
    with served(lone_onggi, "--writable") as registry:
        ask, code_of = registry.ask, registry.code_of
        status, headers, _ = ask("POST", "/v2/app/blobs/uploads/", b"")
        place = headers["location"]
        assert (status, headers["range"]) == (202, "0-0")
        status, headers, _ = ask("PATCH", place, data[:2000], Content_Range="0-1999")
        assert (status, headers["range"]) == (202, "0-1999")
        wrong = ask("PATCH", place, data[:10], Content_Range="5-14")
        assert wrong[0] == 416
        assert ask("GET", place)[1]["range"] == "0-1999"  # where to go on
        assert ask("PATCH", place, data[2000:4000], Content_Range="2000-3999")[0] == 202
        assert ask("PUT", f"{place}?digest={digest}", data[4000:])[0] == 201
        assert ask("GET", f"/v2/app/blobs/{digest}")[2] == data
        assert code_of("PATCH", place, b"x") == "404 BLOB_UPLOAD_UNKNOWN"
        mounted = ask("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app", b"")
        assert mounted[0] == 201
        whole = digest_of(b"all at once")
        url = f"/v2/app/blobs/uploads/?digest={whole}"
        assert ask("POST", url, b"all at once")[0] == 201
        place = ask("POST", "/v2/app/blobs/uploads/", b"")[1]["location"]
        assert code_of("PUT", f"{place}?digest={digest}", b"other") == "400 DIGEST_INVALID"
        place = ask("POST", "/v2/app/blobs/uploads/", b"")[1]["location"]
        assert code_of("PUT", f"{place.replace('/app/', '/else/')}?digest={digest}", b"") == (
            "404 BLOB_UPLOAD_UNKNOWN"
        )
        assert ask("DELETE", place)[0] == 204
        put = "/v2/app/manifests/1"
        assert code_of("PUT", put, b"no json") == "400 MANIFEST_INVALID"
        assert ask("PUT", put, b" " * (4 << 20) + b"{}")[0] == 413
        missing = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
                   "digest": "sha256:" + "0" * 64}  # fmt: skip
        manifest = json.dumps({"schemaVersion": 2, "config": missing, "layers": []}).encode()
        kind = "application/vnd.oci.image.manifest.v1+json"
        assert code_of("PUT", put, manifest, Content_Type=kind) == "404 BLOB_UNKNOWN"
        index = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
        kind = "application/vnd.oci.image.index.v1+json"
        assert code_of("PUT", put, index, Content_Type=kind) == "400 MANIFEST_INVALID"
    lone_onggi("image", "prune", "-f")
    assert not list((lone_onggi.root / "blobs" / "sha256").iterdir())  # nothing named them


def test_who_may_not_be_let_in(onggi: Onggi) -> None:
    for flags, problem in (
        (("--listen", "0.0.0.0:0"), "without TLS"),
        (("--listen", "0.0.0.0:0", "--plain-http", "--writable"), "could replace any image"),
        (("--listen", "nonsense"), "invalid address"),
        (("--tls-cert", "/x"), "go together"),
    ):
        done = onggi("registry", "serve", *flags, code=1)
        assert problem in done.stderr
