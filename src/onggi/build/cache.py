"""The build cache: what a key is made of, and what is found under it.

A key is a digest over the operation and the *content* of its inputs (the chain of the parent's
layers, the manifest of the copied files), never over names, times or image ids: a pulled image is
no candidate, and a rebuilt stage with the same content changes nothing after it (SECURITY D7). The
inputs are stored with the result so that a miss can be explained.
"""

import json
import time

from ..spec.digest import Digest, chain_id
from ..store.buildcache import CacheRecord
from ..store.store import Store
from ..typed import TYPE_CHECKING, Any, NamedTuple
from .graph import CopyOp, Operation, operation_digest, operation_fields

if TYPE_CHECKING:
    from .cacheformat import Entry
    from .cacheplaces import Imports

EMPTY = "scratch"
_TOUCH_AFTER_NS = 3600 * 10**9  # using a record again sooner is not worth a write
Layers = tuple[Digest, ...]


class Hit(NamedTuple):
    """A result: the stage's layers, the step's own ("" for none), when it was made."""

    layers: Layers
    diff_id: str
    created_ns: int
    key: str


def content(layers: Layers) -> str:
    """The name of a root filesystem by what is in it."""
    return chain_id(layers) if layers else EMPTY


def copy_key(operation: CopyOp, parent: str, manifest: str) -> str:
    """COPY by content: where the files came from does not matter."""
    anonymous = operation._replace(sources=(), origin="", excludes=())
    return operation_digest(anonymous, (parent, manifest))


class Cache:
    """`fresh` (--no-cache): nothing is found, everything is recorded. `skips` is the same for the
    step that is looked at."""

    def __init__(self, store: Store, *, fresh: bool) -> None:
        self._store = store
        self.fresh = fresh
        self.skips = False
        self.imports: Imports | None = None  # of --cache-from
        self._imported: dict[str, Entry] = {}
        self._records: list[CacheRecord] | None = None
        self._used: list[str] = []
        self._met: list[CacheRecord] = []  # metadata, written at the end

    def lookup(self, key: str) -> Hit | None:
        if self.fresh or self.skips:
            return None
        record = self._store.cache.lookup(key)
        if record is None:
            return self._import(key)
        if time.time_ns() - record.last_used_ns > _TOUCH_AFTER_NS:
            self._used.append(key)
        layers = tuple(Digest.parse(layer) for layer in record.layers)
        return Hit(layers, record.diff_id, record.created_ns, key)

    def _import(self, key: str) -> Hit | None:
        """From the caches that --cache-from names; its layers may not be in the store yet."""
        entry = self.imports.find(key) if self.imports is not None else None
        if entry is None:
            return None
        self._imported[key] = entry
        return Hit(entry.layers, entry.diff_id, entry.created_ns, key)

    def ensure(self, layers: Layers) -> None:
        """Have the layers of an imported result in the store."""
        if self.imports is not None:
            self.imports.ensure(layers)

    def records(self, operation: Operation, parent: str) -> list[dict[str, Any]]:
        """The inputs of earlier results that explain a miss, latest first: of the same operation,
        or on the same parent; as they were at the first miss. Only those are parsed, for a cache
        has thousands."""
        if self._records is None:
            self._records = sorted(self._store.cache.list(), key=lambda record: -record.created_ns)
        same = f'"operation": {json.dumps(operation_fields(operation), sort_keys=True)}'
        return [
            json.loads(record.inputs_json)
            for record in self._records
            if record.parent_key == parent or same in record.inputs_json
        ]

    def told(self, key: str) -> dict[str, Any]:
        """What was recorded for people, of a key that `lookup` finds."""
        record = None if self.fresh or self.skips else self._store.cache.lookup(key)
        found: dict[str, Any] = json.loads(record.inputs_json) if record is not None else {}
        return found

    def record(
        self,
        key: str,
        parent: Layers,
        diff_id: str,
        operation: Operation,
        inputs: dict[str, Any],
        created_ns: int,
    ) -> Hit:
        """Remember what the operation made; `inputs` is for people."""
        told = {"operation": operation_fields(operation), "parent": content(parent), **inputs}
        row = self._row(key, parent, diff_id, created_ns, told)
        self._store.cache.record(row)
        layers = (*parent, Digest(diff_id)) if diff_id else parent
        return Hit(layers, diff_id, created_ns, key)

    def meets_again(self, step: Operation, parent: Layers) -> bool:
        """Whether a step that makes nothing (ENV, CMD) stood on this content before; it has now."""
        key = operation_digest(step, ("metadata", content(parent)))
        if self.lookup(key) is not None:
            return True
        told = {"metadata": operation_fields(step), "parent": content(parent)}
        self._met.append(self._row(key, parent, "", time.time_ns(), told))
        return False

    def _row(
        self, key: str, parent: Layers, diff_id: str, created_ns: int, told: dict[str, Any]
    ) -> CacheRecord:
        return CacheRecord(
            key=key,
            parent_key=content(parent),
            diff_id=diff_id,
            config_json="{}",
            inputs_json=json.dumps(told, sort_keys=True),
            created_ns=created_ns,
            last_used_ns=time.time_ns(),
            size_bytes=self._store.layers.size(Digest(diff_id)) if diff_id else 0,
            layers=(*parent, Digest(diff_id)) if diff_id else parent,
        )

    def note_use(self) -> None:
        """Write down which records served, what was met for the first time, and the imported ones
        whose layers are here now; in one transaction."""
        rows, self._met = self._met, []
        for key, entry in self._imported.items():
            if self._store.layers.pin(entry.layers).issuperset(entry.layers):
                below = entry.layers[:-1] if entry.diff_id else entry.layers
                rows.append(self._row(key, below, entry.diff_id, entry.created_ns, {}))
        used, self._used = self._used, []
        self._store.cache.note(tuple(rows), tuple(used), time.time_ns())
