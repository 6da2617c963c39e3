"""Small layers, images and containers for tests of what stands on the store."""

from collections.abc import Mapping, Sequence
from typing import Any

from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    Process,
    Status,
)
from onggi.spec.image import Image, ImageConfig, config_document
from onggi.spec.jsontext import canonical
from onggi.spec.mount import MountPoint
from onggi.spec.platform import Platform
from onggi.spec.reference import Reference, parse_reference
from onggi.store.store import Store
from rawtar import archive, member


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A layer of these files; a name that ends in / is a directory."""
    return archive(
        *(
            member(name.encode(), b"5" if name.endswith("/") else b"0", data)
            for name, data in files.items()
        )
    )


def config_bytes(diff_ids: Sequence[str], **fields: Any) -> bytes:
    fields.setdefault("created", "2024-01-02T03:04:05.5Z")
    return canonical(
        config_document(ImageConfig(Platform("linux", "amd64"), tuple(diff_ids), **fields))
    )


def add_image(
    store: Store,
    *layers: bytes,
    tags: Sequence[str] = (),
    repo_digests: Sequence[str] = (),
    parent: str = "",
    manifest: bytes | None = None,
    **fields: Any,
) -> Image:
    """Ingest the layers, bottom first, and add an image of them."""
    diff_ids = [store.layers.ingest([layer]).diff_id for layer in layers]
    return store.images.add(
        config_bytes(diff_ids, **fields),
        manifest,
        tags=references(tags),
        repo_digests=references(repo_digests),
        parent=parent,
    )


def references(texts: Sequence[str]) -> list[Reference]:
    return [parse_reference(text) for text in texts]


def container(
    number: int,
    image: Image | None = None,
    *,
    name: str = "",
    status: Status = "created",
    purpose: Any = "run",
    volumes: Sequence[str] = (),
) -> Container:
    options = ContainerOptions("busybox", ("true",), purpose=purpose, labels={"a": "b"})
    return Container(
        f"{number:064x}",
        name or f"name{number}",
        1_700_000_000_000_000_000 + number,
        ContainerConfig(
            options,
            Process(("true",), ("PATH=/bin",), "/", "", tty=False),
            image.id if image else "sha256:" + "0" * 64,
            image.config.diff_ids if image else (),
            "host",
            "SIGTERM",
            mounts=tuple(MountPoint("volume", v, f"/v/{v}", f"/{v}") for v in volumes),
        ),
        ContainerState(status=status),
    )
