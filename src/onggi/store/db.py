"""The store's one SQLite file: opening, versions, transactions that survive a full disk.

Owns the connection and translates SQLite's errors; it knows no table. WAL with synchronous=FULL:
what `write` returned from is on disk. Never repairs or deletes a database on its own.
"""

import _sqlite3 as sqlite3  # sqlite3 itself loads datetime for adapters we do not use
import os
from _thread import RLock
from collections.abc import Callable

from ..errors import CorruptData, Unavailable, Unsupported
from ..typed import Any, TypeVar
from .ballast import Ballast
from .durable import make_directory

T = TypeVar("T")
Connection = sqlite3.Connection
IntegrityError = sqlite3.IntegrityError
VERSION = 2
_UPGRADES = {  # from a version to the next one; schema.sql is the last
    1: ("ALTER TABLE volume ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",),
}
BUSY_TIMEOUT_S = 100.0
_LITTLE_BYTES = 1 << 18
_leaked: list[Connection] = []  # a parent's connections: closing one in the child harms the parent


class Database:
    """One lazily opened connection per process, usable from its threads. After a fork the child
    opens its own; the parent should `close` before it forks."""

    def __init__(self, path: str, ballast: Ballast) -> None:
        self.path = path
        self._ballast = ballast
        self._lock = RLock()
        self._connection: Connection | None = None
        self._pid = 0

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query. Also on a full disk whose ballast is spent."""
        try:
            return self._twice(lambda: self._open().execute(sql, parameters).fetchall())
        except Unavailable as error:
            cause = error.__cause__
            if not (isinstance(cause, sqlite3.Error) and self._is_full(cause)):
                raise
        try:
            return self._rows_alone(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def row(self, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of one query."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one immediate transaction: all of it is durable, or nothing happened.

        `work` may run twice: a full disk is answered once by giving back the ballast. Its
        IntegrityErrors pass through, since only the caller knows what a broken rule means.
        """
        return self._twice(lambda: self._attempt(work))

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> int:
        """One statement as a whole transaction; returns the number of rows it changed."""
        return self.write(lambda connection: connection.execute(sql, parameters).rowcount)

    def close(self) -> None:
        """Close the connection; the next use opens a new one. Safe in a forked child."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._pid == os.getpid():
                connection.close()
            else:
                _leaked.append(connection)

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _twice(self, action: Callable[[], T]) -> T:
        """Full disks are answered once: even reading needs a file for the shared index."""
        with self._lock:
            try:
                return action()
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                if not (self._is_full(error) and self._ballast.release()):
                    raise self._translated(error) from error
            try:
                return action()
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _open(self) -> Connection:
        if self._connection is not None:
            if self._pid == os.getpid():
                return self._connection
            self.close()
        make_directory(os.path.dirname(self.path))
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _prepare(self, connection: Connection) -> None:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        version = _version(connection)
        if version == 0:
            self._create(connection)
        elif version < VERSION:
            self._upgrade(connection)
        elif version > VERSION:
            raise Unsupported(
                f"the store {self.path} has schema {version}, made by a newer onggi; "
                f"this one knows schema {VERSION}",
                hint="upgrade onggi, or point --root at another directory; nothing was changed",
            )

    def _create(self, connection: Connection) -> None:
        """Lay the tables, unless another process is faster; refuse a foreign database."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == 0:
                if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    raise CorruptData(
                        f"{self.path} is a database, but not onggi's",
                        hint=f"move it away: mv {self.path} {self.path}.other",
                    )
                for statement in _schema():
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._ballast.restore()

    def _upgrade(self, connection: Connection) -> None:
        """Bring an older schema to ours, all of it or nothing."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            for version in range(_version(connection), VERSION):
                for statement in _UPGRADES[version]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _rows_alone(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """A query by the only user of the database: then SQLite keeps the log's index in memory,
        where others share a file that there is no room for."""
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def _is_full(self, error: sqlite3.Error) -> bool:
        code = _code(error)
        if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return code == sqlite3.SQLITE_FULL
        try:
            space = os.statvfs(os.path.dirname(self.path))
        except OSError:
            return False
        return space.f_bavail * space.f_frsize < _LITTLE_BYTES

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = _code(error)
        if self._is_full(error):
            return Unavailable(
                f"no space left on device: the store {self.path} cannot be written",
                hint="free space on that file system, for example with: onggi rmi IMAGE",
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return CorruptData(
                f"the store's database {self.path} is damaged: {error}",
                hint=f"stop the containers, then: mv {self.path} {self.path}.damaged; "
                f"rm -f {self.path}-wal {self.path}-shm; pull the images again (volumes stay)",
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Unavailable(f"the store {self.path} is busy: another command holds it: {error}")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            return Unavailable(f"the store {self.path} cannot be used: {error}")
        return error


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _schema() -> list[str]:
    with open(os.path.join(os.path.dirname(__file__), "schema.sql"), encoding="utf-8") as file:
        lines = [line.partition("--")[0] for line in file]
    return [text for statement in "".join(lines).split(";") if (text := statement.strip())]
