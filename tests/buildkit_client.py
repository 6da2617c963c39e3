"""A client of BuildKit as buildx is one: two connections, one to call and one to be called on.

    client = BuildKitClient(api, contexts={"context": {...}, "dockerfile": {...}})
    with client:
        solved = client.build({"filename": "Dockerfile"}, exporters=[("moby", {"name": "x"})])

The order of calls and the words are those of buildx 0.29.1 with docker's driver.
"""

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from api_server import ApiServer
from onggi.api.buildkit import grpc
from onggi.api.buildkit import messages_pb2 as pb
from onggi.api.buildkit.http2 import Channel, Headers, Stream
from onggi.httpd.exchange import Gone

DIRECTORY, SYMLINK = 1 << 31, 1 << 27
CONTROL = "/moby.buildkit.v1.Control"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
WORDS = {
    "attest:provenance": "mode=min,inline-only=true",
    "filename": "Dockerfile",
    "image-resolve-mode": "local",
}
OFFERED = (
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
)
Files = Mapping[str, bytes | tuple[int, str] | None]  # content, (mode, link) or a folder


def upgraded(path: str, target: str, headers: Headers = ()) -> socket.socket:  # type: ignore[assignment]
    """The bare connection behind a request's 101."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(60)
    connection.connect(path)
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: h2c"]
    lines += [f"{name}: {value}" for name, value in headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        assert piece, head
        head += piece
    assert head.startswith(b"HTTP/1.1 101 ") and b"Upgrade: h2c" in head, head
    return connection


class BuildKitClient:
    def __init__(
        self,
        api: ApiServer,
        contexts: Mapping[str, Files],
        *,
        secrets: Mapping[str, bytes] | None = None,
        stats: Sequence[pb.Stat] = (),
    ) -> None:
        """`stats` are sent as they are, behind the context's files."""
        self.contexts = contexts
        self.secrets = secrets or {}
        self.stats = stats
        self.asked: list[tuple[str, Headers]] = []  # what the server wanted of us
        self.received: dict[int, bytes] = {}  # files, by their exporters
        self.trees: dict[int, dict[str, bytes]] = {}
        self.told = pb.StatusResponse()
        self.ref = f"ref{id(self)}"
        self._session_id = f"session{id(self)}"
        offered = ((("X-Docker-Expose-Session-Grpc-Method"), path) for path in OFFERED)
        self._connections = [
            upgraded(
                api.path, "/session", [("X-Docker-Expose-Session-Uuid", self._session_id), *offered]
            ),
            upgraded(api.path, "/grpc"),
        ]
        session, control = self._connections
        self._channels = [
            Channel(session, b"", client=False, accept=self._served),
            Channel(control, b"", client=True),
        ]
        self.control = grpc.Caller(self._channels[1])
        self._threads = [threading.Thread(target=channel.run) for channel in self._channels]

    def __enter__(self) -> "BuildKitClient":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """At once, whatever is going on."""
        for channel in self._channels:
            channel.close()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        for connection in self._connections:
            connection.close()

    # -- asking

    def call(self, path: str, message: Any = None) -> bytes:
        return self.control.ask(path, (message or pb.Empty()).SerializeToString())

    def build(
        self,
        words: Mapping[str, str] | None = None,
        exporters: Sequence[tuple[str, Mapping[str, str]]] = (("moby", {}),),
        frontend: str = "dockerfile.v0",
    ) -> dict[str, str]:
        """What the exporters answered. Raises grpc.Failed."""
        pb.ListWorkersResponse.FromString(self.call(f"{CONTROL}/ListWorkers"))
        request = pb.SolveRequest(
            Ref=self.ref,
            Session=self._session_id,
            Exporters=[pb.Typed(Type=kind, Attrs=attrs) for kind, attrs in exporters],
        )
        solve = self.control.call(f"{CONTROL}/Solve")
        solve.send(request.SerializeToString())
        solve.end()
        telling = threading.Thread(target=self._listen)
        telling.start()
        try:
            self.frontend({**WORDS, **(words or {})}, frontend)
        except grpc.Failed:
            while solve.receive() is not None:
                pass
            raise
        else:
            answer = solve.receive()
            assert answer is not None and solve.receive() is None
        finally:
            telling.join(60)
        return dict(pb.SolveResponse.FromString(answer).ExporterResponse)

    def frontend(self, words: Mapping[str, str], frontend: str) -> pb.Result:
        """The part that buildx itself drives."""
        pong = pb.PongResponse.FromString(self.bridge("Ping", pb.Empty()))
        assert {"solve.base", "return"} <= {cap.ID for cap in pong.FrontendAPICaps}
        asked = pb.BridgeSolveRequest(Frontend=frontend, FrontendOpt=words)
        try:
            solved = pb.BridgeSolveResponse.FromString(self.bridge("Solve", asked))
        except grpc.Failed as error:
            status = pb.Status(code=error.code, message=error.message, details=error.details)
            self.bridge("Return", pb.ReturnRequest(error=status))
            raise
        self.bridge("Return", pb.ReturnRequest(result=solved.result))
        self.result = solved.result
        return solved.result

    def bridge(self, method: str, message: Any) -> bytes:
        call = self.control.call(f"{BRIDGE}/{method}", [("buildkit-controlapi-buildid", self.ref)])
        call.send(message.SerializeToString())
        call.end()
        answer = call.receive()
        assert call.receive() is None
        return answer or b""

    def _listen(self) -> None:
        call = self.control.call(f"{CONTROL}/Status")
        call.send(pb.StatusRequest(Ref=self.ref).SerializeToString())
        call.end()
        try:
            while (message := call.receive()) is not None:
                self.told.MergeFromString(message)
        except (grpc.Failed, Gone):
            pass

    # -- what was told

    def vertices(self) -> list[str]:
        """Their names in the order they began."""
        return list(dict.fromkeys(vertex.name for vertex in self.told.vertexes))

    def output(self) -> bytes:
        return b"".join(log.msg for log in self.told.logs)

    # -- being asked

    def _served(self, stream: Stream) -> None:
        grpc.serve(
            stream,
            {
                "/moby.filesync.v1.FileSync/DiffCopy": self._files,
                "/moby.filesync.v1.FileSend/DiffCopy": self._take,
                "/moby.buildkit.secrets.v1.Secrets/GetSecret": self._secret,
                "/moby.filesync.v1.Auth/Credentials": self._credentials,
            },
            lambda: None,
        )

    def _files(self, call: grpc.Incoming) -> None:
        self.asked.append(("files", call.stream.headers))
        name = call.metadata("dir-name")
        follow = {value for key, value in call.stream.headers if key == "followpaths"}
        excludes = {value for key, value in call.stream.headers if key == "exclude-patterns"}
        files = {
            path: content
            for path, content in sorted(
                self.contexts[name].items(), key=lambda item: item[0].split("/")
            )
            if (path in follow if follow else path not in excludes)
        }
        stats = [_stat(path, content) for path, content in files.items()]
        if not follow and name == "context":
            stats += self.stats
        for stat in stats:
            call.send(pb.Packet(type=0, stat=stat).SerializeToString())
        call.send(pb.Packet(type=0).SerializeToString())
        while (message := call.receive()) is not None:
            packet = pb.Packet.FromString(message)
            if packet.type == 3:
                call.send(pb.Packet(type=3).SerializeToString())
                return
            if packet.type == 4:
                self.asked.append(("error", [("text", packet.data.decode())]))
                return
            content = files.get(stats[packet.ID].path, b"12345")
            assert isinstance(content, bytes)
            for at in range(0, len(content), 30000):
                piece = content[at : at + 30000]
                data = pb.Packet(type=2, ID=packet.ID, data=piece)
                call.send(data.SerializeToString())
            call.send(pb.Packet(type=2, ID=packet.ID).SerializeToString())

    def _take(self, call: grpc.Incoming) -> None:
        place = int(call.metadata("buildkit-attachable-exporter-id"))
        first = call.receive()
        if call.metadata("buildkit-exporter-multi-platform"):
            assert first is not None
            self._take_tree(call, place, pb.Packet.FromString(first))
            return
        found = bytearray()
        while first is not None:
            found += pb.Bytes.FromString(first).data
            first = call.receive()
        self.received[place] = bytes(found)

    def _take_tree(self, call: grpc.Incoming, place: int, packet: pb.Packet) -> None:
        stats: list[pb.Stat] = []
        while packet.HasField("stat"):
            stats.append(packet.stat)
            packet = pb.Packet.FromString(call.one())
        tree = self.trees.setdefault(place, {})
        for number, stat in enumerate(stats):
            tree[stat.path] = stat.linkname.encode()
            if stat.mode & (DIRECTORY | SYMLINK) or stat.linkname:
                continue
            call.send(pb.Packet(type=1, ID=number).SerializeToString())
            while (packet := pb.Packet.FromString(call.one())).data:
                tree[stat.path] += packet.data
        call.send(pb.Packet(type=3).SerializeToString())
        assert pb.Packet.FromString(call.one()).type == 3
        assert call.receive() is None

    def _secret(self, call: grpc.Incoming) -> None:
        name = pb.NameRequest.FromString(call.one()).ID
        self.asked.append(("secret", [("name", name)]))
        if name not in self.secrets:
            raise grpc.Failed(grpc.NOT_FOUND, "secret not found")
        call.send(pb.Bytes(data=self.secrets[name]).SerializeToString())

    def _credentials(self, call: grpc.Incoming) -> None:
        host = pb.CredentialsRequest.FromString(call.one()).Host
        self.asked.append(("credentials", [("host", host)]))
        call.send(pb.CredentialsResponse().SerializeToString())


def _stat(path: str, content: bytes | tuple[int, str] | None) -> pb.Stat:
    when = 1_700_000_000_000_000_000
    if content is None:
        return pb.Stat(path=path, mode=DIRECTORY | 0o755, modTime=when)
    if isinstance(content, tuple):
        return pb.Stat(path=path, mode=content[0], linkname=content[1], modTime=when)
    return pb.Stat(path=path, mode=0o644, size=len(content), modTime=when)
