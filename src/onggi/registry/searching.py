"""`search`: the v1 search of Docker Hub, which few registries have. It sends no credentials."""

from urllib.parse import quote

from ..errors import CorruptData, Forbidden, InvalidInput, NotFound, Unavailable, Unsupported
from ..spec.jsontext import loads_strict
from ..spec.reference import parse_reference
from ..typed import Any, NamedTuple
from . import protocol
from .config import Settings
from .protocol_errors import printable, status_text
from .transport import ConnectionFailed, Response, Timeouts, Transport

HUB = "index.docker.io"
DEFAULT_LIMIT, MAX_LIMIT = 25, 100
MAX_BYTES = 4 << 20
_REDIRECTS = (301, 302, 303, 307, 308)


class Hit(NamedTuple):
    """One repository that was found."""

    name: str
    description: str
    stars: int
    official: bool


def search(
    settings: Settings, term: str, limit: int = 0, timeouts: Timeouts | None = None
) -> list[Hit]:
    """What the registry of `term` (`[HOST/]WORDS`, Docker Hub without one) finds, in its order; at
    most `limit` (1 to 100, 0: 25). Raises InvalidInput, Unsupported where the registry cannot
    search, Unavailable."""
    host, words = split_term(term)
    limit = limit or DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit {limit} is outside the range of [1, {MAX_LIMIT}]")
    path = f"/v1/search?q={quote(words)}&n={limit}"
    with Transport(settings, timeouts) as transport:
        schemes = settings.schemes(host)
        for scheme in schemes:
            try:
                return _ask(transport, f"{scheme}://{host}{path}", host)
            except ConnectionFailed:
                if scheme == schemes[-1]:
                    raise
    raise AssertionError("a registry has a scheme")


def split_term(term: str) -> tuple[str, str]:
    """The registry's host and what to look for. Raises InvalidInput."""
    if "://" in term:
        raise InvalidInput(
            f"invalid repository name ({term[:200]}), it should not include the protocol"
        )
    first, slash, rest = term.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return HUB, term
    host = parse_reference(f"{first}/x").domain
    # Docker looks for `library/x` by its familiar name on the Hub.
    return (HUB, rest.removeprefix("library/")) if host == "docker.io" else (host, rest)


def _ask(transport: Transport, url: str, host: str) -> list[Hit]:
    first = protocol.origin(url, "registry")
    headers = {
        "User-Agent": protocol.USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    for _ in range(protocol.MAX_REDIRECTS + 1):
        with transport.send("GET", url, headers) as response:
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location:
                return _hits(response, host)
        url = protocol.follow(url, location, first)
    raise Unavailable(f"registry {host} redirects in a circle")


def _hits(response: Response, host: str) -> list[Hit]:
    if response.status in (404, 405, 501):
        raise Unsupported(
            f"registry {host} cannot be searched: {status_text(response.status)}",
            hint="few registries besides Docker Hub can: pull by name",
        )
    if response.status != 200:
        kind = Forbidden if response.status in (401, 403) else Unavailable
        raise kind(f"Unexpected status code {response.status}")
    document = loads_strict(response.read(MAX_BYTES), what="search results", max_bytes=MAX_BYTES)
    found = document.get("results") if isinstance(document, dict) else None
    if found is None:
        raise NotFound(f"registry {host} answers a search with something else")
    if not isinstance(found, list):
        raise CorruptData("search results: results is not a list")
    return [_hit(item) for item in found[:MAX_LIMIT]]


def _hit(item: Any) -> Hit:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise CorruptData("search results: an entry without a name")
    stars = item.get("star_count")
    description = item.get("description")
    return Hit(
        printable(item["name"]),
        description if isinstance(description, str) else "",
        stars if isinstance(stars, int) else 0,
        item.get("is_official") is True,
    )
