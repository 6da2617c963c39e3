"""What an image archive says it holds: docker's manifest.json, or an OCI layout's index.json.

Pure: the archive's documents and layers by name in, checked `Loaded` plans out. Names are resolved
within the archive only. Refuses what contradicts itself (SECURITY C8, C14).
"""

from collections.abc import Mapping

from ..errors import CorruptData, InvalidInput, NotFound, Unsupported
from ..spec.digest import Digest
from ..spec.image import (
    LAYER_COMPRESSION,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)
from ..spec.jsontext import loads_strict
from ..spec.platform import Platform, host_platform
from ..spec.reference import Reference, parse_reference
from ..typed import Any, NamedTuple
from .layerrows import LayerInfo

MAX_DEPTH = 4
_NAME = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class Loaded(NamedTuple):
    """An image whose parts are all there and fit together."""

    config: bytes
    manifest: bytes | None
    names: tuple[Reference, ...]


class Members(NamedTuple):
    """What the archive held, by normalised path. `broken` says why a large member, which must be
    a layer, could not be one."""

    documents: Mapping[str, bytes]
    layers: Mapping[str, LayerInfo]
    broken: Mapping[str, str]
    links: Mapping[str, str]

    def resolve(self, path: str) -> str:
        """Follow the archive's own links."""
        for _ in range(16):
            target = self.links.get(path)
            if target is None:
                return path
            path = target
        raise CorruptData(f"image archive: too many links at {path[:200]!r}")

    def document(self, path: str) -> bytes:
        data = self.documents.get(self.resolve(path))
        if data is None:
            raise CorruptData(f"image archive has no file {path[:200]!r}")
        return data

    def layer(self, path: str) -> LayerInfo:
        real = self.resolve(path)
        if real in self.broken:
            raise CorruptData(f"image archive: layer {path[:200]!r}: {self.broken[real]}")
        info = self.layers.get(real)
        if info is None:
            raise CorruptData(f"image archive has no layer {path[:200]!r}")
        return info


def plan(members: Members, platform: Platform | None = None) -> list[Loaded]:
    """Every image of the archive, or those of one platform; of an image with several the host's.
    Raises CorruptData naming the part that is wrong, NotFound when none is of the platform."""
    found = _images(members, platform or host_platform())
    if platform is None:
        return found
    fitting = [item for item in found if parse_config(item.config).platform.matches(platform)]
    if not fitting:
        have = dict.fromkeys(str(parse_config(item.config).platform) for item in found)
        raise NotFound(f"the archive has no image for {platform}, only for: {', '.join(have)}")
    return fitting


def _images(members: Members, wanted: Platform) -> list[Loaded]:
    if "manifest.json" in members.documents:
        return _docker_archive(members)
    if "index.json" in members.documents:
        return _OciLayout(members, wanted).images()
    if "repositories" in members.documents:
        raise Unsupported("the archive is in docker's format of before 2016, without manifest.json")
    raise CorruptData("not an image archive: it has neither manifest.json nor index.json")


def _docker_archive(members: Members) -> list[Loaded]:
    entries = loads_strict(members.documents["manifest.json"], what="manifest.json")
    if not isinstance(entries, list) or not entries:
        raise CorruptData("manifest.json is not a list of images")
    return [_docker_image(members, entry) for entry in entries]


def _docker_image(members: Members, entry: Any) -> Loaded:
    if not isinstance(entry, dict):
        raise CorruptData("manifest.json: an image is not an object")
    config_path = _path(entry.get("Config"), "Config")
    config = members.document(config_path)
    _check_name(config_path, Digest.of(config))
    parsed = parse_config(config)
    paths = [_path(item, "Layers") for item in _list(entry.get("Layers"), "Layers")]
    _check_layers(parsed, [members.layer(path) for path in paths])
    names = []
    for text in _list(entry.get("RepoTags"), "RepoTags"):
        if not isinstance(text, str):
            raise CorruptData("manifest.json: a RepoTags entry is not a string")
        name = parse_reference(text)
        if name.digest is not None:
            raise InvalidInput(f"manifest.json: RepoTags entry {text[:200]!r} has a digest")
        names.append(name)
    return Loaded(config, None, tuple(names))


class _OciLayout:
    def __init__(self, members: Members, wanted: Platform) -> None:
        self._members = members
        self._wanted = wanted

    def images(self) -> list[Loaded]:
        layout = self._members.documents.get("oci-layout")
        if layout is not None:
            version = loads_strict(layout, what="oci-layout")
            if not isinstance(version, dict) or version.get("imageLayoutVersion") != "1.0.0":
                raise Unsupported("the OCI layout has another version than 1.0.0")
        index = parse_manifest(self._members.documents["index.json"])
        if not isinstance(index, Index):
            raise CorruptData("index.json is not an index")
        names: dict[Digest, list[Reference]] = {}
        chosen: dict[Digest, Descriptor] = {}
        for descriptor in index.manifests:
            if descriptor.platform is not None and descriptor.platform.os == "unknown":
                continue  # an attestation
            chosen[descriptor.digest] = descriptor
            name = _annotated_name(descriptor.annotations)
            if name is not None:
                names.setdefault(descriptor.digest, []).append(name)
        if not chosen:
            raise CorruptData("index.json names no image")
        return [self._image(d, tuple(names.get(d.digest, ())), 1) for d in chosen.values()]

    def _image(self, descriptor: Descriptor, names: tuple[Reference, ...], depth: int) -> Loaded:
        if depth > MAX_DEPTH:
            raise CorruptData(f"image indexes are nested deeper than {MAX_DEPTH}")
        data = self._blob(descriptor)
        document = parse_manifest(data, descriptor.media_type)
        if isinstance(document, Index):
            return self._image(_choose(document, self._wanted), names, depth + 1)
        return self._manifest(data, document, names)

    def _manifest(self, data: bytes, manifest: Manifest, names: tuple[Reference, ...]) -> Loaded:
        layers = []
        for descriptor in manifest.layers:
            if descriptor.media_type not in LAYER_COMPRESSION:
                raise Unsupported(
                    f"not a container image: a layer has media type {descriptor.media_type!r}"
                )
            layer = self._members.layer(_blob_path(descriptor.digest))
            if (layer.blob_digest, layer.blob_size) != (descriptor.digest, descriptor.size_bytes):
                raise CorruptData(f"layer blob {descriptor.digest} has other content")
            layers.append(layer)
        config = self._blob(manifest.config)
        _check_layers(parse_config(config), layers)
        return Loaded(config, data, names)

    def _blob(self, descriptor: Descriptor) -> bytes:
        data = self._members.document(_blob_path(descriptor.digest))
        if len(data) != descriptor.size_bytes or Digest.of(data) != descriptor.digest:
            raise CorruptData(f"blob {descriptor.digest} has other content")
        return data


def _choose(index: Index, wanted: Platform) -> Descriptor:
    offered = [d for d in index.manifests if d.platform is None or d.platform.os != "unknown"]
    for descriptor in offered:
        if descriptor.platform is None or descriptor.platform.matches(wanted):
            return descriptor
    have = ", ".join(str(d.platform) for d in offered[:20])
    raise NotFound(f"the archive has no image for {wanted}, only for: {have or 'none'}")


def _annotated_name(annotations: Mapping[str, str]) -> Reference | None:
    """A full name, if there is one; a bare tag names nothing."""
    for key in _NAME:
        text = annotations.get(key, "")
        if ":" in text or "/" in text:
            name = parse_reference(text)
            return name if name.digest is None else None
    return None


def _check_layers(config: ImageConfig, layers: list[LayerInfo]) -> None:
    if len(layers) != len(config.diff_ids):
        raise CorruptData(
            f"image has {len(layers)} layers, its configuration names {len(config.diff_ids)}"
        )
    for position, (diff_id, layer) in enumerate(zip(config.diff_ids, layers, strict=True)):
        if diff_id != layer.diff_id:
            raise CorruptData(
                f"invalid diffID for layer {position}: expected {diff_id}, got {layer.diff_id}"
            )


def _check_name(path: str, digest: Digest) -> None:
    """A file in blobs/ must be what its name says."""
    parent, _, name = path.rpartition("/")
    if parent == f"blobs/{digest.algorithm}" and name != digest.hex:
        raise CorruptData(f"image archive: {path} has other content: its digest is {digest}")


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _path(value: Any, what: str) -> str:
    """A path inside the archive, normalised."""
    if not isinstance(value, str):
        raise CorruptData(f"manifest.json: {what} is not a path")
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if value.startswith("/") or ".." in parts or not parts or "\0" in value:
        raise CorruptData(f"manifest.json: {what} {value[:200]!r} leaves the archive")
    return "/".join(parts)


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise CorruptData(f"manifest.json: {what} is not a list")
    return value
