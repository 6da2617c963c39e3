"""BuildKit's cache manifest, read and written: application/vnd.buildkit.cacheconfig.v0. Pure.

    {"layers": [{"blob", "parent", "annotations": {"mediaType", "diffID", "size"}}],
     "records": [{"digest", "layers": [{"layer": 3, "createdAt"}]}], "onggi": {"version": 1}}

A record is a key and the layer its result ends with; a layer names its parent, so each is a chain.
An image with an inline cache carries the records alone, and its own layers are the chain. BuildKit
makes its keys of other things than we do: of a cache it made, the layers are understood and no
record matches. What is read comes from a registry or a directory and is checked like an image.
"""

import json
from collections.abc import Mapping, Sequence

from ..errors import CorruptData, InvalidInput
from ..spec.digest import Digest
from ..spec.image import LAYER_COMPRESSION, MAX_LAYERS, Descriptor
from ..spec.jsontext import loads_strict
from ..typed import Any, NamedTuple
from ..units import format_rfc3339, parse_rfc3339
from .graph import KEY_VERSION

CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"
INLINE_KEY = "moby.buildkit.cache.v0"  # of an image's configuration; base64
DIFF_ID = "containerd.io/uncompressed"  # annotation of a descriptor
MAX_BYTES = 64 << 20
_ROOT = -1


class CachedLayer(NamedTuple):
    """One layer of a cache, on the layer of index `parent` (-1: on nothing)."""

    diff_id: Digest
    blob: Descriptor
    parent: int


class Entry(NamedTuple):
    """A key and what its operation made: all layers, bottom first; `diff_id` is the operation's
    own, "" when it made none."""

    key: str
    layers: tuple[Digest, ...]
    diff_id: str
    created_ns: int


class Table(NamedTuple):
    """What a cache holds. `blobs` are the layers' compressed forms; `ours` whether onggi made it:
    keys of other builders never match."""

    entries: Mapping[str, Entry]
    blobs: Mapping[Digest, Descriptor]
    ours: bool


# -- reading


def parse(data: bytes, blobs: Mapping[Digest, Descriptor]) -> Table:
    """`blobs` are the descriptors of the manifest the configuration came in, by digest. Raises
    CorruptData."""
    document = loads_strict(data, what="cache config", max_bytes=MAX_BYTES)
    if not isinstance(document, dict):
        raise CorruptData("cache config is not an object")
    layers = [_layer(item, blobs) for item in _list(document.get("layers"), "layers")]
    return _table(document.get("records"), layers, isinstance(document.get("onggi"), dict))


def parse_inline(data: bytes, layers: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> Table:
    """The records of an image's configuration; `layers` and `diff_ids` are the image's."""
    records = loads_strict(data, what="inline cache", max_bytes=MAX_BYTES)
    if len(layers) != len(diff_ids):
        raise CorruptData(f"the image has {len(layers)} layers and {len(diff_ids)} diff IDs")
    pairs = enumerate(zip(diff_ids, layers, strict=True))
    chain = [CachedLayer(diff_id, blob, index - 1) for index, (diff_id, blob) in pairs]
    ours = any(isinstance(r, dict) and "onggi" in r for r in _list(records, "records"))
    return _table(records, chain, ours)


def _table(records: Any, layers: list[CachedLayer], ours: bool) -> Table:
    for layer in layers:
        if layer.blob.media_type not in LAYER_COMPRESSION:
            raise CorruptData(f"cache: unsupported media type {layer.blob.media_type[:100]}")
    entries = {}
    for record in _list(records, "records"):
        entry = _entry(record, layers)
        if entry is not None:
            entries[entry.key] = entry
    return Table(entries, {layer.diff_id: layer.blob for layer in layers}, ours)


def _layer(item: Any, blobs: Mapping[Digest, Descriptor]) -> CachedLayer:
    if not isinstance(item, dict):
        raise CorruptData("cache config: a layer is not an object")
    blob = blobs.get(_digest(item.get("blob"), "blob"))
    if blob is None:
        raise CorruptData(f"cache config names the layer {item['blob']}, its manifest does not")
    said = item.get("annotations")
    diff_id = said.get("diffID") if isinstance(said, dict) else None
    return CachedLayer(
        _digest(diff_id or blob.annotations.get(DIFF_ID), "diffID"), blob, _index(item, "parent", 0)
    )


def _entry(record: Any, layers: list[CachedLayer]) -> Entry | None:
    """None for a record without a result of its own, which BuildKit writes between others."""
    if not isinstance(record, dict):
        raise CorruptData("cache config: a record is not an object")
    results = _list(record.get("layers"), "records.layers")
    if not results or not isinstance(results[-1], dict) or "digest" not in record:
        return None
    key = _digest(record["digest"], "records.digest").partition(":")[2]
    said = record.get("onggi")
    said = said if isinstance(said, dict) else {}
    chain = _chain(layers, _index(results[-1], "layer", _ROOT))
    own = str(chain[-1]) if chain and said.get("empty") is not True else ""
    return Entry(key, chain, own, _moment(results[-1].get("createdAt")))


def _chain(layers: list[CachedLayer], index: int) -> tuple[Digest, ...]:
    found: list[Digest] = []
    while index != _ROOT:
        if not 0 <= index < len(layers) or len(found) >= MAX_LAYERS:
            raise CorruptData("cache config: layers do not end at a first one")
        found.append(layers[index].diff_id)
        index = layers[index].parent
    return tuple(reversed(found))


def _moment(value: Any) -> int:
    try:
        return parse_rfc3339(value) if isinstance(value, str) else 0
    except ValueError:
        return 0


def _index(holder: dict[str, Any], key: str, default: int) -> int:
    value = holder.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CorruptData(f"cache config: {key} is not a number")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise CorruptData(f"cache config: {what} is not a list")
    return value


def _digest(value: Any, what: str) -> Digest:
    if not isinstance(value, str):
        raise CorruptData(f"cache config: {what} is not a digest")
    try:
        return Digest.parse(value)
    except InvalidInput as error:
        raise CorruptData(f"cache config: {what}: {error}") from error


# -- writing


class Stack(NamedTuple):
    """Every layer on its parent, once: (diff ID, index of the parent), parents first; and where
    each stack of layers ends."""

    rows: list[tuple[Digest, int]]
    ends: dict[tuple[Digest, ...], int]


def stack(entries: Sequence[Entry]) -> Stack:
    found = Stack([], {(): _ROOT})
    for entry in entries:
        for size in range(1, len(entry.layers) + 1):
            chain = entry.layers[:size]
            if chain not in found.ends:
                found.rows.append((chain[-1], found.ends[chain[:-1]]))
                found.ends[chain] = len(found.rows) - 1
    return found


def document(entries: Sequence[Entry], blobs: Mapping[Digest, Descriptor]) -> bytes:
    """The cache configuration; `blobs` has a compressed form for every layer."""
    rows, ends = stack(entries)
    layers = [
        {
            "blob": blobs[diff_id].digest,
            "parent": parent,
            "annotations": {
                "mediaType": blobs[diff_id].media_type,
                "diffID": diff_id,
                "size": blobs[diff_id].size_bytes,
            },
        }
        for diff_id, parent in rows
    ]
    records = [_record(entry, ends[entry.layers]) for entry in entries]
    told = {"layers": layers, "records": records, "onggi": {"version": KEY_VERSION}}
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()


def inline(entries: Sequence[Entry], layers: tuple[Digest, ...]) -> bytes:
    """The records for an image of these layers: those whose result is a part of it."""
    own = [entry for entry in entries if entry.layers == layers[: len(entry.layers)]]
    records = [_record(entry, len(entry.layers) - 1) for entry in own]
    return json.dumps(records, separators=(",", ":"), sort_keys=True).encode()


def _record(entry: Entry, layer: int) -> dict[str, Any]:
    result = {"layer": layer, "createdAt": format_rfc3339(entry.created_ns)}
    note = {"empty": True} if not entry.diff_id else {}
    return {"digest": f"sha256:{entry.key}", "layers": [result], "onggi": note}
