"""The client against Debian's docker-registry, with skopeo as the other one who speaks to it."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import NotFound, Unauthorized, Unavailable
from onggi.progress import Event, Layer
from onggi.registry.client import Registry
from onggi.registry.config import HostSettings, Settings
from onggi.registry.credentials import Credentials
from onggi.registry.manifests import write_manifest
from onggi.registry.pulling import Pulled
from onggi.registry.pushing import Known, Pushed, PushImage
from onggi.registry.session import Patience
from onggi.spec.digest import Digest
from onggi.spec.image import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    parse_manifest,
)
from onggi.spec.platform import Platform
from onggi.spec.reference import parse_reference
from registry_images import Memory, image_of
from registry_server import RegistryServer, needs_registry, registry_server

pytestmark = needs_registry
AMD64 = Platform("linux", "amd64")
QUICK = Patience(attempts=5, first_s=0.01, longest_s=0.05)
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo")


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Client:
    """One user of a registry."""

    def __init__(self, server: RegistryServer, home: Path, **settings: HostSettings) -> None:
        self.server = server
        self.events: list[Event] = []
        self.config = home / "docker" / "config.json"
        self.registry = Registry(
            Settings({**settings}, ()), Credentials(str(self.config)), patience=QUICK
        )

    def push(self, name: str, image: PushImage) -> Pushed:
        self.events.clear()
        reference = parse_reference(f"{self.server.host}/{name}")
        return self.registry.push(reference, image, self.events.append)

    def pull(self, name: str, sink: Memory) -> Pulled:
        self.events.clear()
        reference = parse_reference(f"{self.server.host}/{name}")
        return self.registry.pull(reference, AMD64, sink, self.events.append)

    def actions(self) -> set[str]:
        return {
            e.action for e in self.events if isinstance(e, Layer) and not e.action.endswith("ing")
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def client(server: RegistryServer, tmp_path: Path) -> Client:
    return Client(server, tmp_path)


SMALL = tar_of(hello=b"hello\n")
LARGE = tar_of(noise=os.urandom(3 << 20))


def test_what_was_pushed_is_pulled(client: Client) -> None:
    pushed = client.push("round/trip:1", image_of(SMALL, LARGE))
    assert client.actions() == {"Pushed"}
    assert "Retrying" not in {event.action for event in client.events if isinstance(event, Layer)}
    sink = Memory()
    pulled = client.pull("round/trip:1", sink)
    assert pulled.digest == pushed.digest
    assert pulled.manifest == pushed.manifest
    assert [sink.layers[layer.diff_id] for layer in pulled.layers] == [SMALL, LARGE]
    assert client.pull(f"round/trip@{pushed.digest}", Memory()).config == pulled.config


def test_what_is_there_is_not_pushed_again(client: Client) -> None:
    first = client.push("again:1", image_of(SMALL, LARGE))
    assert client.push("again:2", image_of(SMALL, LARGE)) == first
    assert client.actions() == {"Layer already exists"}


def test_blobs_of_another_repository_are_mounted(client: Client) -> None:
    first = client.push("source/app:1", image_of(LARGE))
    blob = first.layers[0][1]
    known = Known(blob.digest, blob.size_bytes, f"{client.server.host}/source/app")
    again = client.push("target/app:1", image_of(LARGE, known=known))
    mounts = [e for e in client.events if isinstance(e, Layer) and e.action == "Mounted from"]
    assert [event.detail for event in mounts] == ["source/app"]
    assert again.digest == first.digest


def test_a_mount_that_the_registry_refuses_becomes_an_upload(client: Client) -> None:
    known = Known(Digest.of(b"nobody has this"), 15, f"{client.server.host}/no/where")
    client.push("unmounted:1", image_of(LARGE, known=known))
    assert client.actions() == {"Pushed"}


def test_an_oci_image_keeps_its_manifest(client: Client) -> None:
    image = image_of(SMALL)
    digest, size, _ = image.layers[0].compress()
    config = Descriptor(OCI_CONFIG, Digest.of(image.config), len(image.config))
    manifest = write_manifest(OCI_MANIFEST, config, [Descriptor(OCI_LAYER + "+gzip", digest, size)])
    spaced = manifest.replace(b",", b" ,")  # bytes we would never write
    pushed = client.push("oci:1", image._replace(manifest=spaced))
    assert pushed.manifest == spaced
    pulled = client.pull("oci:1", Memory())
    assert parse_manifest(pulled.manifest).media_type == OCI_MANIFEST
    assert pulled.digest == Digest.of(spaced)


def test_a_built_image_is_docker_v2s2_in_dockers_layout(client: Client) -> None:
    pushed = client.push("built:1", image_of(SMALL))
    assert parse_manifest(pushed.manifest).media_type == DOCKER_MANIFEST
    assert pushed.manifest.startswith(b'{\n   "schemaVersion": 2,\n   "mediaType": "')


def test_tags_are_listed(client: Client) -> None:
    for tag in ("b", "a", "c"):
        client.push(f"many:{tag}", image_of(SMALL))
    reference = parse_reference(f"{client.server.host}/many")
    assert sorted(client.registry.tags(reference)) == ["a", "b", "c"]
    with pytest.raises(NotFound, match=r"repository .*/none not found"):
        client.registry.tags(parse_reference(f"{client.server.host}/none"))


def test_a_tag_that_is_not_there(client: Client) -> None:
    client.push("there:1", image_of(SMALL))
    with pytest.raises(NotFound) as caught:
        client.pull("there:2", Memory())
    name = f"{client.server.host}/there:2"
    text = f"manifest for {name} not found: manifest unknown: manifest unknown"
    assert caught.value.message == text


# authentication


@pytest.fixture(scope="module", params=["basic", "token"])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryServer]:
    home = tmp_path_factory.mktemp("guarded")
    users = {"me": "pa:ss wörd"}
    with registry_server(home, users=users, tokens=request.param == "token") as running:
        yield running


def test_login_push_pull_logout(guarded: RegistryServer, tmp_path: Path) -> None:
    client = Client(guarded, tmp_path)
    with pytest.raises(Unauthorized) as caught:
        client.push("app:1", image_of(SMALL, LARGE))
    assert caught.value.hint == f"onggi login {guarded.host}"
    assert client.registry.login(guarded.host, "me", "pa:ss wörd")
    assert client.config.stat().st_mode & 0o777 == 0o600
    pushed = client.push("app:1", image_of(SMALL, LARGE))
    assert client.pull("app:1", Memory()).digest == pushed.digest
    assert client.registry.logout(guarded.host)
    assert not client.registry.logout(guarded.host)
    with pytest.raises(Unauthorized):
        client.push("app:2", image_of(SMALL))


def test_mount_with_credentials(guarded: RegistryServer, tmp_path: Path) -> None:
    client = Client(guarded, tmp_path)
    client.registry.login(guarded.host, "me", "pa:ss wörd")
    blob = client.push("one/app:1", image_of(LARGE)).layers[0][1]
    known = Known(blob.digest, blob.size_bytes, f"{guarded.host}/one/app")
    client.push("two/app:1", image_of(LARGE, known=known))
    assert client.actions() == {"Mounted from"}


def test_wrong_password(guarded: RegistryServer, tmp_path: Path) -> None:
    client = Client(guarded, tmp_path)
    with pytest.raises(Unauthorized) as caught:
        client.registry.login(guarded.host, "me", "marker-secret")
    assert "incorrect username or password" in caught.value.message or (
        caught.value.message
        == f"login attempt to {guarded.url}/v2/ failed with status: 401 Unauthorized"
    )
    assert "marker-secret" not in str(caught.value)
    assert not client.config.exists()


# TLS


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("secure"), tls=True) as running:
        yield running


def test_tls_with_its_authority(secure: RegistryServer, tmp_path: Path) -> None:
    client = Client(secure, tmp_path, **{secure.host: HostSettings(ca=secure.ca)})
    pushed = client.push("app:1", image_of(LARGE))
    assert client.pull("app:1", Memory()).digest == pushed.digest


def test_tls_with_a_directory_of_certificates(secure: RegistryServer, tmp_path: Path) -> None:
    directory = tmp_path / "certs.d" / secure.host
    directory.mkdir(parents=True)
    shutil.copy(secure.ca, directory / "ca.crt")
    client = Client(secure, tmp_path)
    client.registry = Registry(
        Settings({}, (str(tmp_path / "certs.d"),)), Credentials(str(client.config))
    )
    client.push("app:2", image_of(SMALL))


@pytest.mark.sec("C15")
def test_tls_without_its_authority_is_refused(secure: RegistryServer, tmp_path: Path) -> None:
    client = Client(secure, tmp_path, **{secure.host: HostSettings(insecure=False)})
    with pytest.raises(Unavailable, match="certificate signed by unknown authority"):
        client.push("app:1", image_of(SMALL))


@pytest.mark.sec("C15")
def test_tls_for_another_host_is_refused(tmp_path: Path) -> None:
    with registry_server(tmp_path, tls=True) as other:
        home = Path(other.ca).parent
        port = other.host.rpartition(":")[2]
        elsewhere = other._replace(host=f"localhost:{port}")
        client = Client(
            elsewhere, tmp_path, **{elsewhere.host: HostSettings(ca=str(home / "ca.crt"))}
        )
        with pytest.raises(Unavailable, match="certificate is not valid for localhost"):
            client.push("app:1", image_of(SMALL))


@pytest.mark.sec("C15")
def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    with registry_server(tmp_path, tls=True, days=-1) as other:
        client = Client(other, tmp_path, **{other.host: HostSettings(ca=other.ca)})
        with pytest.raises(Unavailable, match="certificate has expired or is not yet valid"):
            client.push("app:1", image_of(SMALL))


def test_plain_http_where_https_is_wanted(client: Client, tmp_path: Path) -> None:
    strict = Client(client.server, tmp_path, **{client.server.host: HostSettings(insecure=False)})
    with pytest.raises(Unavailable) as caught:
        strict.push("app:1", image_of(SMALL))
    assert caught.value.message.endswith("http: server gave HTTP response to HTTPS client")
    assert f'[registry."{client.server.host}"] plain_http = true' in (caught.value.hint or "")


# skopeo


@needs_skopeo
def test_skopeo_reads_what_we_push(client: Client, tmp_path: Path) -> None:
    pushed = client.push("for/skopeo:1", image_of(SMALL, LARGE))
    target = tmp_path / "dir"
    skopeo(
        "copy", "--src-tls-verify=false", "--preserve-digests",
        f"docker://{client.server.host}/for/skopeo:1", f"dir:{target}",
    )  # fmt: skip
    assert Digest.of((target / "manifest.json").read_bytes()) == pushed.digest


@needs_skopeo
def test_we_read_what_skopeo_pushes(client: Client, tmp_path: Path) -> None:
    source = oci_layout(tmp_path, SMALL, LARGE)
    name = f"{client.server.host}/from/skopeo:1"
    skopeo(
        "copy",
        "--dest-tls-verify=false",
        "--preserve-digests",
        f"oci:{source}:1",
        f"docker://{name}",
    )
    sink = Memory()
    pulled = client.pull("from/skopeo:1", sink)
    digest = json.loads((source / "index.json").read_bytes())["manifests"][0]["digest"]
    assert pulled.digest == digest
    assert sorted(sink.layers.values()) == sorted([SMALL, LARGE])


def skopeo(*arguments: str) -> None:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def oci_layout(home: Path, *tars: bytes) -> Path:
    """An OCI layout with one image of uncompressed layers, tagged 1."""
    root = home / "layout"
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return f"sha256:{name}"

    config = image_of(*tars).config
    layers = [Descriptor(OCI_LAYER, Digest(add(tar)), len(tar)) for tar in tars]
    manifest = write_manifest(
        OCI_MANIFEST, Descriptor(OCI_CONFIG, Digest(add(config)), len(config)), layers
    )
    entry = {
        "mediaType": OCI_MANIFEST, "digest": add(manifest), "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    }  # fmt: skip
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return root
