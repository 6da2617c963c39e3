"""Docker's JSON lines of a long operation: `status progressDetail id aux errorDetail stream`.

Sans-IO: typed progress events in, bytes out.
"""

from ..errors import OnggiError
from ..progress import (
    Event,
    Layer,
    Message,
    PushResult,
    StepFailed,
    StepFinished,
    StepOutput,
    StepStarted,
    Warning,
)
from ..spec.jsontext import canonical
from ..typed import Any
from ..units import format_size

BAR = 50


def line(fields: dict[str, Any]) -> bytes:
    """One line; docker ends each with CR LF."""
    return canonical(fields) + b"\r\n"


def encode(event: Event) -> bytes:
    """What docker's server sends for an event of pull, push, load or a classic build."""
    match event:
        case Layer():
            return line(_layer(event))
        case Message(text, subject):
            if subject:
                return line({"status": text.removeprefix(f"{subject}: "), "id": subject})
            return line({"status": text})
        case Warning():
            return line({"stream": f"[Warning] {event.text}\n"})
        case PushResult():
            return aux({"Tag": event.tag, "Digest": event.digest, "Size": event.size_bytes})
        case StepStarted():
            return line({"stream": f"Step {event.number}/{event.total} : {event.text}\n"})
        case StepOutput():
            return line({"stream": event.data.decode("utf-8", "replace")})
        case StepFinished():
            cached = " ---> Using cache\n" if event.cached else ""
            return line({"stream": f"{cached} ---> {event.result}\n"})
        case StepFailed():
            return b""  # the error says it


def failure(error: OnggiError, code: int = 0) -> bytes:
    """The last line of an operation that failed after it had begun to answer; `code` is the status
    of a command."""
    detail: dict[str, Any] = {"code": code} if code else {}
    detail["message"] = error.message
    if error.http_status in (401, 403, 404):
        detail["code"] = error.http_status
    return line({"errorDetail": detail, "error": error.message})


def aux(value: dict[str, Any]) -> bytes:
    """What programs read of a stream: {"ID": "sha256:…"}."""
    return line({"aux": value})


def _layer(event: Layer) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": event.action, "progressDetail": {}, "id": event.id}
    if event.action == "Mounted from" and event.detail:
        fields["status"] = f"Mounted from {event.detail}"
    if event.current_bytes or event.total_bytes:
        fields["progressDetail"] = {"current": event.current_bytes}
        if event.total_bytes:
            fields["progressDetail"]["total"] = event.total_bytes
        fields = {
            "status": fields["status"],
            "progressDetail": fields["progressDetail"],
            "progress": bar(event.current_bytes, event.total_bytes),
            "id": event.id,
        }
    return fields


def bar(current: int, total: int) -> str:
    """The bar that docker's server draws for clients that draw none."""
    if not total or current > total:
        return f"{format_size(current):>8}"
    filled = min(BAR, int(current / total * BAR))
    arrow = "=" * filled + ">" if filled < BAR else "=" * BAR
    return f"[{arrow:<{BAR}}] {format_size(current):>8}/{format_size(total)}"
