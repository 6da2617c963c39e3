"""Mounts of a container that are more than a path: inherited ones, images, parts of volumes, and
the shared memory of the container whose IPC namespace is joined.

What a container could have swapped for a link meanwhile is opened here by descriptor, never looked
up by path later (SECURITY A7).
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from ..errors import Conflict, InvalidInput, NotFound
from ..linux import mount, namespace, process, safefs
from ..spec.container import Container, HostOptions
from ..spec.digest import Digest
from ..spec.mount import MountPoint, RootFilesystem
from ..store.store import Store
from . import sandbox, volumesource
from .mountpoints import open_subpath
from .paths import Paths
from .specgen import SHARED_MEMORY

TMPFS_MAGIC = 0x01021994


def inherited(host: HostOptions, find: Callable[[str], Container]) -> tuple[MountPoint, ...]:
    """The volumes and bind mounts of the containers in --volumes-from; of one target the last.
    Raises NotFound, InvalidInput."""
    found: dict[str, MountPoint] = {}
    for text in host.volumes_from:
        reference, _, mode = text.partition(":")
        if not reference:
            raise InvalidInput("volumeFromSpec must not be empty")
        words = mode.split(",") if mode else []
        if not {*words} <= {"ro", "rw", "z", "Z"}:
            raise InvalidInput(f"invalid mode: {mode}")
        for point in find(reference).config.mounts:
            if point.kind in ("bind", "volume"):
                read_only = point.read_only or "ro" in words
                found[point.target] = point._replace(read_only=read_only, mode="")
    return tuple(found.values())


def merged(
    inherited_points: tuple[MountPoint, ...], own: tuple[MountPoint, ...]
) -> tuple[MountPoint, ...]:
    """The container's own mounts stand before inherited ones of the same target."""
    by_target = {point.target: point for point in (*inherited_points, *own)}
    return tuple(by_target[target] for target in sorted(by_target))


def detached(
    container: Container,
    store: Store,
    paths: Paths,
    joined: Mapping[str, Container],
    undo: ExitStack,
) -> dict[str, int]:
    """Descriptors of the mounts that are made before the container's own namespace, by target;
    `undo` closes them."""
    found: dict[str, int] = {}
    for index, point in enumerate(container.config.mounts):
        if point.kind == "image":
            directory = f"{paths.container(container.id)}/images/{index}"
            fd = _image(point, store, directory, sandbox.labels(container).mount)
        elif point.kind == "volume" and (point.subpath or point.options):
            fd = _volume(point, store, paths, undo)
        else:
            continue
        undo.callback(os.close, fd)
        found[point.target] = fd
    other = joined.get("ipc")
    if other is not None:
        found[SHARED_MEMORY] = fd = _shared_memory_of(other)
        undo.callback(os.close, fd)
    return found


def _image(point: MountPoint, store: Store, directory: str, label: str) -> int:
    """The image's file system, with SELinux's label or ""; what is written goes to a layer that
    dies with the container."""
    layers = store.layers.mounts(tuple(Digest(layer) for layer in point.layers))
    upper, work = ("", "") if point.read_only else (f"{directory}/upper", f"{directory}/work")
    for path in (upper, work):
        if path:
            os.makedirs(path, 0o755, exist_ok=True)
    context = [("context", label)] if label else []
    root = RootFilesystem(layers, upper, work)
    fd = mount.mount_overlay(root, read_only=point.read_only, extra_options=context)
    if not point.subpath:
        return fd
    try:
        return _part(safefs.open_in_root(fd, point.subpath, os.O_PATH))
    except OSError as error:
        raise InvalidInput(f"invalid image-subpath {point.subpath!r}: {error.strerror}") from error
    finally:
        os.close(fd)  # only now: a detached mount falls apart with its last descriptor


def _volume(point: MountPoint, store: Store, paths: Paths, undo: ExitStack) -> int:
    """A volume that is more than its directory: with options, or only a part of it."""
    if not point.options:
        fd = os.open(point.source, safefs.O_PATH_DIRECTORY | os.O_CLOEXEC)
    elif volumesource.is_memory(point.options):
        fd = _memory_volume(point, store, paths, undo)
    else:
        fd = volumesource.mounted(point.options, point.source)
    if not point.subpath:
        return fd
    try:
        return _part(open_subpath(fd, point.subpath))
    finally:
        os.close(fd)


def _memory_volume(point: MountPoint, store: Store, paths: Paths, undo: ExitStack) -> int:
    """One file system in memory for all containers that run with the volume: a copy of another's
    mount, else a new one. `undo` holds the lock until ours can be found too."""
    os.makedirs(f"{paths.run}/volumes", 0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    note = os.open(f"{paths.run}/volumes/{point.name}", flags, 0o600)
    undo.callback(os.close, note)
    fcntl.flock(note, fcntl.LOCK_EX)
    device = os.read(note, 32).decode().strip()
    for other, target in _places_of(point.name, store) if device else ():
        fd = _copy_from(other, target, lambda fd: str(os.fstat(fd).st_dev) == device)
        if fd is None:
            continue
        if other.state.id_base:
            os.close(fd)
            raise Conflict(
                f"volume {point.name} is in memory, and in use by {other.name}, which has a user "
                "namespace of its own"
            )
        if not volumesource.plan(point.options).is_read_only:
            mount.mount_setattr(fd, clear_attributes=mount.RDONLY)  # theirs may be :ro
        return fd
    fd = volumesource.mounted(point.options, point.source)
    os.pwrite(note, str(os.fstat(fd).st_dev).ljust(32).encode(), 0)
    return fd


def _places_of(volume: str, store: Store) -> Iterator[tuple[Container, str]]:
    """The containers that may run with the whole volume, and where they have it."""
    for container_id in store.volumes.users(volume):
        try:
            other = store.containers.get(container_id)
        except NotFound:
            continue  # removed meanwhile
        for point in other.config.mounts:
            if point.name == volume and not point.subpath and other.state.pid:
                yield other, point.target


def _part(fd: int) -> int:
    """A detached copy of the mount, from `fd` down; closes `fd`."""
    try:
        return mount.open_tree("", directory_fd=fd)
    finally:
        os.close(fd)


def _shared_memory_of(other: Container) -> int:
    """A detached copy of another container's /dev/shm. Raises Conflict when it is not there."""
    if not process.same_process(other.state.pid, other.state.pid_start):
        raise Conflict(f"cannot join IPC of a non running container: {other.id}")
    fd = _copy_from(other, SHARED_MEMORY, lambda fd: mount.file_system_type(fd) == TMPFS_MAGIC)
    if fd is None:
        raise Conflict(f"container {other.id} has no {SHARED_MEMORY} to share")
    return fd


def _copy_from(other: Container, target: str, is_it: Callable[[int], bool]) -> int | None:
    """A detached copy of what another container has mounted, taken in its mount namespace: copies
    can only be made of what one's own namespace holds. None when it does not run, or has something
    else there."""
    pidfd = process.open_process(other.state.pid, other.state.pid_start)
    if pidfd is None:
        return None
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.setns(pidfd, namespace.CLONE_NEWNS)
        try:
            return _copy_in_place(target, is_it)
        finally:
            namespace.setns(own, namespace.CLONE_NEWNS)
    finally:
        os.close(own)
        os.close(pidfd)


def _copy_in_place(target: str, is_it: Callable[[int], bool]) -> int | None:
    """In the other container's namespace: nothing is imported here (SECURITY A9)."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = safefs.open_in_root(root, target, safefs.O_PATH_DIRECTORY)
    except OSError:
        return None
    finally:
        os.close(root)
    if not is_it(fd):
        os.close(fd)
        return None
    return _part(fd)
