"""`builder du` and `builder explain`."""

import time

from ...build import history
from ...build.pruning import Item, items
from ...typed import Any
from ...units import format_size
from .. import waterfall
from ..cachefilters import until_ns, wanted
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import filters_of, print_rows

COLUMNS = ("ID", "Reclaimable", "Size", "LastAccessed")
HEADERS = {
    "ID": "ID", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "LastAccessed": "LAST ACCESSED",
    "Type": "TYPE", "Description": "DESCRIPTION", "Shared": "SHARED",
}  # fmt: skip
TERMINAL_COLUMNS = 120


def du(session: Session, values: Values, arguments: list[str]) -> int:
    filters = filters_of(values.many("filter"))
    now_ns = time.time_ns()
    since_ns, chosen = until_ns(filters, now_ns), wanted(filters)
    found = sorted(
        items(session.engine), key=lambda item: (item.kind != "regular", item.last_used_ns)
    )
    rows = [
        row(item, now_ns)
        for item in found
        if (item.layer or item.kind != "regular")
        and (not since_ns or item.last_used_ns < since_ns)
        and chosen(item)
    ]
    columns = (*COLUMNS, "Type", "Description") if values.on("verbose") else COLUMNS
    print_rows(session, rows, columns=columns, headers=HEADERS, template=values.text("format"))
    if not values.text("format"):
        total = sum(row["bytes"]() for row in rows)
        free = sum(row["bytes"]() for row in rows if row["Reclaimable"] == "true")
        session.out.line(f"Reclaimable:\t{format_size(free)}")
        session.out.line(f"Total:\t\t{format_size(total)}")
    return 0


def row(item: Item, now_ns: int) -> dict[str, Any]:
    """Every record with a layer of its own, and the cache mounts."""
    return {
        "ID": item.id[:25],
        "Reclaimable": "false" if item.shared or item.in_use else "true",
        "Size": format_size(item.size_bytes),
        "LastAccessed": waterfall.ago(item.last_used_ns, now_ns),
        "Type": item.kind,
        "Description": item.description or item.layer[7:19],
        "Shared": str(item.shared).lower(),
        "bytes": lambda: item.size_bytes,
    }


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
        '      --filter filter   Provide filter values (e.g. "unused-for=24h")\n'
        "      --format string   Format output using a Go template or json\n"
        "      --verbose         Show the type and description of each entry\n"
    ),
)
EXPLAIN = Command(
    usage="",
    summary="Say for each step of the last build whether and why it was done again",
    run=explain,
)
