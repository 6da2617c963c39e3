"""`/events`: what happened and what happens, one JSON document after the other."""

import time

from ..engine import eventlog
from ..errors import InvalidInput
from ..units import parse_time
from .call import Call
from .route import Route


def events(call: Call) -> None:
    now_ns = time.time_ns()
    since_ns, until_ns = _moment(call, "since", now_ns), _moment(call, "until", now_ns)
    filters = call.query.filters()
    eventlog.check(filters)
    if since_ns and until_ns and since_ns > until_ns:
        since, until = call.query.text("since"), call.query.text("until")
        raise InvalidInput(f"`since` time ({since}) cannot be after `until` time ({until})")
    with call.stream("application/json") as out:
        found = eventlog.read(
            call.engine.events,
            since_ns=since_ns,
            until_ns=until_ns,
            filters=filters,
            listener=out.fileno(),
        )
        for event in found:
            out.json(event)


def _moment(call: Call, name: str, now_ns: int) -> int:
    """Nanoseconds, 0 for none; the epoch itself is a bound, too."""
    text = call.query.text(name)
    if not text:
        return 0
    try:
        return max(parse_time(text, now_ns), 1)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


ROUTES = (Route("GET", "/events", events),)
