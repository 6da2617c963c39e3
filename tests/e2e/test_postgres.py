"""A real database on a named volume, killed while it writes and started again."""

import select
import time
from collections.abc import Callable, Iterator

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root
PSQL = ("psql", "-h", "/tmp", "-qAtX")
SERVE = """
[ -e /data/PG_VERSION ] || initdb -D /data -A trust >/dev/null
exec postgres -D /data -k /tmp -c listen_addresses=
"""


@pytest.fixture
def database(onggi: Onggi, loaded: Callable[[str], str]) -> Iterator[str]:
    image = loaded("postgres:15")
    onggi("run", "-d", "--name", "pg", "-u", "postgres", "--shm-size", "64m",
          "-v", "pgdata:/data:U", image, "sh", "-c", SERVE)  # fmt: skip
    yield "pg"
    onggi.remove_containers()
    onggi("volume", "rm", "-f", "pgdata")


def wait_until_it_answers(onggi: Onggi) -> None:
    deadline = time.monotonic() + 60
    while onggi("exec", "pg", *PSQL, "-c", "select 1", code=None).returncode:
        assert time.monotonic() < deadline, onggi("logs", "pg").stderr
        time.sleep(0.1)


def test_a_database_killed_while_it_writes_keeps_what_it_promised(
    onggi: Onggi, database: str
) -> None:
    wait_until_it_answers(onggi)
    onggi("exec", database, *PSQL, "-c", "create table promised (number int primary key)")
    writer = onggi.popen(
        "exec", database, "sh", "-c",
        "seq 1 1000000 | sed 's/.*/insert into promised values (&) returning number;/' | "
        + " ".join(PSQL),
    )  # fmt: skip
    assert writer.stdout is not None
    promised = 0
    deadline = time.monotonic() + 60
    while promised < 200:
        assert select.select([writer.stdout], [], [], max(0, deadline - time.monotonic()))[0]
        promised = int(writer.stdout.readline())
    onggi("kill", "-s", "KILL", database)  # the writer is in the middle of it
    rest, _ = writer.communicate(timeout=60)
    promised = max([promised, *(int(line) for line in rest.split("\n")[:-1] if line.isdigit())])
    onggi("wait", database)
    onggi("start", database)
    wait_until_it_answers(onggi)
    found = onggi.out(
        "exec", database, *PSQL, "-c", "select count(*), max(number) from promised"
    ).split("|")
    count, last = int(found[0]), int(found[1])
    assert count == last  # nothing in between is lost
    assert promised <= last <= promised + 1  # one may have been written and not been told
    assert "was not properly shut down" in onggi("logs", database).stderr
