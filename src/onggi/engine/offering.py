"""The store as a registry: which manifests and blobs it has to give, and how pushed ones come in.

An image that was pushed here is given as it came, byte for byte. Of one that was pulled or built
only the layers' tars are here: it is given with layers that are not compressed, which every client
takes, and a manifest of its own digest.
"""

import threading
from collections.abc import Callable, Iterator

from ..errors import CorruptData, InvalidInput, NotFound
from ..registry.manifests import check_image, read_manifest, write_manifest
from ..spec.digest import Digest
from ..spec.image import (
    LAYER_COMPRESSION,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Manifest,
    parse_config,
    parse_manifest,
)
from ..spec.reference import Reference, parse_reference
from ..store.layerrows import KEPT
from ..store.store import Store
from ..typed import NamedTuple
from .events import Events

PIECE = 1 << 20


class Document(NamedTuple):
    media_type: str
    data: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)


class Blob(NamedTuple):
    """`pieces` gives its bytes from an offset, as many as asked for."""

    digest: Digest
    size_bytes: int
    pieces: Callable[[int, int], Iterator[bytes]]


class Offering:
    """May be used from several threads."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self._accepting = threading.Lock()

    # -- giving

    def repositories(self) -> list[str]:
        """Names as clients ask for them. One on a registry with a port cannot be asked for."""
        names = {
            parse_reference(text).familiar_name
            for image in self._store.images.list()
            for text in image.tags
        }
        return sorted(name for name in names if ":" not in name)

    def tags(self, name: str) -> list[str]:
        """Raises NotFound for a repository that is not here."""
        repository = parse_reference(name, default_tag="").name
        found = [tag for image in self._images(name) for tag in _tags(image, repository)]
        return sorted(found)

    def manifest(self, name: str, reference: str) -> Document:
        """Of a tag or digest. Raises NotFound."""
        repository = parse_reference(name, default_tag="").name
        for image in self._images(name):
            if ":" not in reference:
                if reference in _tags(image, repository):
                    return self._documents(image)[0]
                continue
            for document in self._documents(image):
                if document.digest == reference:
                    return document
        raise NotFound(f"manifest unknown: {name} has no {reference}")

    def blob(self, name: str, digest: Digest) -> Blob:
        """Of an image of the repository. Raises NotFound."""
        for image in self._images(name):
            if digest == image.id:
                data = self._store.images.config_bytes(image.id)
                return Blob(digest, len(data), _from_memory(data))
            if digest in image.config.diff_ids:
                return self._tar(digest)
            if digest in self._compressed(image):
                return self._file(digest)
        raise NotFound(f"blob unknown to registry: {digest}")

    def stored(self, digest: Digest) -> Blob | None:
        """Whatever the repository: for pushes, which need not send what is here."""
        if self._store.layers.has(digest):
            return self._tar(digest)
        return self._file(digest) if self._store.blobs.has(digest) else None

    def _images(self, name: str) -> list[Image]:
        repository = parse_reference(name, default_tag="").name
        images = self._store.images.of_repository(repository)
        if not images:
            raise NotFound(f"repository name not known to registry: {name}")
        return images

    def _documents(self, image: Image) -> list[Document]:
        """The image's manifests, the one to give for its name first."""
        config = Descriptor(OCI_CONFIG, image.id, self._store.blobs.size(image.id))
        layers = [
            Descriptor(OCI_LAYER, diff_id, self._store.layers.size(diff_id))
            for diff_id in image.config.diff_ids
        ]
        plain = Document(OCI_MANIFEST, write_manifest(OCI_MANIFEST, config, layers))
        data = self._store.images.manifest_bytes(image.id)
        original = parse_manifest(data) if data else None
        if data and isinstance(original, Manifest) and self._has_all(image, original):
            return [Document(original.media_type, data), plain]
        return [plain]

    def _has_all(self, image: Image, manifest: Manifest) -> bool:
        here = {*image.config.diff_ids, *self._compressed(image)}
        return all(layer.digest in here for layer in manifest.layers)

    def _compressed(self, image: Image) -> set[Digest]:
        """Blobs of the image's layers that were pushed here."""
        return {
            known.descriptor.digest
            for diff_id in image.config.diff_ids
            for known in self._store.layers.known_blobs(diff_id)
            if known.source == KEPT and self._store.blobs.has(known.descriptor.digest)
        }

    def _tar(self, diff_id: Digest) -> Blob:
        def pieces(offset: int, length: int) -> Iterator[bytes]:
            with self._store.layers.open_tar(diff_id) as tar:
                tar.seek(offset)
                while length > 0 and (piece := tar.read(min(PIECE, length))):
                    length -= len(piece)
                    yield piece

        return Blob(diff_id, self._store.layers.size(diff_id), pieces)

    def _file(self, digest: Digest) -> Blob:
        path = self._store.blobs.path(digest)

        def pieces(offset: int, length: int) -> Iterator[bytes]:
            with open(path, "rb", buffering=0) as file:
                file.seek(offset)
                while length > 0 and (piece := file.read(min(PIECE, length))):
                    length -= len(piece)
                    yield piece

        return Blob(digest, self._store.blobs.size(digest), pieces)

    # -- taking

    def accept(self, name: str, reference: str, document: Document) -> Digest:
        """Store a pushed image, whose blobs are here, under a tag or by its digest. Raises NotFound
        for a blob that is not, CorruptData, Unsupported for what is no image of one platform."""
        manifest = read_manifest(document.data, document.media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidInput(
                "an index of several platforms cannot be stored here",
                hint="push the image of one platform",
            )
        check_image(manifest)
        digest = document.digest
        named = _named(name, reference, digest)
        with self._accepting, self._store.shared():
            config = self._required(manifest.config)
            diff_ids = parse_config(config).diff_ids
            if len(diff_ids) != len(manifest.layers):
                raise CorruptData(
                    f"the manifest has {len(manifest.layers)} layers, the configuration "
                    f"{len(diff_ids)}"
                )
            self._store.layers.pin(diff_ids)
            try:
                for diff_id, layer in zip(diff_ids, manifest.layers, strict=True):
                    self._take(diff_id, layer)
                image = self._store.images.add(
                    config,
                    document.data,
                    tags=(named,) if named.tag else (),
                    repo_digests=() if named.tag else (named,),
                )
            finally:
                self._store.layers.unpin(diff_ids)
        self._events.image("tag" if named.tag else "load", image.id, named.familiar)
        return digest

    def _required(self, wanted: Descriptor) -> bytes:
        data = self._store.blobs.read(wanted.digest)
        if len(data) != wanted.size_bytes:
            raise CorruptData(f"{wanted.digest} is not {wanted.size_bytes} bytes long")
        return data

    def _take(self, diff_id: Digest, layer: Descriptor) -> None:
        """The layer from its blob, which stays beside it: it is given again as it came."""
        known = {item.descriptor.digest for item in self._store.layers.known_blobs(diff_id)}
        is_tar = layer.digest == diff_id  # whatever the manifest calls it
        if not (self._store.layers.has(diff_id) and (is_tar or layer.digest in known)):
            if not self._store.blobs.has(layer.digest):
                raise NotFound(f"blob unknown to registry: {layer.digest}")
            self._store.layers.ingest(
                self._store.blobs.reader(layer.digest)(),
                compression="" if is_tar else LAYER_COMPRESSION[layer.media_type],
                expected_diff_id=diff_id,
                expected_blob=layer,
            )
        if not is_tar:
            if not self._store.blobs.has(layer.digest):
                raise NotFound(f"blob unknown to registry: {layer.digest}")
            self._store.layers.remember_blob(diff_id, layer, KEPT)


def _tags(image: Image, repository: str) -> list[str]:
    parsed = [parse_reference(text) for text in image.tags]
    return [reference.tag for reference in parsed if reference.name == repository]


def _named(name: str, reference: str, digest: Digest) -> Reference:
    if ":" not in reference:
        return parse_reference(f"{name}:{reference}")
    if reference != digest:
        raise CorruptData(f"the manifest has digest {digest}, not {reference}")
    return parse_reference(f"{name}@{reference}", default_tag="")._replace(tag="")


def _from_memory(data: bytes) -> Callable[[int, int], Iterator[bytes]]:
    return lambda offset, length: iter([data[offset : offset + length]])
