"""User namespaces as mappings of ids, and mounts seen through them.

An id-mapped mount shows the owners of its files as a user namespace maps them; nothing on the disk
changes. Overlay takes id-mapped layers, upper included, when whoever mounts it creates files as the
mapped root: then what a container writes is stored with the container's own numbers.

A mapping is a sequence of (inner, outer, size), as in user_namespaces(7).
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import pack

from ..errors import Unsupported
from ..typed import TypeVar
from . import capability, cgroup, mount, namespace, tools
from .libc import syscall

_MOUNT_ATTR_IDMAP = 0x100000
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
Maps = Sequence[tuple[int, int, int]]
_Found = TypeVar("_Found")


def write_maps(pid: int, uid_map: Maps, gid_map: Maps) -> None:
    """Give a process in a fresh user namespace its ids, users before groups. An unprivileged caller
    gives up setgroups for its one id; for more ids it needs newuidmap."""
    for kind, maps in (("uid", uid_map), ("gid", gid_map)):
        own = os.geteuid() if kind == "uid" else os.getegid()
        single = len(maps) == 1 and tuple(maps[0])[1:] == (own, 1)
        if os.geteuid() == 0 or single:
            if single and kind == "gid" and os.geteuid() != 0:
                cgroup.write(f"/proc/{pid}/setgroups", "deny")
            text = "".join(f"{inner} {outer} {size}\n" for inner, outer, size in maps)
            cgroup.write(f"/proc/{pid}/{kind}_map", text)
        else:
            numbers = [str(number) for entry in maps for number in entry]
            tools.run([f"new{kind}map", str(pid), *numbers])


def new_user_namespace(uid_map: Maps, gid_map: Maps) -> int:
    """A descriptor of a user namespace with these mappings and no process in it."""

    def use(pid: int) -> int:
        write_maps(pid, uid_map, gid_map)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)

    return _with_helper(namespace.CLONE_NEWUSER, -1, use)


def maps_of(user_namespace: int) -> tuple[Maps, Maps]:
    """The mappings of an existing user namespace, as seen from ours."""

    def use(pid: int) -> tuple[Maps, Maps]:
        return _read_map(pid, "uid_map"), _read_map(pid, "gid_map")

    return _with_helper(0, user_namespace, use)


def _read_map(pid: int, name: str) -> Maps:
    with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return tuple((int(inner), int(outer), int(size)) for inner, outer, size in rows)


def _with_helper(flags: int, join: int, use: Callable[[int], _Found]) -> _Found:
    """`use` the namespace of a short-lived child: a new one, or the one behind `join`."""
    ready_read, ready_write = os.pipe()
    hold_read, hold_write = os.pipe()
    pid, pidfd = namespace.clone3(flags)
    if pid == 0:
        try:
            os.close(hold_write)
            if join >= 0:
                namespace.setns(join, namespace.CLONE_NEWUSER)
            os.write(ready_write, b"+")
            os.read(hold_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(hold_read)
    try:
        if not os.read(ready_read, 1):
            raise OSError(errno.EPERM, "cannot join the user namespace")
        return use(pid)
    finally:
        for fd in (ready_read, hold_write, pidfd):
            os.close(fd)
        os.waitpid(pid, 0)


def map_mount(fd: int, user_namespace: int, *, recursive: bool = False) -> None:
    """Let a detached mount show its owners as that namespace maps them.

    Raises Unsupported when its file system cannot.
    """
    attributes = pack("=4Q", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    try:
        syscall("mount_setattr", fd, b"", flags, attributes, len(attributes))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise Unsupported(
            "the file system cannot map user ids",
            hint="use --userns=host, or a source on ext4, xfs, btrfs, tmpfs or erofs",
        ) from error


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Create files as that user, with every capability that we have. Single-threaded callers."""
    held = capability.held()
    syscall("setfsgid", gid)
    syscall("setfsuid", uid)  # takes the file capabilities away
    try:
        capability.capset(held, held, 0)
        yield
    finally:
        syscall("setfsuid", os.geteuid())
        syscall("setfsgid", os.getegid())
        capability.capset(held, held, 0)


def mount_overlay(
    root: mount.Root,
    user_namespace: int,
    owner: tuple[int, int],
    *,
    read_only: bool = False,
    volatile: bool = False,
) -> int:
    """Like mount.mount_overlay, every layer seen through `user_namespace`, whose root is `owner`
    outside. Raises Unsupported where the kernel or a layer's file system cannot."""
    opened: list[int] = []
    try:
        opened.extend(_mapped_layer(layer, user_namespace) for layer in root.lowers)
        if len(opened) == 1 and not root.upper:
            return os.dup(opened[0])  # a mount of our own, mapped and read-only
        options: list[mount.Option] = [("lowerdir+", fd) for fd in reversed(opened)]
        if root.upper:
            options += _mapped_upper(root, user_namespace, opened)
            options += [("volatile", None)] if volatile else []
        attributes = mount.RDONLY if read_only else 0
        with acting_as(*owner):
            return mount.fsmount("overlay", [("source", "overlay"), *options], attributes)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        raise Unsupported(
            "a user namespace needs overlay on id-mapped layers: Linux 6.13",
            hint="use --userns=host",
        ) from error
    finally:
        for fd in opened:
            os.close(fd)


def _mapped_layer(layer: mount.Layer, user_namespace: int) -> int:
    fd = mount.mount_layer(layer)
    try:
        if layer.kind == "directory":  # a place in a mount that is not ours: take a copy
            fd, place = mount.open_tree("", directory_fd=fd), fd
            os.close(place)
            mount.mount_setattr(fd, set_attributes=mount.RDONLY)
        map_mount(fd, user_namespace)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mapped_upper(root: mount.Root, user_namespace: int, opened: list[int]) -> list[mount.Option]:
    """Both directories through one mount, as overlay wants them."""
    parent, name = os.path.split(root.upper)
    if os.path.dirname(root.work) != parent:
        raise OSError(errno.EXDEV, "upper and work directory must lie side by side", root.work)
    top = mount.open_tree(parent)
    opened.append(top)
    map_mount(top, user_namespace)
    options: list[mount.Option] = []
    for key, place in (("upperdir", name), ("workdir", os.path.basename(root.work))):
        fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
        opened.append(fd)
        options.append((key, fd))
    return options
