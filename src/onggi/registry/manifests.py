"""Choosing a manifest of an index, and writing the manifest of a push. Pure."""

import json
from collections.abc import Mapping, Sequence

from ..errors import CorruptData, NotFound, Unsupported
from ..spec.image import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    LAYER_COMPRESSION,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from ..spec.jsontext import canonical
from ..spec.platform import Platform
from ..typed import Any

ACCEPT = ", ".join((DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX))
LAYER_TYPES = {
    DOCKER_MANIFEST: {"": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD},
    OCI_MANIFEST: {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD},
}
CONFIG_TYPES = {DOCKER_MANIFEST: DOCKER_CONFIG, OCI_MANIFEST: OCI_CONFIG}
UNTYPED = ("", "application/json", "application/octet-stream", "text/plain")


def read_manifest(data: bytes, content_type: str) -> Manifest | Index:
    """The document a registry sent under `content_type`. Raises CorruptData or Unsupported."""
    said = content_type.partition(";")[0].strip().lower()
    if said.startswith("application/vnd.docker.distribution.manifest.v1"):
        raise Unsupported("the registry has this image only in the obsolete schema 1 format")
    if said in UNTYPED:
        said = ""
    elif said not in (*MANIFEST_TYPES, *INDEX_TYPES):
        raise CorruptData(f"registry sent Content-Type {said[:100]!r} for an image manifest")
    return parse_manifest(data, said)


def check_image(manifest: Manifest) -> None:
    """Raises Unsupported for an artifact that is no container image."""
    if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise Unsupported(f"config.mediaType: unsupported media type {manifest.config.media_type}")
    for position, layer in enumerate(manifest.layers):
        if layer.media_type not in LAYER_COMPRESSION:
            raise Unsupported(
                f"layers[{position}].mediaType: unsupported media type {layer.media_type}"
            )


def candidates(index: Index, wanted: Platform) -> tuple[Descriptor, ...]:
    """The entries that can serve `wanted`, best first: the same variant, any variant, unlabelled.
    Raises NotFound in docker's words, listing what there is."""
    known = (*MANIFEST_TYPES, *INDEX_TYPES)
    entries = [item for item in index.manifests if item.media_type in known]
    fitting = [item for item in entries if item.platform and item.platform.matches(wanted)]
    variant = wanted.normalized().variant
    fitting.sort(key=lambda item: (item.platform or wanted).normalized().variant != variant)
    fitting += [item for item in entries if item.platform is None]
    if fitting:
        return tuple(fitting)
    offered = sorted({str(item.platform) for item in entries if item.platform} - {_ATTESTATION})
    shown = ", ".join(offered[:20]) or "none"
    raise NotFound(
        f"no matching manifest for {wanted} in the manifest list entries",
        hint=f"available platforms: {shown}",
    )


_ATTESTATION = "unknown/unknown"


def write_manifest(
    media_type: str,
    config: Descriptor,
    layers: Sequence[Descriptor],
    annotations: Mapping[str, str] = {},
) -> bytes:
    """A new manifest; docker's is laid out as docker 28 writes it, so that digests agree."""
    docker = media_type == DOCKER_MANIFEST

    def entry(item: Descriptor) -> dict[str, Any]:
        if docker:
            return {"mediaType": item.media_type, "size": item.size_bytes, "digest": item.digest}
        return {"mediaType": item.media_type, "digest": item.digest, "size": item.size_bytes}

    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": entry(config),
        "layers": [entry(item) for item in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return json.dumps(document, indent=3).encode() if docker else canonical(document)
