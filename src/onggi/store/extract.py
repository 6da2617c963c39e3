"""A layer as a directory of extracted files: the fallback where EROFS cannot be mounted.

Writes a `LayerTree` below a directory descriptor, so the result is the EROFS file's by
construction: overlayfs whiteouts, opaque marks, hard links, holes. The directory must be empty and
ours alone. Every name is created, never opened: O_EXCL, no link followed, no path walked. Never
reads the archive's names again and never syncs.
"""

import os
import stat

from ..linux.copied import WHITEOUT_MARK
from . import owners
from .layerfile import read_exactly, write_all_at
from .layertree import WHITEOUT, LayerTree, Node
from .tarindex import BLOCK, CHARACTER, DIRECTORY, FIFO, REGULAR, SYMLINK, Extent

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {
    CHARACTER: stat.S_IFCHR, WHITEOUT: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO,
}  # fmt: skip
_PIECE = 1 << 20


def extract(
    tree: LayerTree,
    tar_fd: int,
    tar_offset: int,
    root_fd: int,
    *,
    in_user_namespace: bool = False,
) -> None:
    """Create the tree in the empty directory `root_fd`; file data is at `tar_offset` plus each
    node's own offset in `tar_fd`. `in_user_namespace`: opaque directories are marked for a mount
    with overlayfs' `userxattr` option, what only the host's root may make is left out, and owners
    that are not mapped are noted (owners)."""
    _Extraction(tar_fd, tar_offset, in_user_namespace, root_fd).directory(root_fd, tree.root, ())


class _Extraction:
    def __init__(self, tar_fd: int, tar_offset: int, limited: bool, root_fd: int) -> None:
        self._tar_fd = tar_fd
        self._tar_offset = tar_offset
        self._limited = limited
        self._opaque = f"{'user' if limited else 'trusted'}.overlay.opaque"
        self._root_fd = root_fd
        self._first_names: dict[Node, tuple[bytes, ...]] = {}  # of nodes with several

    def directory(self, fd: int, node: Node, path: tuple[bytes, ...]) -> None:
        """The contents of an open directory, then its own metadata. At most 255 deep."""
        for name, child in node.children.items():
            if child.is_directory:
                os.mkdir(name, 0o700, dir_fd=fd)
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    self.directory(inner, child, (*path, name))
                finally:
                    os.close(inner)
            elif self._limited and child.kind in (CHARACTER, BLOCK):
                continue  # a device node
            elif child.shared and child in self._first_names:
                self._link(self._first_names[child], fd, name)
            else:
                self._create(fd, name, child)
                if child.shared:
                    self._first_names[child] = (*path, name)
        if node.opaque:
            os.setxattr(fd, self._opaque, b"y")
        self._finish(fd, node)

    def _own_bits(self, node: Node) -> int:
        """What a user who is no root needs to read again what he has written."""
        if os.geteuid() == 0:
            return 0
        return 0o700 if node.is_directory else 0o600

    def _create(self, fd: int, name: bytes, node: Node) -> None:
        if node.kind == REGULAR:
            file = os.open(name, _FILE, 0o600, dir_fd=fd)
            try:
                self._fill(file, node)
                self._finish(file, node)
            finally:
                os.close(file)
            return
        if node.kind == SYMLINK:
            os.symlink(node.link, name, dir_fd=fd)
        elif node.kind == WHITEOUT and self._limited:
            _whiteout(fd, name)
            return
        else:
            os.mknod(name, _TYPES[node.kind] | node.mode, os.makedev(*node.device), dir_fd=fd)
        if node.uid or node.gid:
            owners.give_name(name, node.uid, node.gid, fd)
        if node.kind not in (SYMLINK, WHITEOUT):  # mknod obeyed the umask
            os.chmod(name, node.mode, dir_fd=fd)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _fill(self, fd: int, node: Node) -> None:
        if node.lower is not None:
            for done in range(0, node.size, _PIECE):
                size = min(_PIECE, node.size - done)
                write_all_at(fd, node.lower.read(done, size), done)
        elif node.sparse is not None:
            os.ftruncate(fd, node.size)
            for extent in node.sparse:
                self._copy(fd, extent)
        elif node.size:
            self._copy(fd, Extent(0, node.data_offset, node.size))

    def _copy(self, fd: int, extent: Extent) -> None:
        source = self._tar_offset + extent.data_offset
        for done in range(0, extent.size, _PIECE):
            size = min(_PIECE, extent.size - done)
            data = read_exactly(self._tar_fd, size, source + done)
            write_all_at(fd, data, extent.offset + done)

    def _link(self, first: tuple[bytes, ...], fd: int, name: bytes) -> None:
        """Only this extraction made what it walks here, and it walks it without links."""
        opened: list[int] = []
        here = self._root_fd
        try:
            for part in first[:-1]:
                here = os.open(part, _DIRECTORY, dir_fd=here)
                opened.append(here)
            os.link(first[-1], name, src_dir_fd=here, dst_dir_fd=fd, follow_symlinks=False)
        finally:
            for each in opened:
                os.close(each)

    def _finish(self, fd: int, node: Node) -> None:
        """Owner, then mode (chown clears setuid), then attributes (chown drops capabilities)."""
        if node.kind not in (REGULAR, DIRECTORY):
            raise ValueError(f"a {node.kind!r} has no descriptor to finish")
        owners.give(fd, node.uid, node.gid, node.mode)
        os.fchmod(fd, node.mode | self._own_bits(node))
        for name, value in node.xattrs:
            try:
                os.setxattr(fd, name, value)
            except PermissionError:
                if not self._limited:
                    raise
        os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))


def _whiteout(fd: int, name: bytes) -> None:
    """As the kernel makes them; on an overlay, where it does not let anybody, as an attribute."""
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
    except PermissionError:
        file = os.open(name, _FILE, 0o600, dir_fd=fd)
        try:
            os.setxattr(file, WHITEOUT_MARK, b"y")
        finally:
            os.close(file)
