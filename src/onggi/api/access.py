"""The access log's lines and what they must not hold; whose names we answer to."""

import re
import time

from ..httpd.exchange import Request

_PLAIN = frozenset(
    "all condition container copyUIDGID detach detachKeys digests filters follow force fromImage "
    "h limit link logs name noOverwriteDirNonDir noprune one-shot path pause platform ps_args q "
    "quiet reference remote repo rm shared-size signal since size stderr stdin stdout stream t tag "
    "tail term timestamps tty type until v verbose version w".split()
)
_HIDDEN = "[redacted]"


def line(request: Request, status: int, seconds: float) -> str:
    """One request: parameters that may hold secrets are hidden, headers and bodies never shown."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    target = redacted(request.target)
    peer = request.peer or "unix"
    took = f"{seconds * 1000:.1f}ms"
    return f"{moment} {peer} {request.method} {target} {status} {took}"


def redacted(target: str) -> str:
    """The target without the values of parameters that are not known to be harmless."""
    path, mark, query = target.partition("?")
    pieces = []
    for piece in query.split("&") if query else []:
        name, equals, _ = piece.partition("=")
        hidden = f"{name}={_HIDDEN}" if equals else _HIDDEN
        pieces.append(piece if name in _PLAIN else hidden)
    return re.sub(r"[^!-~]", "?", path + mark + "&".join(pieces))


def host_of(header: str) -> str:
    """The name in a Host header, lower case, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
