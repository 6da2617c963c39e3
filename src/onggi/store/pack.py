"""A directory on disk as tar members, by descriptors only.

Owns the walk that `commit`, `export` and `cp` share: sorted names, hard links found by inode,
attributes read from open files, no link followed, no device or FIFO ever opened. What differs is
a flag: an overlay's upper directory says what it deletes, a plain tree does not.
"""

import errno
import os
import stat

from ..errors import InvalidInput
from ..linux import safefs
from . import owners
from .tarindex import LIMITS, printable
from .tarwrite import WHITEOUT_PREFIX, LayerWriter, Xattrs

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_UNSUPPORTED = frozenset(("redirect", "metacopy"))  # our mounts switch these off


class Packer:
    """Writes trees to one `LayerWriter`. `overlay`: the tree is an upper directory, to be written
    with OCI whiteouts. `devices`: write device nodes, else they are refused. `device`: the st_dev
    of the only file system to look into; what is mounted in it is written as an empty directory
    or file, as docker exports mount points. `id_base`: what root is in the user namespace whose
    tree it is; `owner` is written instead of what is found."""

    def __init__(
        self,
        writer: LayerWriter,
        *,
        overlay: bool,
        devices: bool,
        device: int | None = None,
        id_base: int = 0,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._id_base = id_base
        self._fixed_owner = owner
        self._writer = writer
        self._overlay = overlay
        self._devices = devices
        self._device = device
        self._links: dict[tuple[int, int], bytes] = {}

    def contents(self, directory_fd: int, prefix: bytes, depth: int = 0) -> None:
        """Everything in a directory, as members named `prefix` + name."""
        if depth > LIMITS.depth:
            raise InvalidInput(f"directories nested too deep at {printable(prefix)}")
        for name in sorted(map(os.fsencode, os.listdir(directory_fd))):
            self.entry(directory_fd, name, prefix + name, depth)

    def entry(self, directory_fd: int, name: bytes, path: bytes, depth: int = 0) -> None:
        """One file, or a directory with all below it, as the member `path`."""
        try:
            status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            mode = status.st_mode
            link = os.readlink(name, dir_fd=directory_fd) if stat.S_ISLNK(mode) else b""
        except FileNotFoundError:
            return  # a running container removed it
        if self._overlay and self._is_whiteout(status):
            self._writer.whiteout(path)
        elif self._overlay and name.startswith(WHITEOUT_PREFIX):
            raise InvalidInput(f"a layer cannot hold a file named {printable(path)}")
        elif stat.S_ISDIR(mode):
            self._directory(directory_fd, name, path, depth)
        elif stat.S_ISREG(mode):
            self._file(directory_fd, name, path, status)
        elif stat.S_ISLNK(mode):
            self._writer.symlink(path, link, *self._owner(status), status.st_mtime_ns)
        elif not stat.S_ISSOCK(mode):
            self._special(path, status)

    def _is_whiteout(self, status: os.stat_result) -> bool:
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def _directory(self, directory_fd: int, name: bytes, path: bytes, depth: int) -> None:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=directory_fd)
        except FileNotFoundError:
            return
        try:
            self.root(fd, path)
            if self._device is None or os.fstat(fd).st_dev == self._device:
                self.contents(fd, path + b"/", depth + 1)
        finally:
            os.close(fd)

    def root(self, fd: int, path: bytes) -> None:
        """The directory `fd` itself, as the member `path`, without what is in it."""
        status = os.fstat(fd)
        xattrs, opaque, record = self._xattrs(fd, path)
        self._writer.directory(
            path, stat.S_IMODE(status.st_mode), *self._owner(status, record),
            status.st_mtime_ns, xattrs,
        )  # fmt: skip
        if opaque:
            self._writer.opaque(path)

    def _file(self, directory_fd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1:
            first = self._links.setdefault(inode, path)
            if first is not path:
                self._writer.hardlink(
                    path, first, stat.S_IMODE(status.st_mode), *self._owner(status),
                    status.st_mtime_ns,
                )  # fmt: skip
                return
        try:
            fd = self._open(directory_fd, name)
        except FileNotFoundError:
            self._links.pop(inode, None)  # its next name is the first one written
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._writer.file(path, 0, 0o755, 0, 0, status.st_mtime_ns, lambda size: b"")
            return
        try:
            self.file(fd, path)
        finally:
            os.close(fd)

    def _open(self, directory_fd: int, name: bytes) -> int:
        if self._device is None:
            return os.open(name, _FILE, dir_fd=directory_fd)
        resolve = safefs.RESOLVE_NO_XDEV | safefs.RESOLVE_NO_SYMLINKS | safefs.RESOLVE_BENEATH
        return safefs.openat2(directory_fd, name, _FILE, 0, resolve)

    def file(self, fd: int, path: bytes) -> None:
        """The open regular file `fd` as the member `path`."""
        status = os.fstat(fd)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise InvalidInput(f"{printable(path)} is not a regular file (any more)")
        xattrs, _, record = self._xattrs(fd, path)
        self._writer.file(
            path, status.st_size, stat.S_IMODE(mode), *self._owner(status, record),
            status.st_mtime_ns, lambda size: os.read(fd, size), xattrs,
        )  # fmt: skip

    def _special(self, path: bytes, status: os.stat_result) -> None:
        mode, rdev = status.st_mode, status.st_rdev
        owner = (stat.S_IMODE(mode), *self._owner(status), status.st_mtime_ns)
        if stat.S_ISFIFO(mode):
            self._writer.fifo(path, *owner)
            return
        number = (os.major(rdev), os.minor(rdev))
        if not self._devices:
            kind = "block" if stat.S_ISBLK(mode) else "character"
            raise InvalidInput(
                f"/{path.decode(errors='backslashreplace')} is a {kind} device "
                f"({number[0]}:{number[1]}), which layers may not have",
                hint="remove it in the container first",
            )
        self._writer.device(path, stat.S_ISBLK(mode), number, *owner)

    def _owner(self, status: os.stat_result, record: bytes = b"") -> tuple[int, int]:
        return self._fixed_owner or owners.inside(owners.of(status, record), self._id_base)

    def _xattrs(self, fd: int, path: bytes) -> tuple[Xattrs, bool, bytes]:
        """What goes into the archive, whether overlayfs marks the directory opaque, and the record
        of an owner that has no id here."""
        names = os.listxattr(fd)
        if not names:
            return (), False, b""
        kept, opaque, record = [], False, b""
        for name in sorted(names):
            if name.startswith(_OVERLAY):
                mark = name.rpartition(".")[2]
                if self._overlay and mark in _UNSUPPORTED:
                    raise InvalidInput(f"{printable(path)} has overlayfs' {mark}, unreadable here")
                opaque = opaque or (mark == "opaque" and os.getxattr(fd, name) == b"y")
            elif name == owners.RECORD:
                record = os.getxattr(fd, name)
            elif name == "security.capability" or name.startswith("user."):
                kept.append((os.fsencode(name), os.getxattr(fd, name)))
        return tuple(kept), opaque and self._overlay, record
