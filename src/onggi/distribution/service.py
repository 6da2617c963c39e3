"""The OCI distribution API over an `Offering`: what docker, podman and skopeo ask a registry.

Source: distribution-spec 1.1. Routes, errors and headers; what there is to give, and what becomes
of what comes, is the engine's.
"""

import re
import time
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, quote, unquote

from ..engine.offering import Blob, Document, Offering
from ..errors import (
    Conflict,
    CorruptData,
    Forbidden,
    InvalidInput,
    NotFound,
    OnggiError,
    Unavailable,
    Unsupported,
)
from ..httpd.exchange import Exchange, Gone, Header
from ..httpd.strict import Refused
from ..spec.digest import Digest
from ..spec.image import OCI_INDEX
from ..spec.jsontext import canonical
from ..spec.reference import parse_reference
from ..typed import Any, NamedTuple
from .uploads import Upload, Uploads

MAX_MANIFEST_BYTES = 4 << 20
MAX_LISTED = 1000
VERSION: Header = ("Docker-Distribution-API-Version", "registry/2.0")
OCTETS: Header = ("Content-Type", "application/octet-stream")
_PATH = re.compile(
    r"/v2/([a-z0-9][a-z0-9._/-]{0,254})/(?:(manifests|blobs|referrers)/([\w.:+-]{1,160})"
    r"|(tags)/list|blobs/(uploads)/([0-9a-f]{32})?)",
    re.ASCII,
)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,18})-[0-9]{1,18}(?:/.*)?")
Log = Callable[[str], None]


class Place(NamedTuple):
    """What a path is about: "" where there is none."""

    kind: str  # manifests, blobs, referrers, tags, uploads
    name: str
    reference: str = ""


class Service:
    """`uploads` is None for a registry that only gives. `hosts` are the names that a request may be
    for, empty for any; `log` gets a line for each request and each fault of ours."""

    def __init__(
        self,
        offering: Offering,
        uploads: Uploads | None,
        *,
        log: Log,
        hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._offering = offering
        self._uploads = uploads
        self._log = log
        self._hosts = hosts

    def handle(self, exchange: Exchange) -> None:
        """Answer one request. Raises Gone and Refused as a handler may."""
        started = time.monotonic()
        try:
            self._answer(exchange)
        except (Gone, Refused):
            raise
        except OnggiError as error:
            self._refuse(exchange, error)
        except Exception:  # an entry loop: a fault of ours must not end the server
            self._log("fault " + repr(traceback.format_exc()))
            self._refuse(exchange, OnggiError("internal error: see the server's log"))
        finally:
            if exchange.status:
                took_ms = (time.monotonic() - started) * 1000
                request = exchange.request
                target = re.sub(r"[^!-~]", "?", request.target)
                self._log(
                    f"{request.peer} {request.method} {target} {exchange.status} {took_ms:.1f}ms"
                )

    def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        self._check_host(exchange)
        path, _, query_text = request.target.partition("?")
        path = unquote(path)
        query = {name: values[-1] for name, values in parse_qs(query_text).items()}
        if path in ("/v2", "/v2/"):
            exchange.reply(200, [VERSION, ("Content-Type", "application/json")], b"{}")
            return
        if path == "/v2/_catalog":
            names = self._offering.repositories()
            self._list(exchange, "repositories", names, query, "/v2/_catalog")
            return
        place = place_of(path)
        if place is None:
            raise NotFound("page not found")
        if request.method in ("GET", "HEAD") and place.kind != "uploads":
            self._give(exchange, place, query)
        elif self._uploads is None:
            raise ReadOnly("this registry only gives: it was started without --writable")
        elif place.kind == "uploads":
            self._upload(exchange, self._uploads, place, query)
        elif place.kind == "manifests" and request.method == "PUT":
            self._put_manifest(exchange, place)
        else:
            raise ReadOnly("the operation is unsupported")

    def _check_host(self, exchange: Exchange) -> None:
        """No page of a browser may be led here by a name that is not ours."""
        header = exchange.request.header("host").lower()
        name = header.partition("]")[0].lstrip("[") if "]" in header else header.partition(":")[0]
        if self._hosts and name not in self._hosts:
            raise WrongHost(f"misdirected request: no host of ours: {header[:255]}")

    # -- giving

    def _give(self, exchange: Exchange, place: Place, query: dict[str, str]) -> None:
        match place.kind:
            case "tags":
                tags = self._offering.tags(place.name)
                path = f"/v2/{place.name}/tags/list"
                self._list(exchange, "tags", tags, query, path, name=place.name)
            case "manifests":
                self._give_document(exchange, self._offering.manifest(place.name, place.reference))
            case "referrers":
                Digest.parse(place.reference)
                nothing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
                exchange.reply(200, [VERSION, ("Content-Type", OCI_INDEX)], canonical(nothing))
            case _:
                self._give_blob(exchange, self._blob(place))

    def _blob(self, place: Place) -> Blob:
        digest = Digest.parse(place.reference)
        try:
            return self._offering.blob(place.name, digest)
        except NotFound:
            stored = self._offering.stored(digest) if self._uploads is not None else None
            if stored is None:
                raise BlobUnknown("blob unknown to registry") from None
            return stored

    def _give_document(self, exchange: Exchange, document: Document) -> None:
        headers = [
            VERSION,
            ("Content-Type", document.media_type),
            ("Docker-Content-Digest", document.digest),
            ("ETag", f'"{document.digest}"'),
        ]
        exchange.reply(200, headers, document.data)

    def _give_blob(self, exchange: Exchange, blob: Blob) -> None:
        headers = [
            VERSION, OCTETS, ("Accept-Ranges", "bytes"), ("Docker-Content-Digest", blob.digest),
            ("ETag", f'"{blob.digest}"'),
        ]  # fmt: skip
        size = blob.size_bytes
        wanted = wanted_range(exchange.request.header("range"), size)
        if wanted is None:
            first, length, status = 0, size, 200
        else:
            (first, length), status = wanted, 206
            if not length:
                exchange.reply(416, [VERSION, ("Content-Range", f"bytes */{size}")])
                return
            headers.append(("Content-Range", f"bytes {first}-{first + length - 1}/{size}"))
        exchange.begin(status, [*headers, ("Content-Length", str(length))])
        if exchange.request.method != "HEAD":
            for piece in blob.pieces(first, length):
                exchange.write(piece)
        exchange.end()

    def _list(
        self,
        exchange: Exchange,
        key: str,
        found: list[str],
        query: dict[str, str],
        path: str,
        **more: str,
    ) -> None:
        text = query.get("n", str(MAX_LISTED))
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidInput(f"invalid number of results requested: {text[:20]}")
        after = query.get("last", "")
        rest = [item for item in found if item > after]
        shown = rest[: min(int(text), MAX_LISTED)]
        headers = [VERSION, ("Content-Type", "application/json")]
        if shown and len(shown) < len(rest):
            link = f"{path}?n={text}&last={quote(shown[-1], safe='')}"
            headers.append(("Link", f'<{link}>; rel="next"'))
        exchange.reply(200, headers, canonical({**more, key: shown}))

    # -- taking

    def _put_manifest(self, exchange: Exchange, place: Place) -> None:
        data = exchange.body(MAX_MANIFEST_BYTES)
        document = Document(exchange.request.header("content-type"), data)
        try:
            digest = self._offering.accept(place.name, place.reference, document)
        except NotFound as error:
            raise BlobUnknown(error.message) from error
        except (CorruptData, Unsupported, InvalidInput) as error:
            raise BadManifest(error.message) from error
        location = f"/v2/{place.name}/manifests/{digest}"
        headers = [VERSION, ("Location", location), ("Docker-Content-Digest", digest)]
        exchange.reply(201, headers)

    def _upload(
        self, exchange: Exchange, uploads: Uploads, place: Place, query: dict[str, str]
    ) -> None:
        method = exchange.request.method
        if method == "POST" and not place.reference:
            self._begin(exchange, uploads, place.name, query)
            return
        upload = uploads.find(place.name, place.reference)
        match method:
            case "GET" | "HEAD":
                self._reply_standing(exchange, upload, 204)
            case "PATCH":
                found = _CONTENT_RANGE.fullmatch(exchange.request.header("content-range"))
                start = int(found[1]) if found else None
                uploads.append(upload, start, _pieces(exchange))
                self._reply_standing(exchange, upload, 202)
            case "PUT":
                self._finish(exchange, uploads, upload, Digest.parse(query.get("digest", "")))
            case "DELETE":
                uploads.cancel(upload)
                exchange.reply(204, [VERSION])
            case _:
                raise ReadOnly("the operation is unsupported")

    def _begin(
        self, exchange: Exchange, uploads: Uploads, name: str, query: dict[str, str]
    ) -> None:
        wanted = query.get("mount", "")
        if wanted and (found := self._offering.stored(Digest.parse(wanted))) is not None:
            self._reply_created(exchange, name, found.digest)
            return
        upload = uploads.begin(name)
        if "digest" in query:  # all of it at once
            self._finish(exchange, uploads, upload, Digest.parse(query["digest"]))
        else:
            self._reply_standing(exchange, upload, 202)

    def _finish(self, exchange: Exchange, uploads: Uploads, upload: Upload, digest: Digest) -> None:
        try:
            uploads.finish(upload, digest, _pieces(exchange))
        except CorruptData as error:
            raise BadDigest(error.message) from error
        self._reply_created(exchange, upload.repository, digest)

    def _reply_created(self, exchange: Exchange, name: str, digest: Digest) -> None:
        location = f"/v2/{name}/blobs/{digest}"
        headers = [VERSION, ("Location", location), ("Docker-Content-Digest", digest)]
        exchange.reply(201, headers)

    def _reply_standing(self, exchange: Exchange, upload: Upload, status: int) -> None:
        headers = [
            VERSION,
            ("Location", f"/v2/{upload.repository}/blobs/uploads/{upload.name}"),
            ("Range", f"0-{max(upload.size_bytes - 1, 0)}"),
            ("Docker-Upload-UUID", upload.name),
        ]
        exchange.reply(status, headers)

    # -- what went wrong

    def _refuse(self, exchange: Exchange, error: OnggiError) -> None:
        if exchange.status:  # in the middle of an answer: only cutting it can tell
            raise Gone(error.message)
        exchange.reply(
            error.http_status, [VERSION, ("Content-Type", "application/json")], problem(error)
        )


class ReadOnly(Forbidden):
    http_status = 405


class WrongHost(OnggiError):
    http_status = 421


class BlobUnknown(NotFound):
    """A blob that is asked for, or that a manifest names."""


class BadManifest(InvalidInput):
    pass


class BadDigest(InvalidInput):
    pass


_CODES: tuple[tuple[type[OnggiError], str], ...] = (
    (BlobUnknown, "BLOB_UNKNOWN"),
    (BadManifest, "MANIFEST_INVALID"),
    (BadDigest, "DIGEST_INVALID"),
    (ReadOnly, "UNSUPPORTED"),
    (NotFound, "NAME_UNKNOWN"),
    (Unavailable, "TOOMANYREQUESTS"),
    (Conflict, "BLOB_UPLOAD_INVALID"),
    (InvalidInput, "NAME_INVALID"),
)


def problem(error: OnggiError) -> bytes:
    """The body that distribution-spec has for errors."""
    code = next((word for kind, word in _CODES if isinstance(error, kind)), "UNKNOWN")
    if "manifest unknown" in error.message:
        code = "MANIFEST_UNKNOWN"
    elif "upload unknown" in error.message:
        code = "BLOB_UPLOAD_UNKNOWN"
    document: Any = {"errors": [{"code": code, "message": error.message, "detail": {}}]}
    return canonical(document)


def place_of(path: str) -> Place | None:
    """Raises InvalidInput for a name that is none."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    name, kind, reference, tags, uploads, upload = found.groups()
    parse_reference(name, default_tag="")
    return Place(kind or tags or uploads, name, reference or upload or "")


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """(first byte, length) of one range; a length of 0 is none that there is. None for the whole,
    also for several ranges, as RFC 9110 allows."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return size - length, length
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    return first, max(last - first + 1, 0)


def _pieces(exchange: Exchange) -> Iterator[bytes]:
    while data := exchange.read():
        yield data


def refusal(refused: Refused) -> bytes:
    """The whole answer to a request that could not be read."""
    from http import HTTPStatus

    error = InvalidInput(refused.message)
    body = problem(error)
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
