"""One repository of a registry, for a builder: documents and blobs as they are, layers from and to
the store. What they mean is the builder's business.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..progress import Report
from ..registry.client import Registry
from ..registry.pulling import PullLayer
from ..registry.pushing import Push, Pushed, PushImage
from ..spec.digest import Digest
from ..spec.image import LAYER_COMPRESSION, OCI_MANIFEST, Descriptor
from ..spec.platform import host_platform
from ..spec.reference import Reference
from ..store.store import Store
from .layersink import LayerSink, push_layers


class Repository:
    """`reference` says which, and the tag or digest of the document."""

    def __init__(
        self, store: Store, registry: Registry, reference: Reference, report: Report
    ) -> None:
        self.reference = reference
        self._store = store
        self._registry = registry
        self._report = report

    def document(self) -> tuple[bytes, str]:
        """What the reference names, and its Content-Type. Raises NotFound."""
        with self._registry.pulling(self.reference, host_platform(), self._report) as pull:
            return pull.top()

    def blob(self, descriptor: Descriptor, what: str, max_bytes: int) -> bytes:
        with self._registry.pulling(self.reference, host_platform(), self._report) as pull:
            return pull.small_blob(descriptor, what, max_bytes)

    def fetch(self, layers: Sequence[tuple[Digest, Descriptor]]) -> None:
        """Layers into the store, where they are pinned."""
        sink = LayerSink(self._store, self.reference.name)
        sink.expect([diff_id for diff_id, _ in layers])
        wanted = [
            PullLayer(blob, LAYER_COMPRESSION[blob.media_type], diff_id) for diff_id, blob in layers
        ]
        with self._registry.pulling(self.reference, host_platform(), self._report) as pull:
            pull.layers(wanted, sink)

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        with (
            self._store.shared(),
            self._registry.pushing(self.reference, self._report) as push,
        ):
            yield Writing(self._store, push, self.reference)


class Writing:
    """What is put into the repository, while its block lasts."""

    def __init__(self, store: Store, push: Push, reference: Reference) -> None:
        self._store = store
        self._push = push
        self._reference = reference

    def layers(self, diff_ids: Sequence[Digest], compression: str) -> dict[Digest, Descriptor]:
        """Their blobs, by diff ID: those that are known there, else compressed so."""
        wanted = push_layers(self._store, diff_ids, compression=compression)
        done = self._push.layers(wanted, OCI_MANIFEST)
        self._remember(done)
        return done

    def image(
        self, config: bytes, diff_ids: Sequence[Digest], annotations: Mapping[str, str]
    ) -> Pushed:
        """An image, under its digest alone."""
        layers = push_layers(self._store, diff_ids)
        wanted = PushImage(config, None, layers, annotations)
        pushed = self._push.run(wanted, media_type=OCI_MANIFEST, tagged=False)
        self._remember(dict(pushed.layers))
        return pushed

    def blob(self, data: bytes) -> None:
        self._push.blob(data)

    def manifest(self, data: bytes, media_type: str, *, tagged: bool) -> Digest:
        """A manifest or index; `tagged` under the reference's tag."""
        return self._push.manifest(data, media_type, tagged=tagged)

    def _remember(self, done: dict[Digest, Descriptor]) -> None:
        for diff_id, blob in done.items():
            self._store.layers.remember_blob(diff_id, blob, self._reference.name)
