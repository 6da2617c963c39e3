"""`builder du` and `builder explain`."""

import time
from collections.abc import Iterator

from ...build import history
from ...build.mountcache import CacheMounts
from ...typed import Any
from ...units import format_size
from .. import waterfall
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import print_rows

COLUMNS = ("ID", "Reclaimable", "Size", "LastAccessed")
HEADERS = {
    "ID": "ID", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "LastAccessed": "LAST ACCESSED",
    "Type": "TYPE", "Description": "DESCRIPTION", "Shared": "SHARED",
}  # fmt: skip
TERMINAL_COLUMNS = 120


def du(session: Session, values: Values, arguments: list[str]) -> int:
    rows = list(cache_rows(session))
    columns = (*COLUMNS, "Type", "Description") if values.on("verbose") else COLUMNS
    print_rows(session, rows, columns=columns, headers=HEADERS, template=values.text("format"))
    if not values.text("format"):
        total = sum(row["bytes"]() for row in rows)
        free = sum(row["bytes"]() for row in rows if row["Reclaimable"] == "true")
        session.out.line(f"Reclaimable:\t{format_size(free)}")
        session.out.line(f"Total:\t\t{format_size(total)}")
    return 0


def cache_rows(session: Session) -> Iterator[dict[str, Any]]:
    """Every record with a layer of its own, then the cache mounts; longest unused first."""
    store, now_ns = session.engine.store, time.time_ns()
    held = {layer for image in store.images.list() for layer in image.config.diff_ids}
    for record in store.cache.list():
        if record.diff_id:
            yield row(
                record.key[:25], record.diff_id not in held, record.size_bytes,
                waterfall.ago(record.last_used_ns, now_ns), "regular", record.diff_id[7:19],
            )  # fmt: skip
    for mount in CacheMounts(store).list():
        yield row(
            mount.name[:25], not mount.in_use, mount.size_bytes,
            waterfall.ago(mount.last_used_ns, now_ns), "exec.cachemount", mount.id,
        )  # fmt: skip


def row(
    name: str, reclaimable: bool, size: int, used: str, kind: str, description: str
) -> dict[str, Any]:
    return {
        "ID": name, "Reclaimable": "true" if reclaimable else "false", "Size": format_size(size),
        "LastAccessed": used, "Type": kind, "Description": description, "Shared": "false",
        "bytes": lambda: size,
    }  # fmt: skip


def explain(session: Session, values: Values, arguments: list[str]) -> int:
    last = history.read(session.engine.store.root)
    if last is None:
        session.err.line("no build to explain: build something first")
        return 1
    session.out.line(f"Last build: {', '.join(last.names) or last.image_id}")
    for line in waterfall.lines(last.steps, TERMINAL_COLUMNS):
        session.out.line(line)
    return 0


DU = Command(
    usage="[OPTIONS]",
    summary="Show what the build cache holds",
    run=du,
    flags=flag_table(
        "      --format string   Format output using a Go template or json\n"
        "      --verbose         Show the type and description of each entry\n"
    ),
)
EXPLAIN = Command(
    usage="",
    summary="Say for each step of the last build whether and why it was done again",
    run=explain,
)
