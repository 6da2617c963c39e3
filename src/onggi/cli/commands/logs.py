"""`logs`."""

import time

from ...engine.logs import detail_text
from ...units import format_rfc3339, parse_time
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, WriteError, refusal, write_all
from .lifecycle import container_named


def run(session: Session, values: Values, arguments: list[str]) -> int:
    container = container_named(session, arguments[0])
    entries = session.engine.logs.read(
        container.id,
        follow=values.on("follow"),
        tail=tail_of(values.text("tail")),
        since_ns=moment(values, "since"),
        until_ns=moment(values, "until"),
    )
    stamps, details = values.on("timestamps"), values.on("details")
    stderr_lost = False
    for entry in entries:
        data = entry.data
        if details:
            data = detail_text(entry.attributes).encode() + b" " + data
        if stamps:
            data = format_rfc3339(entry.time_ns).encode() + b" " + data
        if entry.stream == "stderr":
            if not stderr_lost:
                session.out.flush()
                try:
                    write_all(2, data)
                except (BrokenPipeError, WriteError):
                    stderr_lost = True
        else:
            session.out.write_bytes(data)
            if values.on("follow"):
                session.out.flush()
    return 0


def tail_of(text: str) -> int | None:
    """None for everything: "all", and what docker reads as it (a negative number)."""
    if text == "all":
        return None
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return int(text) if int(text) >= 0 else None
    raise refusal(f'invalid value for "tail": {text!r}: want a number of lines, or all')


def moment(values: Values, name: str) -> int:
    if not values.given(name):
        return 0
    try:
        return parse_time(values.text(name), time.time_ns())
    except ValueError as error:
        raise refusal(f'invalid value for "{name}": {error}') from error


LOGS = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Fetch the logs of a container",
    run=run,
    flags=flag_table(
        """
      --details        Show extra details provided to logs
  -f, --follow         Follow log output
      --since string   Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g.
                       "42m" for 42 minutes)
  -n, --tail string    Number of lines to show from the end of the logs (default "all")
  -t, --timestamps     Show timestamps
      --until string   Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g.
                       "42m" for 42 minutes)
"""
    ),
    least=1,
    most=1,
    aliases=("container logs", "logs"),
)
