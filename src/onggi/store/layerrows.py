"""Rows of layers and of the files they lie in. Knows names and states, opens no layer."""

import os
from collections.abc import Iterable

from .. import jsons
from ..linux import process
from ..spec.digest import Digest
from ..spec.image import Descriptor
from ..typed import Literal, NamedTuple
from .db import Connection, Database

Form = Literal["tar", "erofs", "directory"]
KEPT = "kept"  # the source of a blob that lies in the store itself; no repository is called so
_SUFFIX: dict[Form, str] = {"tar": "layer", "erofs": "erofs", "directory": "d"}


class LayerRow(NamedTuple):
    """What the store knows of a layer. `files` are (parent chain, form); the parent is "" unless
    the layer `depends` on those below."""

    diff_id: Digest
    tar_bytes: int
    depends: bool
    opaque: bool
    verified_boot: str
    files: frozenset[tuple[str, Form]]


class LayerInfo(NamedTuple):
    """What came in: the layer, and the blob it came as."""

    diff_id: Digest
    blob_digest: Digest
    blob_size: int
    tar_size: int


class KnownBlob(NamedTuple):
    """A compressed form of a layer; `source` is the repository that has it, "" for our own."""

    descriptor: Descriptor
    source: str


def file_name(diff_id: str, parent: str, form: Form) -> str:
    """The name in ROOT/layers."""
    middle = "." + parent.partition(":")[2] if parent else ""
    return f"{diff_id.partition(':')[2]}{middle}.{_SUFFIX[form]}"


class LayerRows:
    def __init__(self, db: Database) -> None:
        self._db = db

    def load(self, diff_ids: Iterable[Digest]) -> dict[Digest, LayerRow]:
        """Those that are there."""
        found: dict[Digest, LayerRow] = {}
        for diff_id, tar_bytes, depends, opaque, boot, parent, form in self._db.rows(
            "SELECT diff_id, tar_bytes, depends, opaque, verified_boot, parent, form"
            " FROM layer JOIN layer_file USING (diff_id)"
            " WHERE diff_id IN (SELECT value FROM json_each(?))",
            (jsons.dumps(list(diff_ids)),),
        ):
            key = Digest(diff_id)
            files = found[key].files if key in found else frozenset()
            found[key] = LayerRow(
                key, tar_bytes, bool(depends), bool(opaque), boot, files | {(parent, form)}
            )
        return found

    def has_file(self, diff_id: Digest, parent: str, form: Form) -> bool:
        query = "SELECT 1 FROM layer_file WHERE diff_id = ? AND parent = ? AND form = ?"
        return self._db.row(query, (diff_id, parent, form)) is not None

    def metadata_digests(self, diff_id: Digest) -> dict[tuple[str, Form], str]:
        """Every file of the layer, with the digest of what is around its tar ("" for none)."""
        rows = self._db.rows(
            "SELECT parent, form, metadata_digest FROM layer_file WHERE diff_id = ?", (diff_id,)
        )
        return {(parent, form): digest for parent, form, digest in rows}

    def add(self, row: LayerRow, metadata: str, blob: KnownBlob | None) -> None:
        """A new layer (or a file of a known one) that is complete and durable; this process holds
        it until an image does. `row.files` names the one file."""

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO layer VALUES (?, ?, ?, ?, ?)",
                (row.diff_id, row.tar_bytes, row.depends, row.opaque, row.verified_boot),
            )
            for parent, form in row.files:
                connection.execute(
                    "INSERT OR IGNORE INTO layer_file VALUES (?, ?, ?, ?)",
                    (row.diff_id, parent, form, metadata),
                )
            _hold(connection, [row.diff_id])
            if blob is not None:
                _remember(connection, row.diff_id, blob)

        self._db.write(work)

    def add_file(
        self, diff_id: Digest, parent: str, form: Form, metadata: str, *, opaque: bool
    ) -> None:
        """Another form of a layer, made from its tar."""

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO layer_file VALUES (?, ?, ?, ?)",
                (diff_id, parent, form, metadata),
            )
            connection.execute("UPDATE layer SET opaque = ? WHERE diff_id = ?", (opaque, diff_id))

        self._db.write(work)

    def verified(self, diff_id: Digest, boot_id: str) -> None:
        self._db.execute("UPDATE layer SET verified_boot = ? WHERE diff_id = ?", (boot_id, diff_id))

    def drop(self, diff_id: Digest) -> None:
        """Forget a damaged layer, so that the next pull stores it anew."""
        self._db.execute("DELETE FROM layer WHERE diff_id = ?", (diff_id,))

    def drop_file(self, diff_id: Digest, parent: str, form: Form) -> None:
        self._db.execute(
            "DELETE FROM layer_file WHERE diff_id = ? AND parent = ? AND form = ?",
            (diff_id, parent, form),
        )

    def pin(self, diff_ids: Iterable[Digest]) -> frozenset[Digest]:
        """Hold layers, present or to come, for this process; returns those that are present."""
        wanted = list(diff_ids)

        def work(connection: Connection) -> frozenset[Digest]:
            _hold(connection, wanted)
            rows = connection.execute(
                "SELECT diff_id FROM layer WHERE diff_id IN (SELECT value FROM json_each(?))",
                (jsons.dumps(wanted),),
            )
            return frozenset(Digest(row[0]) for row in rows)

        return self._db.write(work)

    def unpin(self, diff_ids: Iterable[Digest] | None) -> None:
        """Let go of these layers, or of all this process holds."""
        if diff_ids is not None:
            wanted = list(diff_ids)
            self._db.write(lambda connection: settle(connection, wanted))
            return
        self._db.execute(
            "DELETE FROM lease WHERE pid = ? AND pid_start = ? AND boot_id = ?", _holder()
        )

    def blobs(self, diff_id: Digest) -> list[KnownBlob]:
        """Known compressed forms, those of registries first."""
        rows = self._db.rows(
            "SELECT media_type, digest, size_bytes, source FROM layer_blob WHERE diff_id = ?"
            " ORDER BY source = '', source, digest",
            (diff_id,),
        )
        return [KnownBlob(Descriptor(kind, Digest(d), n), source) for kind, d, n, source in rows]

    def remember(self, diff_id: Digest, blob: KnownBlob) -> None:
        self._db.write(lambda connection: _remember(connection, diff_id, blob))


def _remember(connection: Connection, diff_id: Digest, blob: KnownBlob) -> None:
    media_type, digest, size_bytes = blob.descriptor[:3]
    connection.execute(
        "INSERT OR REPLACE INTO layer_blob (diff_id, digest, source, size_bytes, media_type)"
        " VALUES (?, ?, ?, ?, ?)",
        (diff_id, digest, blob.source, size_bytes, media_type),
    )


def _hold(connection: Connection, diff_ids: list[Digest]) -> None:
    holder = _holder()
    connection.executemany(
        "INSERT OR IGNORE INTO lease VALUES (?, ?, ?, ?)", [(*holder, d) for d in diff_ids]
    )


def settle(connection: Connection, diff_ids: Iterable[Digest]) -> None:
    """This process need not hold these layers any longer."""
    holder = _holder()
    connection.executemany(
        "DELETE FROM lease WHERE pid = ? AND pid_start = ? AND boot_id = ? AND diff_id = ?",
        [(*holder, diff_id) for diff_id in diff_ids],
    )


def _holder() -> tuple[int, int, str]:
    pid = os.getpid()
    return pid, process.start_time(pid) or 0, process.boot_id()
