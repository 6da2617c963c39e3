"""The one tree of errors, two levels deep, cut by what the caller can do about it.

Texts start in lower case, name the object and end with what to do when we know it. Frontends map
`http_status` and `exit_code`; nobody parses texts. Some texts hold docker's own words because
docker's clients choose their exit code by them (ARCHITECTURE.md, "Errors").
"""


class OnggiError(Exception):
    """Anything onggi says no with. `hint` is at most one line the user can act on or paste."""

    http_status = 500
    exit_code: int | None = None  # None: the command decides (125 for run and create, else 1)

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(OnggiError):
    """The request itself is wrong: a flag, a name, a reference, a file's content."""

    http_status = 400


class Unauthorized(OnggiError):
    """The registry wants (other) credentials."""

    http_status = 401


class Forbidden(OnggiError):
    """Refused by policy or by missing privilege."""

    http_status = 403


class NotFound(OnggiError):
    """No such image, container, network, volume, file or command."""

    http_status = 404


class CacheVanished(NotFound):
    """What a build had found in its cache was pruned before it stood on it: it looks again."""


class NotModified(OnggiError):
    """The object already is in the state that was asked for."""

    http_status = 304


class Conflict(OnggiError):
    """The object is in a state, or has users, that forbid the request."""

    http_status = 409


class Unsupported(OnggiError):
    """Docker has it, onggi does not (yet), or this host cannot do it."""

    http_status = 501


class Unavailable(OnggiError):
    """A resource is missing right now: network, disk space, processes, a lock."""

    http_status = 503


class CorruptData(OnggiError):
    """Bytes are not what their digest, size or format says: a layer, a manifest, the database."""

    http_status = 500


class CommandFailed(InvalidInput):
    """A command that a build ran ended with a `status` other than 0."""

    status = 0  # not known here: it is another process's error


class CommandNotFound(InvalidInput):
    """The command to run is not in the image; the text holds "executable file not found"."""

    exit_code = 127


class CommandNotExecutable(InvalidInput):
    """The command cannot be executed; the text holds "permission denied" or the errno's words."""

    exit_code = 126
