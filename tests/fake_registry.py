"""A registry in this process that answers by script: truth and lies are the test's.

Requests are recorded with all headers. `blobs` are served with ranges; `cuts` breaks connections.
"""

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    cut_after: int | None = None  # bytes of the body, then the connection breaks
    trickle_s: float = 0.0  # pause after each byte of the body


Script = Answer | Callable[[Seen], Answer | None]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(status: int, code: str, message: str = "", **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **headers})


class FakeRegistry:
    def __init__(self, host: str, port: int) -> None:
        self.host = f"{host}:{port}"
        self.url = f"http://{self.host}"
        self.seen: list[Seen] = []
        self.scripts: dict[tuple[str, str], list[Script]] = {}
        self.always: list[Callable[[Seen], Answer | None]] = []
        self.documents: dict[str, tuple[bytes, str]] = {}  # tag or digest -> manifest, type
        self.blobs: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}

    def on(self, method: str, path: str, *answers: Script) -> None:
        """Answers for a path, one after the other; the last one stays. Falls through when done."""
        self.scripts[(method, path)] = list(answers)

    def paths(self, method: str = "GET") -> list[str]:
        return [item.path for item in self.seen if item.method == method]

    def secrets_seen(self) -> set[str]:
        return {
            item.headers["Authorization"] for item in self.seen if "Authorization" in item.headers
        }

    def add_blob(self, data: bytes) -> str:
        self.blobs[digest(data)] = data
        return digest(data)

    def add_document(self, document: Any, media_type: str, *names: str) -> str:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        for name in (digest(data), *names):
            self.documents[name] = (data, media_type)
        return digest(data)

    def add_image(
        self, contents: list[bytes], *names: str, architecture: str = "amd64", **changes: Any
    ) -> str:
        """An image of uncompressed layers; `changes` replace keys of the manifest."""
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in contents]},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG, "size": len(config), "digest": self.add_blob(config),
            },
            "layers": [
                {"mediaType": DOCKER_LAYER, "size": len(data), "digest": self.add_blob(data)}
                for data in contents
            ],
            **changes,
        }  # fmt: skip
        return self.add_document(manifest, DOCKER_MANIFEST, *names)

    def answer(self, seen: Seen) -> Answer:
        for rule in self.always:
            said = rule(seen)
            if said is not None:
                return said
        queue = self.scripts.get((seen.method, seen.path.partition("?")[0]), [])
        while queue:
            script = queue.pop(0) if len(queue) > 1 else queue[0]
            said = script if isinstance(script, Answer) else script(seen)
            if said is not None:
                return said
            if len(queue) <= 1:
                break
        return self._content(seen)

    def _content(self, seen: Seen) -> Answer:
        if seen.path == "/v2/":
            return Answer(200, b"{}", {"Content-Type": "application/json"})
        kind, _, name = seen.path.partition("?")[0].rpartition("/")
        if kind.endswith("/manifests") and name in self.documents:
            data, media_type = self.documents[name]
            return Answer(200, data, {"Content-Type": media_type})
        if kind.endswith("/blobs") and name in self.blobs:
            return self._blob(name, seen)
        code = "BLOB_UNKNOWN" if kind.endswith("/blobs") else "MANIFEST_UNKNOWN"
        return error(404, code, code.lower().replace("_", " "))

    def _blob(self, name: str, seen: Seen) -> Answer:
        data = self.blobs[name]
        queue = self.cuts.get(name)
        cut = queue.pop(0) if queue else None
        wanted = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("Range", ""))
        if wanted is None:
            return Answer(200, data, {"Content-Type": "application/octet-stream"}, cut)
        start = int(wanted[1])
        said = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, data[start:], {"Content-Range": said}, cut)


@contextmanager
def fake_registry(host: str = "127.0.0.1") -> Iterator[FakeRegistry]:
    """Serve on a free port of a loopback address (127.0.0.2 is another host than 127.0.0.1)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            seen = Seen(self.command, self.path, dict(self.headers.items()), body)
            registry.seen.append(seen)
            self.reply(registry.answer(seen))

        def reply(self, said: Answer) -> None:
            self.send_response(said.status)
            for key, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if said.trickle_s:
                for byte in said.body:
                    time.sleep(said.trickle_s)
                    self.wfile.write(bytes([byte]))
                return
            if said.cut_after is None:
                self.wfile.write(said.body)
                return
            self.wfile.write(said.body[: said.cut_after])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # clients hang up in these tests

    with Server((host, 0), Handler) as server:
        registry = FakeRegistry(host, int(server.server_address[1]))
        Handler.timeout = 5
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
