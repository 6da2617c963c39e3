"""Manifest lists that are put together here before they are pushed (`docker manifest`): records,
docker's JSON of them, and which systems and architectures it takes. Pure.
"""

import base64
import binascii
import json
from collections.abc import Sequence

from ..errors import CorruptData, InvalidInput
from ..spec.digest import Digest
from ..spec.image import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    parse_manifest,
)
from ..spec.jsontext import loads_strict
from ..spec.reference import Reference, parse_reference
from ..typed import Any, NamedTuple

_BODY_KEYS = {DOCKER_MANIFEST: "SchemaV2Manifest", OCI_MANIFEST: "OCIManifest"}
_INDENTS = {DOCKER_MANIFEST: 3, OCI_MANIFEST: 2}  # how docker's older files were written
_ARCHITECTURES = {
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm",
    "linux": "386 amd64 arm arm64 ppc64le mips64 mips64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "windows": "386 amd64",
}


class ListedPlatform(NamedTuple):
    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""

    def is_valid(self) -> bool:
        return self.architecture in _ARCHITECTURES.get(self.os, "").split()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            found["os.version"] = self.os_version
        if self.os_features:
            found["os.features"] = list(self.os_features)
        if self.variant:
            found["variant"] = self.variant
        return found


class Listed(NamedTuple):
    """One image of a manifest list. `data` is its manifest, byte for byte."""

    reference: Reference
    media_type: str
    data: bytes
    platform: ListedPlatform

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def manifest(self) -> Manifest:
        return manifest_of(self.data, self.media_type)

    def document(self) -> dict[str, Any]:
        """Docker's JSON object, in a file of its store and of `inspect --verbose`."""
        return {
            "Ref": str(self.reference),
            "Descriptor": {
                "mediaType": self.media_type,
                "digest": self.digest,
                "size": len(self.data),
                "platform": self.platform.document(),
            },
            "Raw": base64.b64encode(self.data).decode(),
            _BODY_KEYS[self.media_type]: json.loads(self.data),
        }


def manifest_of(data: bytes, media_type: str = "") -> Manifest:
    """Raises CorruptData for what is not an image's manifest."""
    found = parse_manifest(data, media_type)
    if not isinstance(found, Manifest):
        raise CorruptData("it is a manifest list, not an image's manifest")
    return found


def list_entries(data: bytes) -> list[tuple[Digest, ListedPlatform]]:
    """What a manifest list names, in its order. Raises CorruptData."""
    found = parse_manifest(data)
    if not isinstance(found, Index):
        raise CorruptData("it is no manifest list")
    raw = json.loads(data)["manifests"]
    platforms = [read_platform(item.get("platform") or {}) for item in raw]
    return [(item.digest, said) for item, said in zip(found.manifests, platforms, strict=True)]


def read_listed(data: bytes, where: str) -> Listed:
    """A file of the local store, ours or docker's. Raises CorruptData naming `where`."""
    document = loads_strict(data, what=where)
    try:
        descriptor = document["Descriptor"]
        media_type = descriptor["mediaType"]
        listed = Listed(
            parse_reference(document["Ref"]),
            media_type,
            _body(document, media_type),
            read_platform(descriptor.get("platform") or {}),
        )
        expected = Digest.parse(descriptor["digest"])
        manifest_of(listed.data, media_type)
    except (KeyError, TypeError, AttributeError, binascii.Error, InvalidInput) as error:
        raise CorruptData(f"{where} is not a manifest of a manifest list: {error}") from error
    if listed.digest != expected:
        raise CorruptData(
            f"internal digest mismatch for {listed.reference}: "
            f"expected {expected}, got {listed.digest}"
        )
    return listed


def _body(document: dict[str, Any], media_type: str) -> bytes:
    raw = document.get("Raw")
    if raw:
        return base64.b64decode(raw, validate=True)
    return json.dumps(document[_BODY_KEYS[media_type]], indent=_INDENTS[media_type]).encode()


def read_platform(document: Any) -> ListedPlatform:
    """From an index's entry or an image's configuration. Raises CorruptData."""
    if not isinstance(document, dict):
        raise CorruptData("platform is not an object")
    texts = [document.get(key) or "" for key in ("architecture", "os", "os.version", "variant")]
    features = document.get("os.features") or []
    if not isinstance(features, list) or not all(isinstance(t, str) for t in (*texts, *features)):
        raise CorruptData("platform holds something else than strings")
    return ListedPlatform(texts[0], texts[1], texts[2], tuple(features), texts[3])


def list_document(entries: Sequence[Listed], target: Reference) -> tuple[str, bytes]:
    """(media type, bytes) of the list, laid out as docker does. Raises InvalidInput."""
    for entry in entries:
        if entry.reference.domain != target.domain:
            raise InvalidInput(
                "cannot use source images from a different registry than the target image: "
                f"{entry.reference.domain} != {target.domain}"
            )
    is_oci = bool(entries) and entries[0].media_type == OCI_MANIFEST
    media_type = OCI_INDEX if is_oci else DOCKER_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [
            {
                "mediaType": entry.media_type,
                "size": len(entry.data),
                "digest": entry.digest,
                "platform": entry.platform.document(),
            }
            for entry in entries
        ],
    }
    return media_type, json.dumps(document, indent=3, ensure_ascii=False).encode()
