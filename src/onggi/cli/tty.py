"""The user's terminal: raw while a container owns it, restored whatever happens; its size."""

import os
import termios
from types import TracebackType

# termios(3), cfmakeraw
_IFLAG = (
    termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
    | termios.IGNCR | termios.ICRNL | termios.IXON
)  # fmt: skip
_LFLAG = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


class RawTerminal:
    """`with RawTerminal(0):` nothing is interpreted or echoed here. `restore` may come early, and
    again; output processing goes too, as the container's own terminal does it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> "RawTerminal":
        self._saved = termios.tcgetattr(self._fd)
        raw = termios.tcgetattr(self._fd)
        raw[0] &= ~_IFLAG
        raw[1] &= ~termios.OPOST
        raw[2] = (raw[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        raw[3] &= ~_LFLAG
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)
        return self

    def restore(self) -> None:
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
            except (OSError, termios.error):
                pass  # the terminal is gone

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()


def size_of(fd: int) -> tuple[int, int]:
    """Rows and columns; (0, 0) when there is no terminal."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return rows, columns


def read_secret(prompt: str) -> str:
    """A line from the terminal without echo. Raises OSError where there is no terminal."""
    with open("/dev/tty", "r+b", buffering=0) as terminal:
        fd = terminal.fileno()
        saved = termios.tcgetattr(fd)
        silent = termios.tcgetattr(fd)
        silent[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(fd, termios.TCSAFLUSH, silent)
            terminal.write(prompt.encode())
            line = terminal.readline(1 << 16)
        finally:
            termios.tcsetattr(fd, termios.TCSAFLUSH, saved)
            terminal.write(b"\n")
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")
