import pytest

from onggi.errors import CorruptData, Forbidden, Unauthorized
from onggi.registry import protocol
from onggi.registry.protocol import Challenge, Origin, Proxies, Secret

PUBLIC = Origin("https", "registry.example", 443)
LOCAL = Origin("http", "127.0.0.1", 5000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t?x=1,2",service="s", scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a/t?x=1,2",
                        "service": "s",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate, Basic realm="a\\"b", Bearer realm=c',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": 'a"b'}),
                Challenge("bearer", {"realm": "c"}),
            ],
        ),
        ('BEARER REALM = "r"', [Challenge("bearer", {"realm": "r"})]),
        ('Bearer realm="a",realm="b"', [Challenge("bearer", {"realm": "a"})]),
        ("", []),
        ("realm=x", []),
        ('Bearer realm="open', [Challenge("bearer", {"realm": '"open'})][:0]),
        ("\x00\xff", []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    found = list(protocol.parse_challenges(header))
    if header.endswith("open"):
        assert all(item.parameters.get("realm", "") != "open" for item in found)
    else:
        assert found == expected


def test_bearer_is_preferred_and_the_first_of_a_kind_counts() -> None:
    found = protocol.choose_challenge(
        protocol.parse_challenges('Basic realm="b", Bearer realm="one", Bearer realm="two"')
    )
    assert found == Challenge("bearer", {"realm": "one"})
    assert protocol.choose_challenge(protocol.parse_challenges("Digest a=b")) is None


@pytest.mark.sec("C9")
@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "https://127.0.0.1/token",
        "https://[::1]/token",
        "https://[::ffff:127.0.0.1]/token",
        "https://localhost/token",
        "https://a.localhost/token",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/token",
        "https://192.168.1.1/token",
        "https://172.16.0.1/token",
        "https://[fe80::1]/token",
        "https://[fd00::1]/token",
        "https://0.0.0.0/token",
        "https://127.1/token",
        "https://2130706433/token",
        "https://0x7f000001/token",
        "https://0177.0.0.1/token",
        "https://127.0.0.1./token",
        "https://user@auth.example/token",
        "https://registry.example@evil.example/token",
        "file:///etc/passwd",
        "gopher://auth.example/",
        "//auth.example/token",
        "auth.example/token",
        "https:///token",
        "https://auth.example:0/",
        "https://auth.example:99999/",
        "https://auth.example/ x",
        "",
    ],
)
def test_a_realm_that_gets_no_credentials(realm: str) -> None:
    challenge = Challenge("bearer", {"realm": realm})
    with pytest.raises(Forbidden):
        protocol.token_request(challenge, PUBLIC, ["s"], Secret("me", "password"))


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://auth.example/token", PUBLIC),
        ("https://registry.example/token", PUBLIC),
        ("http://auth.example/token", Origin("http", "registry.example", 80)),
        ("http://127.0.0.1:9/token", LOCAL),
        ("http://127.0.0.2:9/token", LOCAL),
        ("https://10.0.0.7/token", Origin("https", "10.0.0.7", 443)),
        ("https://8.8.8.8/token", PUBLIC),
    ],
)
def test_a_realm_that_may_be_asked(realm: str, registry: Origin) -> None:
    protocol.check_realm(realm, registry)


def test_token_requests() -> None:
    challenge = Challenge("bearer", {"realm": "https://a.example/t?x=1", "service": "s v"})
    plain = protocol.token_request(challenge, PUBLIC, ["repository:a:pull"], None)
    assert plain.method == "GET"
    assert plain.url == "https://a.example/t?x=1&service=s+v&scope=repository%3Aa%3Apull"
    assert "Authorization" not in plain.headers
    named = protocol.token_request(challenge, PUBLIC, ["a", "b"], Secret("me", "pw"), offline=True)
    assert named.headers["Authorization"] == "Basic bWU6cHc="
    assert "&scope=a&scope=b&account=me&offline_token=true" in named.url
    identity = protocol.token_request(challenge, PUBLIC, ["a"], Secret("", "", "refresh me"))
    assert identity.method == "POST"
    assert identity.body is not None
    assert b"refresh_token=refresh+me" in identity.body
    assert "refresh" not in identity.url


@pytest.mark.sec("C16")
def test_secrets_do_not_print() -> None:
    secret, token = Secret("me", "marker", "marker"), protocol.Token("marker", 1, "marker")
    assert "marker" not in f"{secret!r} {secret} {token!r} {token}"


def test_tokens() -> None:
    assert protocol.parse_token(b'{"token":"a"}', "h") == protocol.Token("a", 60.0)
    assert protocol.parse_token(b'{"access_token":"b","expires_in":300}', "h").life_s == 300
    assert protocol.parse_token(b'{"token":"a","expires_in":-1}', "h").life_s == 60
    assert protocol.parse_token(b'{"token":"a","expires_in":1e300}', "h").life_s == 86400
    assert protocol.parse_token(b'{"token":"a","expires_in":"x"}', "h").life_s == 60


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"token":1}', b'{"token":""}', b'{"token":"a\\r\\nb"}',
     b'{"token":"\xc3\xa9"}', b'{"token":"' + b"x" * (10 << 20) + b'"}'],
    ids=["empty", "html", "list", "none", "number", "blank", "newline", "letter", "huge"],
)  # fmt: skip
def test_what_is_no_token(body: bytes) -> None:
    with pytest.raises((CorruptData, Unauthorized)):
        protocol.parse_token(body, "auth.example")


@pytest.mark.sec("C9")
@pytest.mark.parametrize(
    "location",
    [
        "http://registry.example/x",
        "http://cdn.example/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/x",
        "https://user:pw@cdn.example/x",
        "ftp://cdn.example/x",
        "file:///etc/passwd",
        "https://0x7f.1/x",
        "https://[::1",
    ],
)
@pytest.mark.parametrize("reading", [True, False])
def test_redirects_that_are_not_followed(location: str, reading: bool) -> None:
    with pytest.raises(Forbidden):
        protocol.follow("https://registry.example/v2/", location, PUBLIC, reading=reading)


@pytest.mark.sec("C9")
def test_only_reading_may_lead_into_a_private_network() -> None:
    here, there = "https://registry.example/v2/", "https://10.1.2.3:9000/bucket/blob"
    assert protocol.follow(here, there, PUBLIC, reading=True) == there
    with pytest.raises(Forbidden, match="internal address"):
        protocol.follow(here, there, PUBLIC)


def test_redirects_that_are_followed() -> None:
    here = "https://registry.example/v2/a/blobs/x"
    assert protocol.follow(here, "/y?z=1", PUBLIC) == "https://registry.example/y?z=1"
    assert protocol.follow(here, "https://cdn.example/y", PUBLIC) == "https://cdn.example/y"
    assert protocol.follow("http://127.0.0.1:5000/a", "http://127.0.0.2/b", LOCAL)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None), ("5", 5), ("0", 0), ("1000000000", 120), ("99999999999999", 120), ("-5", None),
        ("junk", None), ("5.5", None), ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 120), ("٣", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert protocol.retry_after_s(value, 10.0) == seconds


def test_where_a_body_begins() -> None:
    assert protocol.body_start(200, {}, 0, 10) == 0
    assert protocol.body_start(200, {"Content-Length": "10"}, 4, 10) == 0
    assert protocol.body_start(206, {"Content-Range": "bytes 4-9/10"}, 4, 10) == 4
    assert protocol.body_start(206, {"Content-Range": "bytes 4-9/*"}, 4, 10) == 4


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Length": "11"}),
        (206, {}),
        (206, {"Content-Range": "bytes 3-9/10"}),
        (206, {"Content-Range": "bytes 4-9/11"}),
        (206, {"Content-Range": "bytes */10"}),
        (206, {"Content-Range": "bytes 4-9/10, 5-6/10"}),
    ],
)
def test_a_body_of_other_bytes(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(CorruptData):
        protocol.body_start(status, headers, 4, 10)


def test_uploads() -> None:
    assert protocol.uploaded_bytes("0-99") == 100
    assert protocol.uploaded_bytes("bytes=0-99") == 100
    assert [protocol.uploaded_bytes(x) for x in ("0-0", "", "5-9", "0--1")] == [0, 0, 0, 0]
    assert protocol.with_digest("http://h/u?s=1", "sha256:a") == "http://h/u?s=1&digest=sha256%3Aa"
    assert protocol.with_digest("http://h/u", "sha256:a") == "http://h/u?digest=sha256%3Aa"


def test_pages() -> None:
    url = "https://registry.example/v2/a/tags/list"
    assert protocol.next_page(url, "", PUBLIC) is None
    assert protocol.next_page(url, '</x?n=5>; rel="prev"', PUBLIC) is None
    found = protocol.next_page(url, '</v2/a/tags/list?last=x>; rel="next"', PUBLIC)
    assert found == url + "?last=x"
    with pytest.raises(Forbidden, match="another host"):
        protocol.next_page(url, '<https://evil.example/x>; rel="next"', PUBLIC)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("https://a.example/", "", True),
        ("https://a.example/", "example", False),
        ("https://a.example/", ".example", False),
        ("https://a.example/", "*.example", False),
        ("https://a.example/", "b.example, a.example", False),
        ("https://aexample/", "example", True),
        ("https://a.example:444/", "a.example:443", True),
        ("https://a.example/", "a.example:443", False),
        ("https://a.example/", "*", False),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://11.1.2.3/", "10.0.0.0/8,junk/99", True),
        ("https://[fd00::1]/", "[fd00::1]", False),
        ("http://localhost:5000/", "", False),
        ("http://127.0.0.9:5000/", "", False),
    ],
)
def test_proxies(url: str, no_proxy: str, proxied: bool) -> None:
    proxies = Proxies("proxy.example:3128", "http://proxy.example:3128", no_proxy)
    expected = "http://proxy.example:3128" if proxied else ""
    assert protocol.proxy_for(url, proxies) == expected
    assert protocol.proxy_for(url, Proxies()) == ""


def test_docker_hub_lives_elsewhere() -> None:
    assert protocol.registry_base("docker.io", "https") == "https://registry-1.docker.io"
    assert protocol.registry_base("a:5000", "http") == "http://a:5000"
