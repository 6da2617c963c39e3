"""What of the build cache goes: `builder prune`, and the budget after every build.

Owns the choice (pure: the longest unused first, and of those used together the last one first) and
its doing. What a build has at work is not taken: layers are leased, directories locked; a build
that had only found what went looks again.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence

from ..engine.configuration import CacheBudget
from ..engine.engine import Engine
from ..errors import InvalidInput
from ..typed import NamedTuple
from ..units import parse_size
from .builders import sweep
from .mountcache import CacheMounts

GIB = 1 << 30
LEAST_BYTES = 20 * GIB  # of the budget, where the disk is large enough


class Item(NamedTuple):
    """One record, or one cache directory. `layer` is its own diff ID, "" for none; `depth` how many
    layers its result has; `shared`: an image holds the layer."""

    id: str
    kind: str
    layer: str
    size_bytes: int
    last_used_ns: int
    depth: int = 0
    shared: bool = False
    in_use: bool = False
    description: str = ""


class Kept(NamedTuple):
    """What a prune leaves: what was used since `until_ns` (0: nothing is too fresh), what is not
    `wanted`, and without `everything` what images hold anyway. Sizes are BuildKit's:
    prune until `max_used` at most are used and `min_free` of the disk are free, but leave
    `reserved`; all 0 is no limit: everything goes."""

    until_ns: int = 0
    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0
    everything: bool = True
    wanted: Callable[[Item], bool] = lambda item: True  # --filter


class Freed(NamedTuple):
    """The ids that went, and the bytes that the store holds less."""

    ids: tuple[str, ...]
    reclaimed_bytes: int


# -- choosing


def keep_bytes(kept: Kept, total_bytes: int, free_bytes: int) -> int:
    """How much may stay; 0 for nothing, or no limit was given."""
    if not (kept.reserved_bytes or kept.max_used_bytes or kept.min_free_bytes):
        return 0
    keep = kept.max_used_bytes
    short = kept.min_free_bytes - free_bytes
    if kept.min_free_bytes and not keep:
        keep = total_bytes
    if short > 0:
        keep = min(keep, total_bytes - short)
    return max(keep, kept.reserved_bytes)


def choose(items: Sequence[Item], kept: Kept, free_bytes: int) -> list[Item]:
    """What goes, in order. A layer's bytes count once, and not while an image holds it."""
    records = Counter(item.layer for item in items if item.layer)
    total = sum({item.layer or item.id: _own_bytes(item) for item in items}.values())
    limited = bool(kept.reserved_bytes or kept.max_used_bytes or kept.min_free_bytes)
    keep = keep_bytes(kept, total, free_bytes)
    going: list[Item] = []
    for item in sorted(items, key=lambda item: (item.last_used_ns, -item.depth, item.id)):
        if limited and total <= keep:
            break
        if kept.until_ns and item.last_used_ns >= kept.until_ns:
            break
        if item.in_use or not (kept.everything or not item.shared):
            continue
        if limited and not _own_bytes(item):
            continue
        if not kept.wanted(item):
            continue
        going.append(item)
        records[item.layer] -= 1
        if not item.layer or not records[item.layer]:
            total -= _own_bytes(item)
    return going


def _own_bytes(item: Item) -> int:
    return 0 if item.shared else item.size_bytes


# -- doing


def items(engine: Engine) -> list[Item]:
    """All of the cache. A layer was used when one that stands on it was."""
    store = engine.store
    held = {layer for image in store.images.list() for layer in image.config.diff_ids}
    records = store.cache.list()
    used: dict[str, int] = {}
    for record in records:
        for layer in record.layers:
            used[layer] = max(used.get(layer, 0), record.last_used_ns)
    found = [
        Item(
            record.key, "regular", record.diff_id, record.size_bytes,
            max(record.last_used_ns, used.get(record.diff_id, 0)), len(record.layers),
            record.diff_id in held,
        )
        for record in records
    ]  # fmt: skip
    found += [
        Item(
            mount.name, "exec.cachemount", "", mount.size_bytes, mount.last_used_ns,
            in_use=mount.in_use, description=mount.id,
        )
        for mount in CacheMounts(store).list()
    ]  # fmt: skip
    return found


def prune(engine: Engine, kept: Kept) -> Freed:
    """What killed builders left, and what `kept` does not keep."""
    sweep(engine)
    return _remove(engine, choose(items(engine), kept, _disk(engine)[1]))


def _remove(engine: Engine, going: Sequence[Item]) -> Freed:
    store, mounts = engine.store, CacheMounts(engine.store)
    store.cache.remove(tuple(item.id for item in going if item.kind == "regular"))
    gone = [item for item in going if item.kind == "regular" or mounts.remove(item.id)]
    store.collect()
    sizes = {item.layer or item.id: _own_bytes(item) for item in gone}
    return Freed(tuple(item.id for item in gone), sum(sizes.values()))


def _disk(engine: Engine) -> tuple[int, int]:
    """(size, free bytes) of the file system that the store is on."""
    facts = os.statvfs(engine.store.root)
    return facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize


def budget(said: CacheBudget, disk_bytes: int) -> Kept:
    """What config.toml says, else a tenth of the disk but no less than 20 GiB, or half of a disk
    that is too small for that. Raises InvalidInput."""
    default = max(disk_bytes // 10, min(LEAST_BYTES, disk_bytes // 2))
    sizes = {name: _bytes(name, text, disk_bytes) for name, text in said.sizes.items()}
    return Kept(
        reserved_bytes=sizes.get("reserved_space", 0),
        max_used_bytes=sizes.get("max_used_space", default),
        min_free_bytes=sizes.get("min_free_space", 0),
    )


def _bytes(name: str, text: str, disk_bytes: int) -> int:
    """`20GB`, or `10%` of the disk."""
    number = text.removesuffix("%")
    if number != text and number.isdecimal() and int(number) <= 100:
        return disk_bytes * int(number) // 100
    try:
        return parse_size(text)
    except ValueError as error:
        raise InvalidInput(f"config.toml: build.{name}: {error}") from error


def wished(engine: Engine) -> Kept | None:
    """What the configuration says, None for no budget. Raises InvalidInput for a mistake in it."""
    said = engine.cache_budget
    return budget(said, _disk(engine)[0]) if said.enabled else None


def keep_budget(engine: Engine, began_ns: int) -> None:
    """After a build that made something since `began_ns`, which stays. Nothing is looked at closely
    while all of it fits."""
    kept = wished(engine)
    if kept is None:
        return
    free_bytes = _disk(engine)[1]
    rough = engine.store.cache.size_bytes() + CacheMounts(engine.store).size_bytes()
    if rough > keep_bytes(kept, rough, free_bytes):
        _remove(engine, choose(items(engine), kept._replace(until_ns=began_ns), free_bytes))
