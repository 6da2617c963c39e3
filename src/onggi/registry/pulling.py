"""One pull: the manifest for a platform, its config, and its layers in parallel into a sink.

Every byte is checked against the digest and the size of its descriptor on its way: documents here,
layers by the sink, which hashes them beside other work. What is stored and how is its business.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from ..errors import CorruptData, InvalidInput, NotFound, OnggiError
from ..progress import Layer, LayerAction, Report
from ..spec.digest import Digest
from ..spec.image import LAYER_COMPRESSION, Descriptor, Manifest, parse_config
from ..spec.jsontext import MAX_BYTES
from ..spec.platform import Platform
from ..spec.reference import Reference
from ..typed import NamedTuple, Protocol
from . import protocol
from .manifests import ACCEPT, candidates, check_image, read_manifest
from .protocol_errors import RETRIED_STATUSES
from .session import Cancelled, Refused, Session, Work
from .transport import ConnectionFailed

MAX_DEPTH = 4
MAX_DOCUMENTS = 32
PARALLEL = 3
PROGRESS_INTERVAL_S = 0.1
ENOUGH_PROGRESS = 1 << 20  # a connection that brought this much earns fresh patience


class PullLayer(NamedTuple):
    """One layer of the image; `compression` is "", "gzip" or "zstd"."""

    descriptor: Descriptor
    compression: str
    diff_id: Digest


class Pulled(NamedTuple):
    """What a pull found. `digest` names what the tag points at, perhaps an index."""

    reference: Reference
    digest: Digest
    manifest: bytes
    config: bytes
    layers: tuple[PullLayer, ...]


class Described(NamedTuple):
    """What a reference points at: a document of the registry, and the platforms it is for."""

    media_type: str
    digest: Digest
    size_bytes: int
    platforms: tuple[Platform, ...]


class Sink(Protocol):
    """Where layers go. Called from several threads."""

    def has(self, diff_id: Digest) -> bool: ...

    def ingest(self, layer: PullLayer, chunks: Iterator[bytes]) -> None:
        """Take the layer's blob. Nothing has hashed it: raises CorruptData, and keeps nothing, when
        it has not the descriptor's digest."""


class _Found(NamedTuple):
    data: bytes
    manifest: Manifest
    session: Session


class Pull:
    """`sessions` are the mirrors in order, then the registry itself."""

    def __init__(
        self,
        work: Work,
        sessions: Sequence[Session],
        reference: Reference,
        platform: Platform,
        report: Report,
    ) -> None:
        self._work = work
        self._sessions = list(sessions)
        self._reference = reference
        self._platform = platform
        self._report = report
        self._scopes = (protocol.scope(reference.path, "pull"),)
        self._documents = 0

    def resolve(self) -> Pulled:
        """Everything but the layers."""
        top, content_type = self.top()
        found = self._choose(top, content_type, 1)
        check_image(found.manifest)
        config = self.small_blob(found.manifest.config, "image config")
        diff_ids = parse_config(config).diff_ids
        layers = found.manifest.layers
        if len(diff_ids) != len(layers):
            raise CorruptData(
                f"image config: rootfs.diff_ids names {len(diff_ids)} layers, "
                f"the manifest's `layers` {len(layers)}"
            )
        return Pulled(
            self._reference,
            self._reference.digest or Digest.of(top),
            found.data,
            config,
            tuple(
                PullLayer(item, LAYER_COMPRESSION[item.media_type], diff_id)
                for item, diff_id in zip(layers, diff_ids, strict=True)
            ),
        )

    def describe(self) -> Described:
        """The document itself; of an image without an index also its configuration is read."""
        top, content_type = self.top()
        document = read_manifest(top, content_type)
        if isinstance(document, Manifest):
            config = parse_config(self.small_blob(document.config, "image config"))
            platforms = [config.platform]
        else:
            platforms = [entry.platform for entry in document.manifests if entry.platform]
        digest = self._reference.digest or Digest.of(top)
        return Described(document.media_type, digest, len(top), tuple(platforms))

    def layers(self, layers: Sequence[PullLayer], sink: Sink) -> int:
        """Fetch the layers the sink does not have; how many that were."""
        wanted: dict[Digest, PullLayer] = {}
        for layer in layers:
            if layer.diff_id in wanted or sink.has(layer.diff_id):
                self._tell(layer, "Already exists")
            else:
                wanted[layer.diff_id] = layer
                self._tell(layer, "Pulling fs layer")
        for layer in list(wanted.values())[PARALLEL:]:
            self._tell(layer, "Waiting")
        in_parallel(self._work, [partial(self._layer, each, sink) for each in wanted.values()])
        return len(wanted)

    # manifests

    def top(self) -> tuple[bytes, str]:
        """The document of the reference from the first endpoint that has it; the endpoints before
        that one are not asked again."""
        for position, session in enumerate(self._sessions):
            try:
                name = self._reference.digest or self._reference.tag
                answer = self.document(session, str(name), self._reference.digest)
            except OnggiError as error:
                if position + 1 == len(self._sessions) or isinstance(error, Cancelled):
                    raise
                continue
            self._sessions = self._sessions[position:]
            return answer
        raise AssertionError("no endpoint")

    def document(
        self, session: Session, name: str, digest: Digest | None, size: int | None = None
    ) -> tuple[bytes, str]:
        """A manifest or index by tag or digest, verified, and its Content-Type."""
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise CorruptData(f"image index leads to more than {MAX_DOCUMENTS} documents")
        url = session.url(f"{self._reference.path}/manifests/{name}")
        try:
            headers, data = session.fetch(url, self._scopes, MAX_BYTES, accept=ACCEPT)
        except Refused as error:
            raise error.explain(self._reference, "pull") from error
        if len(data) > MAX_BYTES:
            raise CorruptData(f"image manifest is larger than {MAX_BYTES} bytes")
        if size is not None and len(data) != size:
            raise CorruptData(f"image manifest {name} has {len(data)} bytes, its index says {size}")
        said = headers.get("Docker-Content-Digest", "")
        for expected in (digest, _digest_or_none(said)):
            if expected is not None and not matches(data, expected):
                raise CorruptData(
                    f"manifest verification failed for digest {expected}: "
                    f"the registry sent {Digest.of(data)}"
                )
        return data, headers.get("Content-Type", "")

    def _choose(self, data: bytes, content_type: str, depth: int) -> _Found:
        """The manifest for our platform, through indexes."""
        document = read_manifest(data, content_type)
        if isinstance(document, Manifest):
            return _Found(data, document, self._sessions[0])
        if depth > MAX_DEPTH:
            raise CorruptData(f"image indexes are nested deeper than {MAX_DEPTH}")
        missing: NotFound | None = None
        for entry in candidates(document, self._platform):
            data, _ = self.document(self._sessions[0], entry.digest, entry.digest, entry.size_bytes)
            try:
                found = self._choose(data, entry.media_type, depth + 1)
            except NotFound as error:
                missing = error
                continue
            if entry.platform is not None or self._fits(found.manifest):
                return found
        raise missing or NotFound(
            f"no matching manifest for {self._platform} in the manifest list entries"
        )

    def _fits(self, manifest: Manifest) -> bool:
        """For an entry of an index without a platform: what its config says."""
        check_image(manifest)
        config = parse_config(self.small_blob(manifest.config, "image config"))
        return config.platform.matches(self._platform)

    # blobs

    def small_blob(self, descriptor: Descriptor, what: str, max_bytes: int = MAX_BYTES) -> bytes:
        """A verified document that is a blob: an image's configuration."""
        if descriptor.size_bytes > max_bytes:
            raise CorruptData(f"{what} is larger than {max_bytes} bytes")
        data = b"".join(self._blob(descriptor, lambda offset: None, lambda pause_s: None))
        if not matches(data, descriptor.digest):
            raise CorruptData(f"{what}: verification failed for digest {descriptor.digest}")
        return data

    def _layer(self, layer: PullLayer, sink: Sink) -> None:
        total = layer.descriptor.size_bytes
        told_s = 0.0

        def progress(offset: int) -> None:
            nonlocal told_s
            now_s = time.monotonic()
            if now_s - told_s >= PROGRESS_INTERVAL_S:
                told_s = now_s
                self._tell(layer, "Downloading", offset, total)

        def retrying(pause_s: float) -> None:
            self._tell(layer, "Retrying", detail=f"in {pause_s:.0f} seconds")

        def chunks() -> Iterator[bytes]:
            yield from self._blob(layer.descriptor, progress, retrying)
            self._tell(layer, "Verifying Checksum")
            self._tell(layer, "Download complete")
            self._tell(layer, "Extracting", total, total)

        self._tell(layer, "Downloading", 0, total)
        sink.ingest(layer, chunks())
        self._tell(layer, "Pull complete")

    def _blob(
        self,
        descriptor: Descriptor,
        progress: Callable[[int], None],
        retrying: Callable[[float], None],
    ) -> Iterator[bytes]:
        """A blob's bytes, in the number there should be; cut connections are resumed, mirrors come
        first."""
        blob = _Blob(descriptor)
        sessions = list(self._sessions)
        attempt = 0
        while True:
            before = blob.offset
            try:
                for chunk in self._continue(sessions[0], blob):
                    yield chunk
                    progress(blob.offset)
                return
            except (Refused, ConnectionFailed) as error:
                failed = error
            self._work.check()
            attempt = 0 if blob.offset - before >= ENOUGH_PROGRESS else attempt
            patient = attempt < self._work.patience.attempts and _may_pass(failed)
            if not patient and len(sessions) > 1:
                del sessions[0]
                attempt = 0
                continue
            if not patient:
                if isinstance(failed, Refused):
                    raise failed.explain(self._reference, "pull") from failed
                raise failed
            wait_s = failed.wait_s if isinstance(failed, Refused) else None
            pause_s = self._work.patience.pause_s(attempt) if wait_s is None else wait_s
            retrying(pause_s)
            self._work.pause(pause_s)
            attempt += 1

    def _continue(self, session: Session, blob: "_Blob") -> Iterator[bytes]:
        """One request for what is still missing."""
        url = session.url(f"{self._reference.path}/blobs/{blob.descriptor.digest}")
        headers = {"Accept": "*/*"}
        if blob.offset and blob.ranges:
            headers["Range"] = f"bytes={blob.offset}-"
        try:
            response = session.request(
                "GET", url, self._scopes, headers=headers, expect=(200, 206), retry=False
            )
        except Refused as error:
            if error.status == 416 and blob.ranges:
                blob.ranges = False
                raise ConnectionFailed(f"{url}: range refused", "cut") from error
            raise
        with response, self._work.watch(response):
            protocol.check_encoding(response.headers)
            start = protocol.body_start(
                response.status, response.headers, blob.offset, blob.descriptor.size_bytes
            )
            yield from blob.take(response.chunks(), blob.offset - start)

    def _tell(
        self,
        layer: PullLayer,
        action: LayerAction,
        current: int = 0,
        total: int = 0,
        detail: str = "",
    ) -> None:
        self._report(Layer(layer.descriptor.digest.short, action, current, total, detail))


class _Blob:
    """How far one blob has come."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.offset = 0
        self.ranges = True

    def take(self, chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
        """Pass on what is new. Raises CorruptData when there is more than the descriptor says, and
        ConnectionFailed when there is less."""
        size = self.descriptor.size_bytes
        for chunk in chunks:
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            data, skip = chunk[skip:], 0
            if self.offset + len(data) > size:
                raise CorruptData(f"blob {self.descriptor.digest} is longer than {size} bytes")
            self.offset += len(data)
            yield data
        if self.offset < size:
            raise ConnectionFailed(
                f"blob {self.descriptor.digest}: unexpected EOF at {self.offset} of {size}", "cut"
            )


def in_parallel(work: Work, jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on a few threads; the first failure (or Ctrl-C) stops the others and is raised."""
    if not jobs:
        return
    with ThreadPoolExecutor(max_workers=min(PARALLEL, len(jobs))) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            work.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def matches(data: bytes, digest: Digest) -> bool:
    return hashlib.new(digest.algorithm, data).hexdigest() == digest.hex


def _may_pass(error: Refused | ConnectionFailed) -> bool:
    if isinstance(error, Refused):
        return error.status in RETRIED_STATUSES
    return error.kind not in ("tls", "plain")


def _digest_or_none(text: str) -> Digest | None:
    if not text:
        return None
    try:
        return Digest.parse(text.strip())
    except InvalidInput as error:
        raise CorruptData(f"registry sent Docker-Content-Digest {text[:100]!r}") from error
