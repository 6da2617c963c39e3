"""Files that are whole or not there: nameless until they are on disk, then named.

Owns the order O_TMPFILE, write, fdatasync, linkat, fsync of the directory. Knows no layout.
"""

import errno
import os

from ..errors import Unavailable

_TMPFILE = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC


def make_directory(path: str) -> str:
    """The directory; what is missing of it is made for us alone, and durable."""
    if os.path.isdir(path):
        return path
    parent = make_directory(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
        sync_directory(parent)
    except FileExistsError:
        pass
    return path


def open_tmpfile(directory: str) -> int:
    """A nameless file: it vanishes with the process unless `publish` gives it a name."""
    return os.open(directory, _TMPFILE, 0o600)


def publish(fd: int, directory: str, name: str) -> bool:
    """Make the file's bytes durable and give it its name; False when that name already is there."""
    os.fdatasync(fd)
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with dst_dir_fd does Python call linkat(AT_SYMLINK_FOLLOW) and not link(2).
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.fsync(directory_fd)
        os.close(directory_fd)
    return True


def publish_over(fd: int, directory: str, name: str) -> None:
    """The same in place of the file that has the name, which nobody sees missing meanwhile."""
    temporary = f"{name}.{os.urandom(6).hex()}"
    publish(fd, directory, temporary)
    os.rename(f"{directory}/{temporary}", f"{directory}/{name}")
    sync_directory(directory)


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte. Raises Unavailable in words when the file system is full."""
    try:
        written = os.write(fd, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(fd, data)
    except OSError as error:
        raise in_words(error) from error


def in_words(error: OSError) -> Exception:
    """Unavailable when the file system is full, else the error itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return Unavailable(
        "no space left on device: the store's file system is full",
        hint="free space, for example with: onggi rmi IMAGE",
    )
