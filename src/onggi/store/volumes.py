"""Rows of volumes. Their directories belong to the engine."""

import builtins
import time

from .. import jsons
from ..errors import Conflict, NotFound
from ..spec.container import ContainerId
from ..spec.mount import Volume
from .db import Connection, Database

_COLUMNS = "SELECT name, anonymous, created_ns, labels, options FROM volume"


class Volumes:
    def __init__(self, db: Database) -> None:
        self._db = db

    def create(
        self,
        name: str,
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        *,
        anonymous: bool = False,
    ) -> Volume:
        """The volume of that name: the existing one as it is, else a new one."""
        texts = (jsons.dumps(labels or {}), jsons.dumps(options or {}))
        values = (name, int(anonymous), time.time_ns(), *texts)

        def work(connection: Connection) -> Volume:
            connection.execute("INSERT OR IGNORE INTO volume VALUES (?, ?, ?, ?, ?)", values)
            return _volume(*connection.execute(f"{_COLUMNS} WHERE name = ?", (name,)).fetchone())

        return self._db.write(work)

    def get(self, name: str) -> Volume:
        row = self._db.row(f"{_COLUMNS} WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return _volume(*row)

    def list(self) -> builtins.list[Volume]:
        """By name."""
        return [_volume(*row) for row in self._db.rows(f"{_COLUMNS} ORDER BY name")]

    def users(self, name: str) -> builtins.list[ContainerId]:
        """Containers that mount the volume, running or not."""
        rows = self._db.rows(
            "SELECT container_id FROM container_volume WHERE volume = ? ORDER BY container_id",
            (name,),
        )
        return [str(row[0]) for row in rows]

    def unused(self) -> builtins.list[Volume]:
        """Volumes that no container mounts."""
        where = "WHERE name NOT IN (SELECT volume FROM container_volume) ORDER BY name"
        return [_volume(*row) for row in self._db.rows(f"{_COLUMNS} {where}")]

    def remove(self, name: str) -> bool:
        """Forget the volume; whether there was one. Raises Conflict while a container mounts it.
        The caller removes the directory afterwards."""

        def work(connection: Connection) -> bool:
            rows = connection.execute(
                "SELECT container_id FROM container_volume WHERE volume = ?", (name,)
            ).fetchall()
            if rows:
                users = ", ".join(row[0] for row in rows)
                raise Conflict(f"remove {name}: volume is in use - [{users}]")
            return bool(connection.execute("DELETE FROM volume WHERE name = ?", (name,)).rowcount)

        return self._db.write(work)


def _volume(name: str, anonymous: int, created_ns: int, labels: str, options: str) -> Volume:
    return Volume(name, bool(anonymous), created_ns, jsons.loads(labels), jsons.loads(options))
