"""What a process that is being set up and its parent say to each other.

    parent                                child
      |  MAPPED: in a user namespace only   |
      | ----------------------------------> |   control groups, mounts
      |                              BUILT  |
      | <---------------------------------- |   where hooks run before pivot_root: it waits
      |  PIVOT                              |
      | ----------------------------------> |
      |  GO: the network is there            |   (elsewhere, meanwhile: mounts)
      | ----------------------------------> |   cgroup namespace, user, capabilities
      |                              READY  |
      | <---------------------------------- |   an OCI "created" container waits here
      |  START                              |
      | ----------------------------------> |   seccomp filter
      |                 LISTENER descriptor |
      | <---------------------------------- |   where the filter has a listener: it waits
      |  TAKEN                              |
      | ----------------------------------> |   execve
      |           end of file: it executes  |
      | <---------------------------------- |

Instead of READY or the end of file an error may come: kind, step, errno, text. The end of the
parent is an end of file to the child, which then exits.
"""

import os
from collections.abc import Callable

from ..errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidInput, OnggiError
from ..linux import springboard

CREATE_PREFIX = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
)
EXEC_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "
GO, START, READY, ERROR = b"G", b"S", b"R", b"E"
MAPPED, BUILT, PIVOT, LISTENER, TAKEN = b"M", b"B", b"P", b"L", b"T"
_KINDS: dict[str, type[OnggiError]] = {
    "not-found": CommandNotFound,
    "not-executable": CommandNotExecutable,
    "invalid": InvalidInput,
    "conflict": Conflict,
    "failed": OnggiError,
}
_MAX_MESSAGE = 65536
_ATOMIC = 4096  # a write to a pipe up to this size is read in one piece


def pack_error(error: BaseException, step: str) -> bytes:
    """An error as the child sends it. No traceback: a traceback reads source files."""
    kind = next((k for k, cls in _KINDS.items() if type(error) is cls), "failed")
    number, text = 0, str(error)
    if isinstance(error, OSError):
        number = error.errno or 0
        where = f" {error.filename!r}" if error.filename else ""
        text = (
            f"{step}{where}: {(error.strerror or text)[:1].lower()}{(error.strerror or text)[1:]}"
        )
    elif not isinstance(error, OnggiError):
        text = f"{step}: {type(error).__name__}: {text}"
    fields = (kind, step, str(number), text)
    message = "\0".join(field.replace("\0", "") for field in fields).encode(errors="replace")
    return ERROR + message[: _ATOMIC - 1]


def unpack_error(message: bytes, prefix: str) -> OnggiError:
    """The exception that a child's message means, in docker's words."""
    fields = message[1:].decode(errors="replace").split("\0")
    if message[:1] != ERROR or len(fields) != 4:
        return OnggiError(prefix + "the process died while it was being set up")
    kind, _step, _number, text = fields
    if text.startswith(("unable to find user ", "unable to find group ")):
        prefix = ""  # docker looks the user up itself, before it starts anything
    return _KINDS.get(kind, OnggiError)(prefix + text)


class ParentEnd:
    """The parent's side of the two pipes."""

    def __init__(self, go_fd: int, report_fd: int, prefix: str) -> None:
        self._go = go_fd
        self._report = report_fd
        self._prefix = prefix

    def tell(self, what: bytes) -> None:
        """A child that died already is found out by the next `expect`."""
        try:
            os.write(self._go, what)
        except BrokenPipeError:
            pass

    def expect(self, word: bytes) -> None:
        """READY or BUILT; raises what the child reports instead."""
        message = os.read(self._report, _MAX_MESSAGE)
        if message[:1] != word:
            raise unpack_error(message, self._prefix)

    def expect_exec(self, on_listener: Callable[[int], None] | None = None) -> None:
        """Returns when the process executes its command; raises what the child reports instead.
        `on_listener` gets the number of a seccomp listener in the process that waits meanwhile."""
        message = os.read(self._report, _MAX_MESSAGE)
        if message[:1] == READY:
            message = message[1:] or os.read(self._report, _MAX_MESSAGE)
        if message[:1] == LISTENER and on_listener is not None:
            on_listener(int(message[1:]))
            self.tell(TAKEN)
            message = os.read(self._report, _MAX_MESSAGE)
        if message:
            raise self._refusal(message) or unpack_error(message, self._prefix)

    def _refusal(self, message: bytes) -> OnggiError | None:
        """What execve said to the springboard, which writes in two pieces and ends."""
        if springboard.failure(message) is None:
            return None
        while more := os.read(self._report, _MAX_MESSAGE):
            message += more
        from . import command

        error, path = springboard.failure(message) or (OSError(), "")
        refusal = command.exec_refusal(path, error)
        return type(refusal)(self._prefix + refusal.message)

    def pending_error(self) -> OnggiError | None:
        """After the child's end: the error it reported, if it did."""
        message = os.read(self._report, _MAX_MESSAGE)
        if message[:1] == READY:
            message = message[1:]
        return unpack_error(message, self._prefix) if message else None

    def close(self) -> None:
        for fd in (self._go, self._report):
            if fd >= 0:
                os.close(fd)
        self._go = self._report = -1


class ChildEnd:
    """The child's side."""

    def __init__(self, go_fd: int, report_fd: int) -> None:
        self.go = go_fd
        self.report = report_fd

    def wait(self, word: bytes) -> None:
        """For the parent's next word; exits when the parent is gone."""
        if os.read(self.go, 1) != word:
            os._exit(1)

    def tell(self, message: bytes) -> None:
        os.write(self.report, message)


def pair(prefix: str) -> tuple[ParentEnd, ChildEnd]:
    child_go, parent_go = os.pipe()
    parent_report, child_report = os.pipe()
    return ParentEnd(parent_go, parent_report, prefix), ChildEnd(child_go, child_report)
