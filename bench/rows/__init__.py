"""The rows, by the name that `make bench ROW=name` takes, in the order of the table."""

from collections.abc import Callable

from ..measure import Result
from . import bundle, lifecycle, listing, parallel, start

ROWS: dict[str, Callable[..., list[Result]]] = {
    "run": start.default_network,
    "run-none": start.no_network,
    "exec": start.execute,
    "run-d": lifecycle.detached,
    "start": lifecycle.start,
    "stop": lifecycle.stop,
    "rm-f": lifecycle.remove,
    "runtime": bundle.runtime,
    "many": parallel.many,
    "idle": parallel.idle,
    "list": listing.lists,
}
