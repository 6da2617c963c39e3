"""Paths under an untrusted root, by directory descriptor and openat2 only.

Owns every look-up inside a container's root filesystem (SECURITY A6, A7, A10, A16): a name is
resolved by the kernel with the root as "/", magic links are refused, and what comes back is a
descriptor, so no path is walked twice. Never builds a host path to something inside a root.
"""

import errno
import os
import stat
from collections.abc import Callable
from struct import pack

from .libc import syscall

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16
Visit = Callable[[int, str, os.stat_result], None]
O_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_MAX_LINKS = 40  # the kernel's own limit
_MAX_RETRIES = 128
_MAX_VISITED_DEPTH = 255
_MAX_OPEN_DEPTH = 64  # remove_tree flattens what is deeper
Path = str | bytes


def openat2(directory_fd: int, path: Path, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec. Retries the EAGAIN that a concurrent rename causes."""
    raw = os.fsencode(path)
    if b"\0" in raw:  # C would end it there, and open something else
        raise OSError(errno.EINVAL, "a path with a NUL", os.fsdecode(path))
    how = pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(_MAX_RETRIES):
        try:
            return syscall("openat2", directory_fd, raw, how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN or attempt == _MAX_RETRIES - 1:
                raise OSError(
                    error.errno, os.strerror(error.errno or 0), os.fsdecode(path)
                ) from error
    raise AssertionError("unreachable")


def open_in_root(root_fd: int, path: Path, flags: int, mode: int = 0) -> int:
    """Open `path` as a process chrooted to `root_fd` would; magic links raise ELOOP."""
    return openat2(root_fd, path or "/", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_beneath(directory_fd: int, path: Path, flags: int, mode: int = 0) -> int:
    """Open `path` below the directory; any symbolic link on the way raises ELOOP, `..` that leaves
    raises EXDEV."""
    return openat2(
        directory_fd,
        path,
        flags,
        mode,
        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    )


def read_file_in_root(root_fd: int, path: Path, max_bytes: int) -> bytes | None:
    """The content of a regular file; None when there is no such file.

    Never blocks on a FIFO and never opens a device. Raises OSError: EINVAL when it is not a regular
    file, EFBIG when it is larger than `max_bytes`.
    """
    try:
        pinned = open_in_root(root_fd, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(pinned).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fsdecode(path))
        # Looked up again, so checked again; O_NONBLOCK for a FIFO that took its place.
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(pinned)
    with open(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fsdecode(path))
        content = bytearray()
        while chunk := file.read(min(1 << 20, max_bytes + 1 - len(content))):
            content += chunk
            if len(content) > max_bytes:
                raise OSError(errno.EFBIG, f"is larger than {max_bytes} bytes", os.fsdecode(path))
    return bytes(content)


def mkdirs_in_root(root_fd: int, path: Path, mode: int = 0o755) -> int:
    """A directory and its missing parents; returns an O_PATH descriptor of it. Symbolic links are
    followed within the root, and a dangling one has its target made, as docker does."""
    return _make(root_fd, os.fsdecode(path), directory=True, mode=mode)


def make_file_in_root(root_fd: int, path: Path, mode: int = 0o644) -> int:
    """A file (an empty one when missing) and its missing parents; returns an O_PATH descriptor."""
    return _make(root_fd, os.fsdecode(path), directory=False, mode=mode)


def _make(root_fd: int, path: str, *, directory: bool, mode: int) -> int:
    wanted = os.O_PATH | (os.O_DIRECTORY if directory else 0)
    try:
        return open_in_root(root_fd, path, wanted)
    except FileNotFoundError:
        pass
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done, links = "/", 0
    here = open_in_root(root_fd, "/", O_PATH_DIRECTORY)
    try:
        while pending:
            part = pending.pop()
            flags = O_PATH_DIRECTORY if pending or directory else os.O_PATH
            try:
                following = open_in_root(root_fd, f"{done}/{part}", flags)
            except FileNotFoundError:
                target = _readlink(part, here)
                if target is None:
                    following = _create(here, part, bool(flags & os.O_DIRECTORY), mode)
                else:
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                    pending += [p for p in reversed(target.split("/")) if p not in ("", ".")]
                    if target.startswith("/"):
                        done = "/"
                        os.close(here)
                        here = open_in_root(root_fd, "/", O_PATH_DIRECTORY)
                    continue
            os.close(here)
            here, done = following, f"{done}/{part}"
    except BaseException:
        os.close(here)
        raise
    return here


def _readlink(name: str, directory_fd: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _create(directory_fd: int, name: str, directory: bool, mode: int) -> int:
    """Make one component and pin it. Losing a race to another creator is no error."""
    if directory:
        try:
            os.mkdir(name, mode if mode & 0o100 else 0o755, dir_fd=directory_fd)
        except FileExistsError:
            pass
        return open_beneath(directory_fd, name, O_PATH_DIRECTORY)
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    os.close(os.open(name, flags, mode, dir_fd=directory_fd))
    return open_beneath(directory_fd, name, os.O_PATH)


def change_owner(fd: int, uid: int, gid: int) -> None:
    """Give a file, or a directory with all below it, to somebody. Raises as `visit_below` does."""

    def give(directory_fd: int, name: str, status: os.stat_result) -> None:
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(name, uid, gid, dir_fd=directory_fd, follow_symlinks=False)

    os.chown(fd, uid, gid)
    visit_below(fd, give)


def visit_below(fd: int, visit: Visit) -> None:
    """Call `visit(directory, name, status)` for all that is below a directory, if it is one.
    Follows no link and crosses to no other file system; what goes away meanwhile is passed over.
    Raises ELOOP for a tree that is deeper than 255 directories."""
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        _visit_below(fd, visit, status.st_dev, 0)


def _visit_below(directory_fd: int, visit: Visit, device: int, depth: int) -> None:
    if depth > _MAX_VISITED_DEPTH:
        raise OSError(errno.ELOOP, "directories nested too deep")
    for name in os.listdir(directory_fd):
        try:
            status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if status.st_dev != device:
                continue
            visit(directory_fd, name, status)
            if stat.S_ISDIR(status.st_mode):
                child = _open_directory(name, directory_fd)
                try:
                    if os.fstat(child).st_dev == device:
                        _visit_below(child, visit, device, depth + 1)
                finally:
                    os.close(child)
        except (FileNotFoundError, NotADirectoryError):
            continue


def remove_tree(parent_fd: int, name: Path) -> None:
    """Remove a file or a whole directory; nothing there is no error.

    Never follows a link and never crosses to another file system: a mount inside raises EXDEV or
    EBUSY and stays. Trees of any depth need at most 64 descriptors.
    """
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    try:
        top = _open_directory(os.fsdecode(name), parent_fd)
    except FileNotFoundError:
        return
    try:
        device = os.fstat(top).st_dev
        if device != os.fstat(parent_fd).st_dev:
            raise OSError(errno.EXDEV, "is on another file system", os.fsdecode(name))
        _empty(top, top, device, 0)
    finally:
        os.close(top)
    _rmdir(os.fsdecode(name), parent_fd)


def _empty(top: int, directory_fd: int, device: int, depth: int) -> None:
    """Empty a directory. Sub-directories too deep are moved up to `top`, which looks again."""
    again = True
    while again:
        again = False
        with os.scandir(directory_fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in names:
            if not is_directory:
                _unlink(name, directory_fd)
            elif depth >= _MAX_OPEN_DEPTH:
                _move_up(name, directory_fd, top)
            else:
                _empty_child(top, name, directory_fd, device, depth)
        if depth == 0:
            with os.scandir(directory_fd) as entries:
                again = any(True for _ in entries)


def _empty_child(top: int, name: str, directory_fd: int, device: int, depth: int) -> None:
    try:
        child = _open_directory(name, directory_fd)
    except FileNotFoundError:
        return
    try:
        if os.fstat(child).st_dev != device:
            raise OSError(errno.EXDEV, "is on another file system", name)
        _empty(top, child, device, depth + 1)
    finally:
        os.close(child)
    _rmdir(name, directory_fd)


def _move_up(name: str, directory_fd: int, top: int) -> None:
    unique = f".onggi-removing-{os.urandom(8).hex()}"
    os.rename(name, unique, src_dir_fd=directory_fd, dst_dir_fd=top)


def _open_directory(name: str, parent_fd: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=parent_fd)


def _unlink(name: str, parent_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        pass


def _rmdir(name: str, parent_fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=parent_fd)
    except FileNotFoundError:
        pass
