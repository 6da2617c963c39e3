"""An OCI image layout in a directory: caches of type=local, and oci-layout:// contexts.

Owns index.json and blobs/; files are named by their digests only, and what is read is checked
against them. A writer's blobs appear whole; the index names them last.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..engine.engine import Engine
from ..errors import CorruptData, InvalidInput, NotFound
from ..registry.manifests import candidates, check_image, write_manifest
from ..spec.digest import Digest
from ..spec.image import (
    INDEX_TYPES,
    LAYER_COMPRESSION,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)
from ..spec.jsontext import MAX_BYTES, canonical, loads_strict
from ..spec.platform import Platform
from ..typed import NamedTuple

MAX_DEPTH = 3
KNOWN_TYPES = (OCI_MANIFEST, OCI_INDEX)
REF_NAME = "org.opencontainers.image.ref.name"
_PIECE = 256 << 10


class Layout:
    """`name` is a tag or a digest of its index; "" is the only entry there is."""

    def __init__(self, engine: Engine, path: str, name: str) -> None:
        self._engine = engine
        self._path = path
        self._name = name

    # -- reading

    def document(self) -> tuple[bytes, str]:
        """The manifest or index that the name means. Raises NotFound, CorruptData."""
        entry = self._entry()
        return self.blob(entry, "manifest", MAX_BYTES), entry.media_type

    def _entry(self) -> Descriptor:
        index = self._index()
        if index is None:
            raise NotFound(f"{self._path} is no OCI image layout: it has no index.json")
        if self._name.startswith("sha256:"):
            digest = Digest.parse(self._name)
            size = os.path.getsize(self._file(digest)) if self._has(digest) else -1
            known = {entry.digest: entry for entry in index.manifests}
            if size < 0:
                raise NotFound(f"{self._path} has no {digest}")
            return known.get(digest, Descriptor("", digest, size))
        named = [e for e in index.manifests if self._name in ("", _tag(e))]
        if len(named) != 1:
            raise NotFound(f"{self._path} has {len(named)} entries of the name {self._name!r}")
        return named[0]

    def blob(self, descriptor: Descriptor, what: str, max_bytes: int) -> bytes:
        if descriptor.size_bytes > max_bytes:
            raise CorruptData(f"{what} is larger than {max_bytes} bytes")
        try:
            with open(self._file(descriptor.digest), "rb") as file:
                data = file.read(descriptor.size_bytes + 1)
        except OSError as error:
            raise NotFound(f"{self._path}: {descriptor.digest}: {error.strerror}") from error
        if len(data) != descriptor.size_bytes or Digest.of(data) != descriptor.digest:
            raise CorruptData(f"{self._path}: {descriptor.digest} is not what its name says")
        return data

    def fetch(self, layers: Sequence[tuple[Digest, Descriptor]]) -> None:
        """Layers into the store, where they are pinned."""
        store = self._engine.store
        present = store.layers.pin([diff_id for diff_id, _ in layers])
        for diff_id, blob in layers:
            if diff_id in present:
                continue
            try:
                with open(self._file(blob.digest), "rb") as file:
                    store.layers.ingest(
                        iter(lambda file=file: file.read(_PIECE), b""),  # type: ignore[misc]
                        compression=LAYER_COMPRESSION[blob.media_type],
                        expected_diff_id=diff_id,
                        expected_blob=blob,
                    )
            except FileNotFoundError as error:
                raise NotFound(f"{self._path} has no blob {blob.digest}") from error

    # -- writing

    @contextmanager
    def writing(self) -> Iterator["LayoutWriting"]:
        try:
            os.makedirs(f"{self._path}/blobs/sha256", exist_ok=True)
            with self._engine.store.shared():
                yield LayoutWriting(self, self._engine)
        except OSError as error:
            raise InvalidInput(f"{self._path}: {error.strerror}") from error

    def put(self, digest: Digest, pieces: Iterator[bytes]) -> None:
        if not self._has(digest):
            self._write(self._file(digest), pieces)

    def name(self, entry: Descriptor) -> None:
        """Let the name mean this manifest from now on; other names stay."""
        index = self._index()
        rest = [e for e in index.manifests if _tag(e) != self._name] if index else []
        named = entry._replace(annotations={REF_NAME: self._name} if self._name else {})
        self._put_index([*rest, named])

    def also(self, digest: Digest, notes: Mapping[str, str]) -> None:
        """Give the manifest that was written an entry with these annotations, in the place of the
        one without a name, or as one more."""
        index = self._index()
        assert index is not None
        entry = next(item for item in index.manifests if item.digest == digest)
        rest = [item for item in index.manifests if item.annotations]
        self._put_index([*rest, entry._replace(annotations=dict(notes))])

    def _put_index(self, entries: Sequence[Descriptor]) -> None:
        manifests = [_described(item) for item in entries]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        self._write(f"{self._path}/index.json", iter([canonical(document)]))
        self._write(f"{self._path}/oci-layout", iter([b'{"imageLayoutVersion":"1.0.0"}']))

    def _write(self, path: str, pieces: Iterator[bytes]) -> None:
        temporary = f"{path}.{os.getpid()}.part"
        try:
            with open(temporary, "xb") as file:
                for piece in pieces:
                    file.write(piece)
            os.rename(temporary, path)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)

    def _index(self) -> Index | None:
        try:
            with open(f"{self._path}/index.json", "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInput(f"{self._path}: {error.strerror}") from error
        document = loads_strict(data, what=f"{self._path}/index.json")
        said = document.get("mediaType") if isinstance(document, dict) else None
        index = parse_manifest(data, said if said in INDEX_TYPES else OCI_INDEX)
        if not isinstance(index, Index):
            raise CorruptData(f"{self._path}/index.json is not an index")
        return index

    def _has(self, digest: Digest) -> bool:
        return os.path.isfile(self._file(digest))

    def _file(self, digest: Digest) -> str:
        return f"{self._path}/blobs/{digest.algorithm}/{digest.hex}"


def image_of(engine: Engine, place: str, platform: Platform) -> Image:
    """The image of `PATH[:TAG][@DIGEST]`, its layers in the store and pinned; it has no name there.
    Raises NotFound, CorruptData."""
    path, _, digest = place.partition("@")
    name = digest
    if not digest and not os.path.isdir(path):
        path, _, name = path.rpartition(":")
    layout = Layout(engine, path, name)
    data, media_type = layout.document()
    for _ in range(MAX_DEPTH):
        manifest = parse_manifest(data, media_type if media_type in KNOWN_TYPES else "")
        if isinstance(manifest, Manifest):
            return _stored(layout, manifest, data)
        entry = candidates(manifest, platform)[0]
        data, media_type = layout.blob(entry, "manifest", MAX_BYTES), entry.media_type
    raise CorruptData(f"{path}: indexes are nested too deep")


def _stored(layout: Layout, manifest: Manifest, data: bytes) -> Image:
    check_image(manifest)
    document = layout.blob(manifest.config, "image config", MAX_BYTES)
    config = parse_config(document)
    if len(config.diff_ids) != len(manifest.layers):
        raise CorruptData("the image's layers and diff IDs are not as many")
    layout.fetch(list(zip(config.diff_ids, manifest.layers, strict=True)))
    return Image(Digest.of(document), config, Digest.of(data), 0, 0, ())


class WrittenImage(NamedTuple):
    digest: Digest
    manifest: bytes


class LayoutWriting:
    """What is put into the directory."""

    def __init__(self, layout: Layout, engine: Engine) -> None:
        self._layout = layout
        self._engine = engine

    def layers(self, diff_ids: Sequence[Digest], compression: str) -> dict[Digest, Descriptor]:
        done: dict[Digest, Descriptor] = {}
        for diff_id in dict.fromkeys(diff_ids):
            blob, pieces = self._engine.store.layers.compressed(diff_id, compression)
            self._layout.put(blob.digest, pieces())
            done[diff_id] = blob
        return done

    def image(
        self, config: bytes, diff_ids: Sequence[Digest], annotations: Mapping[str, str]
    ) -> "WrittenImage":
        """An image; its manifest has no name yet."""
        blobs = self.layers(diff_ids, "gzip")
        self.blob(config)
        head = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
        layers = [blobs[diff_id] for diff_id in diff_ids]
        data = write_manifest(OCI_MANIFEST, head, layers, annotations)
        return WrittenImage(self.manifest(data, OCI_MANIFEST, tagged=False), data)

    def blob(self, data: bytes) -> None:
        self._layout.put(Digest.of(data), iter([data]))

    def manifest(self, data: bytes, media_type: str, *, tagged: bool) -> Digest:
        digest = Digest.of(data)
        self._layout.put(digest, iter([data]))
        if tagged:
            self._layout.name(Descriptor(media_type, digest, len(data)))
        return digest


def _tag(entry: Descriptor) -> str:
    return entry.annotations.get(REF_NAME, "")


def _described(entry: Descriptor) -> dict[str, object]:
    found: dict[str, object] = {
        "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size_bytes,
    }  # fmt: skip
    if entry.annotations:
        found["annotations"] = entry.annotations
    return found
