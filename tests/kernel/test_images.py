"""The image service over a real store and Debian's docker-registry, with skopeo and kill -9."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_registry import Answer, digest, fake_registry
from onggi.engine.engine import Settings
from onggi.engine.events import Events
from onggi.engine.images import Images
from onggi.errors import CorruptData, InvalidInput, NotFound
from onggi.progress import Event, Layer, Message
from onggi.spec.digest import Digest
from onggi.spec.image import OCI_MANIFEST, parse_manifest
from onggi.store.store import Store
from registry_images import image_of
from registry_server import RegistryServer, needs_registry, registry_server

pytestmark = [needs_registry, pytest.mark.root]
SOURCE = Path(__file__).parents[2] / "src"
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo")


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Machine:
    """One onggi with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(str(home / "root"), str(home / "run"))
        settings = Settings(docker_config=str(home / "docker/config.json"))
        self.images = Images(self.store, settings, Events(str(home / "run")))
        self.events: list[Event] = []

    def said(self) -> list[str]:
        lines = [event.text for event in self.events if isinstance(event, Message)]
        self.events.clear()
        return lines

    def actions(self) -> list[str]:
        return [event.action for event in self.events if isinstance(event, Layer)]

    def build(self, name: str, *tars: bytes) -> Digest:
        """An image as the builder leaves one: no manifest."""
        image = image_of(*tars)
        for tar in tars:
            self.store.layers.ingest([tar])
        from onggi.spec.reference import parse_reference

        return self.store.images.add(image.config, tags=[parse_reference(name)]).id

    def export(self, reference: str) -> bytes:
        """The tars of all layers."""
        parts = []
        for diff_id in self.images.get(reference).config.diff_ids:
            with self.store.layers.open_tar(diff_id) as tar:
                parts.append(tar.read())
        return b"".join(parts)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "here")
    yield machine
    machine.store.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "there")
    yield machine
    machine.store.close()


BASE = tar_of(etc=b"base")
APP = tar_of(app=os.urandom(2 << 20))


def test_push_and_pull_say_what_docker_says(
    here: Machine, there: Machine, registry: RegistryServer
) -> None:
    name = f"{registry.host}/said/app"
    image_id = here.build(f"{name}:latest", BASE, APP)
    here.images.push(name, here.events.append)
    said = here.said()
    assert said[:2] == ["Using default tag: latest", f"The push refers to repository [{name}]"]
    pushed = said[2].split()
    assert (pushed[0], pushed[1], pushed[3]) == ("latest:", "digest:", "size:")
    image = there.images.pull(name, report=there.events.append)
    assert there.said() == [
        "Using default tag: latest",
        "latest: Pulling from said/app",
        f"Digest: {pushed[2]}",
        f"Status: Downloaded newer image for {name}:latest",
    ]
    assert image.id == image_id
    assert image.repo_digests == (f"{name}@{pushed[2]}",) == here.images.get(name).repo_digests
    assert there.export(name) == BASE + APP
    there.images.pull(f"{name}:latest", report=there.events.append)
    assert there.actions() == []
    assert there.said()[-1] == f"Status: Image is up to date for {name}:latest"
    there.images.pull(f"{name}@{pushed[2]}", report=there.events.append)
    assert there.said() == [
        f"{pushed[2]}: Pulling from said/app",
        f"Digest: {pushed[2]}",
        f"Status: Image is up to date for {name}@{pushed[2]}",
    ]
    assert there.images.get(name).tags == (f"{name}:latest",)


def test_a_pulled_image_keeps_its_digest_when_pushed(
    here: Machine, there: Machine, registry: RegistryServer
) -> None:
    name, copy = f"{registry.host}/keep/app:1", f"{registry.host}/keep/copy:1"
    here.build(name, BASE, APP)
    here.images.push(name)
    there.images.pull(name)
    there.images.tag(name, copy)
    there.images.push(copy, there.events.append)
    assert set(there.actions()) == {"Preparing", "Mounted from"}
    first, second = (item.partition("@")[2] for item in sorted(there.images.get(copy).repo_digests))
    assert first == second
    assert there.store.images.manifest_bytes(there.images.get(copy).id) is not None
    here.images.push(name, here.events.append)
    assert set(here.actions()) == {"Preparing", "Layer already exists"}


def test_only_new_layers_travel(here: Machine, there: Machine, registry: RegistryServer) -> None:
    base, app = f"{registry.host}/travel/base:1", f"{registry.host}/travel/app:1"
    here.build(base, APP)
    here.images.push(base)
    here.build(app, APP, BASE)
    here.images.push(app, here.events.append)
    assert here.actions().count("Mounted from") == here.actions().count("Pushed") == 1
    there.images.pull(base)
    there.images.pull(app, report=there.events.append)
    assert there.actions().count("Already exists") == there.actions().count("Pull complete") == 1


def test_a_moved_tag_leaves_the_old_image(
    here: Machine, there: Machine, registry: RegistryServer
) -> None:
    name = f"{registry.host}/moved:1"
    old = here.build(name, BASE)
    here.images.push(name)
    there.images.pull(name)
    here.build(name, APP)
    here.images.push(name)
    there.images.pull(name, report=there.events.append)
    assert there.said()[-1] == f"Status: Downloaded newer image for {name}"
    assert there.images.get(old).tags == ()


def test_all_tags(here: Machine, there: Machine, registry: RegistryServer) -> None:
    name = f"{registry.host}/every"
    for tag in ("a", "b"):
        here.build(f"{name}:{tag}", tar_of(tag=tag.encode()))
    here.images.push(name, here.events.append, all_tags=True)
    assert [line[:10] for line in here.said()] == ["The push r", "a: digest:", "b: digest:"]
    there.images.pull(name, all_tags=True)
    assert sorted(tag for image in there.images.list() for tag in image.tags) == [
        f"{name}:a",
        f"{name}:b",
    ]
    with pytest.raises(InvalidInput, match="tag can't be used"):
        there.images.pull(f"{name}:a", all_tags=True)


def test_what_cannot_be_pushed(here: Machine, registry: RegistryServer) -> None:
    name = f"{registry.host}/none"
    for every in (False, True):
        with pytest.raises(NotFound, match="An image does not exist locally with the tag: "):
            here.images.push(name, all_tags=every)
    here.build(f"{name}:other", tar_of(other=b""))
    with pytest.raises(NotFound, match=f"tag does not exist: {name}:latest"):
        here.images.push(name)
    with pytest.raises(InvalidInput, match="cannot push a digest reference"):
        here.images.push(f"{name}@sha256:{'0' * 64}")
    with pytest.raises(InvalidInput, match="refusing to create a tag with a digest"):
        here.build("x:1", BASE)
        here.images.tag("x:1", f"{name}@sha256:{'0' * 64}")


def test_platform_that_is_another_warns(here: Machine, registry: RegistryServer) -> None:
    name = f"{registry.host}/arm:1"
    here.build(name, BASE)
    here.images.push(name)
    here.images.pull(name, platform="linux/arm64", report=here.events.append)
    words = "was found but does not match the specified platform: wanted linux/arm64, actual: "
    assert any(words in getattr(event, "text", "") for event in here.events)


# inspect, history


def test_inspect_in_dockers_order(here: Machine, registry: RegistryServer) -> None:
    name = f"{registry.host}/look:1"
    image_id = here.build(name, BASE)
    here.images.push(name)
    found = here.images.inspect(name)
    assert list(found) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "DockerVersion", "Author", "Config",
        "Architecture", "Os", "Size", "GraphDriver", "RootFS", "Metadata",
    ]  # fmt: skip
    assert found["Id"] == image_id
    assert found["RepoTags"] == [name]
    assert found["Config"] == {"Env": ["PATH=/bin"]}
    assert found["RootFS"] == {"Type": "layers", "Layers": [Digest.of(BASE)]}


def test_history_and_import(here: Machine) -> None:
    image_id = here.images.import_(
        io.BytesIO(BASE).read, "me/base:1", ['CMD ["sh"]', "ENV A=b"], "from a test"
    )
    (row,) = here.images.history("me/base:1")
    assert (row.id, row.size_bytes, row.comment) == (image_id, len(BASE), "from a test")
    assert row.tags == ("me/base:1",)
    assert here.images.get("me/base:1").config.cmd == ("sh",)
    assert here.images.get(image_id).config.env == ("A=b",)


def test_save_and_load(here: Machine, there: Machine) -> None:
    image_id = here.build("me/app:1", BASE, APP)
    buffer = io.BytesIO()
    here.images.save(["me/app:1"], buffer.write)
    buffer.seek(0)
    assert there.images.load(buffer.read) == ["me/app:1"]
    assert there.images.get("me/app:1").id == image_id


# peers


@needs_skopeo
def test_skopeo_pushes_oci_with_zstd_and_we_push_it_on(
    here: Machine, there: Machine, registry: RegistryServer, tmp_path: Path
) -> None:
    here.build("me/app:1", BASE, APP)
    archive = tmp_path / "archive.tar"
    with archive.open("wb") as file:
        here.images.save(["me/app:1"], file.write)
    name, copy = f"{registry.host}/zstd/app:1", f"{registry.host}/zstd/copy:1"
    skopeo(
        "copy", "--dest-tls-verify=false", "--format", "oci", "--dest-compress-format", "zstd",
        f"docker-archive:{archive}", f"docker://{name}",
    )  # fmt: skip
    image = there.images.pull(name)
    manifest = there.store.images.manifest_bytes(image.id)
    assert manifest is not None
    parsed = parse_manifest(manifest)
    assert parsed.media_type == OCI_MANIFEST
    assert there.export(name) == BASE + APP
    there.images.tag(name, copy)
    there.images.push(copy)
    assert skopeo_digest(name) == skopeo_digest(copy) == Digest.of(manifest)


@needs_skopeo
def test_skopeo_copies_what_we_push(
    here: Machine, registry: RegistryServer, tmp_path: Path
) -> None:
    name = f"{registry.host}/ours/app:1"
    here.build(name, BASE, APP)
    here.images.push(name)
    (repo_digest,) = here.images.get(name).repo_digests
    assert skopeo_digest(name) == repo_digest.partition("@")[2]
    skopeo(
        "copy", "--src-tls-verify=false", f"docker://{name}", f"docker-archive:{tmp_path}/x.tar:a:b"
    )


def skopeo(*arguments: str) -> bytes:
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo_digest(name: str) -> Digest:
    return Digest.of(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))


# trouble


@pytest.mark.sec("C7")
def test_a_layer_of_another_diff_id_is_not_kept(here: Machine) -> None:
    with fake_registry() as registry:
        registry.add_image([BASE, APP], "1")
        manifest = json.loads(registry.documents["1"][0])
        config = json.loads(registry.blobs[manifest["config"]["digest"]])
        config["rootfs"]["diff_ids"][1] = digest(b"another")
        data = json.dumps(config).encode()
        manifest["config"].update(digest=registry.add_blob(data), size=len(data))
        registry.add_document(manifest, manifest["mediaType"], "1")
        with pytest.raises(CorruptData):
            here.images.pull(f"{registry.host}/app:1")
    assert not here.store.layers.has(Digest.of(APP))
    assert here.images.list() == []


def test_login_says_where_the_password_lies(here: Machine, tmp_path: Path) -> None:
    with registry_server(tmp_path, users={"me": "marker"}) as guarded:
        here.images.login(guarded.host, "me", "marker", here.events.append)
        assert here.said()[0].startswith("WARNING! Your credentials are stored unencrypted in '")
        name = f"{guarded.host}/secret:1"
        here.build(name, BASE)
        here.images.push(name, here.events.append)
        assert "marker" not in "".join(map(repr, here.events))
        assert here.images.logout(guarded.host)
        assert not here.images.logout(guarded.host)


PULL = """
import sys
sys.path.insert(0, sys.argv[1])
from onggi.engine.engine import Settings
from onggi.engine.events import Events
from onggi.engine.images import Images
from onggi.store.store import Store
run = sys.argv[2] + "/run"
images = Images(Store(sys.argv[2] + "/root", run), Settings(), Events(run))
images.pull(sys.argv[3])
"""


def pulling(here: Machine, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", PULL, str(SOURCE), str(here.home), name]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_that_is_ended_in_the_middle(here: Machine, sent: signal.Signals) -> None:
    """The second layer stalls after some bytes; the first one is stored when the signal comes."""
    with fake_registry() as registry:
        registry.add_image([BASE, APP], "1")
        name = f"{registry.host}/app:1"
        path = f"/v2/app/blobs/{digest(APP)}"
        half = Answer(200, APP[: 1 << 20], {"Content-Length": str(len(APP))})
        registry.on("GET", path, half, lambda seen: None)
        with pulling(here, name) as process:
            deadline_s = time.monotonic() + 60
            while path not in registry.paths() or not here.store.layers.has(Digest.of(BASE)):
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.01)  # another process's work has no other sign
            process.send_signal(sent)
            _, said = process.communicate(timeout=60)
        assert process.returncode == -sent
        assert (b"KeyboardInterrupt" in said) == (sent == signal.SIGINT)
        assert here.images.list() == []
        here.store.collect()
        assert not here.store.layers.has(Digest.of(BASE))
        assert here.images.pull(name).tags == (name,)
        assert here.export(name) == BASE + APP


def test_several_pulls_of_one_image_at_once(here: Machine, registry: RegistryServer) -> None:
    name = f"{registry.host}/crowd:1"
    image_id = here.build(name, BASE, APP)
    here.images.push(name)
    here.images.remove(name)
    processes = [pulling(here, name) for _ in range(4)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    assert [image.id for image in here.images.list()] == [image_id]
    assert here.export(name) == BASE + APP
