"""An image index: several platforms, attestations; pushed to registries, or an OCI layout.

Owns how an index is put together, in BuildKit's form: the images, then for each with attestations
a manifest of platform unknown/unknown that names it. The index comes last, under the tag.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..engine.engine import Engine
from ..progress import Message, Report
from ..spec.digest import Digest
from ..spec.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from ..spec.jsontext import canonical
from ..spec.platform import Platform
from ..spec.reference import Reference
from ..store.tarwrite import LayerWriter
from ..typed import Any, NamedTuple, Protocol
from . import provenance
from .ocilayout import Layout
from .options import Annotations

IN_TOTO = "application/vnd.in-toto+json"
PREDICATE_NOTE = "in-toto.io/predicate-type"
TYPE_NOTE, DIGEST_NOTE = "vnd.docker.reference.type", "vnd.docker.reference.digest"
NAME_NOTE, TAG_NOTE = "io.containerd.image.name", "org.opencontainers.image.ref.name"


class Attestation(NamedTuple):
    """What is said of an image: the predicate's type and the predicate."""

    kind: str
    content: Mapping[str, Any]


class Built(NamedTuple):
    """One platform's image: its configuration as JSON, its layers, what is said of it."""

    platform: Platform
    document: bytes
    layers: tuple[Digest, ...]
    attestations: tuple[Attestation, ...] = ()


class ImagePart(Protocol):
    @property
    def digest(self) -> Digest: ...

    @property
    def manifest(self) -> bytes: ...


class Writing(Protocol):
    def image(
        self, config: bytes, diff_ids: Sequence[Digest], annotations: Mapping[str, str]
    ) -> ImagePart: ...

    def blob(self, data: bytes) -> None: ...

    def manifest(self, data: bytes, media_type: str, *, tagged: bool) -> Digest: ...


def write_index(
    writing: Writing, images: Sequence[Built], names: Sequence[str], notes: Annotations
) -> Digest:
    """The images, their attestations, and the index, whose digest this is. One image of which
    nothing is said needs no index."""
    entries: list[dict[str, Any]] = []
    attached: list[dict[str, Any]] = []
    for built in images:
        made = writing.image(built.document, built.layers, notes.of_manifest)
        if len(images) == 1 and not built.attestations and not notes.of_index:
            return writing.manifest(made.manifest, OCI_MANIFEST, tagged=True)
        entry = _descriptor(OCI_MANIFEST, made.digest, len(made.manifest))
        if notes.of_descriptor:
            entry["annotations"] = dict(notes.of_descriptor)
        entries.append({**entry, "platform": _platform(built.platform)})
        if built.attestations:
            attached.append(_attest(writing, built, names, made.digest))
    document: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, *attached],
    }  # fmt: skip
    if notes.of_index:
        document["annotations"] = dict(notes.of_index)
    return writing.manifest(canonical(document), OCI_INDEX, tagged=True)


def _attest(writing: Writing, built: Built, names: Sequence[str], image: Digest) -> dict[str, Any]:
    layers = []
    for kind, content in built.attestations:
        subjects = [provenance.package_url(name, built.platform) for name in names] or ["_"]
        data = canonical(provenance.statement(kind, content, subjects, image))
        writing.blob(data)
        layers.append(
            {
                **_descriptor(IN_TOTO, Digest.of(data), len(data)),
                "annotations": {PREDICATE_NOTE: kind},
            }
        )
    config = canonical(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    )
    writing.blob(config)
    head = _descriptor(OCI_CONFIG, Digest.of(config), len(config))
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": head, "layers": layers}
    data = canonical(document)
    digest = writing.manifest(data, OCI_MANIFEST, tagged=False)
    return {
        **_descriptor(OCI_MANIFEST, digest, len(data)),
        "annotations": {DIGEST_NOTE: image, TYPE_NOTE: "attestation-manifest"},
        "platform": {"architecture": "unknown", "os": "unknown"},
    }


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _platform(platform: Platform) -> dict[str, str]:
    found = {"architecture": platform.architecture, "os": platform.os}
    return {**found, "variant": platform.variant} if platform.variant else found


# -- where it goes


def push(
    engine: Engine,
    references: Sequence[Reference],
    images: Sequence[Built],
    notes: Annotations,
    report: Report,
) -> Digest:
    """To every reference's registry, under its tag."""
    names = [f"{reference.name}:{reference.tag}" for reference in references]
    for reference in references:
        report(Message(f"The push refers to repository [{reference.name}]"))
        with engine.images.repository(reference, report).writing() as writing:
            digest = write_index(writing, images, names, notes)
        report(Message(f"{reference.tag}: digest: {digest}"))
    return digest


@contextmanager
def layout(
    engine: Engine, references: Sequence[Reference], images: Sequence[Built], notes: Annotations
) -> Iterator[tuple[str, Digest]]:
    """A directory with the OCI layout, gone when the block ends, and the index's digest."""
    names = [f"{reference.name}:{reference.tag}" for reference in references]
    with engine.store.scratch.directory() as directory:
        place = Layout(engine, f"{directory}/layout", "")
        with place.writing() as writing:
            digest = write_index(writing, images, names, notes)
        for reference in references:
            place.also(digest, {NAME_NOTE: f"{reference.name}:{reference.tag}",
                                TAG_NOTE: reference.tag})  # fmt: skip
        yield f"{directory}/layout", digest


def write_tar(directory: str, write: Callable[[bytes], object]) -> None:
    """The layout as one archive; the same files are the same bytes."""
    writer = LayerWriter(write)
    for name in sorted(_files(directory, "")):
        path = f"{directory}/{name}"
        if os.path.isdir(path):
            writer.directory(name, 0o755, 0, 0, 0)
            continue
        with open(path, "rb") as file:
            writer.file(name, os.path.getsize(path), 0o644, 0, 0, 0, file.read)
    writer.finish()


def _files(top: str, below: str) -> Iterator[str]:
    for entry in os.scandir(f"{top}/{below}"):
        path = f"{below}/{entry.name}".lstrip("/")
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _files(top, path)
