"""What became of a command, and of one that did not become what was asked."""

from dataclasses import dataclass

from ..errors import OnggiError


@dataclass(frozen=True, slots=True)
class Result:
    """`stdout` and `stderr` are bytes as they came; `truncated` says that more came than was asked
    to be kept. A command that a signal ended has the exit code 128 + its number."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        """Standard output as text, without the last line break."""
        return self.stdout.decode(errors="replace").removesuffix("\n")


class CommandFailed(OnggiError):
    """A command that was to succeed (`check=True`) did not. `result` has its streams."""

    def __init__(self, command: str, result: Result) -> None:
        told = (result.stderr or result.stdout).decode(errors="replace").strip()
        last = f": {told[-2000:]}" if told else ""
        super().__init__(f"{command}: exit code {result.exit_code}{last}")
        self.result = result


class TimedOut(OnggiError, TimeoutError):
    """What was waited for did not happen in time. `result` is what a command had written."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result
