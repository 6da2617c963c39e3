"""Mounts by descriptor: the mount API of Linux 5.2 and later, detached until moved into place.

Owns fsopen/fsmount, open_tree, move_mount, mount_setattr, and the building of a root filesystem
from layers. Nothing made here is visible to other processes unless `move_mount` puts it there.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from struct import pack

from ..typed import Protocol
from . import loop
from .libc import buffer, syscall

AT_FDCWD = -100
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _SET_FD, _CMD_CREATE = 0, 1, 5, 6
_MNT_DETACH = 2
_MAX_STRING = 256  # of an fsconfig string, with its NUL

RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x10, 0x20, 0x80, 0x200000
ATIME_MASK = 0x70
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_MAGIC = 0x9FA0, 0x62656572, 0x1CD1
Option = tuple[str, str | int | None]


class Layer(Protocol):
    """spec.mount.LayerMount, as far as it is needed here."""

    @property
    def kind(self) -> str: ...
    @property
    def path(self) -> str: ...


class Root(Protocol):
    """spec.mount.RootFilesystem, as far as it is needed here."""

    @property
    def lowers(self) -> Sequence[Layer]: ...
    @property
    def upper(self) -> str: ...
    @property
    def work(self) -> str: ...


def fsmount(fstype: str, options: Iterable[Option] = (), attributes: int = 0) -> int:
    """A new detached mount. An option's value is a string, None for a flag, or a descriptor.

    Raises OSError with the kernel's own log text where it gives one.
    """
    context = syscall("fsopen", fstype.encode(), _FSOPEN_CLOEXEC)
    try:
        try:
            for key, value in options:
                _configure(context, key, value)
            syscall("fsconfig", context, _CMD_CREATE, None, None, 0)
            return syscall("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
        except OSError as error:
            said = _log(context) or error.strerror
            raise OSError(error.errno, f"mount {fstype}: {said}") from error
    finally:
        os.close(context)


def _configure(context: int, key: str, value: str | int | None) -> None:
    name = key.encode()
    if value is None:
        syscall("fsconfig", context, _SET_FLAG, name, None, 0)
    elif isinstance(value, int):
        syscall("fsconfig", context, _SET_FD, name, None, value)
    else:
        syscall("fsconfig", context, _SET_STRING, name, os.fsencode(value), 0)


def _log(context: int) -> str:
    """What the file system said, one line a message, without its severity letters."""
    lines: list[str] = []
    while True:
        try:
            message = os.read(context, 4096)
        except OSError:
            return "; ".join(lines)
        lines.append(message.decode(errors="replace").strip().removeprefix("e "))


def open_tree(path: str | bytes, *, recursive: bool = False, directory_fd: int = AT_FDCWD) -> int:
    """A detached copy (a bind mount) of what is mounted at `path`; "" means `directory_fd` itself.
    With `recursive` the mounts below come along."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    flags |= 0 if path else _AT_EMPTY_PATH
    return syscall("open_tree", directory_fd, os.fsencode(path), flags)


def move_mount(fd: int, target: int | str) -> None:
    """Attach a detached mount on a pinned descriptor, or on a path of the caller's namespace."""
    if isinstance(target, int):
        flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
        syscall("move_mount", fd, b"", target, b"", flags)
    else:
        syscall("move_mount", fd, b"", AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def mount_setattr(
    target: int | str,
    *,
    set_attributes: int = 0,
    clear_attributes: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """Change attributes or propagation of the mount of a descriptor or path."""
    if set_attributes & ATIME_MASK:
        clear_attributes |= ATIME_MASK
    flags = _AT_RECURSIVE if recursive else 0
    attributes = pack("=4Q", set_attributes, clear_attributes, propagation, 0)
    if isinstance(target, int):
        syscall("mount_setattr", target, b"", flags | _AT_EMPTY_PATH, attributes, len(attributes))
    else:
        path = os.fsencode(target)
        syscall("mount_setattr", AT_FDCWD, path, flags, attributes, len(attributes))


def umount_detach(path: str) -> None:
    syscall("umount2", os.fsencode(path), _MNT_DETACH)


def pivot_root_here() -> None:
    """Make the working directory's mount the root, and drop the old root with all it holds."""
    syscall("pivot_root", b".", b".")
    syscall("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def file_system_type(fd: int) -> int:
    """The f_type of statfs(2)."""
    status = buffer(120)
    syscall("fstatfs", fd, status)
    return int.from_bytes(bytes(status)[:8], "little")


# What overlay says to layers by descriptor: before 6.13, and before it had the new mount API (6.5).
NO_DESCRIPTORS = (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP)


def mount_layer(layer: Layer) -> int:
    """A descriptor of one layer's tree: a detached read-only mount, or a directory."""
    if layer.kind in ("directory", "user-directory", "copied"):
        return _open_directory(layer.path)
    if layer.kind == "erofs":
        return _mount_erofs(layer.path)
    device, device_fd = loop.attach(layer.path)
    try:
        # The mount keeps the loop device; autoclear frees it with the last user.
        return _mount_erofs(device)
    finally:
        os.close(device_fd)


def _mount_erofs(source: str) -> int:
    if len(os.fsencode(source)) < _MAX_STRING:
        return fsmount("erofs", (("source", source), ("ro", None)), RDONLY)
    fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        return fsmount("erofs", (("source", f"/proc/self/fd/{fd}"), ("ro", None)), RDONLY)
    finally:
        os.close(fd)


def mount_overlay(
    root: Root,
    *,
    read_only: bool = False,
    volatile: bool = False,
    extra_options: Sequence[Option] = (),
) -> int:
    """The root filesystem of a container as a detached mount; works in any process.

    `volatile` skips syncs of the upper directory: for containers that do not outlive a crash.
    """
    if root.lowers and root.lowers[-1].kind == "copied":
        from . import copied

        return copied.overlay(root)
    opened: list[int] = []
    try:
        opened.extend(map(mount_layer, root.lowers))
        layers = tuple(opened)
        if len(layers) == 1 and not root.upper:
            return _single(root.lowers[0], layers[0])
        attributes = RDONLY if read_only else 0
        options = [*([("volatile", None)] if volatile and root.upper else ()), *extra_options]
        if any(layer.kind == "user-directory" for layer in root.lowers):
            options.append(("userxattr", None))  # all that a user namespace may set
        try:
            by_fd: list[Option] = [("lowerdir+", fd) for fd in reversed(layers)]  # top first
            for key, path in _upper(root):
                opened.append(_open_directory(path))
                by_fd.append((key, opened[-1]))
            return fsmount("overlay", [("source", "overlay"), *by_fd, *options], attributes)
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
        from . import staging

        return staging.overlay(layers, [*_upper(root), *options], attributes)
    finally:
        for fd in opened:
            os.close(fd)


def _upper(root: Root) -> list[tuple[str, str]]:
    return [("upperdir", root.upper), ("workdir", root.work)] if root.upper else []


def _open_directory(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _single(layer: Layer, layer_fd: int) -> int:
    """One read-only layer needs no overlay; its descriptor is closed by our caller. A mount of our
    own is it already, and before 6.15 could not be copied: it is attached nowhere."""
    if layer.kind != "directory":
        return os.dup(layer_fd)
    copy = open_tree("", directory_fd=layer_fd)
    mount_setattr(copy, set_attributes=RDONLY)
    return copy
