"""The rows, by the name that `make bench ROW=name` takes, in the order of the table."""

from collections.abc import Callable

from ..measure import Result
from . import (
    building,
    bundle,
    files,
    library,
    lifecycle,
    listing,
    parallel,
    publish,
    soak,
    start,
    storage,
)

ROWS: dict[str, Callable[..., list[Result]]] = {
    "run": start.default_network,
    "run-none": start.no_network,
    "exec": start.execute,
    "run-d": lifecycle.detached,
    "start": lifecycle.start,
    "stop": lifecycle.stop,
    "rm-f": lifecycle.remove,
    "runtime": bundle.runtime,
    "api": library.in_process,
    "many": parallel.many,
    "idle": parallel.idle,
    "list": listing.lists,
    "pull": storage.pull_gzip,
    "pull-zstd": storage.pull_zstd,
    "load": storage.load,
    "push": storage.push,
    "save": storage.save,
    "commit": storage.commit,
    "build": building.builds,
    "port": publish.published,
    "fs": files.file_system,
    "soak": soak.sequence,
    "crowd": soak.crowd,
}
