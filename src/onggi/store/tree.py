"""Directory trees in and out of a root file system: volume copy-up, `export`, `cp` out.

Owns the copying of trees by descriptor. A path under a root is resolved by the kernel with that
root as "/" (`linux.safefs`), so neither a link in it nor a container that swaps names meanwhile
leads outside. What comes in is `unpack`'s.
"""

import errno
import os
import stat
from collections.abc import Callable

from ..linux import safefs
from .pack import Packer
from .tarwrite import LayerWriter

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 22
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_NO_XATTRS = (errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG)


def write_tar_of(
    root_fd: int,
    path: str,
    write: Callable[[bytes], object],
    *,
    name: str = "",
    include_root: bool = False,
    follow_link: bool = False,
    exact_times: bool = False,
    one_filesystem: bool = False,
    id_base: int = 0,
    owner: tuple[int, int] | None = None,
) -> None:
    """`path` under `root_fd`, and all below it, as a tar whose members are named `name`...

    With `name` "" a directory's contents stand at the top (`export`), preceded by "./" when
    `include_root`. `id_base` is what root is in the user namespace whose root it is. Links on the
    way are followed within the root; the last one only when `follow_link`. `one_filesystem`: what
    is mounted below the root is written empty (the /proc of a running container). `owner`: written
    instead of the files' own. Raises OSError (ENOENT, ENOTDIR, ELOOP) as open(2) would.
    """
    writer = LayerWriter(write, exact_times=exact_times)
    device = os.fstat(root_fd).st_dev if one_filesystem else None
    packer = Packer(
        writer, overlay=False, devices=True, device=device, id_base=id_base, owner=owner
    )
    parent, _, last = path.rstrip("/").rpartition("/")
    if follow_link or last in ("", ".", ".."):
        _pack_resolved(packer, root_fd, path, os.fsencode(name), include_root)
    else:
        parent_fd = safefs.open_in_root(root_fd, parent or "/", safefs.O_PATH_DIRECTORY)
        try:
            status = os.stat(last, dir_fd=parent_fd, follow_symlinks=False)
            if path.endswith("/") or (stat.S_ISDIR(status.st_mode) and not name):
                _pack_resolved(packer, root_fd, path, os.fsencode(name), include_root)
            else:
                packer.entry(parent_fd, os.fsencode(last), os.fsencode(name or last))
        finally:
            os.close(parent_fd)
    writer.finish()


def _pack_resolved(
    packer: Packer, root_fd: int, path: str, name: bytes, include_root: bool
) -> None:
    """The object at the end of all links: a directory's contents, or a regular file."""
    pinned = safefs.open_in_root(root_fd, path, os.O_PATH)
    try:
        if not stat.S_ISDIR(os.fstat(pinned).st_mode):
            fd = safefs.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                packer.file(fd, name or os.fsencode(path.rpartition("/")[2]))
            finally:
                os.close(fd)
            return
        fd = os.open(".", _DIRECTORY, dir_fd=pinned)
        try:
            if name or include_root:
                packer.root(fd, name)
            packer.contents(fd, name + b"/" if name else b"")
        finally:
            os.close(fd)
    finally:
        os.close(pinned)


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copy a directory's contents and its own metadata into the empty directory `target_fd`:
    owners, modes, times, attributes, hard links, links and FIFOs as they are. Sockets and device
    nodes stay behind: a volume is mounted nodev."""
    _TreeCopy(target_fd).directory(source_fd, target_fd, ())


class _TreeCopy:
    def __init__(self, target_fd: int) -> None:
        self._target_fd = target_fd
        self._links: dict[tuple[int, int], tuple[str, ...]] = {}

    def directory(self, source_fd: int, target_fd: int, path: tuple[str, ...]) -> None:
        for name in sorted(os.listdir(source_fd)):
            status = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._child(source_fd, target_fd, name, path)
            elif not self._linked(status, target_fd, name, path):
                self._copy(source_fd, target_fd, name, status)
        _copy_metadata(source_fd, target_fd)

    def _child(self, source_fd: int, target_fd: int, name: str, path: tuple[str, ...]) -> None:
        source = os.open(name, _DIRECTORY, dir_fd=source_fd)
        try:
            os.mkdir(name, 0o700, dir_fd=target_fd)
            target = os.open(name, _DIRECTORY, dir_fd=target_fd)
            try:
                self.directory(source, target, (*path, name))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _linked(
        self, status: os.stat_result, target_fd: int, name: str, path: tuple[str, ...]
    ) -> bool:
        """Make `name` another name of a file already copied, if it is one."""
        if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), (*path, name))
        if first == (*path, name):
            return False
        parent = safefs.open_beneath(
            self._target_fd, "/".join(first[:-1]) or ".", safefs.O_PATH_DIRECTORY
        )
        try:
            os.link(first[-1], name, src_dir_fd=parent, dst_dir_fd=target_fd, follow_symlinks=False)
        finally:
            os.close(parent)
        return True

    def _copy(self, source_fd: int, target_fd: int, name: str, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            _copy_file(source_fd, target_fd, name)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(name, stat.S_IMODE(mode), dir_fd=target_fd)
        else:
            return
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target_fd, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target_fd, follow_symlinks=False)


def _copy_file(source_fd: int, target_fd: int, name: str) -> None:
    source = os.open(name, _READ, dir_fd=source_fd)
    try:
        target = os.open(name, _CREATE, 0o600, dir_fd=target_fd)
        try:
            while os.sendfile(target, source, None, _PIECE):
                pass
            _copy_metadata(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_metadata(source: int, target: int) -> None:
    """Owner, then mode (chown clears setuid), then attributes (chown drops capabilities)."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith(_OVERLAY):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
