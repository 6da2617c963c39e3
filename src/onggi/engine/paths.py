"""Where a container's files lie: ROOT/containers/ID on disk, RUN/ID for what dies with the boot."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..linux import safefs
from ..typed import NamedTuple

NAMES = "dns"  # below RUN, while names are served


class Paths(NamedTuple):
    root: str
    run: str

    def container(self, container_id: str) -> str:
        return f"{self.root}/containers/{container_id}"

    def running(self, container_id: str) -> str:
        return f"{self.run}/{container_id}"

    def log(self, container_id: str) -> str:
        return f"{self.container(container_id)}/{container_id}-json.log"

    def upper(self, container_id: str) -> str:
        return f"{self.container(container_id)}/upper"

    def make_container(self, container_id: str) -> None:
        """The container's directory with its writable layer."""
        os.makedirs(f"{self.root}/containers", 0o700, exist_ok=True)
        base = self.container(container_id)
        os.mkdir(base, 0o700)
        os.mkdir(f"{base}/work", 0o700)
        os.mkdir(f"{base}/upper", 0o755)

    def renew_work(self, container_id: str) -> None:
        """Make overlay's work directory usable again: after a volatile mount the kernel refuses it,
        since it cannot know that the host did not crash. We do: it is the same boot."""
        _remove(f"{self.container(container_id)}/work", "work")

    def make_running(self, container_id: str) -> None:
        os.makedirs(self.running(container_id), 0o700, exist_ok=True)

    def remove_running(self, container_id: str) -> None:
        _remove(self.run, container_id)

    def remove_container(self, container_id: str) -> None:
        """Delete the writable layer and the logs. Idempotent."""
        _remove(f"{self.root}/containers", container_id)

    @contextmanager
    def locked(self, container_id: str) -> Iterator[int]:
        """Start, end and removal of one container exclude each other. Whoever gets the lock reads
        the row anew: the container may be gone. A child that keeps the descriptor keeps the
        lock."""
        fd = self._open_lock(container_id)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            self._leave_lock(container_id, fd)

    @contextmanager
    def lock_if_free(self, container_id: str) -> Iterator[bool]:
        """The same for who does not wait: whether the lock was free, and is ours in the block."""
        fd = self._open_lock(container_id)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            self._leave_lock(container_id, fd)

    def _open_lock(self, container_id: str) -> int:
        os.makedirs(f"{self.run}/locks", 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(f"{self.run}/locks/{container_id}", flags, 0o600)

    def _leave_lock(self, container_id: str, fd: int) -> None:
        if not os.path.isdir(self.container(container_id)):
            self.forget_lock(container_id)  # it went while we waited
        os.close(fd)

    def forget_lock(self, container_id: str) -> None:
        try:
            os.unlink(f"{self.run}/locks/{container_id}")
        except FileNotFoundError:
            pass


def write_file(path: str, content: str, mode: int = 0o644) -> None:
    """Write a small file in place: the inode stays, since a container may have it mounted."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, mode)
    try:
        os.write(fd, content.encode(errors="surrogateescape"))
    finally:
        os.close(fd)


def read_file(path: str) -> str:
    """A small text file; "" when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(1 << 20)


def file_bytes(name: str, directory: int) -> int:
    """The file's size; 0 when it has gone since it was listed."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _remove(directory: str, name: str) -> None:
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        safefs.remove_tree(parent, name)
    finally:
        os.close(parent)
