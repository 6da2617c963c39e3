"""Garbage collection: what no row needs goes, rows first, then files.

Runs only while nobody holds the store's lock, and then keeps what containers, images, the build
cache or a living process hold. Works on a full disk: the ballast is given back first.
"""

import os
import time

from ..linux import process, safefs
from . import partial
from .ballast import Ballast
from .db import Connection, Database
from .layerrows import Form, file_name
from .lock import Lock
from .scratch import Scratch

_DEAD_LAYERS = (
    "DELETE FROM layer WHERE diff_id NOT IN (SELECT diff_id FROM image_layer"
    " UNION SELECT diff_id FROM container_layer UNION SELECT diff_id FROM build_cache"
    " UNION SELECT diff_id FROM lease)"
)
_DEAD_BLOBS = (
    "DELETE FROM blob WHERE digest NOT IN (SELECT id FROM image UNION"
    " SELECT manifest_digest FROM image WHERE manifest_digest IS NOT NULL UNION"
    " SELECT digest FROM layer_blob WHERE source = 'kept')"  # layerrows.KEPT
)
_DEAD_FORMS = "DELETE FROM layer_blob WHERE diff_id NOT IN (SELECT diff_id FROM layer)"


class Collector:
    def __init__(
        self, root: str, db: Database, lock: Lock, scratch: Scratch, ballast: Ballast
    ) -> None:
        self._root = root
        self._db = db
        self._lock = lock
        self._scratch = scratch
        self._ballast = ballast

    def collect(self) -> int:
        """Remove garbage; the number of bytes that were freed. When somebody is in the middle of
        something nothing happens: the next call will find it."""
        hold = self._lock.try_exclusive()
        if hold is None:
            return 0
        with hold:
            self._db.write(self._drop_rows)
            freed = self._remove_files("layers", self._layer_files())
            for algorithm in ("sha256", "sha512"):
                freed += self._remove_files(f"blobs/{algorithm}", self._blob_files(algorithm))
            freed += self._remove_files("containers", self._containers())
            freed += self._remove_files(partial.DIRECTORY, self._recent(partial.DIRECTORY))
            self._scratch.sweep()
            self._ballast.restore()
        return freed

    def _drop_rows(self, connection: Connection) -> None:
        holders = connection.execute("SELECT DISTINCT pid, pid_start, boot_id FROM lease")
        boot_id = process.boot_id()
        for pid, start, boot in holders.fetchall():
            if boot != boot_id or not process.same_process(pid, start):
                connection.execute(
                    "DELETE FROM lease WHERE pid = ? AND pid_start = ? AND boot_id = ?",
                    (pid, start, boot),
                )
        for statement in (_DEAD_LAYERS, _DEAD_FORMS, _DEAD_BLOBS):
            connection.execute(statement)

    def _layer_files(self) -> set[str]:
        rows: list[tuple[str, str, Form]]
        rows = self._db.rows("SELECT diff_id, parent, form FROM layer_file")
        return {file_name(diff_id, parent, form) for diff_id, parent, form in rows}

    def _blob_files(self, algorithm: str) -> set[str]:
        rows = self._db.rows("SELECT digest FROM blob WHERE digest LIKE ?", (f"{algorithm}:%",))
        return {str(row[0]).partition(":")[2] for row in rows}

    def _containers(self) -> set[str]:
        """A container's directory is made before its row, under the lock."""
        return {str(row[0]) for row in self._db.rows("SELECT id FROM container")}

    def _recent(self, directory: str) -> set[str]:
        """What may be gone on with: touched within a day."""
        oldest = time.time() - partial.KEEP_S
        try:
            with os.scandir(f"{self._root}/{directory}") as entries:
                return {e.name for e in entries if e.stat(follow_symlinks=False).st_mtime > oldest}
        except FileNotFoundError:
            return set()

    def _remove_files(self, directory: str, keep: set[str]) -> int:
        """Remove every file and tree of the directory that is not in `keep`."""
        try:
            fd = os.open(f"{self._root}/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        freed = 0
        try:
            for name in os.listdir(fd):
                if name not in keep:
                    freed += os.stat(name, dir_fd=fd, follow_symlinks=False).st_blocks * 512
                    safefs.remove_tree(fd, name)
        finally:
            os.close(fd)
        return freed
