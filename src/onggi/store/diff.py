"""What a container changed: overlayfs' upper directory as a layer, or as a list.

Owns the translation from overlayfs' marks to OCI whiteouts and to `docker diff`'s letters. Reads
by descriptors, follows no link, writes nothing to disk.
"""

import os
import stat
from collections.abc import Callable

from ..errors import InvalidInput
from ..linux.copied import Pristine, is_same
from ..typed import Literal
from .pack import Packer
from .tarindex import LIMITS, printable
from .tarwrite import LayerWriter

Change = tuple[Literal["A", "C", "D"], str]
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_layer(
    upper_fd: int,
    write: Callable[[bytes], object],
    *,
    mtime_clamp_s: int | None = None,
    pristine: Pristine | None = None,
) -> None:
    """The upper directory as one layer's tar: sorted, whole seconds, only what it holds.

    Sockets are left out, as docker does. Raises InvalidInput for device nodes and for names that
    a layer would read as whiteouts. With `pristine` the directory is a whole copy that was so when
    it was made: what differs is written.
    """
    writer = LayerWriter(write, mtime_clamp_s=mtime_clamp_s)
    if pristine is None:
        Packer(writer, overlay=True, devices=False).contents(upper_fd, b"")
    else:
        _CopyPacker(writer, pristine).contents(upper_fd, b"")
    writer.finish()


class _CopyPacker(Packer):
    """Writes what of a copy has changed."""

    def __init__(self, writer: LayerWriter, pristine: Pristine) -> None:
        super().__init__(writer, overlay=True, devices=False)
        self._pristine = pristine
        self._names: dict[str, set[str]] = {}  # of each directory
        for path in pristine:
            parent, _, name = path.rpartition("/")
            self._names.setdefault(parent, set()).add(name)

    def contents(self, directory_fd: int, prefix: bytes, depth: int = 0) -> None:
        if depth > LIMITS.depth:
            raise InvalidInput(f"directories nested too deep at {printable(prefix)}")
        present = set(os.listdir(directory_fd))
        known = self._names.get(os.fsdecode(prefix).rstrip("/"), set())
        for name in sorted(map(os.fsencode, present | known)):
            path = prefix + name
            if os.fsdecode(name) not in present:
                self._writer.whiteout(path)
            elif not self._is_same(directory_fd, name, path):
                self.entry(directory_fd, name, path, depth)

    def _is_same(self, directory_fd: int, name: bytes, path: bytes) -> bool:
        """A directory is never: what is in it may have changed."""
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        known = self._pristine.get(os.fsdecode(path))
        return not stat.S_ISDIR(status.st_mode) and is_same(known, status)

    def _directory(self, directory_fd: int, name: bytes, path: bytes, depth: int) -> None:
        """Without itself when only what is in it may have changed."""
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if not is_same(self._pristine.get(os.fsdecode(path)), status):
            super()._directory(directory_fd, name, path, depth)
            return
        fd = os.open(name, _DIRECTORY, dir_fd=directory_fd)
        try:
            self.contents(fd, path + b"/", depth + 1)
        finally:
            os.close(fd)


def changes_of_copy(copy_fd: int, pristine: Pristine) -> list[Change]:
    """`docker diff` of a copy."""
    found: dict[str, Change] = {}
    seen = set()

    def look(fd: int, prefix: str) -> None:
        for name in os.listdir(fd):
            path = prefix + name
            seen.add(path)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not is_same(pristine.get(path), status):
                found[path] = ("C" if path in pristine else "A", f"/{path}")
            if stat.S_ISDIR(status.st_mode):
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    look(inner, f"{path}/")
                finally:
                    os.close(inner)

    look(copy_fd, "")
    for path in pristine.keys() - seen:
        if path.rpartition("/")[0] in ("", *seen):
            found[path] = ("D", f"/{path}")
    return sorted(found.values(), key=lambda change: change[1])


def changes(upper_fd: int, lower_fd: int) -> list[Change]:
    """`docker diff`: what is added, changed and deleted against `lower_fd`, the image's tree.

    Sorted by path. A directory counts as changed when something in it did. A removed directory is
    one line; a file that was copied up and is the same as before is none.
    """
    found: list[Change] = []
    _compare(upper_fd, lower_fd, "", found)
    return sorted(found, key=lambda change: change[1])


def _compare(upper_fd: int, lower_fd: int, path: str, found: list[Change]) -> None:
    """Differences below one directory. `lower_fd` -1: nothing of it exists below."""
    if path.count("/") > LIMITS.depth:
        raise InvalidInput(f"directories nested too deep at {printable(os.fsencode(path))}")
    opaque = lower_fd >= 0 and path != "" and _is_opaque(upper_fd)
    names = os.listdir(upper_fd)
    if opaque:
        gone = sorted(set(os.listdir(lower_fd)).difference(names))
        found += [("D", f"{path}/{name}") for name in gone]
    for name in names:
        here = f"{path}/{name}"
        upper, lower = _status(upper_fd, name), _status(lower_fd, name)
        if upper is None:
            continue  # a running container removed it
        if stat.S_ISCHR(upper.st_mode) and upper.st_rdev == 0:
            if lower is not None:
                found.append(("D", here))
        elif stat.S_ISDIR(upper.st_mode):
            _compare_directory(upper_fd, lower_fd, name, here, upper, lower, found)
        elif lower is None:
            found.append(("A", here))
        elif _differ(upper, lower) or _capability(upper_fd, name) != _capability(lower_fd, name):
            found.append(("C", here))


def _compare_directory(
    upper_fd: int,
    lower_fd: int,
    name: str,
    path: str,
    upper: os.stat_result,
    lower: os.stat_result | None,
    found: list[Change],
) -> None:
    before = len(found)
    try:
        upper_child = os.open(name, _DIRECTORY, dir_fd=upper_fd)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed or replaced since it was looked at
    lower_child = -1
    try:
        if lower is not None and stat.S_ISDIR(lower.st_mode):
            lower_child = os.open(name, _DIRECTORY, dir_fd=lower_fd)
        _compare(upper_child, lower_child, path, found)
    finally:
        os.close(upper_child)
        if lower_child >= 0:
            os.close(lower_child)
    if lower is None:
        found.append(("A", path))
    elif len(found) > before or _differ(upper, lower):
        found.append(("C", path))


def _status(directory_fd: int, name: str) -> os.stat_result | None:
    if directory_fd < 0:
        return None
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _differ(one: os.stat_result, other: os.stat_result) -> bool:
    """What docker compares. Sizes and times of directories say nothing."""
    if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return True
    if stat.S_ISDIR(one.st_mode):
        return False
    if (one.st_size, one.st_rdev) != (other.st_size, other.st_rdev):
        return True
    return one.st_mtime_ns != other.st_mtime_ns


def _is_opaque(directory_fd: int) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(directory_fd, name) == b"y":
                return True
        except OSError:
            continue
    return False


def _capability(directory_fd: int, name: str) -> bytes:
    path = f"/proc/self/fd/{directory_fd}/{name}"
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""
