"""Manifest lists put together on this machine: `manifest create annotate inspect push rm`.

They lie beside docker's config.json, in docker's own files: either program goes on with what the
other began. A list is a directory, each of its images a file.
"""

import json
import os
from collections.abc import Callable, Sequence

from ..errors import Conflict, InvalidInput, NotFound
from ..registry.manifestlist import Listed, ListedPlatform, list_document, read_listed
from ..spec.digest import Digest
from ..spec.reference import Reference, parse_reference
from ..typed import TYPE_CHECKING, NamedTuple
from .paths import write_file

if TYPE_CHECKING:
    from ..registry.client import Registry

MAX_FILE_BYTES = 8 << 20
MAX_ENTRIES = 512


class Annotation(NamedTuple):
    """What `annotate` changes; what is empty stays as it is."""

    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""


class ManifestLists:
    def __init__(self, directory: str, registry: Callable[[str], "Registry"]) -> None:
        """`registry(domain)` is a client; a `domain` may be spoken to insecurely."""
        self._directory = directory
        self._registry = registry

    def create(
        self, target: str, images: Sequence[str], *, amend: bool, insecure: bool
    ) -> Reference:
        """A list of these images of the registry, or more of them with `amend`. Raises Conflict
        for a list that exists, NotFound."""
        name = _parsed(target, "error parsing name for manifest list")
        if not amend and os.path.isdir(self._path(name)):
            raise Conflict("refusing to amend an existing manifest list with no --amend flag")
        for text in images:
            image = parse_reference(text)
            self._save(name, self._find(name, image) or self._fetched(image, insecure))
        return name

    def _fetched(self, image: Reference, insecure: bool) -> Listed:
        with self._registry(image.domain if insecure else "").repository(image) as repository:
            found = repository.image()
        if found is None:
            raise InvalidInput(f"{image} is a manifest list")
        return found

    def annotate(self, target: str, image: str, change: Annotation) -> None:
        """Say for which platform an image is. Raises NotFound, InvalidInput."""
        name = _parsed(target, "annotate: error parsing name for manifest list")
        wanted = _parsed(image, "annotate: error parsing name for manifest")
        listed = self._find(name, wanted)
        if listed is None:
            raise NotFound(f"manifest for image {image} does not exist in {target}")
        old = listed.platform
        features = (*old.os_features, *change.os_features)
        platform = ListedPlatform(
            change.architecture or old.architecture,
            change.os or old.os,
            change.os_version or old.os_version,
            tuple(dict.fromkeys(features)),
            change.variant or old.variant,
        )
        if not platform.is_valid():
            raise InvalidInput(
                "manifest entry for image has unsupported os/arch combination: "
                f"{change.os}/{change.architecture}",
                hint=f"it would be for {platform.os or '?'}/{platform.architecture or '?'}",
            )
        self._save(name, listed._replace(platform=platform))

    def listed(self, target: str, image: str) -> Listed:
        """One image of a local list. Raises NotFound."""
        wanted = parse_reference(image)
        found = self._find(parse_reference(target), wanted)
        if found is None:
            raise NotFound(f"No such manifest: {wanted}")
        return found

    def look(self, text: str, *, insecure: bool) -> Listed | tuple[Listed, ...]:
        """An image, or the images of a list: the local one, else the registry's."""
        name = parse_reference(text)
        try:
            return tuple(self._entries(name))
        except NotFound:
            pass
        with self._registry(name.domain if insecure else "").repository(name) as repository:
            image = repository.image()
            return tuple(repository.entries()) if image is None else image

    def push(
        self, target: str, told: Callable[[Reference, Digest], None], *, insecure: bool, purge: bool
    ) -> Digest:
        """Store the list in its registry, after those of its images that lie in another repository
        there (each `told`); the list's digest. With `purge` the local one goes."""
        name = parse_reference(target)
        entries = self._entries(name)
        for entry in entries:
            if not entry.platform.os or not entry.platform.architecture:
                raise InvalidInput(
                    f"manifest {entry.reference} must have an OS and Architecture to be pushed to "
                    "a registry",
                    hint=f"onggi manifest annotate --os … --arch … {target} {entry.reference}",
                )
        media_type, document = list_document(entries, name)
        with self._registry(name.domain if insecure else "").repository(name) as repository:
            for entry in entries:
                if entry.reference.path != name.path:
                    digest = repository.adopt(entry)
                    told(name._replace(tag="", digest=entry.digest), digest)
            digest = repository.put(document, media_type)
        if purge:
            self.remove(target)
        return digest

    def remove(self, target: str) -> None:
        """Forget a local list. Raises NotFound."""
        name = parse_reference(target)
        directory = self._path(name)
        for file in _names(directory, name):
            os.unlink(os.path.join(directory, file))
        os.rmdir(directory)

    # -- files

    def _path(self, reference: Reference) -> str:
        return os.path.join(self._directory, _file_name(reference))

    def _find(self, target: Reference, image: Reference) -> Listed | None:
        path = os.path.join(self._path(target), _file_name(image))
        return _read(path) if os.path.exists(path) else None

    def _entries(self, target: Reference) -> list[Listed]:
        directory = self._path(target)
        names = _names(directory, target)[:MAX_ENTRIES]
        return [_read(os.path.join(directory, name)) for name in names]

    def _save(self, target: Reference, listed: Listed) -> None:
        directory = self._path(target)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        text = json.dumps(listed.document(), ensure_ascii=False, separators=(",", ":"))
        write_file(os.path.join(directory, _file_name(listed.reference)), text)


def _parsed(text: str, what: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidInput as error:
        error.message = f"{what} {text}: {error.message}"
        raise


def _file_name(reference: Reference) -> str:
    return str(reference).replace(":", "-").replace("/", "_")


def _names(directory: str, target: Reference) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError as error:
        raise NotFound(f"No such manifest: {target}") from error


def _read(path: str) -> Listed:
    with open(path, "rb") as file:
        return read_listed(file.read(MAX_FILE_BYTES), path)
