"""docker-py's containers and execs, method by method, against the socket."""

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from api_server import ApiServer

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.root
TIMEOUT_S = 60
LOOP = ["sh", "-c", "trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.1; done"]


@pytest.fixture
def client(api: ApiServer, busybox: str) -> Iterator[Any]:
    found = api.client()
    yield found
    found.close()


@pytest.fixture
def looping(client: Any) -> Any:
    container = client.containers.run("busybox", LOOP, detach=True, name="looping")
    until(lambda: b"begun" in container.logs())
    return container


def until(true: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_run(client: Any) -> None:
    run = client.containers.run
    assert run("busybox", "echo hello", remove=True) == b"hello\n"
    assert run("busybox", ["sh", "-c", "echo $A"], environment={"A": "x y"}, remove=True) == (
        b"x y\n"
    )
    both = run("busybox", "sh -c 'echo out; echo err >&2'", stdout=True, stderr=True, remove=True)
    assert sorted(both.splitlines()) == [b"err", b"out"]
    with pytest.raises(docker.errors.ContainerError) as failed:
        run("busybox", "sh -c 'echo why >&2; exit 3'", remove=True)
    assert failed.value.exit_status == 3 and failed.value.stderr == b"why\n"
    with pytest.raises(docker.errors.ImageNotFound):
        client.api.create_container("nosuch:1", "true")
    with pytest.raises(docker.errors.APIError) as missing:
        run("busybox", "nosuch", name="bad-command")
    assert "executable file not found" in str(missing.value)
    client.containers.get("bad-command").remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("nosuch")


def test_options(client: Any) -> None:
    container = client.containers.create(
        "busybox", "sleep 100", name="optioned", hostname="box", user="5", working_dir="/tmp",
        mem_limit="64m", nano_cpus=500_000_000, cap_add=["NET_ADMIN"], read_only=True,
        ports={"80/tcp": None, "81/udp": ("127.0.0.1", 8391)}, labels={"a": "b"}, tty=True,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, dns=["1.2.3.4"],
        tmpfs={"/t": "size=1m"}, volumes={"pyvolume": {"bind": "/data", "mode": "ro"}},
        extra_hosts={"peer": "1.2.3.4"}, init=True, shm_size="1m", pids_limit=20,
        ulimits=[docker.types.Ulimit(name="nofile", soft=10, hard=20)],
        healthcheck={"test": ["CMD", "true"], "interval": 1_000_000_000},
        mounts=[docker.types.Mount("/m", "pyvolume2")],
    )  # fmt: skip
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    assert host["Memory"] == 64 << 20 and host["PidsLimit"] == 20 and host["Init"]
    assert host["PortBindings"]["81/udp"] == [{"HostIp": "127.0.0.1", "HostPort": "8391"}]
    assert host["Binds"] == ["pyvolume:/data:ro"] and host["ReadonlyRootfs"]
    assert config["Hostname"] == "box" and config["Tty"] and config["User"] == "5"
    assert container.labels["a"] == "b" and container.status == "created"
    container.start()
    container.reload()
    assert container.ports["80/tcp"][0]["HostPort"].isdigit()
    assert container.health in ("starting", "healthy")
    assert container.image.tags == ["busybox:latest"]
    container.remove(force=True, v=True)


def test_life(client: Any, looping: Any) -> None:
    assert [c.id for c in client.containers.list(filters={"name": "looping"})] == [looping.id]
    looping.pause()
    looping.reload()
    assert looping.status == "paused"
    looping.unpause()
    looping.rename("renamed")
    assert client.containers.get("renamed").id == looping.id
    assert looping.update(mem_limit="32m", memswap_limit="64m")["Warnings"] in ([], None)
    assert any("sleep" in row[-1] for row in looping.top()["Processes"])
    looping.restart(timeout=60)
    until(lambda: looping.logs().count(b"begun") == 2)
    looping.stop(timeout=60)
    assert looping.wait() == {"StatusCode": 0}
    assert b"told" in looping.logs()
    looping.start()
    looping.kill("KILL")
    assert looping.wait(condition="not-running")["StatusCode"] == 137
    looping.remove()
    with pytest.raises(docker.errors.NotFound):
        looping.reload()


def test_logs(client: Any, looping: Any) -> None:
    assert looping.logs(stdout=True, stderr=False) == b"begun\n"
    assert looping.logs(tail=0) == b""
    assert looping.logs(timestamps=True).endswith(b"Z begun\n")
    assert looping.logs(since=int(time.time()) + 1000) == b""
    followed: list[bytes] = []
    follower = threading.Thread(target=lambda: followed.extend(looping.logs(stream=True)))
    follower.start()
    looping.kill("TERM")
    follower.join(TIMEOUT_S)
    assert b"".join(followed) == b"begun\ntold\n"


def test_exec_run(client: Any, looping: Any) -> None:
    assert looping.exec_run("echo hi") == (0, b"hi\n")
    assert looping.exec_run(["sh", "-c", "exit 7"]).exit_code == 7
    found = looping.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert found.output == (b"out\n", b"err\n")
    code, stream = looping.exec_run("seq 3", stream=True)
    assert code is None and b"".join(stream) == b"1\n2\n3\n"
    assert looping.exec_run("env", environment={"Q": "1"}).output.count(b"Q=1\n") == 1
    assert looping.exec_run("pwd", workdir="/tmp").output == b"/tmp\n"
    assert looping.exec_run("id -u", user="5").output == b"5\n"
    assert looping.exec_run("tty", tty=True).output == b"/dev/pts/0\r\n"
    assert looping.exec_run("sleep 100", detach=True).exit_code is None
    code, wire = looping.exec_run("cat", stdin=True, socket=True)
    with closing(wire._sock), wire:  # docker-py leaves the socket itself to the collector
        wire._sock.sendall(b"typed\n")
        assert wire.read(8 + 6).endswith(b"typed\n")
    api = client.api
    exec_id = api.exec_create(looping.id, ["sh", "-c", "exit 9"])["Id"]
    assert api.exec_inspect(exec_id)["ExitCode"] is None
    api.exec_start(exec_id, detach=True)
    until(lambda: api.exec_inspect(exec_id)["ExitCode"] == 9)


def test_attach(client: Any) -> None:
    container = client.containers.create("busybox", "cat", stdin_open=True)
    wire = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    with closing(wire._sock), wire:
        container.start()
        wire._sock.sendall(b"by socket\n")
        assert wire.read(8 + 10).endswith(b"by socket\n")
    assert container.wait()["StatusCode"] == 0  # docker-py asks for the end of input with ours
    talker = client.containers.create("busybox", "sh -c 'sleep 0.3; echo attached'")
    stream = talker.attach(stream=True, logs=True)
    talker.start()
    assert b"".join(stream) == b"attached\n"
    stream.close()
    terminal = client.containers.run("busybox", "sh", tty=True, stdin_open=True, detach=True)
    terminal.resize(30, 100)
    until(lambda: b"30 100" in terminal.exec_run("stty size -F /dev/pts/0").output)


def test_files(client: Any, looping: Any) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"bytes"))
    assert looping.put_archive("/tmp", data.getvalue())
    assert looping.exec_run("cat /tmp/file").output == b"bytes"
    chunks, stat = looping.get_archive("/tmp/file")
    assert (stat["name"], stat["size"]) == ("file", 5)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        found = tar.extractfile("file")
        assert found is not None and found.read() == b"bytes"
    assert {"Path": "/tmp/file", "Kind": 1} in looping.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(looping.export()))) as tar:
        assert "tmp/file" in [name.removeprefix("./") for name in tar.getnames()]
    image = looping.commit("pymade", "1", message="m", changes="USER 5")
    assert image.tags == ["pymade:1"]
    client.images.remove("pymade:1", force=True)


def test_stats(client: Any, looping: Any) -> None:
    assert looping.stats(stream=False)["pids_stats"]["current"] >= 1
    stream = looping.stats(stream=True, decode=True)
    assert next(stream)["id"] == looping.id
    stream.close()


def test_prune_and_events(client: Any) -> None:
    began = int(time.time()) - 1
    container = client.containers.run("busybox", "true", detach=True)
    assert container.wait()["StatusCode"] == 0
    assert client.containers.prune()["ContainersDeleted"] == [container.id]
    found = client.events(since=began, until=int(time.time()) + 1, decode=True,
                          filters={"container": container.id, "type": "container"})  # fmt: skip
    actions = [event["Action"] for event in found]
    assert actions == ["create", "start", "die", "destroy"]
