"""Image archives: `save` writes a docker-archive that is also an OCI layout, as docker 25 does.

Deterministic: the same images and names give the same bytes. `load` is in `loading`.
"""

from collections.abc import Callable, Sequence
from io import BytesIO

from ..errors import InvalidInput
from ..progress import Report, ignore
from ..spec.digest import Digest
from ..spec.image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Image
from ..spec.jsontext import canonical
from ..spec.platform import Platform
from ..spec.reference import Reference, parse_reference
from ..typed import Any, NamedTuple
from .images import Images
from .layers import Layers
from .tarwrite import LayerWriter

Write = Callable[[bytes], object]
NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"


class _Saved(NamedTuple):
    image: Image
    names: list[Reference]
    manifest: bytes


class Archive:
    def __init__(self, images: Images, layers: Layers, collect: Callable[[], object]) -> None:
        self._images = images
        self._layers = layers
        self._collect = collect

    def save(self, references: Sequence[str], write: Write) -> None:
        """Write images as one tar. A name with a tag saves that tag, one without all tags of the
        repository, an id no name. Raises NotFound before the first byte is written."""
        saved = self._gather(references)
        writer = LayerWriter(write)
        writer.directory("blobs", 0o755, 0, 0, 0)
        writer.directory("blobs/sha256", 0o755, 0, 0, 0)
        seen: set[Digest] = set()
        for item in saved:
            self._blobs(writer, item, seen)
        _document(writer, "index.json", canonical(_index(saved)))
        _document(writer, "manifest.json", canonical([_docker_entry(item) for item in saved]))
        _document(writer, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        repositories = _repositories(saved)
        if repositories:
            _document(writer, "repositories", canonical(repositories))
        writer.finish()

    def load(
        self,
        read: Callable[[int], bytes],
        report: Report = ignore,
        platform: Platform | None = None,
    ) -> list[str]:
        """Store the images of an archive that `read` gives, or those of one platform; docker's
        lines about them.

        Raises CorruptData for what is no image archive or a damaged one, NotFound when none is of
        the platform: then none is stored.
        """
        from .loading import load

        try:
            return load(self._images, self._layers, read, report, platform)
        except BaseException:
            self._collect()
            raise

    def _gather(self, references: Sequence[str]) -> list[_Saved]:
        """Each image once, with the names it was asked by, in the order asked."""
        found: dict[Digest, _Saved] = {}
        for text in references:
            for image, names in self._named(text):
                item = found.get(image.id)
                if item is None:
                    item = found[image.id] = _Saved(image, [], self._manifest(image))
                item.names.extend(name for name in names if name not in item.names)
        return list(found.values())

    def _named(self, text: str) -> list[tuple[Image, list[Reference]]]:
        try:
            typed = parse_reference(text, default_tag="")
        except InvalidInput:  # 64 hexadecimal digits are an id and no name
            return [(self._images.get(text), [])]
        if typed.digest is None and not typed.tag:
            matches = [(image, _tags_in(image, typed)) for image in self._images.list()]
            matches = [(image, names) for image, names in matches if names]
            if matches:
                return matches
        image = self._images.get(text)
        names = [parse_reference(tag) for tag in image.tags]
        return [(image, [name for name in names if name == typed])]

    def _manifest(self, image: Image) -> bytes:
        """The manifest of the archive's own form: uncompressed layers."""
        config = self._images.config_bytes(image.id)
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": _descriptor(OCI_CONFIG, image.id, len(config)),
                "layers": [
                    _descriptor(OCI_LAYER, diff_id, self._layers.size(diff_id))
                    for diff_id in image.config.diff_ids
                ],
            }
        )

    def _blobs(self, writer: LayerWriter, item: _Saved, seen: set[Digest]) -> None:
        for diff_id in item.image.config.diff_ids:
            if diff_id in seen:
                continue
            seen.add(diff_id)
            with self._layers.open_tar(diff_id) as tar:
                writer.file(_path(diff_id), tar.size, 0o644, 0, 0, 0, tar.read)
        config = self._images.config_bytes(item.image.id)
        _document(writer, _path(item.image.id), config)
        _document(writer, _path(Digest.of(item.manifest)), item.manifest)


def _tags_in(image: Image, repository: Reference) -> list[Reference]:
    tags = [parse_reference(tag) for tag in image.tags]
    return [tag for tag in tags if tag.name == repository.name]


def _document(writer: LayerWriter, path: str, data: bytes) -> None:
    writer.file(path, len(data), 0o644, 0, 0, 0, BytesIO(data).read)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _index(saved: list[_Saved]) -> dict[str, Any]:
    manifests = []
    for item in saved:
        descriptor = _descriptor(OCI_MANIFEST, Digest.of(item.manifest), len(item.manifest))
        platform = item.image.config.platform
        descriptor["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            descriptor["platform"]["variant"] = platform.variant
        for name in item.names:
            annotations = {NAME_ANNOTATION: str(name), TAG_ANNOTATION: name.tag}
            manifests.append({**descriptor, "annotations": annotations})
        if not item.names:
            manifests.append(descriptor)
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}


def _docker_entry(item: _Saved) -> dict[str, Any]:
    return {
        "Config": _path(item.image.id),
        "RepoTags": [name.familiar for name in item.names] or None,
        "Layers": [_path(diff_id) for diff_id in item.image.config.diff_ids],
    }


def _repositories(saved: list[_Saved]) -> dict[str, dict[str, str]]:
    """The oldest index: name to tag to top layer."""
    result: dict[str, dict[str, str]] = {}
    for item in saved:
        for name in item.names:
            if item.image.config.diff_ids:
                top = item.image.config.diff_ids[-1].hex
                result.setdefault(name.familiar_name, {})[name.tag] = top
    return result
