"""Files in and out of containers as tar streams: `cp`, `export`, and the REST archive calls.

A running container is reached through its first process's root, a stopped one by a mount of its
layers that only this process sees. Paths are resolved inside, by the kernel, never on the host.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ..errors import Conflict, Forbidden, InvalidInput, NotFound
from ..linux import mount, process, safefs
from ..spec.container import Container
from ..spec.mount import MountPoint, RootFilesystem
from ..store import tree, unpack
from ..store.store import Store
from ..typed import NamedTuple
from . import initlayer, tier
from .changes import layers_of
from .events import Events
from .paths import Paths
from .reaper import ACTIVE

Write = Callable[[bytes], object]


class PathStat(NamedTuple):
    """A file in a container. `mode` is the whole st_mode; `link_target` is the resolved path of a
    symbolic link, as docker gives it."""

    name: str
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: str = ""


class Archive:
    def __init__(
        self, store: Store, paths: Paths, find: Callable[[str], Container], events: Events
    ) -> None:
        self._store = store
        self._events = events
        self._paths = paths
        self._find = find

    def stat(self, reference: str, path: str) -> PathStat:
        """Raises NotFound with docker's words."""
        container = self._find(reference)
        with self._inside(container, path) as (root, place, _), _named(container, path):
            parent, _, last = place.rstrip("/").rpartition("/")
            if last in ("", ".", "..") or place.endswith("/"):
                fd = safefs.open_in_root(root, place or "/", os.O_PATH)
            else:
                parent_fd = safefs.open_in_root(root, parent or "/", safefs.O_PATH_DIRECTORY)
                try:
                    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
                    fd = os.open(last, flags, dir_fd=parent_fd)
                finally:
                    os.close(parent_fd)
            try:
                return _described(fd, parent, last or "/")
            finally:
                os.close(fd)

    def copy_out(
        self, reference: str, path: str, write: Write, *, follow_link: bool = False
    ) -> None:
        """A file or directory as a tar whose members begin with its own name. Raises NotFound."""
        container = self._find(reference)
        name = path.rstrip("/").rpartition("/")[2]
        if path.endswith("/.") or name in (".", ".."):
            name = ""
        with self._inside(container, path) as (root, place, base), _named(container, path):
            tree.write_tar_of(
                root, place, write, name=name or "", follow_link=follow_link,
                id_base=base,
            )  # fmt: skip
        self._events.container(container, "archive-path")

    def copy_in(
        self,
        reference: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        no_overwrite_dir_non_dir: bool = True,
        owner: tuple[int, int] | None = None,
        rename: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Unpack a tar below a directory of the container. Raises NotFound when the directory is
        not there, Forbidden on a read-only root filesystem, CorruptData for a bad archive."""
        container = self._find(reference)
        if container.config.options.host.read_only and self._volume(container, path)[0] is None:
            raise Forbidden("container rootfs is marked read-only")
        with (
            self._inside(container, path) as (root, place, base),
            _named(container, path),
            _creating_as(base),
        ):
            unpack.extract_into(
                root,
                place,
                chunks,
                owner=owner,
                keep_types=no_overwrite_dir_non_dir,
                rename=rename,
                id_base=base,
            )
        self._events.container(container, "extract-to-dir")

    def export(self, reference: str, write: Write) -> None:
        """The whole root filesystem, without volumes, as docker exports it."""
        container = self._find(reference)
        with self._root(container) as (root, base):
            tree.write_tar_of(root, "/", write, one_filesystem=True, id_base=base)
        self._events.container(container, "export")

    # -- reaching inside

    @contextmanager
    def _inside(self, container: Container, path: str) -> Iterator[tuple[int, str, int]]:
        """(root fd, path under it, id base) for a path of the container. A stopped container's
        volumes are reached by their directories on the host."""
        if not path.startswith("/"):
            path = f"/{path}"
        point, rest = self._volume(container, path)
        if point is not None and container.state.status not in ACTIVE:
            root = _open_source(point)
            try:
                yield root, rest, 0
            finally:
                os.close(root)
            return
        with self._root(container) as (root, base):
            yield root, path, base

    def _volume(self, container: Container, path: str) -> tuple[MountPoint | None, str]:
        """(the mount, rest of the path) when the path lies in one of a host directory or volume;
        (None, path) if not."""
        found: MountPoint | None = None
        for point in container.config.mounts:
            inside = path == point.target or path.startswith(f"{point.target}/")
            is_inner = found is None or len(point.target) > len(found.target)
            if inside and point.kind in ("bind", "volume") and is_inner:
                found = point
        if found is None or not os.path.isdir(found.source):
            return None, path
        return found, path[len(found.target) :] or "/"

    @contextmanager
    def _root(self, container: Container) -> Iterator[tuple[int, int]]:
        """A running container's root as it sees it itself, and what its user namespace's root is
        here (0: it has none); a stopped one's, which cannot start meanwhile: two mounts must not
        have the same upper directory. Its files have the container's own numbers."""
        with ExitStack() as held:
            if container.state.status not in ACTIVE:
                held.enter_context(self._paths.locked(container.id))
                container = self._find(container.id)
            base = 0
            if tier.current().number == 4:
                root = self._mounted(container)  # one tree, whoever looks
            elif container.state.status in ACTIVE:
                held.close()  # it was started while we waited for the lock
                root, base = _root_of(container), container.state.id_base
            else:
                root = self._mounted(container)
            held.callback(os.close, root)
            yield root, base

    def _mounted(self, container: Container) -> int:
        upper = self._paths.upper(container.id)
        work = f"{self._paths.container(container.id)}/work"
        lowers = initlayer.lowers(self._store, self._paths, layers_of(container))
        return mount.mount_overlay(RootFilesystem(lowers, upper, work))


def _root_of(container: Container) -> int:
    """The root directory of a running container, as its first process sees it."""
    root = process.open_root(container.state.pid, container.state.pid_start)
    if root is None:
        raise Conflict(f"container {container.name} has just ended")
    return root


def _open_source(point: MountPoint) -> int:
    """The directory behind a mount of a container that does not run."""
    from . import mountpoints, volumesource

    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if point.options:
        fd = volumesource.mounted(point.options, point.source)
    else:
        fd = os.open(point.source, flags)
    if not point.subpath:
        return fd
    try:
        return mountpoints.open_subpath(fd, point.subpath)
    finally:
        os.close(fd)


@contextmanager
def _creating_as(base: int) -> Iterator[None]:
    """What is made in a user namespace's file system must be its root's from the beginning."""
    if not base:
        yield
        return
    from ..linux import idmap

    with idmap.acting_as(base, base):
        yield


@contextmanager
def _named(container: Container, path: str) -> Iterator[None]:
    """Docker's words for what openat2 says about a path."""
    try:
        yield
    except BrokenPipeError:
        raise  # of whoever reads our archive
    except FileNotFoundError as error:
        raise NotFound(f"Could not find the file {path} in container {container.name}") from error
    except NotADirectoryError as error:
        raise InvalidInput(f"not a directory: {path} in container {container.name}") from error
    except OSError as error:
        raise InvalidInput(f"{path} in container {container.name}: {error.strerror}") from error


def _described(fd: int, parent: str, name: str) -> PathStat:
    status = os.fstat(fd)
    target = ""
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink("", dir_fd=fd)
        if not target.startswith("/"):
            target = os.path.normpath(f"{parent or '/'}/{target}")
    return PathStat(name, status.st_size, status.st_mode, status.st_mtime_ns, target)
