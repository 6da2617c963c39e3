"""What one invocation of the command line works with: its streams, its directories, the engine.

Text goes out through `Output`, which buffers, never raises an encoding error and says clearly when
the other end is gone (BrokenPipeError) or the disk is full (WriteError).
"""

import os
from collections.abc import Callable, Iterable, Mapping

from ..engine.settings import DEFAULT_ROOT, DEFAULT_RUN
from ..errors import OnggiError
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.settings import Settings
    from ..remote.address import Address
    from .hints import Language


_CONTROL = [n for n in (*range(32), *range(127, 160)) if n not in (9, 10)]
_WRITTEN_OUT = {number: f"\\x{number:02x}" for number in _CONTROL}


class CommandError(OnggiError):
    """What the client itself refuses; printed as it is."""


class WrongFlags(CommandError):
    """What the client refuses while it reads the flags of run and create."""

    exit_code = 125


class WriteError(Exception):
    """Our own stdout cannot be written: a full disk, a closed descriptor."""


class Output:
    """Buffered text and bytes to one descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, text: str) -> None:
        self.write_bytes(text.encode("utf-8", "surrogateescape"))

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def show(self, text: str) -> None:
        """Text that holds what containers and images say of themselves: names, labels, commands.
        On a terminal its control characters are written out, else they could act on it."""
        self.write(text.translate(_WRITTEN_OUT) if self.is_terminal() else text)

    def write_bytes(self, data: bytes | memoryview) -> None:
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size >= 65536:
            self.flush()

    def flush(self) -> None:
        data, self._parts, self._size = b"".join(self._parts), [], 0
        write_all(self.fd, data)

    def is_terminal(self) -> bool:
        return os.isatty(self.fd)


def write_all(fd: int, data: bytes) -> None:
    """Write everything. BrokenPipeError passes, other errors become WriteError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BrokenPipeError:
            raise
        except BlockingIOError:
            wait_writable(fd)
        except OSError as error:
            raise WriteError(f"write error: {error.strerror}") from error


def wait_writable(fd: int) -> None:
    """A terminal that somebody else made non-blocking is written all the same."""
    import select

    select.select([], [fd], [])


class Session:
    """One command line's world. The engine opens on first use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        root, run = DEFAULT_ROOT, DEFAULT_RUN
        if os.geteuid() != 0:
            from .prelude import directories

            root, run = directories(environ, os.geteuid())
        self.root = environ.get("ONGGI_ROOT") or root
        self.run = environ.get("ONGGI_RUN") or run
        self.trouble = ""  # what kept us from a better tier
        self.elsewhere: Address | None = None  # -H: not the engine of this machine
        self.debug = False
        self.out = Output(1)
        self.err = Output(2)
        self.retry = ""  # the words of this command, for hints that can be pasted
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        if self._engine is None and self.elsewhere is not None:
            from . import elsewhere

            self._engine = elsewhere.engine(self, self.elsewhere)
        if self._engine is None:
            from ..engine.engine import Engine

            self._engine = Engine(
                self.root, self.run, settings=self.engine_settings, warn=self.warn
            )
        return self._engine

    @property
    def engine_settings(self) -> "Settings":
        from ..engine.settings import from_environment
        from ..engine.tier import current

        tier = current()._replace(why=self.trouble)
        return from_environment(self.environ)._replace(tier=tier)

    @property
    def home(self) -> str:
        return self.environ.get("HOME") or "/root"

    @property
    def docker_config(self) -> str:
        folder = self.environ.get("DOCKER_CONFIG") or f"{self.home}/.docker"
        return f"{folder}/config.json"

    @property
    def chosen_context(self) -> str:
        return f"{self.home}/.config/onggi/context"

    @property
    def language(self) -> "Language":
        for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
            value = self.environ.get(name)
            if value:
                return "ko" if value.startswith("ko") else "en"
        return "en"

    def warn(self, text: str) -> None:
        """A line on stderr; the work goes on."""
        self.err.line(text if text.startswith("WARNING") else f"WARNING: {text}")
        self.err.flush()

    def complain(self, error: OnggiError) -> None:
        """One failed target among several: docker's line, then the hint."""
        self.out.flush()
        self.err.line(message_of(error))
        if error.hint:
            self.err.line(error.hint)
        self.err.flush()


def message_of(error: OnggiError) -> str:
    """How docker's client words it: what the client refuses is plain, the rest has a prefix."""
    if isinstance(error, CommandError):
        return error.message
    return f"Error response from daemon: {error.message}"


def each(session: Session, names: Iterable[str], work: Callable[[str], object]) -> int:
    """Do `work` for every name; print the name, or the error. 1 if any failed."""
    code = 0
    for name in names:
        try:
            shown = work(name)
        except (BrokenPipeError, PermissionError):
            raise  # that goes for all of them
        except OnggiError as error:
            session.complain(error)
            code = 1
        except OSError as error:  # one that cannot be done keeps none of the others
            session.complain(CommandError(f"onggi: {os_error_text(error)}"))
            code = 1
        else:
            if shown is not None:
                session.out.line(str(shown))
                session.out.flush()
    return code


def os_error_text(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return f"{error.filename}: {text}" if error.filename else text


def refusal(message: str, hint: str | None = None) -> CommandError:
    """What the client says no to, to be raised."""
    return CommandError(message, hint=hint)


def working_directory() -> str:
    """The caller's; it may be gone."""
    try:
        return os.getcwd()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refusal(f"getwd: {reason}", "the current directory is gone: cd to another") from error


def client_side(error: OnggiError) -> CommandError:
    """The same refusal in the client's own words: without the prefix of the engine's."""
    plain = CommandError(error.message, hint=error.hint)
    plain.exit_code = error.exit_code
    return plain
