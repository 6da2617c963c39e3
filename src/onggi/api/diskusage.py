"""`/system/df`: what takes how much space, object by object."""

from ..engine import inspection, listing
from ..engine.imagelist import Listed
from ..engine.imageview import layer_size, layer_sizes
from ..errors import InvalidInput, NotFound
from ..store.buildcache import CacheRecord
from ..typed import Any
from . import imagejson, volumes
from .call import Answer, Call, json_answer
from .images import users_of
from .route import Route

KINDS = ("container", "image", "volume", "build-cache")


def usage(call: Call) -> Answer:
    wanted = _kinds(call)
    found: dict[str, Any] = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None}
    if "image" in wanted:
        found |= _images(call)
    if "container" in wanted:
        found["Containers"] = _containers(call)
    if "volume" in wanted:
        service = call.engine.volumes
        plain = [volume for volume in service.list() if not volume.options]
        found["Volumes"] = [volumes.with_usage(call, volume) for volume in plain]
    if "build-cache" in wanted:
        records = call.engine.store.cache.list()
        found["BuildCache"] = [_record(record) for record in records]
        if call.version < (1, 42):
            found["BuilderSize"] = sum(record.size_bytes for record in records)
    return json_answer(found)


def _kinds(call: Call) -> tuple[str, ...]:
    if call.version < (1, 42) or not call.query.has("type"):
        return KINDS
    for kind in call.query.many("type"):
        if kind not in KINDS:
            raise InvalidInput(f"unknown object type: {kind}")
    return tuple(call.query.many("type"))


def _images(call: Call) -> dict[str, Any]:
    store = call.engine.store
    images = call.engine.images.list()
    shared = imagejson.shared_bytes(images, layer_sizes(store, images))
    users = users_of(call)
    layers = {layer for image in images for layer in image.config.diff_ids}
    return {
        "LayersSize": sum(layer_size(store, layer) for layer in layers),
        "Images": [
            imagejson.summary(
                Listed(image, image.tags, image.repo_digests),
                call.version,
                containers=users.get(str(image.id), 0),
                shared_bytes=shared[str(image.id)],
            )
            for image in images
        ],
    }


def _containers(call: Call) -> list[dict[str, Any]]:
    containers = call.engine.containers
    networks = {network.id: network for network in call.engine.networks.list()}
    found = []
    for container in containers.list(all=True):
        try:
            sizes = containers.size(container.id)
        except (NotFound, FileNotFoundError):
            continue  # it has just been removed
        endpoints = containers.endpoints(container)
        found.append(listing.summary(container, endpoints, networks, sizes))
    return found


def _record(record: CacheRecord) -> dict[str, Any]:
    return {
        "ID": record.key.removeprefix("sha256:"),
        "Type": "regular",
        "Description": "",
        "InUse": False,
        "Shared": False,
        "Size": record.size_bytes,
        "CreatedAt": inspection.rfc3339(record.created_ns),
        "LastUsedAt": inspection.rfc3339(record.last_used_ns),
        "UsageCount": 0,
    }


ROUTES = (Route("GET", "/system/df", usage, since=(1, 25)),)
