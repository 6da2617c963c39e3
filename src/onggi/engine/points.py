"""Mounts of a container that are more than a path: inherited ones, images, parts of volumes, and
the shared memory of the container whose IPC namespace is joined.

What a container could have swapped for a link meanwhile is opened here by descriptor, never looked
up by path later (SECURITY A7).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from ..errors import Conflict, InvalidInput
from ..linux import mount, namespace, process, safefs
from ..spec.container import Container, HostOptions
from ..spec.digest import Digest
from ..spec.mount import MountPoint, RootFilesystem
from ..store.store import Store
from .paths import Paths
from .specgen import SHARED_MEMORY
from .volumes import open_subpath

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
                found[point.target] = point._replace(read_only=read_only)
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
            fd = _image(point, store, f"{paths.container(container.id)}/images/{index}")
        elif point.kind == "volume" and point.subpath:
            fd = _part(open_subpath(point.source, point.subpath))
        else:
            continue
        undo.callback(os.close, fd)
        found[point.target] = fd
    other = joined.get("ipc")
    if other is not None:
        found[SHARED_MEMORY] = fd = _shared_memory_of(other)
        undo.callback(os.close, fd)
    return found


def _image(point: MountPoint, store: Store, directory: str) -> int:
    """The image's file system; what is written goes to a layer that dies with the container."""
    layers = store.layers.mounts(tuple(Digest(layer) for layer in point.layers))
    upper, work = ("", "") if point.read_only else (f"{directory}/upper", f"{directory}/work")
    for path in (upper, work):
        if path:
            os.makedirs(path, 0o755, exist_ok=True)
    fd = mount.mount_overlay(RootFilesystem(layers, upper, work), read_only=point.read_only)
    if not point.subpath:
        return fd
    try:
        return _part(safefs.open_in_root(fd, point.subpath, os.O_PATH))
    except OSError as error:
        raise InvalidInput(f"invalid image-subpath {point.subpath!r}: {error.strerror}") from error
    finally:
        os.close(fd)  # only now: a detached mount falls apart with its last descriptor


def _part(fd: int) -> int:
    """A detached copy of the mount, from `fd` down; closes `fd`."""
    try:
        return mount.open_tree("", directory_fd=fd)
    finally:
        os.close(fd)


def _shared_memory_of(other: Container) -> int:
    """A detached copy of another container's /dev/shm, taken in its mount namespace: copies can
    only be made of what one's own namespace holds. Raises Conflict when it is not there."""
    pidfd = process.open_process(other.state.pid, other.state.pid_start)
    if pidfd is None:
        raise Conflict(f"cannot join IPC of a non running container: {other.id}")
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.setns(pidfd, namespace.CLONE_NEWNS)
        try:
            return _copy_of_shared_memory(other)
        finally:
            namespace.setns(own, namespace.CLONE_NEWNS)
    finally:
        os.close(own)
        os.close(pidfd)


def _copy_of_shared_memory(other: Container) -> int:
    """In the other container's namespace: nothing is imported or followed here (SECURITY A9)."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = safefs.open_beneath(root, "dev/shm", os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise Conflict(f"container {other.id} has no {SHARED_MEMORY} to share") from error
    finally:
        os.close(root)
    if mount.file_system_type(fd) != TMPFS_MAGIC:
        os.close(fd)
        raise Conflict(f"container {other.id} has no {SHARED_MEMORY} to share")
    return _part(fd)
