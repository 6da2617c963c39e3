"""A file that only takes up space, so that on a full disk there is some to give back.

Deleting needs space first: a one-row DELETE fails on a full ext4. Never counts as data.
"""

import os

MAX_BYTES = 16 << 20
MIN_BYTES = 1 << 20


class Ballast:
    def __init__(self, path: str) -> None:
        self.path = path

    def release(self) -> bool:
        """Give the space back; whether there was any to give."""
        try:
            if os.stat(self.path).st_size == 0:
                return False
            os.truncate(self.path, 0)
        except FileNotFoundError:
            return False
        return True

    def restore(self) -> None:
        """Take the space again where at least ten times as much is free. Quietly does less: a
        store without ballast still works."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            space = os.fstatvfs(fd)
            size = min(max(space.f_blocks * space.f_frsize // 1000, MIN_BYTES), MAX_BYTES)
            if os.fstat(fd).st_size < size <= space.f_bavail * space.f_frsize // 10:
                os.posix_fallocate(fd, 0, size)
        except OSError:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)
