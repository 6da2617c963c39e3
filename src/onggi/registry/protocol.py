"""The registry protocol without any I/O: who may be asked, with what, and what an answer means.

Owns challenges, token requests, the rule where credentials may go (SECURITY C9), redirects, byte
ranges, upload sessions, pagination and proxies. Bytes and text in, records out: it never connects.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from ..errors import CorruptData, Forbidden, InvalidInput, Unauthorized
from ..spec.jsontext import loads_strict
from ..typed import NamedTuple

USER_AGENT = "onggi"
MAX_HEADER = 8 << 10
MAX_TOKEN_BYTES = 1 << 20
MAX_RETRY_AFTER_S = 120.0
MAX_REDIRECTS = 5
MIN_TOKEN_LIFE_S = 60.0  # the token specification: no expires_in means 60 seconds
UPSTREAM = {"docker.io": "registry-1.docker.io"}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)
_LINK = re.compile(r'<([^<>]{1,4096})>\s*;\s*rel="?next"?', re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,40}", re.ASCII)
_NUMERIC_HOST = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\.?", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Secret(NamedTuple):
    """What proves who we are to one registry: a password, or an identity token of `login`."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Secret({self.username!r}, …)"


class Origin(NamedTuple):
    """Scheme, host and port: the border credentials do not cross."""

    scheme: str
    host: str
    port: int


class Challenge(NamedTuple):
    """One `WWW-Authenticate` challenge; scheme in lower case."""

    scheme: str
    parameters: dict[str, str]


class Request(NamedTuple):
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Token(NamedTuple):
    value: str
    life_s: float
    refresh_token: str = ""

    def __repr__(self) -> str:
        return "Token(…)"


class Proxies(NamedTuple):
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY as a main found them."""

    http: str = ""
    https: str = ""
    no_proxy: str = ""


# URLs


def split_url(url: str, what: str) -> SplitResult:
    """An absolute http or https URL without user info. Raises Forbidden naming `what`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Forbidden(f"{what} {url[:200]!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Forbidden(f"{what} {url[:200]!r} is not an http or https URL")
    if "@" in parts.netloc:
        raise Forbidden(f"{what} {parts.hostname!r} carries user information: refused")
    if any(character <= " " or character == "\x7f" for character in url):
        raise Forbidden(f"{what} {url[:200]!r} holds blanks or control characters")
    return parts


def origin(url: str, what: str = "URL") -> Origin:
    parts = split_url(url, what)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Origin(parts.scheme, (parts.hostname or "").rstrip("."), port)


def host_of(netloc: str) -> str:
    """`[::1]:5000` or `name:5000` without port and brackets."""
    host = netloc
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    if ":" in netloc:
        host = netloc.rpartition(":")[0]
    return host.lower()


def address_of(host: str) -> Address | None:
    """The address a host *is*, also as 127.1, 0x7f000001 or 2130706433; None for names."""
    host = host.rstrip(".").partition("%")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _NUMERIC_HOST.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(_inet_aton(host.split(".")))
    except ValueError:
        return ipaddress.IPv4Address(0)  # numeric nonsense: counts as "this host"


def _inet_aton(parts: list[str]) -> int:
    numbers = []
    for part in parts:
        base = 16 if part.startswith("0x") else 8 if part.startswith("0") and part != "0" else 10
        numbers.append(int(part.removeprefix("0x") or "0", base))
    value = numbers[-1]
    for index, number in enumerate(numbers[:-1]):
        if number > 255:
            raise ValueError(number)
        value += number << (24 - 8 * index)
    return value


def is_loopback(host: str) -> bool:
    """Docker's rule for "insecure without being told": localhost, 127.0.0.0/8 and ::1."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def is_inside(host: str) -> bool:
    """Whether the host is literally on this machine or a private network."""
    address = _plain_address(host)
    return is_local(host) or (
        address is not None and not (address.is_global and not address.is_multicast)
    )


def is_local(host: str) -> bool:
    """Whether the host is literally this machine or on its link, where metadata services live."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _plain_address(host)
    return address is not None and (
        address.is_loopback or address.is_link_local or address.is_unspecified
    )


def _plain_address(host: str) -> Address | None:
    address = address_of(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def follow(
    url: str, location: str, registry: Origin, what: str = "redirect", *, reading: bool = False
) -> str:
    """The absolute target of a redirect, an upload Location or a Link. Raises Forbidden where it
    leaves https, or leads from a public registry to an address inside. What is only read may come
    from a private network (object stores of companies), never from this machine or its link."""
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise Forbidden(f"{what} {location[:200]!r} is not a URL: {error}") from error
    there = origin(target, what)
    if registry.scheme == "https" and there.scheme != "https":
        raise Forbidden(f"{what} from https://{registry.host} to plain http: refused")
    inside = is_local(there.host) if reading else is_inside(there.host)
    if inside and there.host != registry.host and not is_inside(registry.host):
        raise Forbidden(
            f"{what} from {registry.host} to the internal address {there.host}: refused"
        )
    return target


def proxy_for(url: str, proxies: Proxies) -> str:
    """The proxy for `url`, "" for none, by the rules of Go's httpproxy (never for loopback)."""
    parts = split_url(url, "URL")
    host = (parts.hostname or "").rstrip(".")
    proxy = proxies.https if parts.scheme == "https" else proxies.http
    if not proxy or is_loopback(host):
        return ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if any(_excluded(entry.strip().lower(), host, port) for entry in proxies.no_proxy.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _excluded(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    address = address_of(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and ("]" in name or ":" not in name):
        if port != int(wanted):
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or (address is None and host.endswith("." + entry))


# Authentication


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Every challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1). Never raises: what cannot
    be read ends the list."""
    header = header[:MAX_HEADER]
    challenges: list[Challenge] = []
    position = 0
    while True:
        while position < len(header) and header[position] in " \t,":
            position += 1
        word = _TOKEN.match(header, position)
        if word is None:
            return tuple(challenges)
        position = word.end()
        value = _VALUE.match(header, position)
        if value is None:
            challenges.append(Challenge(word[0].lower(), {}))
            continue
        if not challenges:
            return ()
        text = value[2] if value[1] is None else re.sub(r"\\(.)", r"\1", value[1])
        challenges[-1].parameters.setdefault(word[0].lower(), text)
        position = value.end()


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Bearer before Basic, as docker; anything else is not spoken here."""
    known = {item.scheme: item for item in reversed(tuple(challenges))}
    return known.get("bearer") or known.get("basic")


def scope(path: str, actions: str) -> str:
    return f"repository:{path}:{actions}"


def basic(secret: Secret) -> str:
    pair = f"{secret.username}:{secret.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def check_realm(realm: str, registry: Origin) -> None:
    """Raises Forbidden unless credentials for `registry` may be sent to `realm` (SECURITY C9)."""
    there = origin(realm, f"the token server of {registry.host},")
    if there.scheme != "https" and registry.scheme == "https":
        raise Forbidden(
            f"registry {registry.host} names a token server over plain http ({there.host}): refused"
        )
    if is_inside(there.host) and there.host != registry.host and not is_inside(registry.host):
        raise Forbidden(
            f"registry {registry.host} names the internal address {there.host} as token server: "
            "refused"
        )


def token_request(
    challenge: Challenge,
    registry: Origin,
    scopes: Iterable[str],
    secret: Secret | None,
    *,
    offline: bool = False,
) -> Request:
    """The request for a token. `scopes` are ours: what the challenge asks for is not trusted.
    `offline` asks for an identity token too, as `login` does."""
    realm = challenge.parameters.get("realm", "")
    check_realm(realm, registry)
    query = [("service", challenge.parameters.get("service", ""))]
    query += [("scope", item) for item in scopes]
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    if secret is not None and secret.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": secret.identity_token,
            "service": query[0][1],
            "client_id": USER_AGENT,
            "scope": " ".join(item for key, item in query[1:]),
        }
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Request("POST", realm, headers, urlencode(form).encode("ascii"))
    if secret is not None:
        query.append(("account", secret.username))
        if offline:
            query += [("offline_token", "true"), ("client_id", USER_AGENT)]
        headers["Authorization"] = basic(secret)
    glue = "&" if "?" in realm else "?"
    return Request("GET", realm + glue + urlencode([item for item in query if item[1]]), headers)


def parse_token(body: bytes, host: str) -> Token:
    """The token of a token server's answer: `token`, or `access_token` as OAuth2 says it."""
    document = loads_strict(body, what=f"the token from {host}", max_bytes=MAX_TOKEN_BYTES)
    value = life = None
    if isinstance(document, dict):
        value = document.get("token") or document.get("access_token")
        life = document.get("expires_in")
    if not isinstance(value, str) or not value:
        raise Unauthorized(f"authorization server {host} did not include a token in the response")
    if not value.isascii() or any(character <= " " or character == "\x7f" for character in value):
        raise CorruptData(f"authorization server {host} sent a malformed token")
    if not isinstance(life, (int, float)) or isinstance(life, bool) or life < MIN_TOKEN_LIFE_S:
        life = MIN_TOKEN_LIFE_S
    refresh = document.get("refresh_token")
    return Token(value, float(min(life, 86400)), refresh if isinstance(refresh, str) else "")


# Answers


def retry_after_s(value: str, now_s: float) -> float | None:
    """Seconds of a Retry-After header, at most two minutes; None when absent or unreadable."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value[:10]), MAX_RETRY_AFTER_S)
    from email.utils import parsedate_to_datetime  # rare, and 20 ms to import

    try:
        then_s = parsedate_to_datetime(value[:64]).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(then_s - now_s, 0.0), MAX_RETRY_AFTER_S)


def body_start(status: int, headers: Mapping[str, str], offset: int, size: int) -> int:
    """Where in the blob of `size` bytes the body of this answer begins, when bytes from `offset` on
    were asked for. A server without ranges answers 200 and begins at 0. Raises CorruptData when
    the answer is about other bytes."""
    length = headers.get("Content-Length", "")
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is None or int(found[1]) != offset or found[3] not in ("*", str(size)):
            said = headers.get("Content-Range", "")[:80]
            raise CorruptData(f"registry sent the range {said!r}, asked for {offset}- of {size}")
        return offset
    if length and length != str(size):
        raise CorruptData(f"registry sent {length[:20]} bytes for a blob of {size} bytes")
    return 0


def uploaded_bytes(value: str) -> int:
    """How much of an upload the registry holds, by its Range header ("0-0" means nothing yet)."""
    found = _RANGE.fullmatch(value.strip())
    return int(found[1]) + 1 if found is not None and found[1] != "0" else 0


def with_digest(url: str, digest: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}digest={quote(digest, safe='')}"


def next_page(url: str, link: str, registry: Origin) -> str | None:
    """The next page of a listing. Raises Forbidden when it lies on another host."""
    found = _LINK.search(link[:MAX_HEADER])
    if found is None:
        return None
    target = follow(url, found[1], registry, "Link")
    if origin(target) != registry:
        raise Forbidden(f"registry {registry.host} continues its listing on another host: refused")
    return target


def check_encoding(headers: Mapping[str, str]) -> None:
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise CorruptData(f"registry sent Content-Encoding {encoding[:40]!r} that nobody asked for")


def registry_base(domain: str, scheme: str) -> str:
    """The URL all paths of a registry begin with."""
    host = UPSTREAM.get(domain, domain)
    if not host:
        raise InvalidInput("empty registry name")
    return f"{scheme}://{host}"
