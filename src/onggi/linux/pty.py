"""Pseudo terminals inside a given devpts, and the raw mode of the user's own terminal.

A terminal is made through the descriptor of a devpts mount and its slave is opened by TIOCGPTPEER:
no `/dev/pts/N` is ever looked up by path (SECURITY A4).
"""

import errno
import fcntl
import os
import stat
import termios
from struct import pack, unpack

from ..typed import Any, NamedTuple
from .mount import DEVPTS_MAGIC, file_system_type
from .safefs import open_beneath

_TIOCGPTPEER, _TIOCSPTLCK, _TIOCGPTN = 0x5441, 0x40045431, 0x80045430
_PTMX = os.makedev(5, 2)


class Terminal(NamedTuple):
    """Both ends of a pseudo terminal; `name` is its number in the devpts."""

    master: int
    slave: int
    name: str


def openpty(devpts_fd: int) -> Terminal:
    """A new terminal in the devpts mounted at `devpts_fd`. Raises OSError when it is no devpts."""
    if file_system_type(devpts_fd) != DEVPTS_MAGIC:
        raise OSError(errno.ENOTTY, "not a devpts file system")
    master = open_beneath(devpts_fd, "ptmx", os.O_RDWR | os.O_NOCTTY)
    try:
        status = os.fstat(master)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
            raise OSError(errno.ENOTTY, "not a ptmx device")
        fcntl.ioctl(master, _TIOCSPTLCK, pack("=i", 0))
        number = unpack("=i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))[0]
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        return Terminal(master, slave, str(number))
    except BaseException:
        os.close(master)
        raise


def get_size(fd: int) -> tuple[int, int]:
    """(rows, columns)."""
    rows, columns, _, _ = unpack("=4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, pack("=4H", rows, columns, 0, 0))


def set_raw(fd: int) -> list[Any]:
    """Raw mode as docker sets it; returns what `restore` takes back."""
    before = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(
        termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
    )  # fmt: skip
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)
    return before


def restore(fd: int, mode: list[Any]) -> None:
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
