"""`stats`: one look, or a table that is drawn anew every second until nobody is left to look at."""

import select
from collections.abc import Callable, Iterator

from ...engine import stats as measure
from ...engine.reaper import ACTIVE
from ...engine.stats import Sample
from ...errors import NotFound
from ...spec.container import Container
from ...typed import Any
from ...units import format_binary_size, format_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import print_rows
from .ps import FORMAT_HELP

COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
HEADERS = {
    "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}  # fmt: skip
INTERVAL_S = 1.0
FIRST_INTERVAL_S = 0.5  # CPU shares need two samples
HOME, CLEAR_LINE, CLEAR_BELOW = "\033[H", "\033[K", "\033[J"
Samples = dict[str, Sample]


def run(session: Session, values: Values, arguments: list[str]) -> int:
    typed = {session.engine.containers.get(name).id: name for name in arguments}
    wanted, everything = list(typed), values.on("all")
    frames = _frames(session, wanted, everything=everything)
    if values.on("no-stream"):
        _show(session, values, typed, *next(frames))
        return 0
    table = session.out.is_terminal() and not values.text("format").startswith(("json", "{{"))
    for containers, before, now in frames:
        if table:
            session.out.write(HOME + CLEAR_BELOW)
        _show(session, values, typed, containers, before, now)
        session.out.flush()
        if wanted and not any(container.state.status in ACTIVE for container in containers):
            return 0
    return 0


def _frames(
    session: Session, wanted: list[str], *, everything: bool
) -> Iterator[tuple[list[Container], Samples, Samples]]:
    """(containers, their samples before, their samples now), for ever."""
    before = _samples(session, _chosen(session, wanted, everything=everything))
    wait_s = FIRST_INTERVAL_S
    while True:
        select.select([], [], [], wait_s)  # an interrupt ends it
        wait_s = INTERVAL_S
        containers = _chosen(session, wanted, everything=everything)
        now = _samples(session, containers)
        yield containers, before, now
        before = now


def _chosen(session: Session, wanted: list[str], *, everything: bool) -> list[Container]:
    if not wanted:
        return list(session.engine.containers.list(all=everything))
    found = []
    for reference in wanted:
        try:
            found.append(session.engine.containers.get(reference))
        except NotFound:
            continue  # removed while we looked
    return found


def _samples(session: Session, containers: list[Container]) -> Samples:
    there: Any = session.engine.containers
    sample: Callable[[Container], Sample] = (
        measure.sample if session.elsewhere is None else there.sample
    )
    return {container.id: sample(container) for container in containers}


def _show(
    session: Session,
    values: Values,
    typed: dict[str, str],
    containers: list[Container],
    before: Samples,
    now: Samples,
) -> None:
    """`typed` are the names that were asked for, by id: docker's {{.Container}}."""
    trunc = not values.on("no-trunc")
    rows = [
        row(c, before.get(c.id, Sample()), now[c.id], typed.get(c.id, ""), trunc=trunc)
        for c in containers
    ]
    print_rows(session, rows, columns=COLUMNS, headers=HEADERS, template=values.text("format"))


def row(
    container: Container, before: Sample, now: Sample, typed: str, *, trunc: bool
) -> dict[str, Any]:
    """Docker's formatting context."""
    identity = container.id[:12] if trunc else container.id
    memory = (
        f"{format_binary_size(now.memory_bytes)} / {format_binary_size(now.memory_limit_bytes)}"
    )
    return {
        "Container": typed or identity,
        "ID": identity,
        "Name": container.name,
        "CPUPerc": f"{measure.cpu_percent(before, now):.2f}%",
        "MemUsage": memory,
        "MemPerc": f"{measure.memory_percent(now):.2f}%",
        "NetIO": f"{format_size(now.received_bytes, 3)} / {format_size(now.sent_bytes, 3)}",
        "BlockIO": f"{format_size(now.read_bytes, 3)} / {format_size(now.written_bytes, 3)}",
        "PIDs": str(now.pids),
    }


STATS = Command(
    usage="[OPTIONS] [CONTAINER...]",
    summary="Display a live stream of container(s) resource usage statistics",
    run=run,
    flags=flag_table(
        """
  -a, --all             Show all containers (default shows just running)
"""
        + FORMAT_HELP
        + """
      --no-stream       Disable streaming stats and only pull the first result
      --no-trunc        Do not truncate output
"""
    ),
    most=-1,
    aliases=("container stats", "stats"),
)
