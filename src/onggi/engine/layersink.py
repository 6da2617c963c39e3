"""The store as the registry sees it: where pulled layers go, where pushed ones come from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType

from ..registry.pulling import PullLayer
from ..registry.pushing import Known, PushImage, PushLayer
from ..spec.digest import Digest
from ..spec.image import LAYER_COMPRESSION, Descriptor, Image, Manifest, parse_manifest
from ..store.store import Store

Open = Callable[[], Iterator[bytes]]


class LayerSink:
    """Layers pulled from `repository` into the store. They are pinned: garbage collection leaves
    them until the image is there or this process has ended; or until a `with` block of this ends
    by an error, for a process that lives on."""

    def __init__(self, store: Store, repository: str) -> None:
        self._store = store
        self._repository = repository
        self._expected: Sequence[Digest] = ()
        self._present: frozenset[Digest] = frozenset()

    def __enter__(self) -> "LayerSink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._store.layers.unpin(self._expected)

    def expect(self, diff_ids: Sequence[Digest]) -> bool:
        """Say what will come; whether all of it is there. Called before the threads start: how
        layers are mounted is tried out by the first who asks, and that is one thread's work."""
        self._expected = diff_ids
        self._present = self._store.layers.pin(diff_ids)
        self._store.backend.kind  # noqa: B018 - asked here, remembered there
        return self._present.issuperset(diff_ids)

    def has(self, diff_id: Digest) -> bool:
        return diff_id in self._present

    def ingest(self, layer: PullLayer, chunks: Iterator[bytes]) -> None:
        # A blob of the tar's own digest is the tar, whatever the manifest calls it: podman names a
        # layer gzip that it found in the registry as a tar.
        is_tar = layer.descriptor.digest == layer.diff_id
        self._store.layers.ingest(
            chunks,
            compression="" if is_tar else layer.compression,
            expected_diff_id=layer.diff_id,
            expected_blob=layer.descriptor,
            source=self._repository,
        )

    def remember(self, layers: Iterable[PullLayer]) -> None:
        """That the repository has these blobs, also those that needed no download."""
        for layer in layers:
            if layer.diff_id in self._present:
                self._store.layers.remember_blob(layer.diff_id, layer.descriptor, self._repository)


def push_image(store: Store, image: Image, manifest: bytes | None) -> PushImage:
    """What to push: the blobs the image came as first, then other ones registries have."""
    original = parse_manifest(manifest) if manifest else None
    came_as = original.layers if isinstance(original, Manifest) else ()
    layers = push_layers(store, image.config.diff_ids, came_as)
    return PushImage(store.images.config_bytes(image.id), manifest, layers)


def push_layers(
    store: Store,
    diff_ids: Sequence[Digest],
    came_as: Sequence[Descriptor] = (),
    compression: str = "gzip",
) -> tuple[PushLayer, ...]:
    """The same of layers alone; `compression` is for those that came as nothing."""
    layers = []
    wished = compression
    for position, diff_id in enumerate(diff_ids):
        known: list[Known] = []
        compression = wished
        if position < len(came_as):
            blob = came_as[position]
            compression = LAYER_COMPRESSION[blob.media_type]
            known.append(Known(blob.digest, blob.size_bytes, ""))
        for descriptor, source in store.layers.known_blobs(diff_id):
            kind = LAYER_COMPRESSION.get(descriptor.media_type)
            if kind == compression:
                known.append(Known(descriptor.digest, descriptor.size_bytes, source))
        wanted = known[0].digest if known else None
        known.sort(key=lambda blob: blob.digest != wanted)
        compress = _compressor(store, diff_id, compression)
        layers.append(PushLayer(diff_id, compression, tuple(known), compress))
    return tuple(layers)


def _compressor(store: Store, diff_id: Digest, kind: str) -> Callable[[], tuple[Digest, int, Open]]:
    def compress() -> tuple[Digest, int, Open]:
        descriptor, pieces = store.layers.compressed(diff_id, kind)
        return descriptor.digest, descriptor.size_bytes, pieces

    return compress
