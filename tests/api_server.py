"""`onggi serve` on a unix socket, and the clients that tests speak to it with.

with api_server(command, environment, directory) as api:
    api.request("GET", "/info")          # one request, as bytes on the wire say it
    api.docker("ps", "-a")               # the docker client, checked
    api.client()                         # docker-py
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

START_DEADLINE_S = 60
DOCKER = shutil.which("docker")


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The documents of a stream of progress."""
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiServer:
    def __init__(self, path: str, environment: dict[str, str], log: Path, pid: int) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.log = log
        self.pid = pid
        self.environment = {**environment, "DOCKER_HOST": self.url, "DOCKER_BUILDKIT": "0"}

    def connection(self, timeout_s: float = 60) -> Connection:
        return Connection(self.path, timeout_s)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        timeout_s: float = 60,
        **headers: str,
    ) -> Reply:
        """A dict is sent as JSON; `X_Registry_Auth` is the header X-Registry-Auth."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        connection = self.connection(timeout_s)
        try:
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def docker(
        self, *arguments: str, code: int | None = 0, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Debian's and everybody's docker client."""
        if DOCKER is None:
            pytest.skip("no docker client")
        done = subprocess.run(
            [DOCKER, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=300,
            env={**self.environment, **environment},
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"docker {' '.join(arguments)}: exit {done.returncode}, expected {code}\n"
                f"{done.stdout}{done.stderr}{self.log.read_text()[-4000:]}"
            )
        return done

    def out(self, *arguments: str) -> str:
        return self.docker(*arguments).stdout.removesuffix("\n")

    def client(self, **options: Any) -> Any:
        """docker-py's high-level client; close it."""
        docker = pytest.importorskip("docker")
        return docker.DockerClient(base_url=self.url, timeout=60, **options)


@contextmanager
def api_server(
    command: Path, environment: dict[str, str], directory: Path, *flags: str
) -> Iterator[ApiServer]:
    """A server with a socket and a log of its own; ended with SIGTERM, which must be enough."""
    path, log = directory / "api.sock", directory / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [command, "serve", "-H", f"unix://{path}", *flags],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
        )
    try:
        _await_socket(process, str(path), log)
        server = ApiServer(str(path), dict(environment), log, process.pid)
        server.request("HEAD", "/_ping")  # answered: its other addresses are there too
        yield server
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    faults = [line for line in log.read_text().splitlines() if line.startswith("fault ")]
    assert not faults, "\n".join(faults)


def _await_socket(process: "subprocess.Popen[bytes]", path: str, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"onggi serve: {log.read_text()}")
        time.sleep(0.02)
