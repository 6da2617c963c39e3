import json
import os
import socket
from collections.abc import Iterator

import pytest

from fake_registry import Answer, FakeRegistry, Seen, digest, error, fake_registry
from onggi.errors import CorruptData, Forbidden, OnggiError, Unauthorized, Unavailable
from onggi.progress import Event, Layer
from onggi.registry.client import Registry
from onggi.registry.config import HostSettings, Settings
from onggi.registry.credentials import Credentials
from onggi.registry.pushing import Known, Pushed, PushImage
from onggi.registry.session import Patience
from onggi.registry.transport import Timeouts
from onggi.spec.digest import Digest
from onggi.spec.reference import parse_reference
from registry_images import image_of, layer_of

QUICK = Patience(attempts=3, first_s=0.001, longest_s=0.004)
SMALL = b"small" * 100
LARGE = os.urandom(3 << 20)


class Uploads:
    """The upload side of a registry, kept in memory; `trouble` may answer first."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.sessions: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.trouble: list[Answer | None] = []
        self.mountable: set[str] = set()
        registry.always.append(self.answer)

    def answer(self, seen: Seen) -> Answer | None:
        path, _, query = seen.path.partition("?")
        if seen.method in ("PATCH", "PUT") and self.trouble:
            said = self.trouble.pop(0)
            if said is not None:
                return said
        if seen.method == "POST":
            return self.begin(query)
        if path.startswith("/upload/"):
            return self.upload(seen, path, query)
        if seen.method == "PUT":
            self.manifests[path] = seen.body
            return Answer(201, b"", {"Docker-Content-Digest": digest(seen.body)})
        return None

    def begin(self, query: str) -> Answer:
        mounted = query.removeprefix("mount=").partition("&")[0]
        if mounted in self.mountable:
            self.registry.blobs[mounted] = b""
            return Answer(201)
        name = f"/upload/{len(self.sessions)}"
        self.sessions[name] = b""
        return Answer(202, b"", {"Location": f"{name}?state=1"})

    def upload(self, seen: Seen, path: str, query: str) -> Answer:
        if path not in self.sessions:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.sessions[path]
        if seen.method == "GET":
            end = {"Range": f"0-{max(0, len(held) - 1)}", "Location": f"{path}?state=2"}
            return Answer(204, b"", end)
        if seen.method == "PATCH":
            assert seen.headers["Content-Range"].startswith(f"{len(held)}-")
            self.sessions[path] = held + seen.body
            return Answer(202, b"", {"Location": f"{path}?state=3"})
        data = held + seen.body
        del self.sessions[path]
        name = query.rpartition("digest=")[2].replace("%3A", ":")
        if digest(data) != name:
            return error(400, "DIGEST_INVALID")
        self.registry.blobs[name] = data
        return Answer(201)


class Pusher:
    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.uploads = Uploads(registry)
        self.events: list[Event] = []

    def push(self, image: PushImage, name: str = "app:1") -> Pushed:
        settings = Settings({self.registry.host: HostSettings(plain_http=True)}, ())
        client = Registry(
            settings, Credentials("/nonexistent/x"), patience=QUICK, timeouts=Timeouts(60, 60)
        )
        reference = parse_reference(f"{self.registry.host}/{name}")
        return client.push(reference, image, self.events.append)

    def actions(self) -> list[str]:
        return [event.action for event in self.events if isinstance(event, Layer)]


@pytest.fixture
def pusher() -> Iterator[Pusher]:
    with fake_registry() as running:
        yield Pusher(running)


def test_push(pusher: Pusher) -> None:
    pushed = pusher.push(image_of(SMALL, LARGE))
    assert pusher.uploads.manifests == {"/v2/app/manifests/1": pushed.manifest}
    assert pushed.digest == Digest.of(pushed.manifest)
    for item in json.loads(pushed.manifest)["layers"]:
        assert len(pusher.registry.blobs[item["digest"]]) == item["size"]
    assert pusher.actions().count("Pushed") == 2
    methods = [seen.method for seen in pusher.registry.seen]
    assert methods.count("PATCH") == 1  # the large one; small blobs need one request


def test_a_layer_named_twice_is_pushed_once(pusher: Pusher) -> None:
    pushed = pusher.push(image_of(SMALL, SMALL, SMALL))
    assert len(json.loads(pushed.manifest)["layers"]) == 3
    assert pusher.actions().count("Pushed") == 1


def break_patch(pusher: Pusher, keep: int) -> None:
    """The next PATCH stores `keep` bytes and fails."""

    def rule(seen: Seen) -> Answer | None:
        if seen.method != "PATCH":
            return None
        pusher.registry.always.remove(rule)
        pusher.uploads.sessions[seen.path.partition("?")[0]] += seen.body[:keep]
        return Answer(500, b"oops")

    pusher.registry.always.insert(0, rule)


def test_an_interrupted_upload_goes_on(pusher: Pusher) -> None:
    break_patch(pusher, 1_000_000)
    pusher.push(image_of(LARGE))
    patches = [seen for seen in pusher.registry.seen if seen.method == "PATCH"]
    assert [seen.headers["Content-Range"].partition("-")[0] for seen in patches] == ["0", "1000000"]
    assert patches[1].path.endswith("state=2")


def test_a_lost_session_starts_again(pusher: Pusher) -> None:
    pusher.uploads.trouble = [error(404, "BLOB_UPLOAD_UNKNOWN"), None, error(416, "RANGE_INVALID")]
    pusher.push(image_of(LARGE))
    assert "Retrying" in pusher.actions()


def test_a_digest_that_did_not_match_starts_again(pusher: Pusher) -> None:
    pusher.uploads.trouble = [None, error(400, "DIGEST_INVALID", "provided digest did not match")]
    pusher.push(image_of(LARGE))
    assert "Retrying" in pusher.actions()


def test_sessions_that_are_always_lost(pusher: Pusher) -> None:
    pusher.uploads.trouble = [error(404, "BLOB_UPLOAD_UNKNOWN")] * 100
    with pytest.raises(CorruptData, match="keeps losing the upload") as caught:
        pusher.push(image_of(LARGE))
    assert caught.value.hint == "push again"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            error(403, "DENIED", "requested access to the resource is denied"),
            Forbidden,
            "denied: requested access to the resource is denied",
        ),
        (error(401, "UNAUTHORIZED", "authentication required"), Unauthorized, "unauthorized: auth"),
        (Answer(413, b"<html>"), OnggiError, "413 Request Entity Too Large"),
    ],
)
def test_refusals(pusher: Pusher, answer: Answer, kind: type[OnggiError], text: str) -> None:
    pusher.uploads.trouble = [answer] * 9
    with pytest.raises(kind, match=text):
        pusher.push(image_of(LARGE))


def test_mounting(pusher: Pusher) -> None:
    blob = Digest.of(b"elsewhere")
    pusher.uploads.mountable = {blob}
    pushed = pusher.push(image_of(SMALL, known=Known(blob, 9, f"{pusher.registry.host}/base/img")))
    assert json.loads(pushed.manifest)["layers"][0]["digest"] == blob
    assert "Mounted from" in pusher.actions()


def test_the_form_an_image_came_in_is_mounted_before_another_that_is_there(pusher: Pusher) -> None:
    """Else a pulled image gets another digest where another form of its layer is known."""
    mine, other = Digest.of(b"as pulled"), Digest.of(b"other compressor")
    pusher.uploads.mountable = {mine}
    pusher.registry.add_blob(b"other compressor")
    host = pusher.registry.host
    layer = layer_of(
        SMALL, Known(mine, 9, ""), Known(mine, 9, f"{host}/far/img"), Known(other, 16, "")
    )
    pushed = pusher.push(image_of(SMALL)._replace(layers=(layer,)))
    assert json.loads(pushed.manifest)["layers"][0]["digest"] == mine
    assert "Mounted from" in pusher.actions()


def test_no_mount_from_another_registry(pusher: Pusher) -> None:
    pusher.push(image_of(SMALL, known=Known(Digest.of(b"x"), 1, "docker.io/library/x")))
    assert not [path for path in pusher.registry.paths("POST") if "mount=" in path]


@pytest.mark.sec("C7")
def test_a_registry_that_stored_another_manifest(pusher: Pusher) -> None:
    said = {"Docker-Content-Digest": digest(b"other")}
    pusher.registry.always.insert(
        0, lambda seen: Answer(201, b"", said) if "/manifests/" in seen.path else None
    )
    with pytest.raises(CorruptData, match="stored the manifest as"):
        pusher.push(image_of(SMALL))


@pytest.mark.parametrize("location", ["", "ftp://x/y", "http://u:p@127.0.0.1/x"])
def test_a_strange_location(pusher: Pusher, location: str) -> None:
    headers = {"Location": location} if location else {}
    pusher.registry.always.insert(
        0, lambda seen: Answer(202, b"", headers) if seen.method == "POST" else None
    )
    with pytest.raises(OnggiError):
        pusher.push(image_of(SMALL))


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = Registry(Settings({}, ()), Credentials("/nonexistent/x"), patience=QUICK)
    with pytest.raises(Unavailable, match="connection refused"):
        client.push(parse_reference(f"127.0.0.1:{port}/x"), image_of(SMALL), lambda event: None)
