"""Ranges of user ids: a slot for each container with a user namespace, no two alike.

A slot is the container's until its row goes.
"""

from ..errors import Unavailable
from ..spec.container import ContainerId
from .db import Connection, Database

_FREE = """
    SELECT 0 AS slot WHERE NOT EXISTS (SELECT 1 FROM id_range WHERE slot = 0)
    UNION ALL
    SELECT slot + 1 FROM id_range AS below
    WHERE NOT EXISTS (SELECT 1 FROM id_range WHERE slot = below.slot + 1)
    ORDER BY slot LIMIT 1
"""


class IdRanges:
    def __init__(self, db: Database) -> None:
        self._db = db

    def take(self, container_id: ContainerId, slots: int) -> int:
        """The container's slot, the lowest free one if it has none. Raises Unavailable when all
        are taken."""

        def work(connection: Connection) -> int:
            mine = "SELECT slot FROM id_range WHERE container_id = ?"
            row = connection.execute(mine, (container_id,)).fetchone()
            if row:
                return int(row[0])
            slot = int(connection.execute(_FREE).fetchone()[0])
            if slot >= slots:
                raise Unavailable(
                    f"all {slots} ranges of user ids are taken", hint="remove containers"
                )
            connection.execute("INSERT INTO id_range VALUES (?, ?)", (slot, container_id))
            return slot

        return self._db.write(work)
