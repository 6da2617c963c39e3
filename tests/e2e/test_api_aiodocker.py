"""aiodocker from PyPI against the socket: an asyncio client with ideas of its own about HTTP."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api_server import ApiServer

from .conftest import Onggi

aiodocker = pytest.importorskip("aiodocker")
pytestmark = [pytest.mark.root, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
TIME_S = 60


@asynccontextmanager
async def client(api: ApiServer) -> AsyncIterator[Any]:
    docker = aiodocker.Docker(url=api.url)
    try:
        yield docker
    finally:
        await docker.close()


def run(api: ApiServer, work: Callable[[Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with client(api) as docker:
            await asyncio.wait_for(work(docker), TIME_S)

    asyncio.run(whole())


def context(**files: str) -> io.BytesIO:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    data.seek(0)
    return data


def test_images(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    async def work(docker: Any) -> None:
        assert (await docker.version())["ApiVersion"] == "1.51"
        assert (await docker.system.info())["OSType"] == "linux"
        found = await docker.images.inspect(busybox)
        assert (await docker.images.history(busybox))[0]["Id"] == found["Id"]
        await docker.images.tag(busybox, "aio/one", tag="1")
        names = [name for image in await docker.images.list() for name in image["RepoTags"]]
        assert "aio/one:1" in names
        chosen = await docker.images.list(filters={"reference": ["aio/*"]})
        assert [image["Id"] for image in chosen] == [found["Id"]]
        async with docker.images.export_image("aio/one:1") as exported:
            data = b"".join([piece async for piece in exported.iter_chunked(1 << 16)])
        await docker.images.delete("aio/one:1")
        told = [line async for line in docker.images.import_image(io.BytesIO(data), stream=True)]
        assert {"stream": "Loaded image: aio/one:1\n"} in told
        await docker.images.delete("aio/one:1", force=True)
        with pytest.raises(aiodocker.DockerError) as caught:
            await docker.images.inspect("ghost")
        assert caught.value.status == 404
        assert "SpaceReclaimed" in await docker.images.prune()

    run(api, work)


def test_build(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    async def work(docker: Any) -> None:
        files = context(Dockerfile="FROM busybox\nARG A\nRUN echo said $A\n")
        lines = [
            line async for line in docker.images.build(
                fileobj=files, encoding="identity", tag="aio/built", buildargs={"A": "it"},
                nocache=True, stream=True,
            )
        ]  # fmt: skip
        assert {"stream": "said it\n"} in lines
        assert (await docker.images.inspect("aio/built"))["Id"]
        await docker.images.delete("aio/built")
        assert "SpaceReclaimed" in await docker.images.prune_builds()

    run(api, work)


def test_volumes_and_networks(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "aioweb", busybox, "sleep", "1000")

    async def work(docker: Any) -> None:
        volume = await docker.volumes.create({"Name": "aiovol", "Labels": {"k": "v"}})
        assert (await volume.show())["Labels"] == {"k": "v"}
        listed = await docker.volumes.list(filters={"label": ["k=v"]})
        assert [item["Name"] for item in listed["Volumes"]] == ["aiovol"]
        await (await docker.volumes.get("aiovol")).delete()
        assert "VolumesDeleted" in await docker.volumes.prune()

        network = await docker.networks.create({"Name": "aionet"})
        await network.connect({"Container": "aioweb"})
        assert (await network.show())["Containers"]
        await network.disconnect({"Container": "aioweb"})
        assert [n["Name"] for n in await docker.networks.list(filters={"name": "aionet"})]
        assert await (await docker.networks.get("aionet")).delete()
        assert "NetworksDeleted" in await docker.networks.prune()

    run(api, work)
    onggi.remove_containers()


def test_containers(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    async def work(docker: Any) -> None:
        config = {"Image": busybox, "Cmd": ["sh", "-c", "echo out; exec sleep 1000"]}
        container = await docker.containers.create_or_replace("aiobox", config)
        await container.start()
        while not await container.log(stdout=True):
            await asyncio.sleep(0.01)
        assert await container.log(stdout=True) == ["out\n"]
        execute = await container.exec(["sh", "-c", "cat; exit 3"], stdin=True)
        async with execute.start() as stream:
            await stream.write_in(b"through\n")
            message = await stream.read_out()
            assert message is not None and message.data == b"through\n"
        assert (await container.stats(stream=False))[0]["memory_stats"]
        assert (await container.top())["Processes"]
        await container.put_archive("/tmp", context(f="file").getvalue())
        archive = await container.get_archive("/tmp/f")
        found = archive.extractfile("f")
        assert found is not None and found.read() == b"file"
        await container.pause()
        await container.unpause()
        await container.rename("aiorenamed")
        waiting = asyncio.create_task(container.wait())
        await container.kill()
        assert (await waiting)["StatusCode"] == 137
        assert (await container.show())["State"]["Status"] == "exited"
        await container.delete(v=True)

    run(api, work)


def test_attach(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    async def work(docker: Any) -> None:
        config = {
            "Image": busybox, "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True,
            "AttachStdin": True, "AttachStdout": True, "Tty": True,
        }  # fmt: skip
        container = await docker.containers.create(config)
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            await stream.write_in(b"hello\n")
            said = b""
            while b"hello\r\n" not in said:
                message = await stream.read_out()
                assert message is not None
                said += message.data
        await container.delete(force=True)

    run(api, work)


def test_events(api: ApiServer, onggi: Onggi) -> None:
    async def work(docker: Any) -> None:
        listener = docker.events.subscribe()
        await asyncio.sleep(0)
        while True:  # it subscribes in a task of its own
            await (await docker.volumes.create({"Name": "aioevent"})).delete()
            try:
                event = await asyncio.wait_for(listener.get(), 1)
                break
            except TimeoutError:
                continue
        assert (event["Type"], event["Actor"]["ID"]) == ("volume", "aioevent")
        await docker.events.stop()

    run(api, work)
