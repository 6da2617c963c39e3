"""Layers: what the store knows of them."""

from ..errors import NotFound
from ..spec.digest import Digest
from .db import Database


class Layers:
    def __init__(self, db: Database) -> None:
        self._db = db

    def has(self, diff_id: Digest) -> bool:
        return self._db.row("SELECT 1 FROM layer WHERE diff_id = ?", (diff_id,)) is not None

    def size(self, diff_id: Digest) -> int:
        """Bytes of the layer's tar."""
        row = self._db.row("SELECT tar_bytes FROM layer WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"no such layer: {diff_id}")
        return int(row[0])
