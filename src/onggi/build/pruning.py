"""`builder prune`: which cache records and cache directories go, and what that frees."""

from collections.abc import Callable

from ..engine.engine import Engine
from ..typed import NamedTuple
from .mountcache import CacheMounts
from .service import sweep


class Kept(NamedTuple):
    """What a prune leaves: what was used since `until_ns` (0: nothing is too fresh), and the most
    recently used ones up to `keep_bytes`; what `admits`, given an id, says no to stays as well."""

    until_ns: int = 0
    keep_bytes: int = 0
    admits: Callable[[str], bool] = lambda id_: True


class Freed(NamedTuple):
    """The ids that went, and the bytes that the store holds less."""

    ids: tuple[str, ...]
    reclaimed_bytes: int


def prune(engine: Engine, kept: Kept) -> Freed:
    """What killed builders left and the records go, the longest unused first; then the layers that
    only they held, and the cache directories."""
    sweep(engine)
    store, mounts = engine.store, CacheMounts(engine.store)
    records = sorted(store.cache.list(), key=lambda record: record.last_used_ns)
    directories = mounts.list()
    total = sum(record.size_bytes for record in records)
    total += sum(directory.size_bytes for directory in directories)
    going, left = [], total
    for record in records:
        if _stays(kept, record.last_used_ns, left):
            break
        if kept.admits(record.key):
            left -= record.size_bytes
            going.append(record.key)
    store.cache.remove(tuple(going))
    store.collect()
    for directory in directories:
        if _stays(kept, directory.last_used_ns, left):
            break
        if kept.admits(directory.name) and mounts.remove(directory.name):
            left -= directory.size_bytes
            going.append(directory.name)
    return Freed(tuple(going), total - left)


def _stays(kept: Kept, last_used_ns: int, left_bytes: int) -> bool:
    fresh = kept.until_ns and last_used_ns >= kept.until_ns
    return bool(fresh or (kept.keep_bytes and left_bytes <= kept.keep_bytes))
