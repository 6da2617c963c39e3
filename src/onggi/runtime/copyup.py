"""`tmpcopyup`: fill a new tmpfs with what the image has at that place.

By descriptors only, before anybody can see the new file system; links are copied, not followed.
"""

import os
import stat

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy(place_fd: int, target_fd: int) -> None:
    """From the directory behind an O_PATH descriptor, which is closed, into a directory."""
    source = os.open(".", _DIRECTORY, dir_fd=place_fd)
    os.close(place_fd)
    target = os.open(".", _DIRECTORY, dir_fd=target_fd)
    try:
        _copy_directory(source, target)
    finally:
        os.close(source)
        os.close(target)


def _copy_directory(source: int, target: int) -> None:
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            below = [os.open(name, _DIRECTORY, dir_fd=fd) for fd in (source, target)]
            try:
                _copy_directory(*below)
            finally:
                for fd in below:
                    os.close(fd)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(name, source, target)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_file(name: str, source: int, target: int) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)
    there = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
    try:
        while chunk := os.read(here, _CHUNK):
            written = os.write(there, chunk)
            while written < len(chunk):  # a file system that is nearly full takes a part
                written += os.write(there, chunk[written:])
    finally:
        os.close(here)
        os.close(there)
