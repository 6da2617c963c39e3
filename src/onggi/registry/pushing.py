"""One push: layers in parallel (there already, mounted from another repository, or uploaded), then
the config, then the manifest. Uploads resume where the registry says they stopped.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from ..errors import CorruptData, OnggiError
from ..progress import Layer, LayerAction, Report
from ..spec.digest import Digest
from ..spec.image import DOCKER_MANIFEST, OCI_MANIFEST, Descriptor, Manifest, parse_manifest
from ..spec.reference import Reference
from ..typed import NamedTuple
from . import protocol
from .manifests import CONFIG_TYPES, LAYER_TYPES, write_manifest
from .protocol_errors import RETRIED_STATUSES, parse_refusals
from .pulling import PROGRESS_INTERVAL_S, in_parallel, matches
from .session import Cancelled, Refused, Session, Work
from .transport import ConnectionFailed

MONOLITHIC_BYTES = 1 << 20
MAX_KNOWN = 8
OCTETS = "application/octet-stream"

Open = Callable[[], Iterator[bytes]]  # the bytes of a blob, from the start, as often as asked


class Known(NamedTuple):
    """A blob of a layer that `repository` (domain/path) is known to hold; "" unknown."""

    digest: Digest
    size_bytes: int
    repository: str


class PushLayer(NamedTuple):
    """One layer; `compress` makes the form that is uploaded when no known one is there. The digest
    of the first of `known` is preferred, the one the image came with."""

    diff_id: Digest
    compression: str
    known: tuple[Known, ...]
    compress: Callable[[], tuple[Digest, int, Open]]


class PushImage(NamedTuple):
    """What to push. `manifest` is the one the image came with, None when it was made here;
    `annotations` are for a new one."""

    config: bytes
    manifest: bytes | None
    layers: tuple[PushLayer, ...]
    annotations: Mapping[str, str] = {}


class Pushed(NamedTuple):
    """`layers` pairs diff ids with the blobs that now stand for them in the repository."""

    digest: Digest
    size_bytes: int
    manifest: bytes
    layers: tuple[tuple[Digest, Descriptor], ...]


class _SessionLost(Exception):
    """The registry no longer knows the upload session."""


class Push:
    def __init__(self, work: Work, session: Session, reference: Reference, report: Report) -> None:
        self._work = work
        self._session = session
        self._reference = reference
        self._report = report
        self._scope = protocol.scope(reference.path, "pull,push")

    def run(self, image: PushImage, *, media_type: str = "", tagged: bool = True) -> Pushed:
        """One image; `tagged` under the reference's tag, else by its digest alone. `media_type` is
        the manifest's, "" as the image came, or docker's."""
        with self._explained():
            return self._run(image, media_type, tagged)

    def layers(self, layers: Sequence[PushLayer], media_type: str) -> dict[Digest, Descriptor]:
        """The blobs that stand for these layers in the repository, by diff ID."""
        with self._explained():
            return self._layers(layers, media_type)

    def blob(self, data: bytes) -> None:
        """A small blob."""
        with self._explained():
            digest = Digest.of(data)
            if not self.exists(digest):
                self._upload(digest, len(data), lambda: iter([data]))

    def manifest(self, data: bytes, media_type: str, *, tagged: bool) -> Digest:
        """A manifest or index, after what it names."""
        with self._explained():
            return self.put_manifest(data, media_type, tagged=tagged)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            raise error.explain(self._reference, "push") from error

    def _run(self, image: PushImage, media_type: str, tagged: bool) -> Pushed:
        original = parse_manifest(image.manifest) if image.manifest else None
        if not media_type:
            oci = original is not None and original.media_type == OCI_MANIFEST
            media_type = OCI_MANIFEST if oci else DOCKER_MANIFEST
        done = self._layers(image.layers, media_type)
        layers = [done[layer.diff_id] for layer in image.layers]
        config = Descriptor(CONFIG_TYPES[media_type], Digest.of(image.config), len(image.config))
        if not self.exists(config.digest):
            self._upload(config.digest, config.size_bytes, lambda: iter([image.config]))
        manifest = write_manifest(media_type, config, layers, image.annotations)
        if image.manifest and isinstance(original, Manifest) and _same(original, config, layers):
            manifest = image.manifest if original.media_type == media_type else manifest
        digest = self.put_manifest(manifest, media_type, tagged=tagged)
        return Pushed(digest, len(manifest), manifest, tuple(done.items()))

    def _layers(self, layers: Sequence[PushLayer], media_type: str) -> dict[Digest, Descriptor]:
        done: dict[Digest, Descriptor] = {}
        first = {layer.diff_id: layer for layer in reversed(layers)}
        for layer in layers:
            self._tell(layer.diff_id, "Preparing")

        def one(layer: PushLayer) -> None:
            done[layer.diff_id] = self._layer(layer, LAYER_TYPES[media_type][layer.compression])

        unique = [layer for layer in layers if first.get(layer.diff_id) is layer]
        in_parallel(self._work, [partial(one, layer) for layer in unique])
        return {layer.diff_id: done[layer.diff_id] for layer in unique}

    # layers

    def _layer(self, layer: PushLayer, media_type: str) -> Descriptor:
        known, location = layer.known[:MAX_KNOWN], ""
        first = [blob for blob in known if blob.digest == known[0].digest]
        # Wherever the registry has the first, the manifest keeps its digest.
        for blobs in (first, [blob for blob in known if blob not in first]):
            held, location = self._held(layer, blobs, location)
            if held is not None:
                return Descriptor(media_type, held.digest, held.size_bytes)
        digest, size, source = layer.compress()
        if self.exists(digest):
            self._tell(layer.diff_id, "Layer already exists")
        else:
            self._upload(digest, size, source, layer.diff_id, location)
            self._tell(layer.diff_id, "Pushed")
        return Descriptor(media_type, digest, size)

    def _held(
        self, layer: PushLayer, blobs: Sequence[Known], location: str
    ) -> tuple[Known | None, str]:
        """The first of these blobs that is there or can be mounted, and the upload session that a
        refused mount left open (`location`: there is one)."""
        for known in {blob.digest: blob for blob in blobs}.values():
            if self.exists(known.digest):
                self._tell(layer.diff_id, "Layer already exists")
                return known, location
        for known in blobs if not location else ():
            mounted, location = self.mount(known)
            if mounted:
                path = known.repository.partition("/")[2]
                self._tell(layer.diff_id, "Mounted from", detail=path)
                return known, location
            if location:
                break
        return None, location

    def exists(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        url = self._url(f"blobs/{digest}")
        with self._session.request("HEAD", url, (self._scope,), expect=(200, 404)) as response:
            return response.status == 200

    def mount(self, known: Known) -> tuple[bool, str]:
        """Ask the registry to take the blob from another of its repositories: whether it did, and
        else the upload session it opened."""
        domain, _, path = known.repository.partition("/")
        if domain != self._reference.domain or path == self._reference.path:
            return False, ""
        url = self._url(f"blobs/uploads/?mount={known.digest}&from={path}")
        scopes = (self._scope, protocol.scope(path, "pull"))
        try:
            with self._session.request("POST", url, scopes, body=b"", expect=(201, 202)) as answer:
                if answer.status == 201:
                    return True, ""
                return False, self._location(url, answer.headers.get("Location", ""))
        except Cancelled:
            raise
        except OnggiError:
            return False, ""  # not allowed to read there: upload

    # uploads

    def _upload(
        self,
        digest: Digest,
        size: int,
        source: Open,
        diff_id: Digest | None = None,
        location: str = "",
    ) -> None:
        """Upload one blob; a lost session or a digest that did not match starts again."""
        for attempt in range(self._work.patience.attempts + 1):
            try:
                location = location or self._begin()
                if size <= MONOLITHIC_BYTES:
                    self._finish(location, digest, b"".join(source()))
                else:
                    location = self._send(location, size, source, diff_id)
                    self._finish(location, digest, b"")
                return
            except (_SessionLost, ConnectionFailed) as error:
                if attempt == self._work.patience.attempts:
                    if isinstance(error, ConnectionFailed):
                        raise
                    raise CorruptData(
                        f"registry {self._session.name} keeps losing the upload of {digest}",
                        hint="push again",
                    ) from error
            location = ""
            pause_s = self._work.patience.pause_s(attempt)
            if diff_id is not None:
                self._tell(diff_id, "Retrying", detail=f"in {pause_s:.0f} seconds")
            self._work.pause(pause_s)
            if self.exists(digest):
                return

    def _begin(self) -> str:
        url = self._url("blobs/uploads/")
        with self._session.request(
            "POST", url, (self._scope,), body=b"", expect=(202,)
        ) as response:
            return self._location(url, response.headers.get("Location", ""))

    def _send(self, url: str, size: int, source: Open, diff_id: Digest | None) -> str:
        """PATCH the bytes, as often as connections break, from where the registry stands; the
        Location to finish at."""
        offset = attempt = 0
        while True:
            body = partial(self._body, source, offset, size, diff_id)
            headers = {
                "Content-Type": OCTETS,
                "Content-Length": str(size - offset),
                "Content-Range": f"{offset}-{size - 1}",
            }
            try:
                with self._session.request(
                    "PATCH", url, (self._scope,), headers=headers, body=body,
                    expect=(202, 204), retry=False,
                ) as response:  # fmt: skip
                    return self._location(url, response.headers.get("Location", ""))
            except ConnectionFailed:
                pass
            except Refused as error:
                if error.status in (404, 416):
                    raise _SessionLost from error
                if error.status not in RETRIED_STATUSES:
                    raise
            if attempt == self._work.patience.attempts:
                raise _SessionLost
            self._work.pause(self._work.patience.pause_s(attempt))
            attempt += 1
            url, offset = self._standing(url)
            if offset > size:
                raise _SessionLost

    def _standing(self, url: str) -> tuple[str, int]:
        """Where an interrupted upload stands: the Location to go on at, and the offset."""
        try:
            with self._session.request("GET", url, (self._scope,), expect=(204, 202)) as response:
                location = response.headers.get("Location", "")
                held = protocol.uploaded_bytes(response.headers.get("Range", ""))
                return (self._location(url, location) if location else url), held
        except Refused as error:
            if error.status in (400, 404, 405, 416):
                raise _SessionLost from error
            raise

    def _finish(self, location: str, digest: Digest, body: bytes) -> None:
        headers = {"Content-Type": OCTETS, "Content-Length": str(len(body))}
        url = protocol.with_digest(location, digest)
        try:
            with self._session.request(
                "PUT", url, (self._scope,), headers=headers, body=body, expect=(201, 204),
                retry=False,
            ):  # fmt: skip
                return
        except Refused as error:
            codes = {refusal.code for refusal in parse_refusals(error.body)}
            lost = codes & {"DIGEST_INVALID", "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"}
            if lost or error.status in RETRIED_STATUSES or error.status in (404, 416):
                raise _SessionLost from error
            raise

    def _body(
        self, source: Open, offset: int, size: int, diff_id: Digest | None
    ) -> Iterator[bytes]:
        """The blob's bytes from `offset` on, telling how far they went."""
        told_s, position = 0.0, 0
        for chunk in source():
            self._work.check()
            position += len(chunk)
            if position <= offset:
                continue
            yield chunk[max(0, offset - (position - len(chunk))) :]
            now_s = time.monotonic()
            if diff_id is not None and now_s - told_s >= PROGRESS_INTERVAL_S:
                told_s = now_s
                self._tell(diff_id, "Pushing", position, size)

    # manifest

    def put_manifest(self, manifest: bytes, media_type: str, *, tagged: bool = True) -> Digest:
        """Store it under the reference's tag, or by its digest where there is none or it shall
        not be `tagged`."""
        digest = Digest.of(manifest)
        url = self._url(f"manifests/{(tagged and self._reference.tag) or digest}")
        with self._session.request(
            "PUT", url, (self._scope,), headers={"Content-Type": media_type}, body=manifest,
            expect=(201,),
        ) as response:  # fmt: skip
            said = response.headers.get("Docker-Content-Digest", digest)
        if said != digest and not matches(manifest, Digest.parse(said)):
            raise CorruptData(f"registry stored the manifest as {said[:100]}, it is {digest}")
        return digest

    def _url(self, path: str) -> str:
        return self._session.url(f"{self._reference.path}/{path}")

    def _location(self, url: str, location: str) -> str:
        if not location:
            raise CorruptData(f"registry {self._session.name} sent no Location for an upload")
        return protocol.follow(url, location, self._session.origin, "upload Location")

    def _tell(
        self,
        diff_id: Digest,
        action: LayerAction,
        current: int = 0,
        total: int = 0,
        detail: str = "",
    ) -> None:
        self._report(Layer(diff_id.short, action, current, total, detail))


def _same(original: Manifest, config: Descriptor, layers: Sequence[Descriptor]) -> bool:
    """Whether a manifest names exactly these blobs."""
    mine = [(item.digest, item.size_bytes) for item in (config, *layers)]
    return mine == [(item.digest, item.size_bytes) for item in (original.config, *original.layers)]
