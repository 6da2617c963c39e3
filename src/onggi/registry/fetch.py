"""One file from the web, for `ADD https://…` and build contexts: http(s) only, bounded, checked.

No credentials are sent anywhere. A redirect may not leave https, nor lead from a public host to an
address of this machine or a private network, also not by a name (SECURITY D9).
"""

import socket
from collections.abc import Callable

from ..errors import Forbidden, InvalidInput, NotFound, Unavailable
from ..typed import NamedTuple
from .config import Settings
from .protocol import Origin, address_of, follow, is_inside, origin
from .protocol_errors import status_text
from .transport import ConnectionFailed, Response, Transport

MAX_REDIRECTS = 10
MAX_BYTES = 8 << 30
ATTEMPTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (429, 500, 502, 503, 504)


class Fetched(NamedTuple):
    """`unchanged`: the server still has what `etag` named, and nothing was written. `modified` is
    the Last-Modified header, `size` what was written."""

    etag: str
    modified: str
    size: int
    unchanged: bool = False


def fetch(
    settings: Settings,
    url: str,
    write: Callable[[bytes], object],
    *,
    etag: str = "",
    max_bytes: int = MAX_BYTES,
) -> Fetched:
    """GET `url` into `write`. Raises NotFound, Forbidden, InvalidInput when it is too large,
    Unavailable."""
    headers = {"User-Agent": "onggi", "Accept": "*/*"}
    if etag:
        headers["If-None-Match"] = etag
    with Transport(settings) as transport, _get(transport, url, headers) as response:
        if response.status == 304 and etag:
            return Fetched(etag, response.headers.get("Last-Modified", ""), 0, True)
        _require_success(response, url)
        return _received(response, url, write, max_bytes)


def _get(transport: Transport, url: str, headers: dict[str, str]) -> Response:
    first, here = origin(url, "source"), url
    for _ in range(MAX_REDIRECTS + 1):
        response = _attempts(transport, here, headers)
        if response.status not in _REDIRECTS:
            return response
        location = response.headers.get("Location", "")
        response.close()
        if not location:
            raise Unavailable(f"{url}: a redirect without a target")
        here = follow(here, location, first)
        _check_resolved(here, first)
    raise Unavailable(f"{url}: stopped after {MAX_REDIRECTS} redirects")


def _attempts(transport: Transport, url: str, headers: dict[str, str]) -> Response:
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            response = transport.send("GET", url, headers)
        except ConnectionFailed as error:
            if last or error.kind not in ("cut", "timeout"):
                raise
            continue
        if last or response.status not in _BUSY:
            return response
        response.close()
    raise AssertionError("unreachable")


def _check_resolved(url: str, first: Origin) -> None:
    """A name that a public host redirects to must not mean an address inside either."""
    there = origin(url, "redirect")
    if there.host == first.host or is_inside(first.host) or address_of(there.host) is not None:
        return
    try:
        found = socket.getaddrinfo(there.host, there.port, type=socket.SOCK_STREAM)
    except OSError:
        return  # connecting will say it
    if not _leads_inside(first) and any(is_inside(str(item[4][0])) for item in found):
        raise Forbidden(f"redirect from {first.host} to the internal address {there.host}: refused")


def _leads_inside(first: Origin) -> bool:
    try:
        found = socket.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_inside(str(item[4][0])) for item in found)


def _require_success(response: Response, url: str) -> None:
    if 200 <= response.status < 300:
        return
    text = f"{url}: {status_text(response.status)}"
    if response.status in (404, 410):
        raise NotFound(text)
    raise Unavailable(text) if response.status >= 500 else Forbidden(text)


def _received(
    response: Response, url: str, write: Callable[[bytes], object], max_bytes: int
) -> Fetched:
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise _too_large(url, max_bytes)
    size = 0
    for piece in response.chunks():
        size += len(piece)
        if size > max_bytes:
            raise _too_large(url, max_bytes)
        write(piece)
    if length.isdecimal() and size != int(length[:20]):
        raise Unavailable(f"{url}: {size} of {length} bytes came")
    return Fetched(
        response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""), size
    )


def _too_large(url: str, max_bytes: int) -> InvalidInput:
    return InvalidInput(
        f"{url} is larger than {max_bytes >> 20} MiB", hint="fetch it in a RUN step with curl"
    )
