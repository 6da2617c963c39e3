"""Rows of the build cache: what a step made of which inputs. Explains misses; decides no keys."""

import builtins

from .. import jsons
from ..typed import NamedTuple
from .db import Connection, Database


class CacheRecord(NamedTuple):
    """The result of one build step. `layers` are all diff IDs of the result, bottom first; the
    last is the step's own `diff_id` ("" when it made none). The JSON texts are the builder's."""

    key: str
    parent_key: str
    diff_id: str
    config_json: str
    inputs_json: str
    created_ns: int
    last_used_ns: int
    size_bytes: int
    layers: tuple[str, ...] = ()


_COLUMNS = (
    "SELECT key, parent_key, diff_id, config, inputs, created_ns, last_used_ns, size_bytes, layers"
    " FROM build_cache"
)


_INSERT = (
    "INSERT OR REPLACE INTO build_cache (key, parent_key, diff_id, config, inputs,"
    " created_ns, last_used_ns, size_bytes, layers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class BuildCache:
    """A record holds its own layer, not those of the base image: when they are gone it is a miss
    until the base is pulled again."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def lookup(self, key: str) -> CacheRecord | None:
        """The record, when every layer of its result is in the store."""
        row = self._db.row(f"{_COLUMNS} WHERE key = ?", (key,))
        if row is None:
            return None
        record = _record(row)
        wanted = set(record.layers) | ({record.diff_id} - {""})
        present = self._db.row(
            "SELECT count(*) FROM layer WHERE diff_id IN (SELECT value FROM json_each(?))",
            (jsons.dumps(sorted(wanted)),),
        )
        return record if present == (len(wanted),) else None

    def record(self, record: CacheRecord) -> None:
        """Add or replace."""
        self._db.execute(
            "INSERT OR REPLACE INTO build_cache (key, parent_key, diff_id, config, inputs,"
            " created_ns, last_used_ns, size_bytes, layers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*record[:8], jsons.dumps(record.layers)),
        )

    def note(self, records: tuple[CacheRecord, ...], keys: tuple[str, ...], now_ns: int) -> None:
        """Add records, and note that those of `keys` were used, in one transaction."""

        def work(connection: Connection) -> None:
            connection.executemany(_INSERT, [_row(record) for record in records])
            connection.executemany(
                "UPDATE build_cache SET last_used_ns = ? WHERE key = ?",
                [(now_ns, key) for key in keys],
            )

        if records or keys:
            self._db.write(work)

    def size_bytes(self) -> int:
        """Of all layers that records have, each once; some of them are images' as well."""
        row = self._db.row(
            "SELECT coalesce(sum(size_bytes), 0) FROM"
            " (SELECT DISTINCT diff_id, size_bytes FROM build_cache WHERE diff_id <> '')"
        )
        return int(row[0]) if row else 0

    def list(self) -> builtins.list[CacheRecord]:
        """Least recently used first."""
        return [_record(row) for row in self._db.rows(f"{_COLUMNS} ORDER BY last_used_ns, key")]

    def remove(self, keys: tuple[str, ...]) -> None:
        """Forget records; their layers go at the next garbage collection. Idempotent."""

        def work(connection: Connection) -> None:
            connection.executemany(
                "DELETE FROM build_cache WHERE key = ?", [(key,) for key in keys]
            )

        if keys:
            self._db.write(work)


def _row(record: CacheRecord) -> tuple[object, ...]:
    return (*record[:8], jsons.dumps(record.layers))


def _record(row: tuple[object, ...]) -> CacheRecord:
    record = CacheRecord(*row)  # type: ignore[arg-type]  # the table is STRICT
    return record._replace(layers=tuple(jsons.loads(record.layers)))  # type: ignore[arg-type]
