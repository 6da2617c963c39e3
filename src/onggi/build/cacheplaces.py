"""Caches outside the store: --cache-from and --cache-to, in a registry, a directory, an image.

Owns what is imported and exported and when a layer is fetched: a record is found by its key at
once, its layers come when a step stands on them, or at the end. What cannot be imported is a
warning, as with BuildKit: a build without a cache is only slower. Nothing is looked at that the
user did not name (SECURITY D7).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from ..engine.engine import Engine
from ..errors import CacheVanished, CorruptData, InvalidInput, NotFound, OnggiError
from ..progress import Message, Report, Warning
from ..spec.digest import Digest
from ..spec.image import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)
from ..spec.jsontext import MAX_BYTES, canonical, loads_strict
from ..spec.platform import host_platform
from ..spec.reference import parse_reference
from ..typed import NamedTuple, Protocol
from . import cacheformat
from .cacheformat import INLINE_KEY, Entry, Table
from .ocilayout import KNOWN_TYPES, MAX_DEPTH, Layout
from .options import CacheSource, CacheTarget

Layers = tuple[Digest, ...]


class Reading(Protocol):
    def document(self) -> tuple[bytes, str]: ...

    def blob(self, descriptor: Descriptor, what: str, max_bytes: int) -> bytes: ...

    def fetch(self, layers: Sequence[tuple[Digest, Descriptor]]) -> None: ...


class Writing(Protocol):
    def layers(self, diff_ids: Sequence[Digest], compression: str) -> dict[Digest, Descriptor]: ...

    def blob(self, data: bytes) -> None: ...

    def manifest(self, data: bytes, media_type: str, *, tagged: bool) -> Digest: ...


class Writable(Protocol):
    def writing(self) -> AbstractContextManager[Writing]: ...


# -- importing


class _Cache(NamedTuple):
    where: str
    table: Table
    place: Reading


class Imports:
    """The caches that the user named; read when the first key is not in the store."""

    def __init__(self, engine: Engine, sources: Sequence[CacheSource], report: Report) -> None:
        self._engine = engine
        self._sources = sources
        self._report = report
        self._caches: list[_Cache] | None = None

    def find(self, key: str) -> Entry | None:
        if self._caches is None:
            opened = map(self._open, self._sources)
            self._caches = [cache for cache in opened if cache is not None]
        entries = (cache.table.entries for cache in self._caches)
        return next((known[key] for known in entries if key in known), None)

    def _open(self, source: CacheSource) -> _Cache | None:
        try:
            table, place = self._read(source)
        except OnggiError as error:
            if source.kind == "image" and isinstance(error, NotFound):
                return None
            self._report(Warning(f"importing cache from {source.where} failed: {error.message}"))
            return None
        if table.entries and not table.ours:
            count = len(table.entries)
            self._report(
                Warning(
                    f"cache {source.where}: another builder made it, and none of its {count} "
                    "records can have a key of onggi's"
                )
            )
        self._report(Message(f"importing cache manifest from {source.where}"))
        return _Cache(source.where, table, place)

    def _read(self, source: CacheSource) -> tuple[Table, Reading]:
        if source.kind == "local":
            place: Reading = Layout(self._engine, source.where, source.name)
            return read_table(place), place
        reference = parse_reference(source.where)
        place = self._engine.images.repository(reference, self._report)
        if source.plain or source.kind == "image":
            table = self._of_image(source.where)
            if table is not None:
                return table, place
        if source.kind == "image":
            raise NotFound("it is no image of this host with an inline cache")
        return read_table(place), place

    def _of_image(self, name: str) -> Table | None:
        """The inline cache of an image in the store, whose layers need no fetching."""
        try:
            image = self._engine.images.get(name)
        except (NotFound, InvalidInput):
            return None
        data = _inline_records(self._engine.store.images.config_bytes(image.id))
        if data is None:
            return None
        ids = image.config.diff_ids
        return cacheformat.parse_inline(data, [Descriptor(OCI_LAYER, i, 0) for i in ids], ids)

    def ensure(self, layers: Layers) -> None:
        """Have these layers in the store. Raises CacheVanished for one that no cache has."""
        missing = set(layers) - self._engine.store.layers.pin(layers)
        for where, table, place in self._caches or ():
            known = [(layer, table.blobs[layer]) for layer in layers
                     if layer in missing and layer in table.blobs]  # fmt: skip
            try:
                place.fetch(known)
            except CorruptData as error:
                raise CorruptData(
                    f"cache {where} is damaged: {error.message}",
                    hint="build without it: leave --cache-from out",
                ) from error
            missing -= {layer for layer, _ in known}
        if missing:
            raise CacheVanished(f"layer {min(missing)} is in no cache any more")


def read_table(place: Reading) -> Table:
    """What a reference or layout holds: a cache manifest in either form, or an image with an
    inline cache. Raises NotFound when it is neither."""
    data, media_type = place.document()
    for _ in range(MAX_DEPTH):
        manifest = parse_manifest(data, media_type if media_type in KNOWN_TYPES else "")
        parts = manifest.manifests if isinstance(manifest, Index) else (
            *manifest.layers, manifest.config
        )  # fmt: skip
        configs = [item for item in parts if item.media_type == cacheformat.CONFIG_TYPE]
        if configs:
            config = place.blob(configs[0], "cache config", cacheformat.MAX_BYTES)
            return cacheformat.parse(config, {item.digest: item for item in parts})
        if isinstance(manifest, Manifest):
            return _inline_table(place, manifest)
        data, media_type = _of_platform(place, manifest)
    raise CorruptData("cache manifest: indexes are nested too deep")


def _inline_table(place: Reading, manifest: Manifest) -> Table:
    config = place.blob(manifest.config, "image config", MAX_BYTES)
    records = _inline_records(config)
    if records is None:
        raise NotFound("it is neither a cache nor an image with an inline cache")
    return cacheformat.parse_inline(records, manifest.layers, parse_config(config).diff_ids)


def _of_platform(place: Reading, index: Index) -> tuple[bytes, str]:
    here = host_platform()
    for entry in index.manifests:
        if entry.platform is not None and entry.platform.matches(here):
            return place.blob(entry, "manifest", MAX_BYTES), entry.media_type
    raise NotFound(f"it has nothing for {here}")


def _inline_records(config: bytes) -> bytes | None:
    document = loads_strict(config, what="image config")
    value = document.get(INLINE_KEY) if isinstance(document, dict) else None
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise CorruptData(f"inline cache: {error}") from error


# -- exporting


def export_cache(
    engine: Engine, target: CacheTarget, entries: Sequence[Entry], report: Report
) -> None:
    """Write a cache of these entries. Raises OnggiError, unless errors are to be ignored."""
    try:
        place: Writable = (
            Layout(engine, target.where, target.name)
            if target.kind == "local"
            else engine.images.repository(parse_reference(target.where), report)
        )
        report(Message(f"exporting cache to {target.where}"))
        with place.writing() as writing:
            _write(writing, target, entries)
    except OnggiError as error:
        if not target.ignore_error:
            raise
        report(Warning(f"exporting cache to {target.where} failed: {error.message}"))


def _write(writing: Writing, target: CacheTarget, entries: Sequence[Entry]) -> None:
    diff_ids = list(dict.fromkeys(layer for entry in entries for layer in entry.layers))
    blobs = writing.layers(diff_ids, target.compression)
    config = cacheformat.document(entries, blobs)
    writing.blob(config)
    parts = [_described(blobs[diff_id], diff_id) for diff_id in diff_ids]
    head = {
        "mediaType": cacheformat.CONFIG_TYPE, "digest": Digest.of(config), "size": len(config),
    }  # fmt: skip
    document: dict[str, object] = {"schemaVersion": 2}
    if target.image_manifest:
        document |= {"mediaType": OCI_MANIFEST, "config": head, "layers": parts}
    else:
        document |= {"mediaType": OCI_INDEX, "manifests": [*parts, head]}
    writing.manifest(canonical(document), str(document["mediaType"]), tagged=True)


def _described(blob: Descriptor, diff_id: Digest) -> Mapping[str, object]:
    return {
        "mediaType": blob.media_type,
        "digest": blob.digest,
        "size": blob.size_bytes,
        "annotations": {cacheformat.DIFF_ID: diff_id},
    }


def chosen(entries: Sequence[Entry], results: Sequence[Layers], mode: str) -> list[Entry]:
    """Those that `mode` exports; `results` are the images'."""
    if mode == "max":
        return list(entries)
    return [e for e in entries if any(e.layers == made[: len(e.layers)] for made in results)]


def inline_value(entries: Sequence[Entry], result: Layers) -> str:
    """What an image's configuration holds under INLINE_KEY."""
    return base64.b64encode(cacheformat.inline(entries, result)).decode("ascii")
