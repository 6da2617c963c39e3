"""The store's lock file: shared while files and rows part, exclusive for garbage collection.

Each hold is its own open file description, so threads do not release each other, and a process
that dies lets go. A hold must not be open across a fork that outlives it: the child would keep it.
"""

import fcntl
import os
from types import TracebackType

from .durable import make_directory


class Hold:
    """One hold on the lock, released by `close` or at the end of a with block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Lock:
    def __init__(self, path: str) -> None:
        self._path = path

    def shared(self) -> Hold:
        """Keep garbage collection away; waits for one that is at work."""
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
        except BaseException:
            os.close(fd)
            raise
        return Hold(fd)

    def try_exclusive(self) -> Hold | None:
        """The lock for garbage collection; None when anybody holds it."""
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return Hold(fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            make_directory(os.path.dirname(self._path))
            return os.open(self._path, flags, 0o600)
