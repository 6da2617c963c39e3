"""A web server and a git server on this machine, for builds that fetch."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from ports import free_port


class Answer(NamedTuple):
    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Web:
    """`pages` by path; `asked` is every request's path and If-None-Match."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pages: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str]] = []


@contextmanager
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            tag = self.headers.get("If-None-Match", "")
            site.asked.append((self.path, tag))
            answer = site.pages.get(self.path, Answer(b"no", 404))
            if callable(answer):
                answer(self)
                return
            status = 304 if tag and ("ETag", tag) in answer.headers else answer.status
            body = b"" if status == 304 else answer.body
            self.send_response(status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Web(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


class Repositories:
    def __init__(self, top: Path, port: int) -> None:
        self.top = top
        self.url = f"git://127.0.0.1:{port}"

    def commit(self, name: str, files: dict[str, str], *, tag: str = "") -> str:
        """Write the files into the repository, commit them; the commit."""
        where = self.top / name
        where.mkdir(exist_ok=True)
        self.git(name, "init", "-q", "-b", "main")
        for path, content in files.items():
            (where / path).parent.mkdir(parents=True, exist_ok=True)
            (where / path).write_text(content)
        self.git(name, "add", "-A")
        self.git(name, "commit", "-q", "-m", "x")
        if tag:
            self.git(name, "tag", tag)
        return self.git(name, "rev-parse", "HEAD").strip()

    def git(self, name: str, *arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "protocol.file.allow=always")
        command = ["git", *identity, "-C", str(self.top / name), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def repositories(top: Path) -> Iterator[Repositories]:
    top.mkdir(exist_ok=True)
    port = free_port()
    command = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={top}",
               "--listen=127.0.0.1", f"--port={port}", str(top)]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield Repositories(top, port)
        finally:
            daemon.terminate()
