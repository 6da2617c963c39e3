"""Where credentials go, and where they never go: each registry here tries to catch them."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake_registry import Answer, FakeRegistry, Seen, digest, error, fake_registry
from onggi.errors import Forbidden, OnggiError, Unauthorized, Unavailable
from onggi.progress import ignore
from onggi.registry.client import Registry
from onggi.registry.config import HostSettings, Settings
from onggi.registry.credentials import Credentials
from onggi.registry.protocol import Secret
from onggi.registry.pulling import Pulled
from onggi.registry.session import Patience
from onggi.registry.transport import Timeouts
from onggi.spec.platform import Platform
from onggi.spec.reference import parse_reference
from registry_images import Memory, image_of

QUICK = Patience(attempts=2, first_s=0.001, longest_s=0.002)
PASSWORD = "Basic " + base64.b64encode(b"me:pw").decode()
LAYER = b"layer" * 1000


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        running.add_image([LAYER], "1")
        yield running


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    """Another host."""
    with fake_registry("127.0.0.2") as running:
        running.blobs[digest(LAYER)] = LAYER
        yield running


Client = Callable[..., Registry]


@pytest.fixture
def client(registry: FakeRegistry, tmp_path: Path) -> Registry:
    credentials = Credentials(str(tmp_path / "config.json"))
    credentials.put(registry.host, Secret("me", "pw"))
    settings = Settings({registry.host: HostSettings(plain_http=True)}, ())
    return Registry(settings, credentials, patience=QUICK, timeouts=Timeouts(60, 60))


def pull(client: Registry, registry: FakeRegistry, name: str = "app:1") -> Pulled:
    reference = parse_reference(f"{registry.host}/{name}")
    return client.pull(reference, Platform("linux", "amd64"), Memory(), ignore)


def guard(registry: FakeRegistry, accepted: Callable[[], str], challenge: str) -> None:
    """Everything under /v2/ needs the Authorization that `accepted` says."""

    def rule(seen: Seen) -> Answer | None:
        if not seen.path.startswith("/v2/") or seen.headers.get("Authorization") == accepted():
            return None
        said = error(401, "UNAUTHORIZED", "authentication required")
        return said._replace(headers={**said.headers, "WWW-Authenticate": challenge})

    registry.always.append(rule)


def bearer(registry: FakeRegistry, realm: str, token: str = "t0k") -> None:
    guard(registry, lambda: f"Bearer {token}", f'Bearer realm="{realm}",service="s"')


def give_token(server: FakeRegistry, token: str = "t0k", **more: object) -> None:
    body = json.dumps({"token": token, **more}).encode()
    server.on("GET", "/token", Answer(200, body))


def test_basic(registry: FakeRegistry, client: Registry) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    pull(client, registry)
    assert registry.secrets_seen() == {PASSWORD}


def test_basic_without_credentials(registry: FakeRegistry, client: Registry) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    client.logout(registry.host)
    with pytest.raises(Unauthorized, match="no basic auth credentials") as caught:
        pull(client, registry)
    assert caught.value.hint == f"onggi login {registry.host}"


def test_token_of_the_registry_itself(registry: FakeRegistry, client: Registry) -> None:
    bearer(registry, f"{registry.url}/token")
    give_token(registry)
    pull(client, registry)
    asked = [seen for seen in registry.seen if seen.path.startswith("/token")]
    assert len(asked) == 1  # once for all requests of one scope
    assert asked[0].headers["Authorization"] == PASSWORD
    assert "scope=repository%3Aapp%3Apull" in asked[0].path


def test_token_of_another_host(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    bearer(registry, f"{other.url}/token")
    give_token(other, "t0k", expires_in=-1)
    pull(client, registry)
    assert other.secrets_seen() == {PASSWORD}
    assert registry.secrets_seen() == {"Bearer t0k"}


def test_an_identity_token_is_exchanged(
    registry: FakeRegistry, client: Registry, tmp_path: Path
) -> None:
    Credentials(str(tmp_path / "config.json")).put(registry.host, Secret("me", "", "identity"))
    bearer(registry, f"{registry.url}/token")
    registry.on("POST", "/token", Answer(200, b'{"access_token":"t0k"}'))
    pull(client, registry)
    asked = [seen for seen in registry.seen if seen.path == "/token"]
    assert b"refresh_token=identity" in asked[0].body


def test_an_expired_token_is_renewed(registry: FakeRegistry, client: Registry) -> None:
    tokens = iter(["first", "second", "third"])
    current = [""]

    def token(seen: Seen) -> Answer:
        current[0] = next(tokens)
        return Answer(200, json.dumps({"token": current[0]}).encode())

    registry.on("GET", "/token", token)
    guard(
        registry, lambda: f"Bearer {current[0]}", f'Bearer realm="{registry.url}/token",service="s"'
    )

    def expire(seen: Seen) -> Answer | None:
        current[0] = "gone"
        registry.on("GET", seen.path, lambda again: None)
        return error(401, "UNAUTHORIZED")

    registry.on("GET", f"/v2/app/blobs/{digest(LAYER)}", expire)
    pull(client, registry)
    assert current[0] == "second"


def test_a_token_nobody_accepts(registry: FakeRegistry, client: Registry) -> None:
    bearer(registry, f"{registry.url}/token", "right")
    give_token(registry, "wrong")
    with pytest.raises(Unauthorized, match="unauthorized: authentication required"):
        pull(client, registry)
    assert len([path for path in registry.paths() if path.startswith("/token")]) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Answer(401, b'{"details":"incorrect username or password"}'), Unauthorized,
         "unauthorized: incorrect username or password"),
        (Answer(401, b""), Unauthorized, "unauthorized: incorrect username or password"),
        (error(403, "DENIED", "no"), Unauthorized, "denied: no"),
        (Answer(500, b"<html>"), Unavailable, "500 Internal Server Error"),
        (Answer(200, b"<html>"), OnggiError, "not valid JSON"),
        (Answer(200, b'{"token":"' + b"x" * (2 << 20) + b'"}'), OnggiError, "larger than"),
    ],
)  # fmt: skip
def test_token_server_says_no(
    registry: FakeRegistry, client: Registry, answer: Answer, kind: type[OnggiError], text: str
) -> None:
    bearer(registry, f"{registry.url}/token")
    registry.on("GET", "/token", answer)
    with pytest.raises(kind, match=text):
        pull(client, registry)


# the ways to steal


@pytest.mark.sec("C9")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_blob_gets_no_credentials(
    registry: FakeRegistry, other: FakeRegistry, client: Registry, status: int
) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    path = f"/v2/app/blobs/{digest(LAYER)}"
    registry.on("GET", path, Answer(status, b"", {"Location": other.url + path}))
    pull(client, registry)
    assert other.paths() == [path]
    assert other.secrets_seen() == set()


@pytest.mark.sec("C9")
def test_another_port_is_another_origin(registry: FakeRegistry, client: Registry) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    path = f"/v2/app/blobs/{digest(LAYER)}"
    with fake_registry() as neighbour:
        neighbour.blobs[digest(LAYER)] = LAYER
        registry.on("GET", path, Answer(307, b"", {"Location": neighbour.url + path}))
        pull(client, registry)
        assert neighbour.paths() == [path]
        assert neighbour.secrets_seen() == set()


@pytest.mark.sec("C9")
def test_a_redirect_target_cannot_ask_for_credentials(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    path = f"/v2/app/blobs/{digest(LAYER)}"
    registry.on("GET", path, Answer(307, b"", {"Location": other.url + path}))
    bearer(other, f"{other.url}/token")
    give_token(other)
    with pytest.raises(Unauthorized):
        pull(client, registry)
    assert other.secrets_seen() == set()
    assert not [path for path in other.paths() if path.startswith("/token")]


@pytest.mark.sec("C9")
def test_a_redirect_back_home_is_authorized_again(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    path = f"/v2/app/blobs/{digest(LAYER)}"
    registry.on("GET", path, Answer(307, b"", {"Location": other.url + "/hop"}), lambda seen: None)
    other.on("GET", "/hop", Answer(307, b"", {"Location": registry.url + path}))
    pull(client, registry)
    assert other.secrets_seen() == set()


@pytest.mark.sec("C9")
def test_a_circle_of_redirects_ends(registry: FakeRegistry, client: Registry) -> None:
    path = f"/v2/app/blobs/{digest(LAYER)}"
    registry.on("GET", path, Answer(307, b"", {"Location": path}))
    with pytest.raises(Unavailable, match="in a circle"):
        pull(client, registry)


@pytest.mark.sec("C9")
def test_the_token_server_may_not_redirect(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    bearer(registry, f"{registry.url}/token")
    registry.on("GET", "/token", Answer(307, b"", {"Location": f"{other.url}/token"}))
    give_token(other)
    with pytest.raises(Forbidden, match="answered with a redirect"):
        pull(client, registry)
    assert other.seen == []


@pytest.mark.sec("C9")
@pytest.mark.parametrize("realm", ["ftp://{host}/token", "http://x@{host}/token", "/token", ""])
def test_a_strange_realm_is_not_asked(
    registry: FakeRegistry, other: FakeRegistry, client: Registry, realm: str
) -> None:
    bearer(registry, realm.format(host=other.host))
    with pytest.raises(Forbidden):
        pull(client, registry)
    assert other.seen == []
    assert registry.secrets_seen() == set()


@pytest.mark.sec("C9")
def test_a_mirror_gets_its_own_credentials_only(
    registry: FakeRegistry, other: FakeRegistry, client: Registry, tmp_path: Path
) -> None:
    client._settings.hosts[registry.host] = HostSettings((other.url,), plain_http=True)
    guard(other, lambda: "never", 'Basic realm="x"')
    pull(client, registry)
    assert other.seen
    assert other.secrets_seen() == set()
    Credentials(str(tmp_path / "config.json")).put(other.host, Secret("mirror", "x"))
    pull(client, registry)
    mine = "Basic " + base64.b64encode(b"mirror:x").decode()
    assert other.secrets_seen() == {mine}


@pytest.mark.sec("C9")
def test_urls_of_descriptors_are_ignored(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    manifest = json.loads(registry.documents["1"][0])
    manifest["layers"][0]["urls"] = [f"{other.url}/steal"]
    registry.add_document(manifest, manifest["mediaType"], "1")
    pull(client, registry)
    assert other.seen == []


@pytest.mark.sec("C9")
def test_an_upload_elsewhere_gets_no_credentials(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    registry.on(
        "POST", "/v2/new/blobs/uploads/", Answer(202, b"", {"Location": f"{other.url}/upload"})
    )
    registry.on("PUT", "/v2/new/manifests/1", Answer(201))
    other.on("PUT", "/upload", Answer(201))
    reference = parse_reference(f"{registry.host}/new:1")
    client.push(reference, image_of(b"new"), ignore)
    assert [seen.method for seen in other.seen] == ["PUT", "PUT"]
    assert other.secrets_seen() == set()


@pytest.mark.sec("C9")
def test_a_tag_list_continues_on_its_host_only(
    registry: FakeRegistry, other: FakeRegistry, client: Registry
) -> None:
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    link = {"Link": f'<{other.url}/v2/app/tags/list?last=a>; rel="next"'}
    registry.on("GET", "/v2/app/tags/list", Answer(200, b'{"tags":["a"]}', link))
    with pytest.raises(Forbidden, match="another host"):
        client.tags(parse_reference(f"{registry.host}/app"))
    assert other.seen == []


def test_an_endless_tag_list_ends(registry: FakeRegistry, client: Registry) -> None:
    link = {"Link": '</v2/app/tags/list?last=a>; rel="next"'}
    registry.on("GET", "/v2/app/tags/list", Answer(200, b'{"tags":["a"]}', link))
    with pytest.raises(OnggiError, match="does not end"):
        client.tags(parse_reference(f"{registry.host}/app"))


# login


def test_login_stores_what_the_registry_accepts(
    registry: FakeRegistry, client: Registry, tmp_path: Path
) -> None:
    client.logout(registry.host)
    guard(registry, lambda: PASSWORD, 'Basic realm="x"')
    with pytest.raises(Unauthorized) as caught:
        client.login(registry.host, "me", "wrong")
    assert caught.value.message == (
        f"login attempt to {registry.url}/v2/ failed with status: 401 Unauthorized"
    )
    assert client.login(registry.host, "me", "pw") is True
    assert Credentials(str(tmp_path / "config.json")).get(registry.host) == Secret("me", "pw")


def test_login_keeps_an_identity_token_instead_of_the_password(
    registry: FakeRegistry, client: Registry, tmp_path: Path
) -> None:
    bearer(registry, f"{registry.url}/token")
    give_token(registry, refresh_token="identity")
    client.login(registry.host, "me", "pw")
    stored = Credentials(str(tmp_path / "config.json")).get(registry.host)
    assert stored == Secret("me", "", "identity")


@pytest.mark.parametrize("answer", [Answer(500, b"oops"), Answer(200, b"<html>")])
def test_login_where_something_else_answers(
    registry: FakeRegistry, client: Registry, answer: Answer
) -> None:
    registry.on("GET", "/v2/", answer)
    if answer.status == 200:
        client.login(registry.host, "me", "pw")
    else:
        with pytest.raises(Unavailable, match="failed with status: 500"):
            client.login(registry.host, "me", "pw")


def test_login_needs_both(client: Registry) -> None:
    for name, password in (("", "x"), ("x", "")):
        with pytest.raises(OnggiError, match="must not be empty"):
            client.login("h", name, password)


@pytest.mark.parametrize("server", ["user@h", "a b", "h:99999"])
def test_login_to_a_strange_name(client: Registry, server: str) -> None:
    with pytest.raises(OnggiError):
        client.login(server, "me", "pw")
