"""docker-py from PyPI against the socket: every method of images, volumes, networks and the system,
high level and low. Those of containers and execs are in test_dockerpy_containers."""

import ast
import importlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from registry_server import RegistryServer, needs_registry, registry_server

from .conftest import Onggi

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.root


@pytest.fixture
def client(api: ApiServer, busybox: str) -> Iterator[Any]:
    with_socket = api.client()
    yield with_socket
    with_socket.close()


@pytest.fixture
def image(client: Any, onggi: Onggi) -> Iterator[Any]:
    """busybox under a name of its own."""
    found = client.images.get("busybox")
    assert found.tag("pytest/one", tag="1")
    yield client.images.get("pytest/one:1")
    onggi("rmi", "-f", "pytest/one:1", code=None)


# -- images


def test_images(client: Any, image: Any) -> None:
    assert "pytest/one:1" in image.tags
    assert image.short_id == image.id[:19] and image.labels == {}
    image.reload()
    assert image.attrs["Os"] == "linux"
    assert image.history()[0]["Id"] == image.id
    assert [i.id for i in client.images.list("pytest/one")] == [image.id]
    assert image.id in [i.id for i in client.images.list(all=True)]
    assert client.images.list(filters={"label": "nosuch"}) == []
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("ghost")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.remove("ghost")
    client.images.remove("pytest/one:1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("pytest/one:1")


def test_save_and_load(client: Any, image: Any, onggi: Onggi) -> None:
    data = b"".join(image.save(named="pytest/one:1"))
    client.images.remove("pytest/one:1")
    (loaded,) = client.images.load(data)
    assert loaded.id == image.id and "pytest/one:1" in loaded.tags
    with pytest.raises(docker.errors.ImageLoadError):
        client.images.load(b"no archive")


def test_build(client: Any, onggi: Onggi, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG A\nCOPY f /f\nRUN cat /f; echo $A\n")
    (tmp_path / "f").write_text("file\n")
    built, log = client.images.build(
        path=str(tmp_path), tag="pytest/built", buildargs={"A": "arg"}, labels={"k": "v"},
        rm=True, forcerm=True, nocache=True, pull=False, shmsize=1 << 20, network_mode="none",
        extra_hosts={"h": "1.2.3.4"}, container_limits={"memory": 64 << 20}, cache_from=["x"],
        platform="linux/amd64",
    )  # fmt: skip
    said = "".join(line.get("stream", "") for line in log)
    assert "file\n" in said and "arg\n" in said
    assert built.labels == {"k": "v"} and "pytest/built:latest" in built.tags
    with pytest.raises(docker.errors.BuildError) as caught:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n"))
    assert "returned a non-zero code: 5" in str(caught.value)
    with pytest.raises(docker.errors.APIError, match="unknown instruction"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nNOTHING x\n"))
    custom = io.BytesIO()
    with tarfile.open(fileobj=custom, mode="w:gz") as archive:
        archive.add(tmp_path, ".")
    custom.seek(0)
    lines = client.api.build(
        fileobj=custom, custom_context=True, encoding="gzip", decode=True, quiet=True
    )
    assert [line["stream"].strip() for line in lines] == [built.id] or lines
    assert client.images.prune_builds()["SpaceReclaimed"] >= 0
    onggi("rmi", "pytest/built")
    report = client.images.prune(filters={"dangling": True})
    assert set(report) == {"ImagesDeleted", "SpaceReclaimed"}


def test_imports(client: Any, onggi: Onggi, tmp_path: Path) -> None:
    archive = tmp_path / "layer.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("f"), io.BytesIO())
    told = client.api.import_image_from_file(
        str(archive), repository="pytest/imported", tag="file", changes=["ENV A=1"]
    )
    assert json.loads(told)["status"].startswith("sha256:")
    client.api.import_image_from_data(
        archive.read_bytes(), repository="pytest/imported", tag="data"
    )
    # Not an open file: docker-py then sends both lengths, which is refused (docs/api.md).
    pieces = iter([archive.read_bytes()])
    client.api.import_image_from_stream(pieces, repository="pytest/imported", tag="stream")
    tags = {tag for found in client.images.list("pytest/imported") for tag in found.tags}
    assert tags == {f"pytest/imported:{tag}" for tag in ("file", "data", "stream")}
    for tag in tags:
        client.api.remove_image(tag, force=True, noprune=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("registry"), users={"me": "pw"}) as server:
        yield server


@needs_registry
def test_registries(client: Any, image: Any, onggi: Onggi, guarded: RegistryServer) -> None:
    name = f"{guarded.host}/pytest/pushed"
    auth = {"username": "me", "password": "pw"}
    image.tag(name, "1")
    denied = client.images.push(name, tag="1", stream=True, decode=True)
    assert "errorDetail" in list(denied)[-1]
    pushed = list(client.images.push(name, tag="1", auth_config=auth, stream=True, decode=True))
    assert any("aux" in line for line in pushed)
    client.images.remove(f"{name}:1")
    assert client.images.pull(name, tag="1", auth_config=auth).id == image.id
    (one,) = client.images.pull(name, all_tags=True, auth_config=auth)
    assert one.id == image.id
    data = client.images.get_registry_data(f"{name}:1", auth_config=auth)
    assert data.has_platform("linux/amd64") and not data.has_platform("linux/s390x")
    with pytest.raises(docker.errors.APIError):
        client.images.pull(name, tag="ghost", auth_config=auth)
    assert client.login("me", "pw", registry=guarded.host)["Status"] == "Login Succeeded"
    assert data.pull(platform="linux/amd64").id == image.id
    with pytest.raises(docker.errors.APIError) as caught:
        client.login("me", "wrong", registry=guarded.host, reauth=True)
    assert caught.value.status_code == 401
    for tag in client.images.get(f"{name}:1").tags:
        if tag.startswith(name):
            client.images.remove(tag)


def test_search_says_why_it_cannot(client: Any) -> None:
    with pytest.raises(docker.errors.APIError):
        client.images.search("x" * 10, limit=1000)


# -- volumes


def test_volumes(client: Any, onggi: Onggi) -> None:
    made = client.volumes.create("pyvol", driver="local", labels={"k": "v"})
    assert (made.name, made.id, made.attrs["Labels"]) == ("pyvol", "pyvol", {"k": "v"})
    made.reload()
    assert client.volumes.get("pyvol").short_id == "pyvol"
    assert [v.name for v in client.volumes.list(filters={"label": "k=v"})] == ["pyvol"]
    made.remove()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("pyvol")
    nameless = client.volumes.create()
    assert nameless.name in client.volumes.prune()["VolumesDeleted"]
    assert client.api.volumes()["Warnings"] is None
    client.api.create_volume("pylow", driver_opts={"type": "tmpfs", "device": "tmpfs"})
    assert client.api.inspect_volume("pylow")["Options"]["type"] == "tmpfs"
    client.api.remove_volume("pylow", force=True)


# -- the system


def test_system(client: Any, onggi: Onggi) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"
    assert set(client.df()) >= {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
    since = time.time()
    client.volumes.create("pyevents").remove()
    found = client.events(since=since, until=time.time() + 0.001, decode=True)
    assert [event["Action"] for event in found] == ["create", "destroy"]


def test_events_can_be_stopped(client: Any, onggi: Onggi) -> None:
    stream = client.events(decode=True, filters={"type": "volume"})
    began = threading.Event()
    seen: list[Any] = []

    def listen() -> None:
        began.set()
        seen.extend(stream)

    thread = threading.Thread(target=listen)
    thread.start()
    began.wait(60)
    client.volumes.create("pystop").remove()
    deadline = time.monotonic() + 60
    while len(seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stream.close()
    thread.join(60)
    assert not thread.is_alive() and [e["Action"] for e in seen] == ["create", "destroy"]


# -- networks


def test_networks(client: Any, onggi: Onggi) -> None:
    pool = docker.types.IPAMPool(subnet="10.79.0.0/24", gateway="10.79.0.1")
    made = client.networks.create(
        "pynet", driver="bridge", labels={"k": "v"}, check_duplicate=True, attachable=True,
        options={}, internal=False, enable_ipv6=False, ipam=docker.types.IPAMConfig(
            pool_configs=[pool]
        ),
    )  # fmt: skip
    onggi("run", "-d", "--name", "pyweb", "busybox", "sleep", "1000")
    try:
        assert client.networks.get("pynet").id == made.id == client.networks.get(made.id).id
        made.connect("pyweb", aliases=["w"], ipv4_address="10.79.0.5")
        made.reload()
        (member,) = made.containers
        assert (made.name, member.name) == ("pynet", "pyweb")
        (found,) = client.networks.list(names=["pynet"], greedy=True)
        assert found.attrs["Containers"] and found.short_id == made.id[:12]
        assert [n.name for n in client.networks.list(filters={"label": "k=v"})] == ["pynet"]
        assert client.networks.list(ids=[made.id])
        made.disconnect("pyweb", force=True)
        made.reload()
        assert not made.attrs["Containers"]
        with pytest.raises(docker.errors.APIError):
            client.networks.create("pynet")
        with pytest.raises(docker.errors.NotFound):
            client.networks.get("ghost")
    finally:
        onggi.remove_containers()
        made.remove()
    client.networks.create("pyprune")
    assert "pyprune" in client.networks.prune()["NetworksDeleted"]


# -- all of it


@pytest.mark.parametrize(
    "kind",
    [
        "images.ImageCollection", "images.Image", "images.RegistryData",
        "volumes.VolumeCollection", "volumes.Volume",
        "networks.NetworkCollection", "networks.Network",
    ],
)  # fmt: skip
def test_every_method_is_called_above(kind: str) -> None:
    module, _, name = kind.partition(".")
    found = getattr(importlib.import_module(f"docker.models.{module}"), name)
    inherited = {"id_attribute", "model", "prepare_model", "create", "id"}
    methods = {word for word in dir(found) if not word.startswith("_")} - inherited
    tree = ast.parse(Path(__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert methods <= used
