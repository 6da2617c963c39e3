"""`/volumes`: list, create, inspect, remove, prune."""

from collections.abc import Sequence

from ..engine import inspection, pruning, volume_filters
from ..engine.system import tree_bytes
from ..errors import InvalidInput, Unavailable
from ..spec.mount import Volume
from ..typed import Any
from .call import EMPTY, Answer, Call, json_answer
from .refused import NOT_A_MANAGER
from .route import Route

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def list_volumes(call: Call) -> Answer:
    volumes = call.engine.volumes
    found = volume_filters.select(
        volumes.list(), call.query.filters(), lambda volume: bool(volumes.users(volume.name))
    )
    return json_answer({"Volumes": [told(call, volume) for volume in found], "Warnings": None})


def told(call: Call, volume: Volume) -> dict[str, Any]:
    return inspection.volume(volume, call.engine.volumes.path(volume.name))


def with_usage(call: Call, volume: Volume) -> dict[str, Any]:
    """For /system/df: bytes, and how many containers mount it."""
    volumes = call.engine.volumes
    usage = {
        "RefCount": len(volumes.users(volume.name)),
        "Size": tree_bytes(volumes.path(volume.name)),
    }
    return {**told(call, volume), "UsageData": usage}


def create(call: Call) -> Answer:
    fields = call.json()
    if fields.has("ClusterVolumeSpec") and call.version >= (1, 42):
        raise Unavailable(NOT_A_MANAGER)
    volume = call.engine.volumes.create(
        fields.text("Name"),
        fields.string_map("Labels"),
        fields.string_map("DriverOpts"),
        driver=fields.text("Driver"),
    )
    return json_answer(told(call, volume), 201)


def inspect(call: Call) -> Answer:
    return json_answer(told(call, call.engine.volumes.get(call.params["name"])))


def update(call: Call) -> Answer:
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


def remove(call: Call) -> Answer:
    call.engine.volumes.remove(call.params["name"], force=call.query.flag("force"))
    return EMPTY


def prune(call: Call) -> Answer:
    """Since 1.42 only anonymous volumes, unless the filter all says so."""
    filters = dict(call.query.filters())
    everything = _everything(filters.pop("all", ())) or call.version < (1, 42)
    chosen = pruning.parse(filters, 0, until=False)
    volumes = call.engine.volumes
    sizes = {v.name: tree_bytes(volumes.path(v.name)) for v in call.engine.store.volumes.unused()}
    removed = volumes.prune(all=everything, chosen=chosen)
    freed = sum(sizes.get(name, 0) for name in removed)
    return json_answer({"VolumesDeleted": list(removed), "SpaceReclaimed": freed})


def _everything(values: Sequence[str]) -> bool:
    if len(values) > 1:
        said = " ".join(values)
        raise InvalidInput(f"invalid filter 'all=[{said}]': only one value is expected")
    for text in values:
        if text not in (*_TRUE, *_FALSE):
            raise InvalidInput(
                f"invalid filter 'all': strconv.ParseBool: parsing \"{text}\": invalid syntax"
            )
        return text in _TRUE
    return False


ROUTES = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune, since=(1, 25)),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update, since=(1, 42)),
    Route("DELETE", "/volumes/{name}", remove),
)
