"""Streams of containers through the socket: attach in every form, logs, wait, execs, terminals."""

import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

from api_server import ApiServer, api_server
from onggi.streams import FrameDecoder

from .conftest import COMMAND, Onggi, Terminal

pytestmark = pytest.mark.root
TIMEOUT_S = 60


class Wire:
    """One connection, as bytes."""

    def __init__(self, api: ApiServer) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(api.path)
        self.buffered = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, upgrade: bool = False
    ) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: d", f"Content-Length: {len(content)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        if upgrade:
            lines += ["Connection: Upgrade", "Upgrade: tcp"]
        self.send("\r\n".join([*lines, "", ""]).encode() + content)

    def head(self) -> str:
        while b"\r\n\r\n" not in self.buffered:
            data = self.socket.recv(65536)
            assert data, f"ended within a head: {self.buffered!r}"
            self.buffered += data
        head, _, self.buffered = self.buffered.partition(b"\r\n\r\n")
        return head.decode()

    def until(self, wanted: bytes) -> bytes:
        while wanted not in self.buffered:
            data = self.socket.recv(65536)
            assert data, f"ended without {wanted!r}: {self.buffered!r}"
            self.buffered += data
        end = self.buffered.index(wanted) + len(wanted)
        found, self.buffered = self.buffered[:end], self.buffered[end:]
        return found

    def rest(self) -> bytes:
        while data := self.socket.recv(65536):
            self.buffered += data
        found, self.buffered = self.buffered, b""
        return found

    def leave_input(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)


def post(api: ApiServer, target: str, body: Any = None) -> Any:
    reply = api.request("POST", target, {} if body is None else body)
    assert reply.status < 300, reply.body
    return reply.json() if reply.body else None


def created(api: ApiServer, *command: str, **config: Any) -> str:
    body = {"Image": "busybox:latest", "Cmd": list(command), **config}
    return str(post(api, "/containers/create", body)["Id"])


@pytest.fixture
def streams(api: ApiServer, busybox: str) -> Iterator[ApiServer]:
    yield api


def await_logs(api: ApiServer, container: str, wanted: bytes) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while wanted not in api.request("GET", f"/containers/{container}/logs?stdout=1").body:
        assert time.monotonic() < deadline
        time.sleep(0.02)


INTERACTIVE = {"OpenStdin": True, "StdinOnce": True}


def frames(data: bytes) -> list[tuple[int, bytes]]:
    return FrameDecoder().feed(data)


@pytest.mark.parametrize("upgrade", [True, False])
def test_attach_before_start_misses_nothing(streams: ApiServer, upgrade: bool) -> None:
    script = "echo begun; read line; echo got $line; echo oops >&2; cat; exit 3"
    container = created(streams, "sh", "-c", script, **INTERACTIVE)
    with Wire(streams) as wire:
        target = f"/v1.51/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        wire.request("POST", target, upgrade=upgrade)
        head = wire.head()
        if upgrade:
            assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
            assert "\r\nConnection: Upgrade" in head and "\r\nUpgrade: tcp" in head
        else:
            assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: application/vnd.docker.multiplexed-stream" in head
        assert "Api-Version: 1.51" in head
        wire.send(b"a line\nand ")  # before there is anybody to read it
        post(streams, f"/containers/{container}/start")
        wire.send(b"the rest")
        wire.leave_input()
        found = frames(wire.rest())
    output = b"".join(data for number, data in found if number == 1)
    assert output == b"begun\ngot a line\nand the rest"
    assert b"".join(data for number, data in found if number == 2) == b"oops\n"
    assert post(streams, f"/containers/{container}/wait") == {"StatusCode": 3}


def test_two_attach_before_start(streams: ApiServer) -> None:
    container = created(streams, "sh", "-c", "sleep 0.3; echo both")
    with Wire(streams) as one, Wire(streams) as other:
        for wire in (one, other):
            wire.request("POST", f"/containers/{container}/attach?stream=1&stdout=1", upgrade=True)
            wire.head()
        post(streams, f"/containers/{container}/start")
        assert frames(one.rest()) == frames(other.rest()) == [(1, b"both\n")]


def test_attach_waits_for_a_start_by_the_command_line(streams: ApiServer, onggi: Onggi) -> None:
    container = created(streams, "sh", "-c", "sleep 0.3; echo seen")
    with Wire(streams) as wire:
        wire.request("POST", f"/containers/{container}/attach?stream=1&stdout=1", upgrade=True)
        wire.head()
        onggi("start", container)
        assert frames(wire.rest()) == [(1, b"seen\n")]


def test_attach_of_a_terminal_is_raw(streams: ApiServer) -> None:
    container = created(streams, "sh", "-c", "echo one; sleep 100", Tty=True, **INTERACTIVE)
    post(streams, f"/containers/{container}/start")
    await_logs(streams, container, b"one")
    with Wire(streams) as wire:
        target = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&logs=1"
        wire.request("POST", target, upgrade=True)
        assert "application/vnd.docker.raw-stream" in wire.head()
        assert wire.until(b"one\r\n") == b"one\r\n"
        wire.send(b"\x10\x11")  # ctrl-p ctrl-q: leave
        assert wire.rest() == b""
    state = streams.request("GET", f"/containers/{container}/json").json()["State"]
    assert state["Status"] == "running"


def test_logs_then_stream(streams: ApiServer) -> None:
    container = created(
        streams, "sh", "-c", "trap 'echo last; exit' USR1; echo first; while :; do sleep 0.1; done"
    )
    post(streams, f"/containers/{container}/start")
    await_logs(streams, container, b"first")
    with Wire(streams) as wire:
        wire.request("POST", f"/containers/{container}/attach?logs=1&stream=1&stdout=1")
        wire.head()
        wire.until(b"first\n")
        post(streams, f"/containers/{container}/kill?signal=USR1")
        assert frames(wire.rest()) == [(1, b"last\n")]


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [("paused", 409, "is paused"), ("nosuch", 404, "No such container")],
)
def test_attach_refused(streams: ApiServer, state: str, status: int, text: str) -> None:
    name = created(streams, "sleep", "100") if state == "paused" else "nosuch"
    if state == "paused":
        post(streams, f"/containers/{name}/start")
        post(streams, f"/containers/{name}/pause")
    reply = streams.request("POST", f"/containers/{name}/attach?stream=1&stdout=1")
    assert reply.status == status
    assert text in reply.json()["message"]
    bad = streams.request("POST", f"/containers/{name}/attach?stream=1&detachKeys=ctrl-!")
    assert bad.status in (400, 404)


def test_websocket(streams: ApiServer) -> None:
    container = created(streams, "cat", **INTERACTIVE)
    with Wire(streams) as wire:
        machine = WSConnection(ConnectionType.CLIENT)
        target = f"/containers/{container}/attach/ws?stream=1&stdin=1&stdout=1"
        wire.send(machine.send(Request(host="d", target=target)))
        post_started = False
        said, closed = b"", False
        while not closed:
            machine.receive_data(wire.socket.recv(65536))
            for event in machine.events():
                if isinstance(event, AcceptConnection):
                    post(streams, f"/containers/{container}/start")
                    post_started = True
                    wire.send(machine.send(BytesMessage(data=b"over a websocket\n")))
                elif isinstance(event, BytesMessage):
                    said += event.data
                    if said == b"over a websocket\n":
                        post(streams, f"/containers/{container}/kill")
                elif isinstance(event, CloseConnection):
                    closed = True
    assert post_started
    assert said == b"over a websocket\n"
    plain = streams.request("GET", f"/containers/{container}/attach/ws?stream=1")
    assert plain.status == 400


def test_old_versions_know_no_multiplexed_stream(streams: ApiServer) -> None:
    container = created(streams, "echo", "x")
    post(streams, f"/containers/{container}/start")
    post(streams, f"/containers/{container}/wait")
    target = f"containers/{container}/logs?stdout=1"
    kinds = [
        streams.request("GET", f"/{version}/{target}").headers["Content-Type"]
        for version in ("v1.41", "v1.42")
    ]
    assert kinds == [
        "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream",
    ]  # fmt: skip


# -- wait


def test_wait_tells_at_once_that_it_waits(streams: ApiServer) -> None:
    """The head of the answer comes before the container is started: docker run relies on it."""
    container = created(streams, "sh", "-c", "exit 4")
    with Wire(streams) as exit_, Wire(streams) as removal:
        for wire, condition in ((exit_, "next-exit"), (removal, "removed")):
            wire.request("POST", f"/containers/{container}/wait?condition={condition}")
            assert wire.head().startswith("HTTP/1.1 200 ")
        post(streams, f"/containers/{container}/start")
        assert b'{"StatusCode":4}' in exit_.until(b"}")
        state = streams.request("GET", f"/containers/{container}/json").json()["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 4)
        assert streams.request("DELETE", f"/containers/{container}").status == 204
        assert b'{"StatusCode":4}' in removal.until(b"}")
    assert streams.request("POST", "/containers/nosuch/wait").status == 404
    bad = streams.request("POST", f"/containers/{container}/wait?condition=never")
    assert bad.status in (400, 404)


# -- logs


def test_logs_options(streams: ApiServer) -> None:
    container = created(streams, "sh", "-c", "for i in 1 2 3; do echo $i; echo e$i >&2; done")
    post(streams, f"/containers/{container}/start")
    post(streams, f"/containers/{container}/wait")

    def logs(query: str) -> list[tuple[int, bytes]]:
        reply = streams.request("GET", f"/containers/{container}/logs?{query}")
        assert reply.status == 200, reply.body
        return frames(reply.body)

    assert logs("stdout=1") == [(1, b"1\n"), (1, b"2\n"), (1, b"3\n")]
    assert len(logs("stdout=1&stderr=1")) == 6
    assert logs("stderr=1&tail=1") in ([(2, b"e3\n")], [])  # the last line may be stdout's
    assert logs("stdout=1&stderr=true&tail=0") == []
    assert logs("stdout=1&since=4000000000") == []
    assert logs("stdout=1&until=1") == []
    (stamped, *_) = logs("stdout=1&timestamps=1")
    assert stamped[1].startswith(b"20") and stamped[1].endswith(b"Z 1\n")
    assert streams.request("GET", f"/containers/{container}/logs").status == 400
    assert streams.request("GET", f"/containers/{container}/logs?stdout=1&since=x").status == 400


def test_two_hundred_followers(streams: ApiServer) -> None:
    """Each gets every line, and leaves nothing behind when it goes."""
    script = "trap 'echo line; exit 0' USR1; echo ready; while :; do sleep 0.1; done"
    container = created(streams, "sh", "-c", script)
    post(streams, f"/containers/{container}/start")
    await_logs(streams, container, b"ready")
    before = descriptors(streams)
    wires = [Wire(streams) for _ in range(200)]
    try:
        for wire in wires:
            wire.request("GET", f"/containers/{container}/logs?follow=1&stdout=1")
        for wire in wires:
            assert wire.head().startswith("HTTP/1.1 200 ")
        for wire in wires[:100]:
            wire.socket.close()
        post(streams, f"/containers/{container}/kill?signal=USR1")
        for wire in wires[100:]:
            wire.until(b"line\n")
            wire.until(b"0\r\n\r\n")
    finally:
        for wire in wires:
            wire.socket.close()
    await_descriptors(streams, before + 2)


def server_pid(api: ApiServer) -> int:
    with Wire(api) as wire:
        credentials = wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little")


def descriptors(api: ApiServer) -> int:
    return len(os.listdir(f"/proc/{server_pid(api)}/fd"))


def await_descriptors(api: ApiServer, most: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := descriptors(api)) > most:
        assert time.monotonic() < deadline, f"{found} descriptors stay open"
        time.sleep(0.05)


def resident_kib(api: ApiServer) -> int:
    status = Path(f"/proc/{server_pid(api)}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.sec("E5")
def test_memory_stays(streams: ApiServer) -> None:
    """Thousands of requests, and clients that vanish in the middle of attach and exec."""
    container = created(streams, "sleep", "1000")
    post(streams, f"/containers/{container}/start")

    def some(count: int) -> None:
        connection = streams.connection()
        for number in range(count):
            target = ("/containers/json?all=1", f"/containers/{container}/json", "/nosuch")[
                number % 3
            ]
            connection.request("GET", target)
            connection.getresponse().read()
        connection.close()
        for _ in range(count // 25):
            with Wire(streams) as wire:
                wire.request("POST", f"/containers/{container}/attach?stream=1&stdout=1")
                wire.head()

    some(300)
    await_descriptors(streams, descriptors(streams))
    open_before = descriptors(streams)
    for last in (False, False, True):  # an allocator's whim is not seen every time
        memory = resident_kib(streams)
        some(1500)
        await_descriptors(streams, open_before + 2)
        grown = resident_kib(streams) - memory
        if grown < 8 << 10:
            break
        assert not last, grown


# -- execs


def exec_of(api: ApiServer, container: str, *command: str, **options: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **options}
    return str(post(api, f"/containers/{container}/exec", body)["Id"])


@pytest.fixture
def running(streams: ApiServer) -> str:
    container = created(streams, "sleep", "1000")
    post(streams, f"/containers/{container}/start")
    return container


def ended(api: ApiServer, exec_id: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := api.request("GET", f"/exec/{exec_id}/json").json())["Running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_exec(streams: ApiServer, running: str) -> None:
    exec_id = exec_of(streams, running, "sh", "-c", "cat; echo oops >&2; exit 5", AttachStdin=True)
    fresh = streams.request("GET", f"/exec/{exec_id}/json").json()
    assert (fresh["Running"], fresh["ExitCode"], fresh["Pid"]) == (False, None, 0)
    assert fresh["ProcessConfig"]["entrypoint"] == "sh" and fresh["OpenStdin"]
    with Wire(streams) as wire:
        wire.request("POST", f"/exec/{exec_id}/start", {"Detach": False}, upgrade=True)
        assert wire.head().startswith("HTTP/1.1 101 ")
        deadline = time.monotonic() + TIMEOUT_S
        while not (now := streams.request("GET", f"/exec/{exec_id}/json").json())["Pid"]:
            assert time.monotonic() < deadline
        assert now["Running"]
        shown = streams.request("GET", f"/containers/{running}/json").json()
        assert shown["ExecIDs"] == [exec_id]
        wire.send(b"typed")
        wire.leave_input()
        assert frames(wire.rest()) == [(1, b"typed"), (2, b"oops\n")]
    assert ended(streams, exec_id)["ExitCode"] == 5
    again = streams.request("POST", f"/exec/{exec_id}/start", {})
    assert again.status == 409
    assert "has already run" in again.json()["message"]
    assert streams.request("GET", "/exec/nosuch/json").status == 404
    assert streams.request("POST", "/exec/nosuch/start", {}).status == 404


def test_exec_that_cannot_start(streams: ApiServer, running: str) -> None:
    """Docker's clients read the reason from the stream and the code from inspect."""
    exec_id = exec_of(streams, running, "nosuch")
    with Wire(streams) as wire:
        wire.request("POST", f"/exec/{exec_id}/start", {}, upgrade=True)
        wire.head()
        assert b"executable file not found" in wire.rest()
    assert ended(streams, exec_id)["ExitCode"] == 127
    detached = exec_of(streams, running, "nosuch")
    reply = streams.request("POST", f"/exec/{detached}/start", {"Detach": True})
    assert reply.status == 400 and "executable file not found" in reply.json()["message"]


def test_exec_detached_tells_its_end(streams: ApiServer, running: str) -> None:
    exec_id = exec_of(streams, running, "sh", "-c", "exit 9")
    reply = streams.request("POST", f"/exec/{exec_id}/start", {"Detach": True})
    assert (reply.status, reply.body) == (200, b"")
    assert ended(streams, exec_id)["ExitCode"] == 9


def test_exec_goes_on_when_its_client_vanishes(streams: ApiServer, running: str) -> None:
    script = "yes | head -c 4000000; exit 6"
    exec_id = exec_of(streams, running, "sh", "-c", script)
    with Wire(streams) as wire:
        wire.request("POST", f"/exec/{exec_id}/start", {}, upgrade=True)
        wire.until(b"y\n")
    assert ended(streams, exec_id)["ExitCode"] == 6


def test_execs_outlive_the_server(
    onggi: Onggi, streams: ApiServer, running: str, tmp_path: Path
) -> None:
    """One that runs, one that ended, one that has not been started; asked of another server."""
    script = "until test -e /tmp/end; do sleep 0.1; done; exit 7"
    going, done, fresh = (exec_of(streams, running, "sh", "-c", what, Env=["A=b"])
                          for what in (script, "exit 3", "test $A = b"))  # fmt: skip
    for exec_id in (going, done):
        post(streams, f"/exec/{exec_id}/start", {"Detach": True})
    assert ended(streams, done)["ExitCode"] == 3
    pid = streams.request("GET", f"/exec/{going}/json").json()["Pid"]
    with api_server(COMMAND, onggi.environment, tmp_path) as other:
        shown = other.request("GET", f"/containers/{running}/json").json()
        assert shown["ExecIDs"] == [going]
        found = other.request("GET", f"/exec/{going}/json").json()
        assert (found["Running"], found["ExitCode"], found["Pid"]) == (True, None, pid)
        assert other.request("POST", f"/exec/{going}/start", {}).status == 409
        assert other.request("POST", f"/exec/{going}/resize?h=2&w=2").status == 409
        assert ended(other, done)["ExitCode"] == 3
        onggi("exec", running, "touch", "/tmp/end")
        assert ended(other, going)["ExitCode"] == 7
        assert other.request("GET", f"/exec/{fresh}/json").json()["Running"] is False
        post(other, f"/exec/{fresh}/start", {"Detach": True})
        assert ended(other, fresh)["ExitCode"] == 0
        assert other.request("GET", f"/exec/{'0' * 64}/json").status == 404
        assert other.request("GET", "/exec/..%2f..%2fx/json").status == 404


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Cmd": []}, 400, "No exec command specified"),
        ({}, 400, "No exec command specified"),
        ({"Cmd": ["x"], "WorkingDir": "relative"}, 400, "not absolute"),
        ({"Cmd": ["x"], "DetachKeys": "ctrl-"}, 400, "detach keys"),
        ({"Cmd": ["x"], "Tty": "yes"}, 400, "Tty is a string, wanted true or false"),
        ({"Cmd": ["x"], "ConsoleSize": [1]}, 400, "ConsoleSize"),
    ],
)
def test_exec_refused(
    streams: ApiServer, running: str, body: dict[str, Any], status: int, text: str
) -> None:
    reply = streams.request("POST", f"/containers/{running}/exec", body)
    assert reply.status == status
    assert text in reply.json()["message"]


def test_exec_in_what_does_not_run(streams: ApiServer) -> None:
    container = created(streams, "true")
    reply = streams.request("POST", f"/containers/{container}/exec", {"Cmd": ["true"]})
    assert reply.status == 409 and "is not running" in reply.json()["message"]


# -- terminals


def docker_terminal(api: ApiServer, *arguments: str) -> Terminal:
    from api_server import DOCKER

    if DOCKER is None:
        pytest.skip("no docker client")
    return Terminal([DOCKER, *arguments], api.environment, 24, 80)


def test_docker_run_on_a_terminal(streams: ApiServer) -> None:
    terminal = docker_terminal(streams, "run", "-it", "--name", "tty", "busybox", "sh")
    try:
        terminal.expect("# ")
        terminal.send("stty size\n")
        terminal.expect("24 80\r\n")
        terminal.resize(30, 100)
        deadline = time.monotonic() + TIMEOUT_S
        while "30 100" not in terminal.text:
            assert time.monotonic() < deadline, terminal.text
            terminal.send("stty size\n")
            terminal.expect("# ")
        terminal.send("\x10\x11")
        assert terminal.wait(TIMEOUT_S) == 0
    finally:
        terminal.close()
    terminal = docker_terminal(streams, "attach", "tty")
    try:
        terminal.send("echo again; exit 7\n")
        terminal.expect("again\r\n")
        assert terminal.wait(TIMEOUT_S) == 7
    finally:
        terminal.close()


def test_docker_exec_on_a_terminal(streams: ApiServer, running: str) -> None:
    terminal = docker_terminal(streams, "exec", "-it", running, "sh")
    try:
        terminal.expect("# ")
        terminal.send("stty size; tty\n")
        terminal.expect("24 80\r\n")
        terminal.resize(31, 101)
        deadline = time.monotonic() + TIMEOUT_S
        while "31 101" not in terminal.text:
            assert time.monotonic() < deadline, terminal.text
            terminal.send("stty size\n")
            terminal.expect("# ")
        terminal.send("exit 3\n")
        assert terminal.wait(TIMEOUT_S) == 3
    finally:
        terminal.close()


@pytest.mark.parametrize("query", ["h=-1&w=1", "h=1", "h=x&w=1", "h=1000000000&w=1", "h=1.5&w=2"])
def test_impossible_sizes(streams: ApiServer, running: str, query: str) -> None:
    assert streams.request("POST", f"/containers/{running}/resize?{query}").status == 400
    exec_id = exec_of(streams, running, "true")
    assert streams.request("POST", f"/exec/{exec_id}/resize?{query}").status == 400


def test_a_size_of_nothing_is_taken(streams: ApiServer, running: str) -> None:
    assert streams.request("POST", f"/containers/{running}/resize?h=0&w=0").status == 200


def test_docker_logs_follow_ends_with_the_container(streams: ApiServer) -> None:
    streams.docker(
        "run", "-d", "--name", "teller", "busybox", "sh", "-c", "echo a; sleep 0.5; echo b"
    )
    assert streams.out("logs", "-f", "teller") == "a\nb"


def test_path_stat(streams: ApiServer, running: str) -> None:
    reply = streams.request("HEAD", f"/containers/{running}/archive?path=/tmp")
    assert reply.status == 200
    stat = json.loads(base64.b64decode(reply.headers["X-Docker-Container-Path-Stat"]))
    assert stat["name"] == "tmp" and stat["linkTarget"] == ""
    assert stat["mode"] & 1 << 31  # Go's directory
    missing = streams.request("HEAD", f"/containers/{running}/archive?path=/nosuch")
    assert missing.status == 404
    assert streams.request("GET", f"/containers/{running}/archive").status == 400


def test_export_is_a_tar(streams: ApiServer, running: str, tmp_path: Path) -> None:
    (tmp_path / "all.tar").write_bytes(streams.request("GET", f"/containers/{running}/export").body)
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "all.tar"], capture_output=True, text=True, check=True
    )
    assert "bin/busybox" in listed.stdout
