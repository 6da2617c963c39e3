"""Root filesystems where nothing can be mounted: copies, and what of a copy has been changed since.

The trees that are copied here are the store's own; they are walked by descriptors, no link is
followed, and directories are merged with overlayfs' marks.
"""

import os
import stat
from collections.abc import Sequence

from .. import jsons
from . import mount, safefs

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"
WHITEOUT_MARK = "user.overlay.whiteout"
_PIECE = 1 << 24
State = tuple[int, ...]
Pristine = dict[str, State]


def overlay(root: mount.Root) -> int:
    """A descriptor of the tree: the topmost layer, which holds all below it, or its copy."""
    source = os.open(root.lowers[-1].path, _DIRECTORY)
    if not root.upper:
        return source
    target = os.open(root.upper, _DIRECTORY)
    try:
        if not os.path.exists(_record(root.upper)):
            _Copy(target, link=False).directory(source, target, "")
            _describe(source, target)
            _write_record(root.upper, _states(target))
    except BaseException:
        os.close(target)
        raise
    finally:
        os.close(source)
    return target


def merge(layers: Sequence[str], target: str) -> None:
    """The union of directories, bottom first, in a directory that is there. Files are shared with
    them: nobody may write to it."""
    into = os.open(target, _DIRECTORY)
    try:
        for layer in layers:
            source = os.open(layer, _DIRECTORY)
            try:
                _Copy(into, link=True).directory(source, into, "")
                _describe(source, into)
            finally:
                os.close(source)
    finally:
        os.close(into)


def pristine(upper: str) -> Pristine | None:
    """How the files of a copy were when it was made, by path. None when that directory is no
    copy."""
    try:
        with open(_record(upper), encoding="ascii") as file:
            return {path: tuple(numbers) for path, numbers in jsons.loads(file.read()).items()}
    except FileNotFoundError:
        return None


def is_same(known: State | None, status: os.stat_result) -> bool:
    """Whether the file is as it was. Its time of change tells, unless another name of it came or
    went."""
    now = _state(status)
    return known is not None and known[2:] == now[2:] and (known[1] != now[1] or known == now)


def _state(status: os.stat_result) -> State:
    return (status.st_ctime_ns, status.st_nlink, status.st_ino, status.st_mtime_ns, status.st_size,
            status.st_mode, status.st_uid, status.st_gid)  # fmt: skip


def _record(upper: str) -> str:
    return f"{upper}.pristine"


def _write_record(upper: str, states: Pristine) -> None:
    temporary = f"{_record(upper)}.{os.getpid()}"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(jsons.dumps(states))
    os.rename(temporary, _record(upper))


def _states(directory: int) -> Pristine:
    found: Pristine = {}

    def look(fd: int, prefix: str) -> None:
        for name in os.listdir(fd):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            found[prefix + name] = _state(status)
            if stat.S_ISDIR(status.st_mode):
                below = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    look(below, f"{prefix}{name}/")
                finally:
                    os.close(below)

    look(directory, "")
    return found


class _Copy:
    def __init__(self, root: int, *, link: bool) -> None:
        self._root = root
        self._link = link
        self._first: dict[tuple[int, int], str] = {}  # of files with several names

    def directory(self, source: int, target: int, prefix: str) -> None:
        for name in os.listdir(source):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            mode = status.st_mode
            if _is_whiteout(source, name, status):
                safefs.remove_tree(target, name)
            elif stat.S_ISDIR(mode):
                self._below(source, target, name, f"{prefix}{name}/")
            else:
                safefs.remove_tree(target, name)
                self._file(source, target, name, status, prefix + name)

    def _below(self, source: int, target: int, name: str, prefix: str) -> None:
        inner = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            if _is_opaque(inner) or not _is_directory(target, name):
                safefs.remove_tree(target, name)
                os.mkdir(name, 0o700, dir_fd=target)
            into = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self.directory(inner, into, prefix)
                _describe(inner, into)
            finally:
                os.close(into)
        finally:
            os.close(inner)

    def _file(self, source: int, target: int, name: str, status: os.stat_result, path: str) -> None:
        if self._link:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            return
        if status.st_nlink > 1:
            first = self._first.setdefault((status.st_dev, status.st_ino), path)
            if first is not path:
                os.link(first, name, src_dir_fd=self._root, dst_dir_fd=target,
                        follow_symlinks=False)  # fmt: skip
                return
        if stat.S_ISREG(status.st_mode):
            _copy_data(source, target, name)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        else:
            return
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_data(source: int, target: int, name: str) -> None:
    here = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        there = os.open(name, flags, 0o600, dir_fd=target)
        try:
            while os.sendfile(there, here, None, _PIECE):
                pass
            _describe(here, there)
        finally:
            os.close(there)
    finally:
        os.close(here)


def _describe(source: int, target: int) -> None:
    """Mode, attributes and times of one open file, as far as they are ours to give."""
    status = os.fstat(source)
    for name in os.listxattr(source):
        if name.startswith("user.") and name != _OPAQUE:
            os.setxattr(target, name, os.getxattr(source, name))
    try:
        os.fchown(target, status.st_uid, status.st_gid)
    except PermissionError:
        pass
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_whiteout(directory: int, name: str, status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        return WHITEOUT_MARK in os.listxattr(fd)
    finally:
        os.close(fd)


def _is_opaque(directory: int) -> bool:
    return _OPAQUE in os.listxattr(directory)


def _is_directory(directory: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
