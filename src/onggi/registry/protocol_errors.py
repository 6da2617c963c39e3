"""A registry's refusals as our errors, in docker's words. Pure: status and bytes in, errors out."""

import json

from ..errors import (
    CorruptData,
    Forbidden,
    InvalidInput,
    NotFound,
    OnggiError,
    Unauthorized,
    Unavailable,
)
from ..spec.reference import Reference
from ..typed import Any, Literal, NamedTuple

Action = Literal["pull", "push"]
PHRASES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict",
    413: "Request Entity Too Large", 415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable", 418: "I'm a teapot", 429: "Too Many Requests",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
MAX_TEXT = 400


class Refusal(NamedTuple):
    """One entry of a registry's `errors` list."""

    code: str
    message: str

    def __str__(self) -> str:
        words = self.code.lower().replace("_", " ")
        return f"{words}: {self.message or words}"


def printable(text: str) -> str:
    """Text of a stranger, fit for one line on a terminal."""
    clean = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_TEXT])
    return " ".join(clean.split())[:MAX_TEXT]


def parse_refusals(body: bytes) -> tuple[Refusal, ...]:
    """The errors of an error body; () when it is none that we know. Never raises."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(document, dict):
        return ()
    items: Any = document.get("errors")
    found = []
    for item in items[:10] if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("code"), str):
            message = item.get("message")
            found.append(
                Refusal(
                    printable(item["code"]), printable(message) if isinstance(message, str) else ""
                )
            )
    return tuple(found)


def token_refusal(body: bytes) -> str:
    """What a token server said: an `errors` list, or Docker Hub's `details`, or OAuth2's words."""
    refusals = parse_refusals(body)
    if refusals:
        return str(refusals[0])
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(document, dict):
        for key in ("details", "message", "error_description", "error"):
            if isinstance(document.get(key), str):
                return printable(f"unauthorized: {document[key]}")
    return ""


def status_text(status: int) -> str:
    return f"{status} {PHRASES.get(status, '')}".strip()


def failure(status: int, body: bytes, reference: Reference, action: Action) -> OnggiError:
    """The error for an answer that is no success."""
    refusals = parse_refusals(body)
    if not refusals:
        return _bare(status, reference)
    first = refusals[0]
    if action == "pull" and first.code == "MANIFEST_UNKNOWN":
        return NotFound(f"manifest for {reference.familiar} not found: {first}")
    if action == "pull" and first.code in ("DENIED", "NAME_UNKNOWN"):
        if first.code == "NAME_UNKNOWN":
            return NotFound(f"repository {reference.familiar_name} not found: {first}")
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may "
            f"require 'docker login': {first}",
            hint=_login_hint(reference),
        )
    if status == 401 or first.code == "UNAUTHORIZED":
        return Unauthorized(str(first), hint=_login_hint(reference))
    if first.code == "DENIED" or status == 403:
        return Forbidden(str(first), hint=_login_hint(reference))
    return _kind(status)(str(first))


def _bare(status: int, reference: Reference) -> OnggiError:
    text = f"received unexpected HTTP status: {status_text(status)}"
    if status == 401:
        return Unauthorized("unauthorized: authentication required", hint=_login_hint(reference))
    if status == 404:
        return NotFound(f"{reference.familiar_name} not found: {text}")
    return _kind(status)(f"registry {reference.domain}: {text}")


def _kind(status: int) -> type[OnggiError]:
    if status in RETRIED_STATUSES or status >= 500:
        return Unavailable
    return {400: InvalidInput, 403: Forbidden, 404: NotFound}.get(status, CorruptData)


def _login_hint(reference: Reference) -> str:
    return "onggi login" + ("" if reference.domain == "docker.io" else f" {reference.domain}")
