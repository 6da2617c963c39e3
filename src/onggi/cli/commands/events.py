"""`events`: what happened and what happens, docker's lines, a template or JSON."""

import time
from collections.abc import Callable, Iterator

from ...typed import Any
from ...units import format_rfc3339_local, parse_time
from ..command import Command
from ..flags import Values, flag_table
from ..session import CommandError, Session
from ..table import filters_of, unescaped

BAD_TEMPLATE = 64


class FormatError(CommandError):
    exit_code = BAD_TEMPLATE


def run(session: Session, values: Values, arguments: list[str]) -> int:
    show = printer(values.text("format"))
    for event in happened(session, values):
        session.out.show(show(event) + "\n")
    return 0


def happened(session: Session, values: Values) -> Iterator[dict[str, Any]]:
    """What there is is shown before we wait for more."""
    since_ns, until_ns = moment(values, "since"), moment(values, "until")
    filters = filters_of(values.many("filter"))
    if session.elsewhere is not None:
        remote: Any = session.engine.events
        for event in remote.read(since_ns=since_ns, until_ns=until_ns, filters=filters):
            yield event
            session.out.flush()
        return
    from ...engine import eventlog

    yield from eventlog.read(
        session.engine.events,
        since_ns=since_ns,
        until_ns=until_ns,
        filters=filters,
        waiting=session.out.flush,
    )


def moment(values: Values, name: str) -> int:
    if not values.text(name):
        return 0
    try:
        return parse_time(values.text(name), time.time_ns())
    except ValueError as error:
        raise CommandError(str(error)) from error


def printer(form: str) -> Callable[[dict[str, Any]], str]:
    """The function that turns an event into its line."""
    if not form:
        return line
    from ..gotemplate_functions import to_json

    if form == "json":
        return to_json
    from ..gotemplate import parse
    from ..gotemplate_syntax import TemplateError

    try:
        template = parse(unescaped(form))
    except TemplateError as error:
        raise FormatError(f"Error parsing format: {error}") from error

    def render(event: dict[str, Any]) -> str:
        try:
            return template.render(fields(event))
        except TemplateError as error:
            raise CommandError(str(error)) from error

    return render


def line(event: dict[str, Any]) -> str:
    actor, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]
    told = ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes))
    when = format_rfc3339_local(event["timeNano"])
    return f"{when} {event['Type']} {event['Action']} {actor}" + (f" ({told})" if told else "")


def fields(event: dict[str, Any]) -> dict[str, Any]:
    """Under the names that the Go structure has."""
    return {
        "Status": event.get("status", ""),
        "ID": event.get("id", ""),
        "From": event.get("from", ""),
        "Type": event["Type"],
        "Action": event["Action"],
        "Actor": event["Actor"],
        "Scope": event["scope"],
        "Time": event["time"],
        "TimeNano": event["timeNano"],
    }


EVENTS = Command(
    usage="[OPTIONS]",
    summary="Get real time events from the server",
    run=run,
    flags=flag_table("""
  -f, --filter filter   Filter output based on conditions provided
      --format string   Format output using a custom template:
                        |'json':             Print in JSON format
                        |'TEMPLATE':         Print output using the given Go template.
                        |Refer to https://docs.docker.com/go/formatting/ for more information about
                        formatting output with templates
      --since string    Show all events created since timestamp
      --until string    Stream events until this timestamp
"""),
    aliases=("system events", "events"),
)
