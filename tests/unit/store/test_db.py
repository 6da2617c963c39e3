"""The database file: how it opens, what it refuses, what a transaction promises."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from onggi.errors import CorruptData, Unavailable, Unsupported
from onggi.store import db as module
from onggi.store.ballast import Ballast
from onggi.store.db import VERSION, Connection, Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root" / "onggi.db"


def database(path: Path) -> Database:
    return Database(str(path), Ballast(str(path.parent / "ballast")))


def create(path: Path) -> None:
    """A sound database with one volume."""
    db = database(path)
    db.execute("INSERT INTO volume VALUES ('v', 0, 0, '{}', '{}')")
    db.close()


def test_nothing_is_opened_until_it_is_used(path: Path) -> None:
    database(path).close()
    assert not path.exists()


def test_files_are_for_the_owner_alone(path: Path) -> None:
    db = database(path)
    db.execute("INSERT INTO volume VALUES ('v', 0, 0, '{}', '{}')")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    db.close()


def test_journal_and_durability(path: Path) -> None:
    db = database(path)
    assert db.row("PRAGMA journal_mode") == ("wal",)
    assert db.row("PRAGMA synchronous") == (2,)
    assert db.row("PRAGMA foreign_keys") == (1,)
    assert db.row("PRAGMA user_version") == (VERSION,)
    assert db.check() == []
    db.close()


@pytest.mark.sec("97")
def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    create(path)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 9")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(Unsupported, match="made by a newer onggi") as caught:
        database(path).rows("SELECT * FROM volume")
    assert "upgrade onggi" in str(caught.value.hint)
    assert path.read_bytes() == before


def test_a_database_of_the_first_version_is_brought_to_ours(path: Path) -> None:
    create(path)
    with sqlite3.connect(path) as raw:
        raw.execute("ALTER TABLE volume DROP COLUMN options")
        raw.execute("PRAGMA user_version = 1")
    raw.close()
    db = database(path)
    assert db.rows("SELECT name, options FROM volume") == [("v", "{}")]
    assert db.row("PRAGMA user_version") == (VERSION,)
    assert db.check() == []
    db.close()


@pytest.mark.sec("97")
@pytest.mark.parametrize("damage", ["garbage", "head", "middle"])
def test_a_damaged_database_is_named_with_what_to_do(path: Path, damage: str) -> None:
    create(path)
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(b"not a database at all" * 400)
    elif damage == "head":
        data[16:200] = b"\xff" * 184
    else:
        data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)
    db = database(path)
    with pytest.raises(CorruptData, match="is damaged") as caught:
        db.rows("SELECT * FROM volume")
    assert f"mv {path} {path}.damaged" in str(caught.value.hint)
    db.close()
    assert path.read_bytes() == data


@pytest.mark.sec("97")
def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE theirs (x)")
    raw.commit()
    raw.close()
    with pytest.raises(CorruptData, match="not onggi's"):
        database(path).rows("SELECT 1")
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    raw.close()


@pytest.mark.sec("97")
def test_a_lost_write_ahead_log_loses_the_last_writes_only(path: Path) -> None:
    create(path)
    pid = os.fork()
    if pid == 0:  # dies with its writes still in the log
        database(path).execute("INSERT INTO volume VALUES ('w', 0, 0, '{}', '{}')")
        os._exit(0)
    os.waitpid(pid, 0)
    Path(f"{path}-wal").unlink()
    Path(f"{path}-shm").unlink()
    db = database(path)
    assert db.rows("SELECT name FROM volume") == [("v",)]
    assert db.check() == []
    db.close()


def test_an_error_undoes_the_whole_transaction(path: Path) -> None:
    db = database(path)

    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO volume VALUES ('v', 0, 0, '{}', '{}')")
        raise KeyError("no")

    with pytest.raises(KeyError):
        db.write(work)
    assert db.rows("SELECT * FROM volume") == []
    db.close()


def test_a_child_gets_a_connection_of_its_own(path: Path) -> None:
    create(path)
    db = database(path)
    assert len(db.rows("SELECT * FROM volume")) == 1
    pid = os.fork()
    if pid == 0:
        db.execute("INSERT INTO volume VALUES ('child', 0, 0, '{}', '{}')")
        db.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    db.execute("INSERT INTO volume VALUES ('parent', 0, 0, '{}', '{}')")
    assert db.rows("SELECT name FROM volume ORDER BY name") == [("child",), ("parent",), ("v",)]
    db.close()


def test_many_processes_write_at_once(path: Path) -> None:
    children = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            db = database(path)  # some of them create it
            for count in range(20):
                name = f"{number}-{count}"
                db.execute("INSERT INTO volume VALUES (?, 0, 0, '{}', '{}')", (name,))
            db.close()
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    db = database(path)
    assert db.row("SELECT count(*) FROM volume") == (160,)
    assert db.check() == []
    db.close()


def test_a_lock_that_is_never_released_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(path)
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    db = database(path)
    with pytest.raises(Unavailable, match="busy"):
        db.execute("DELETE FROM volume")
    holder.close()
    db.execute("DELETE FROM volume")
    db.close()


def test_the_ballast_is_a_thousandth_and_comes_back(tmp_path: Path) -> None:
    ballast = Ballast(str(tmp_path / "ballast"))
    assert not ballast.release()
    ballast.restore()
    size = (tmp_path / "ballast").stat().st_size
    assert 1 << 20 <= size <= 16 << 20
    assert ballast.release()
    assert (tmp_path / "ballast").stat().st_size == 0
    assert not ballast.release()
    ballast.restore()
    assert (tmp_path / "ballast").stat().st_size == size


def test_a_sound_table_of_every_kind_passes_the_check(path: Path) -> None:
    """SQLite 3.40 sees NULLs where a key's columns are not a table's first."""
    db = database(path)
    db.execute(
        "INSERT INTO layer_blob (diff_id, digest, source, size_bytes, media_type)"
        " VALUES ('sha256:a', 'sha256:b', 'docker.io/library/x', 5, 'tar')"
    )
    assert db.check() == []
    for (name,) in db.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        keys = [row[5] for row in db.rows(f"PRAGMA table_info({name})")]
        assert keys[: max(keys)] == list(range(1, max(keys) + 1)), name
    db.close()
