"""A tar stream unpacked into a living root file system: `cp` in, ADD of an archive, `import`.

Owns the one road on which an archive's names meet a file system that others may change meanwhile.
Each entry's parent is resolved by the kernel with the root as "/", its own name is only ever
created there (never opened, never followed), and metadata is set on descriptors. So neither a
hostile archive nor a container that swaps names can reach outside. Knows no whiteouts.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable

from ..errors import CorruptData, InvalidInput
from ..linux import safefs
from . import owners
from .layerfile import write_all_at
from .tarindex import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Extent,
    TarEntry,
    TarIndex,
    printable,
)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {FIFO: stat.S_IFIFO, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}


def extract_into(
    root_fd: int,
    directory: str,
    chunks: Iterable[bytes],
    *,
    owner: tuple[int, int] | None = None,
    keep_types: bool = False,
    devices: bool = False,
    rename: Callable[[bytes], bytes] | None = None,
    id_base: int = 0,
) -> None:
    """Unpack the tar in `chunks` below `directory` of the root, which must exist.

    Existing directories are merged into; anything else of the same name is replaced.
    `owner`: instead of the archive's. `keep_types`: refuse to put a directory where something
    else is, or the reverse (docker's noOverwriteDirNonDir). `rename`: of members' paths, b"" to
    leave one out. `id_base`: what root is in the user namespace whose file system it is. Links met
    on the way are followed within the root. Raises CorruptData for what
    is wrong with the archive, InvalidInput for what does not fit the root, OSError for the rest.
    """
    base = safefs.open_in_root(root_fd, directory, safefs.O_PATH_DIRECTORY)
    os.close(base)  # raises early; entries resolve it again
    unpacker = _Unpacker(root_fd, directory, owner, keep_types, rename, id_base)
    index = TarIndex(devices=devices)
    try:
        for chunk in chunks:
            start = index.size
            for entry in index.feed(chunk):
                unpacker.data(chunk, start)
                unpacker.begin(entry)
            unpacker.data(chunk, start)
        index.finish()
        unpacker.finish_directories()
    finally:
        unpacker.close()


class _Unpacker:
    def __init__(
        self,
        root_fd: int,
        directory: str,
        owner: tuple[int, int] | None,
        keep_types: bool,
        rename: Callable[[bytes], bytes] | None,
        id_base: int,
    ) -> None:
        self._root_fd = root_fd
        self._id_base = id_base
        self._base = os.fsencode(directory).rstrip(b"/")
        self._owner = owner
        self._keep_types = keep_types
        self._rename = rename
        self._parent_path: bytes | None = None  # of the last entry, kept open
        self._parent_fd = -1
        self._directories: list[TarEntry] = []
        self._file_fd = -1
        self._entry = TarEntry(b"", REGULAR)
        self._extents: list[Extent] = []  # of the open file, still to come; the next one last

    def close(self) -> None:
        for fd in (self._file_fd, self._parent_fd):
            if fd >= 0:
                os.close(fd)
        self._file_fd = self._parent_fd = -1

    def begin(self, entry: TarEntry) -> None:
        """Create what `entry` says; a file's data arrives through `data`."""
        if self._rename is not None:
            link = self._rename(entry.link) if entry.kind == HARDLINK else entry.link
            entry = entry._replace(path=self._rename(entry.path), link=link)
        if not entry.path:
            return
        parent_path, _, name = entry.path.rpartition(b"/")
        parent = self._parent(parent_path)
        if self._make_way(parent, name, entry):
            self._create(parent, name, entry)

    def data(self, chunk: bytes, start: int) -> None:
        """Write what of the open file lies in `chunk`, which began at `start` of the stream."""
        end = start + len(chunk)
        extents = self._extents
        while extents:
            offset, position, size = extents[-1]
            first, last = max(position, start), min(position + size, end)
            if first < last:
                piece = chunk[first - start : last - start]
                write_all_at(self._file_fd, piece, offset + first - position)
            if position + size > end:
                return
            extents.pop()
        if self._file_fd >= 0:
            fd, self._file_fd = self._file_fd, -1
            try:
                self._describe(fd, self._entry)
            finally:
                os.close(fd)

    def finish_directories(self) -> None:
        """Their times, and modes that might have kept us out, come last."""
        for entry in reversed(self._directories):
            try:
                fd = safefs.open_in_root(self._root_fd, self._base + b"/" + entry.path, _DIRECTORY)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # a later entry replaced it
                raise
            try:
                self._describe(fd, entry)
            finally:
                os.close(fd)

    def _parent(self, path: bytes) -> int:
        if path == self._parent_path:
            return self._parent_fd
        fd = safefs.mkdirs_in_root(self._root_fd, self._base + b"/" + path, 0o755)
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
        self._parent_path, self._parent_fd = path, fd
        return fd

    def _make_way(self, parent: int, name: bytes, entry: TarEntry) -> bool:
        """Remove what has the name; False when it is a directory that can stay."""
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return True
        old, new = stat.S_ISDIR(mode), entry.kind == DIRECTORY
        if old and new:
            self._directories.append(entry)
            return False
        if self._keep_types and old != new:
            what = "non-directory", "directory"
            raise InvalidInput(
                f"cannot overwrite {what[old]} {printable(entry.path)} with {what[new]}"
            )
        if entry.kind == HARDLINK and entry.link == entry.path:
            raise CorruptData(f"tar entry {printable(entry.path)} is a hard link to itself")
        self._parent_path = None  # what goes may be the way to it
        safefs.remove_tree(parent, name)
        return True

    def _create(self, parent: int, name: bytes, entry: TarEntry) -> None:
        if entry.kind == REGULAR:
            self._entry = entry
            self._file_fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
            extents = entry.sparse
            if extents is None:
                extents = (Extent(0, entry.data_offset, entry.size),) if entry.size else ()
            else:
                os.ftruncate(self._file_fd, entry.size)
            self._extents = list(reversed(extents))
        elif entry.kind == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._directories.append(entry)
        elif entry.kind == HARDLINK:
            self._link(parent, name, entry)
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            self._own_name(parent, name, entry)
        else:
            self._node(parent, name, entry)

    def _link(self, parent: int, name: bytes, entry: TarEntry) -> None:
        target_parent, _, target = entry.link.rpartition(b"/")
        try:
            directory = safefs.open_in_root(
                self._root_fd, self._base + b"/" + target_parent, safefs.O_PATH_DIRECTORY
            )
        except (FileNotFoundError, NotADirectoryError):
            raise self._bad_link(entry) from None
        try:
            mode = os.stat(target, dir_fd=directory, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise self._bad_link(entry)
            os.link(target, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise self._bad_link(entry) from None
        finally:
            os.close(directory)

    def _bad_link(self, entry: TarEntry) -> CorruptData:
        return CorruptData(
            f"tar entry {printable(entry.path)} is a hard link to {printable(entry.link)}, "
            "which is no regular file"
        )

    def _node(self, parent: int, name: bytes, entry: TarEntry) -> None:
        os.mknod(name, _NODES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=parent)
        pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(pinned).st_mode) == _NODES[entry.kind]:
                self._own_name(parent, name, entry)
                os.chmod(f"/proc/self/fd/{pinned}", entry.mode)
        finally:
            os.close(pinned)

    def _owner_of(self, entry: TarEntry) -> tuple[int, int]:
        return owners.outside(self._owner or (entry.uid, entry.gid), self._id_base)

    def _own_name(self, parent: int, name: bytes, entry: TarEntry) -> None:
        uid, gid = self._owner_of(entry)
        owners.give_name(name, uid, gid, parent)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _describe(self, fd: int, entry: TarEntry) -> None:
        """Owner, then mode (chown clears setuid), then attributes (chown drops capabilities)."""
        uid, gid = self._owner_of(entry)
        owners.give(fd, uid, gid, entry.mode)
        os.fchmod(fd, entry.mode)
        for name, value in entry.xattrs:
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
