"""One repository by its documents: manifests and indexes read as they are, written and mounted."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CorruptData, NotFound
from ..progress import ignore
from ..spec.digest import Digest
from ..spec.image import INDEX_TYPES
from ..spec.platform import host_platform
from ..spec.reference import Reference
from .manifestlist import Listed, ListedPlatform, list_entries, manifest_of, read_platform
from .manifests import read_manifest
from .pulling import Pull
from .pushing import Known, Push
from .session import Refused, Session, Work

MAX_ENTRIES = 512


class Repository:
    def __init__(self, work: Work, session: Session, reference: Reference) -> None:
        self._work = work
        self._session = session
        self._reference = reference

    def image(self) -> Listed | None:
        """The image of the reference with the platform of its configuration; None when it is a
        manifest list. Raises NotFound."""
        data, media_type = self._document(self._reference)
        return None if media_type in INDEX_TYPES else self._listed(self._reference, data)

    def entries(self) -> list[Listed]:
        """The images of a manifest list, with the platforms that it says. Raises NotFound."""
        data, _ = self._document(self._reference)
        found = []
        for digest, platform in list_entries(data)[:MAX_ENTRIES]:
            reference = self._reference._replace(digest=digest)
            found.append(self._listed(reference, self._document(reference)[0], platform))
        return found

    def _listed(
        self, reference: Reference, data: bytes, platform: ListedPlatform | None = None
    ) -> Listed:
        manifest = manifest_of(data)
        if platform is None:
            config = self._reader().small_blob(manifest.config, "image config")
            platform = read_platform(json.loads(config))
        return Listed(reference, manifest.media_type, data, platform)

    def _document(self, reference: Reference) -> tuple[bytes, str]:
        """The bytes and the media type that they have."""
        name = str(reference.digest or reference.tag)
        try:
            data, said = self._reader().document(self._session, name, reference.digest)
        except NotFound as error:
            raise NotFound(f"no such manifest: {reference.familiar}") from error
        return data, read_manifest(data, said).media_type

    def _reader(self) -> Pull:
        return Pull(self._work, [self._session], self._reference, host_platform(), ignore)

    def adopt(self, image: Listed) -> Digest:
        """An image of another repository of this registry: its blobs mounted, its manifest stored
        by digest. Raises CorruptData when the registry does not mount."""
        source = image.reference
        push = self._writer(self._reference._replace(tag="", digest=image.digest))
        with self._explained():
            for blob in (image.manifest.config, *image.manifest.layers):
                known = Known(blob.digest, blob.size_bytes, source.name)
                if not push.exists(blob.digest) and not push.mount(known)[0]:
                    raise CorruptData(
                        f"error mounting {source.name}@{blob.digest} to {self._reference}",
                        hint="push the image to the list's own repository first",
                    )
            return push.put_manifest(image.data, image.media_type)

    def put(self, data: bytes, media_type: str) -> Digest:
        """Store a manifest or list under the reference."""
        with self._explained():
            return self._writer(self._reference).put_manifest(data, media_type)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            raise error.explain(self._reference, "push") from error

    def _writer(self, reference: Reference) -> Push:
        return Push(self._work, self._session, reference, ignore)
