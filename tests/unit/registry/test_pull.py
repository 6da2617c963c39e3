import hashlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from fake_registry import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    Answer,
    FakeRegistry,
    digest,
    error,
    fake_registry,
)
from onggi.errors import CorruptData, InvalidInput, NotFound, OnggiError, Unavailable, Unsupported
from onggi.progress import Event, Layer, Report, ignore
from onggi.registry.client import Registry
from onggi.registry.config import HostSettings, Settings
from onggi.registry.credentials import Credentials, Lent
from onggi.registry.protocol import Proxies
from onggi.registry.pulling import Described, Pulled
from onggi.registry.session import Patience
from onggi.registry.transport import Timeouts
from onggi.spec.digest import Digest
from onggi.spec.platform import Platform
from onggi.spec.reference import parse_reference
from registry_images import Memory

AMD64 = Platform("linux", "amd64")
QUICK = Patience(attempts=5, first_s=0.001, longest_s=0.004)
LAYERS = [os.urandom(200_000), b"small layer" * 10]


class Puller:
    def __init__(self, registry: FakeRegistry, **hosts: HostSettings) -> None:
        self.registry = registry
        self.sink = Memory()
        self.events: list[Event] = []
        plain = {registry.host: HostSettings(plain_http=True)}
        self.settings = Settings({**plain, **hosts}, ())
        self.timeouts = Timeouts(60, 60)
        self.tell: Report = self.events.append

    def pull(self, name: str = "app:1", platform: Platform = AMD64) -> Pulled:
        return self.pull_name(f"{self.registry.host}/{name}", platform)

    def pull_name(self, name: str, platform: Platform = AMD64) -> Pulled:
        client = Registry(
            self.settings, Credentials("/nonexistent/x"), patience=QUICK, timeouts=self.timeouts
        )
        return client.pull(parse_reference(name), platform, self.sink, self.tell)

    def actions(self) -> list[str]:
        return [event.action for event in self.events if isinstance(event, Layer)]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def puller(registry: FakeRegistry) -> Puller:
    return Puller(registry)


def test_pull_gives_documents_and_layers(registry: FakeRegistry, puller: Puller) -> None:
    name = registry.add_image(LAYERS, "1")
    pulled = puller.pull()
    assert pulled.digest == name == digest(pulled.manifest)
    assert sorted(puller.sink.layers.values()) == sorted(LAYERS)
    actions = puller.actions()
    assert actions.count("Pulling fs layer") == actions.count("Pull complete") == 2
    assert actions.count("Download complete") == actions.count("Extracting") == 2


def test_a_layer_that_is_there_is_not_fetched(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    puller.pull()
    registry.seen.clear()
    puller.events.clear()
    puller.pull()
    assert puller.actions().count("Already exists") == 2
    assert not [path for path in registry.paths() if digest(LAYERS[0]) in path]


def test_pull_by_digest(registry: FakeRegistry, puller: Puller) -> None:
    name = registry.add_image(LAYERS, "1")
    assert puller.pull(f"app@{name}").digest == name


@pytest.mark.sec("C13")
def test_a_layer_named_twice_is_fetched_once(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image([LAYERS[0]] * 20, "1")
    puller.pull()
    assert len([path for path in registry.paths() if digest(LAYERS[0]) in path]) == 1
    assert puller.actions().count("Already exists") == 19


# indexes


def add_index(registry: FakeRegistry, *entries: tuple[str, str], tag: str = "1") -> str:
    items = [
        {
            "mediaType": registry.documents[name][1],
            "digest": name,
            "size": len(registry.documents[name][0]),
            **(
                {
                    "platform": dict(
                        zip(("os", "architecture", "variant"), p.split("/"), strict=False)
                    )
                }
                if p
                else {}
            ),
        }
        for name, p in entries
    ]
    index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": items}
    return registry.add_document(index, DOCKER_INDEX, tag)


def test_platform_is_chosen_from_an_index(registry: FakeRegistry, puller: Puller) -> None:
    arm = registry.add_image([b"arm"], architecture="arm64")
    intel = registry.add_image([b"intel"])
    index = add_index(registry, (arm, "linux/arm64/v8"), (intel, "linux/amd64"))
    pulled = puller.pull()
    assert (pulled.digest, digest(pulled.manifest)) == (index, intel)
    assert digest(puller.pull(platform=Platform("linux", "arm64", "v8")).manifest) == arm


def test_missing_platform_names_the_present_ones(registry: FakeRegistry, puller: Puller) -> None:
    intel = registry.add_image([b"intel"])
    add_index(registry, (intel, "linux/amd64"), (intel, "unknown/unknown"))
    with pytest.raises(NotFound) as caught:
        puller.pull(platform=Platform("linux", "s390x"))
    expected = "no matching manifest for linux/s390x in the manifest list entries"
    assert caught.value.message == expected
    assert caught.value.hint == "available platforms: linux/amd64"


def test_entries_without_a_platform_are_asked(registry: FakeRegistry, puller: Puller) -> None:
    arm = registry.add_image([b"arm"], architecture="arm64")
    intel = registry.add_image([b"intel"])
    add_index(registry, (arm, ""), (intel, ""))
    assert digest(puller.pull().manifest) == intel


@pytest.mark.sec("C13")
@pytest.mark.parametrize("depth", [3, 5])
def test_nested_indexes(registry: FakeRegistry, puller: Puller, depth: int) -> None:
    inner = registry.add_image([b"intel"])
    for _ in range(depth):
        inner = add_index(registry, (inner, ""))
    if depth == 3:
        assert puller.pull().layers
    else:
        with pytest.raises(CorruptData, match="nested deeper"):
            puller.pull()


@pytest.mark.sec("C13")
def test_a_wide_index_costs_a_bounded_number_of_requests(
    registry: FakeRegistry, puller: Puller
) -> None:
    entries = [(registry.add_image([], architecture=f"x{n}"), "") for n in range(100)]
    add_index(registry, *entries)
    with pytest.raises(CorruptData, match="more than 32 documents"):
        puller.pull()


# broken connections and tired registries


def test_cut_connections_resume_by_range(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    registry.cuts[digest(LAYERS[0])] = [70_000, 0, 50_000]
    puller.pull()
    assert LAYERS[0] in puller.sink.layers.values()
    path = f"/v2/app/blobs/{digest(LAYERS[0])}"
    asked = [seen.headers.get("Range") for seen in registry.seen if seen.path == path]
    assert asked == [None, "bytes=70000-", "bytes=70000-", "bytes=120000-"]
    assert puller.actions().count("Retrying") == 3


def test_a_registry_without_ranges_sends_all_again(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    whole = Answer(200, LAYERS[0])
    registry.on(
        "GET", f"/v2/app/blobs/{digest(LAYERS[0])}", whole._replace(cut_after=70_000), whole
    )
    puller.pull()
    assert LAYERS[0] in puller.sink.layers.values()


def test_416_starts_over(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    whole = Answer(200, LAYERS[0])
    path = f"/v2/app/blobs/{digest(LAYERS[0])}"
    registry.on("GET", path, whole._replace(cut_after=70_000), Answer(416), whole)
    puller.pull()
    assert LAYERS[0] in puller.sink.layers.values()


def test_patience_ends(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    registry.cuts[digest(LAYERS[0])] = [10] * 100
    with pytest.raises(Unavailable, match="unexpected EOF"):
        puller.pull()
    assert len([path for path in registry.paths() if digest(LAYERS[0]) in path]) == 6


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_passing_trouble_is_waited_out(registry: FakeRegistry, puller: Puller, status: int) -> None:
    registry.add_image(LAYERS, "1")
    trouble = Answer(status, b"<html>oops</html>", {"Retry-After": "0"})
    blob = f"/v2/app/blobs/{digest(LAYERS[0])}"
    for path in ("/v2/", "/v2/app/manifests/1", blob):
        registry.on("GET", path, trouble, trouble, lambda seen: None)
    puller.pull()
    assert len([p for p in registry.paths() if p == "/v2/app/manifests/1"]) == 3


def test_trouble_that_stays_is_told(registry: FakeRegistry, puller: Puller) -> None:
    registry.on("GET", "/v2/app/manifests/1", Answer(502, b"<html>\x1b[2Joops</html>"))
    with pytest.raises(Unavailable) as caught:
        puller.pull()
    assert "received unexpected HTTP status: 502 Bad Gateway" in caught.value.message
    assert len(registry.paths()) == 1 + 6


def test_stall_is_noticed(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    released = threading.Event()

    def hang(seen: object) -> None:
        released.wait(60)

    registry.on("GET", "/v2/app/manifests/1", hang, hang, lambda seen: None)
    puller.timeouts = Timeouts(60, 1)
    try:
        began_s = time.monotonic()
        puller.pull()
        assert time.monotonic() - began_s < 50
    finally:
        released.set()
    assert len(puller.sink.layers) == 2


def test_a_trickle_counts_as_a_stall(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    path = f"/v2/app/blobs/{digest(LAYERS[0])}"
    registry.on("GET", path, Answer(200, LAYERS[0], trickle_s=0.02), lambda seen: None)
    puller.timeouts = Timeouts(60, 1)
    puller.pull()
    assert LAYERS[0] in puller.sink.layers.values()
    assert "Retrying" in puller.actions()


def test_one_failure_stops_the_other_layers(registry: FakeRegistry, puller: Puller) -> None:
    """One blob stalls in the middle, though the timeout is far away; the other one is not there."""
    registry.add_image(LAYERS, "1")
    stalled = f"/v2/app/blobs/{digest(LAYERS[0])}"
    whole = {"Content-Length": str(len(LAYERS[0]))}
    registry.on("GET", stalled, Answer(200, LAYERS[0][:100_000], whole))
    begun = threading.Event()

    def refused(seen: object) -> Answer:
        begun.wait(60)
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry")

    def begin(event: Event) -> None:
        if isinstance(event, Layer) and event.current_bytes:
            begun.set()

    registry.on("GET", f"/v2/app/blobs/{digest(LAYERS[1])}", refused)
    puller.timeouts = Timeouts(60, 60)
    puller.tell = begin
    began_s = time.monotonic()
    with pytest.raises(NotFound, match="blob unknown"):
        puller.pull()
    assert time.monotonic() - began_s < 50


def test_a_proxy_is_asked_for_names_it_alone_can_find() -> None:
    with fake_registry() as proxy:
        puller = Puller(proxy)
        proxies = Proxies(http=proxy.host)
        hosts = {"registry.test": HostSettings(plain_http=True)}
        puller.settings = Settings(hosts, (), proxies)
        name = "registry.test/app:1"
        prefix = "http://registry.test"
        proxy.add_image(LAYERS, "1")
        proxy.always.append(
            lambda seen: (
                proxy.answer(seen._replace(path=seen.path.removeprefix(prefix)))
                if seen.path.startswith(prefix)
                else None
            )
        )
        puller.pull_name(name)
        assert len(puller.sink.layers) == 2
        assert all(path.startswith(prefix) for path in proxy.paths())


# lies


@pytest.mark.sec("C7")
@pytest.mark.parametrize(
    "body",
    [b"x" * len(LAYERS[0]), LAYERS[0] + b"more", LAYERS[0][:-1], b""],
    ids=["other", "long", "short", "empty"],
)
def test_a_blob_with_other_bytes_is_refused(
    registry: FakeRegistry, puller: Puller, body: bytes
) -> None:
    registry.add_image(LAYERS, "1")
    registry.on("GET", f"/v2/app/blobs/{digest(LAYERS[0])}", Answer(200, body))
    with pytest.raises(CorruptData):
        puller.pull()
    assert LAYERS[0] not in puller.sink.layers.values()


@pytest.mark.sec("C7")
def test_a_chunked_blob_is_cut_off_at_its_size(registry: FakeRegistry, puller: Puller) -> None:
    registry.add_image(LAYERS, "1")
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LAYERS[0]) + 1, LAYERS[0] + b"!")
    headers = {"Transfer-Encoding": "chunked", "Content-Length": ""}

    def answer(seen: object) -> Answer:
        return Answer(200, body, headers)

    registry.on("GET", f"/v2/app/blobs/{digest(LAYERS[0])}", answer)
    with pytest.raises(OnggiError):
        puller.pull()


@pytest.mark.sec("C7")
@pytest.mark.parametrize(
    "change",
    [
        {"Docker-Content-Digest": "sha256:" + "0" * 64},
        {"Docker-Content-Digest": "sha256:../../etc"},
        {"Docker-Content-Digest": "md5:" + "0" * 32},
        {"Content-Type": "text/html"},
        {"Content-Type": DOCKER_INDEX},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_manifest_with_a_lying_header_is_refused(
    registry: FakeRegistry, puller: Puller, change: dict[str, str]
) -> None:
    registry.add_image(LAYERS, "1")
    data, media_type = registry.documents["1"]
    headers = {"Content-Type": media_type, **change}
    registry.on("GET", "/v2/app/manifests/1", Answer(200, data, headers))
    with pytest.raises(CorruptData):
        puller.pull()


@pytest.mark.sec("C7")
def test_a_manifest_asked_by_digest_must_have_it(registry: FakeRegistry, puller: Puller) -> None:
    name = registry.add_image(LAYERS, "1")
    other = registry.add_image([b"other"], "2")
    registry.documents[name] = registry.documents[other]
    with pytest.raises(CorruptData, match="manifest verification failed"):
        puller.pull(f"app@{name}")


@pytest.mark.sec("C8")
@pytest.mark.parametrize(
    "change",
    [
        {"manifests": []},
        {"Layers": []},
        {"mediaType": DOCKER_INDEX},
        {"mediaType": "application/vnd.example"},
        {"schemaVersion": 1},
        {"layers": {}},
        {"layers": [{"mediaType": DOCKER_LAYER, "size": -1, "digest": digest(b"")}]},
        {"layers": [{"mediaType": DOCKER_LAYER, "size": 1, "digest": "sha256:../x"}]},
        {"layers": [{"mediaType": DOCKER_LAYER, "size": 1, "digest": "md5:" + "0" * 32}]},
        {"layers": [{"mediaType": "application/x", "size": 0, "digest": digest(b"")}]},
        {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "size": 2,
                    "digest": digest(b"{}")}},
        {"config": None},
        {"layers": [{"mediaType": DOCKER_LAYER, "size": 0, "digest": digest(b"")}] * 513},
    ],
)  # fmt: skip
def test_confused_manifests_are_refused(
    registry: FakeRegistry, puller: Puller, change: dict[str, object]
) -> None:
    registry.add_image(LAYERS, "1", **change)
    with pytest.raises((CorruptData, Unsupported)):
        puller.pull()


@pytest.mark.sec("C8")
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"a":NaN}', b'{"schemaVersion":2,"schemaVersion":2}',
     b"[" * 100_000, b" " * (5 << 20)],
    ids=["empty", "null", "list", "open", "nan", "twice", "deep", "big"],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(
    registry: FakeRegistry, puller: Puller, body: bytes
) -> None:
    registry.on("GET", "/v2/app/manifests/1", Answer(200, body, {"Content-Type": DOCKER_MANIFEST}))
    with pytest.raises(CorruptData):
        puller.pull()


def test_schema_1_is_named(registry: FakeRegistry, puller: Puller) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.on("GET", "/v2/app/manifests/1", Answer(200, b"{}", {"Content-Type": kind}))
    with pytest.raises(Unsupported, match="schema 1"):
        puller.pull()


def test_layers_and_diff_ids_must_agree(registry: FakeRegistry, puller: Puller) -> None:
    extra = {"mediaType": DOCKER_LAYER, "size": 3, "digest": registry.add_blob(b"abc")}
    registry.add_image([b"one"], "1", layers=[extra, extra])
    with pytest.raises(CorruptData, match="names 1 layers, the manifest's `layers` 2"):
        puller.pull()


def test_a_config_of_another_size_is_refused(registry: FakeRegistry, puller: Puller) -> None:
    config = registry.add_blob(b"{}")
    entry = {"mediaType": DOCKER_CONFIG, "size": 1, "digest": config}
    registry.add_image([], "1", config=entry)
    with pytest.raises(CorruptData):
        puller.pull()
    registry.add_image([], "1", config={**entry, "size": 1 << 30})
    with pytest.raises(CorruptData, match="larger than"):
        puller.pull()


# refusals, in docker's words


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            NotFound,
            "manifest for {host}/app:1 not found: manifest unknown: manifest unknown",
        ),
        (
            error(403, "DENIED", "requested access to the resource is denied"),
            NotFound,
            "pull access denied for {host}/app, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
        ),
        (
            error(404, "NAME_UNKNOWN", "repository name not known to registry"),
            NotFound,
            "repository {host}/app not found: name unknown: repository name not known to registry",
        ),
        (
            error(400, "NAME_INVALID", "bad\x1b[31m name\n"),
            InvalidInput,
            "name invalid: bad [31m name",
        ),
        (Answer(404, b"<html>"), NotFound, None),
    ],
)
def test_refusals(
    registry: FakeRegistry,
    puller: Puller,
    answer: Answer,
    kind: type[OnggiError],
    text: str | None,
) -> None:
    registry.on("GET", "/v2/app/manifests/1", answer)
    with pytest.raises(kind) as caught:
        puller.pull()
    if text is not None:
        assert caught.value.message == text.format(host=registry.host)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("127.0.0.1:9/app:1", 'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: '
         "connection refused"),
        ("no-such-host.invalid/app:1", 'Get "https://no-such-host.invalid/v2/": dial tcp: lookup '
         "no-such-host.invalid: "),
    ],
)  # fmt: skip
def test_nobody_there(puller: Puller, name: str, words: str) -> None:
    client = Registry(Settings({}, ()), Credentials("/nonexistent/x"), patience=QUICK)
    with pytest.raises(Unavailable) as caught:
        client.pull(parse_reference(name), AMD64, puller.sink, puller.events.append)
    assert caught.value.message.startswith(words)


# mirrors


def test_mirror_first_then_the_registry_itself(registry: FakeRegistry) -> None:
    with fake_registry("127.0.0.2") as mirror:
        puller = Puller(registry)
        puller.settings.hosts[registry.host] = HostSettings((mirror.url,), plain_http=True)
        registry.add_image(LAYERS, "1")
        puller.pull()  # the mirror knows nothing
        assert mirror.paths() == ["/v2/", "/v2/app/manifests/1"]
        mirror.add_image([b"fresh"], "1")
        registry.seen.clear()
        puller.pull()
        assert registry.seen == []


def test_a_blob_the_mirror_lost_comes_from_the_registry(registry: FakeRegistry) -> None:
    with fake_registry("127.0.0.2") as mirror:
        puller = Puller(registry)
        puller.settings.hosts[registry.host] = HostSettings((mirror.url,), plain_http=True)
        registry.add_image(LAYERS, "1")
        mirror.add_image(LAYERS, "1")
        del mirror.blobs[digest(LAYERS[0])]
        mirror.cuts[digest(LAYERS[1])] = [5] * 50
        puller.pull()
        assert sorted(puller.sink.layers.values()) == sorted(LAYERS)


def test_a_mirror_with_a_path(registry: FakeRegistry) -> None:
    with fake_registry("127.0.0.2") as mirror:
        puller = Puller(registry)
        puller.settings.hosts[registry.host] = HostSettings((mirror.url + "/hub",))
        mirror.always.append(
            lambda seen: (
                mirror.answer(seen._replace(path=seen.path[4:]))
                if seen.path.startswith("/hub/")
                else None
            )
        )
        mirror.add_image(LAYERS, "1")
        puller.pull()
        assert {path[:8] for path in mirror.paths()} == {"/hub/v2/"}


def test_hashing_uses_the_digest_algorithm(registry: FakeRegistry, puller: Puller) -> None:
    data = b"sha512 layer"
    name = "sha512:" + hashlib.sha512(data).hexdigest()
    registry.blobs[name] = data
    config = (
        b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["%s"]}}'
        % digest(data).encode()
    )
    registry.add_image(
        [],
        "1",
        config={
            "mediaType": DOCKER_CONFIG,
            "size": len(config),
            "digest": registry.add_blob(config),
        },
        layers=[{"mediaType": DOCKER_LAYER, "size": len(data), "digest": name}],
    )
    puller.pull()
    assert puller.sink.layers[Digest.of(data)] == data


# describing


def described(registry: FakeRegistry, name: str) -> Described:
    settings = Settings({registry.host: HostSettings(plain_http=True)}, ())
    client = Registry(settings, Lent({}), patience=QUICK, timeouts=Timeouts(60, 60))
    return client.describe(parse_reference(f"{registry.host}/{name}"), ignore)


def test_what_an_image_is_without_its_layers(registry: FakeRegistry) -> None:
    name = registry.add_image(LAYERS, "1")
    found = described(registry, "app:1")
    assert (found.digest, found.media_type) == (name, DOCKER_MANIFEST)
    assert found.platforms == (AMD64,)
    assert found == described(registry, f"app@{name}")
    assert not [path for path in registry.paths() if digest(LAYERS[0]) in path]


def test_what_an_index_is_for(registry: FakeRegistry) -> None:
    amd64 = registry.add_image(LAYERS, "amd64")
    name = add_index(registry, (amd64, "linux/amd64"), (amd64, "linux/s390x"))
    found = described(registry, "app:1")
    assert (found.digest, found.media_type) == (name, DOCKER_INDEX)
    assert [platform.architecture for platform in found.platforms] == ["amd64", "s390x"]
