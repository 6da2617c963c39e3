"""Docker's view of an image: `image inspect` JSON key for key (API 1.50), and history rows."""

import json
from collections.abc import Iterable

from ..errors import NotFound
from ..spec.digest import Digest, chain_id
from ..spec.image import Image
from ..spec.reference import parse_reference
from ..store.images import created_ns
from ..store.store import Store
from ..typed import Any, NamedTuple
from .inspection import ZERO_TIME

MISSING = "<missing>"
_CONFIG_KEYS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
    "StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip


class HistoryRow(NamedTuple):
    """One row of `history`, newest first; `id` is `<missing>` where no image is of it."""

    id: str
    created_ns: int
    created_by: str
    size_bytes: int
    comment: str
    tags: tuple[str, ...]


def familiar(reference: str) -> str:
    """A stored full reference as people type it."""
    return parse_reference(reference, default_tag="").familiar


def inspect(store: Store, image: Image) -> dict[str, Any]:
    document = json.loads(store.images.config_bytes(image.id))
    run = document.get("config") or {}
    history = image.config.history
    result: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": [familiar(tag) for tag in image.tags],
        "RepoDigests": [familiar(name) for name in image.repo_digests],
        "Parent": image.parent,
        "Comment": document.get("comment") or (history[-1].comment if history else ""),
    }
    if image.config.created:
        result["Created"] = image.config.created
    result["DockerVersion"] = document.get("docker_version") or ""
    result["Author"] = image.config.author
    result["Config"] = {key: run[key] for key in _CONFIG_KEYS if run.get(key)}
    result["Architecture"] = image.config.platform.architecture
    if image.config.platform.variant:
        result["Variant"] = image.config.platform.variant
    result["Os"] = image.config.platform.os
    if document.get("os.version"):
        result["OsVersion"] = document["os.version"]
    result["Size"] = image.size_bytes
    result["GraphDriver"] = {"Data": None, "Name": "overlay2"}
    layers = {"Layers": list(image.config.diff_ids)} if image.config.diff_ids else {}
    result["RootFS"] = {"Type": "layers", **layers}
    result["Metadata"] = {"LastTagTime": ZERO_TIME}
    return result


def layer_sizes(store: Store, images: Iterable[Image]) -> dict[str, int]:
    """Bytes of every layer of the images, by the chain id that docker calls it by."""
    sizes: dict[str, int] = {}
    for image in images:
        for chain, diff_id in zip(chains(image), image.config.diff_ids, strict=True):
            if chain not in sizes:
                sizes[chain] = layer_size(store, diff_id)
    return sizes


def chains(image: Image) -> list[str]:
    """The chain ids of an image's layers, bottom first."""
    found: list[Digest] = []
    for diff_id in image.config.diff_ids:
        found.append(chain_id((found[-1], diff_id) if found else (diff_id,)))
    return [str(chain) for chain in found]


def layer_size(store: Store, diff_id: Digest) -> int:
    """0 for a layer that has gone since it was listed: it holds nothing."""
    try:
        return store.layers.size(diff_id)
    except NotFound:
        return 0


def history(store: Store, image: Image) -> list[HistoryRow]:
    """The steps that made the image. Local parents give their ids, as in docker."""
    rows = _steps(store, image)
    current: Image | None = image
    for position, row in enumerate(rows):
        if current is None:
            break
        tags = tuple(familiar(tag) for tag in current.tags)
        rows[position] = row._replace(id=current.id, tags=tags)
        current = _parent(store, current)
    return rows


def _steps(store: Store, image: Image) -> list[HistoryRow]:
    config = image.config
    layers = iter(config.diff_ids)
    rows: list[HistoryRow] = []
    for entry in config.history:
        diff_id = None if entry.empty_layer else next(layers, None)
        size = 0 if diff_id is None else store.layers.size(diff_id)
        when = created_ns(entry.created)
        rows.insert(0, HistoryRow(MISSING, when, entry.created_by, size, entry.comment, ()))
    for diff_id in layers:  # an image that tells less than it has
        rows.insert(0, HistoryRow(MISSING, 0, "", store.layers.size(diff_id), "", ()))
    return rows


def _parent(store: Store, image: Image) -> Image | None:
    if not image.parent:
        return None
    try:
        return store.images.get(Digest(image.parent))
    except NotFound:
        return None
