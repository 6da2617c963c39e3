"""The mounts of a new container: requests become mount points; missing volumes are made, empty ones
are filled with what the image has at their place.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import InvalidInput
from ..linux import safefs
from ..spec.digest import Digest
from ..spec.image import Image
from ..spec.mount import MountPoint, MountRequest, RootFilesystem
from ..store.store import Store
from . import volumesource
from .volumes import Volumes

_SYSTEM_DIRECTORIES = frozenset(
    "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var".split()
)


class Mounts:
    def __init__(
        self,
        store: Store,
        volumes: Volumes,
        layers: tuple[Digest, ...],
        user: str,
        find_image: Callable[[str], Image],
    ) -> None:
        """For a container of these image layers and of this user, who owns what is mounted with
        :U."""
        self._store = store
        self._volumes = volumes
        self._layers = layers
        self._user = user
        self._find_image = find_image

    def resolve(self, requests: Sequence[MountRequest]) -> tuple[MountPoint, ...]:
        """All of them, or none: then the volumes made so far go. Raises InvalidInput with docker's
        words, NotFound for an image or driver."""
        made: list[MountPoint] = []
        try:
            for request in requests:
                made.append(self._resolve(request))
                if request.change_owner:
                    self._change_owner(made[-1], self._owner())
        except BaseException:
            self._volumes.remove_anonymous(made)
            raise
        return tuple(made)

    def _resolve(self, request: MountRequest) -> MountPoint:
        if request.kind == "image":
            return MountPoint(
                "image", "", request.source, request.target, request.read_only, "",
                layers=self._find_image(request.source).config.diff_ids, subpath=request.subpath,
            )  # fmt: skip
        if request.kind == "tmpfs":
            return MountPoint(
                "tmpfs",
                "",
                "",
                request.target,
                request.read_only,
                tmpfs_options=request.tmpfs_options,
            )
        if request.kind == "bind":
            _require_source(request)
            return MountPoint(
                "bind",
                "",
                request.source,
                request.target,
                request.read_only,
                request.propagation,
                recursion=request.recursion,
                mode=request.mode,
            )
        return self._volume_point(request)

    def _volume_point(self, request: MountRequest) -> MountPoint:
        volume = self._volumes.create(
            request.source, request.labels, request.options, driver=request.driver
        )
        named = bool(request.source)
        mode = request.mode or ("z" if named or request.origin else "")  # docker's default
        point = MountPoint(
            "volume", volume.name, self._volumes.path(volume.name), request.target,
            request.read_only, "", subpath=request.subpath, mode=mode, named=named,
            options=volume.options,
        )  # fmt: skip
        try:
            if not request.no_copy:
                self._copy_up(point)
            if request.subpath and not volumesource.is_memory(point.options):
                with self._volumes.opened(point) as volume_fd:
                    os.close(open_subpath(volume_fd, request.subpath))
        except BaseException:
            self._volumes.remove_anonymous((point,))
            raise
        return point

    def _copy_up(self, point: MountPoint) -> None:
        """Fill an empty volume with the image's files at its target, owner and mode included. What
        is in memory or mounted read-only stays as it is."""
        from ..store import tree

        source = volumesource.plan(point.options) if point.options else None
        if source and (source.is_memory or source.is_read_only):
            return
        with self._image() as image_fd:
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY
                content = safefs.open_in_root(image_fd, point.target, flags)
            except (FileNotFoundError, NotADirectoryError):
                return
            try:
                with self._one_at_a_time(point), self._volumes.opened(point) as volume_fd:
                    target = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=volume_fd)
                    try:
                        if not os.listdir(target):
                            tree.copy_tree(content, target)
                    finally:
                        os.close(target)
            finally:
                os.close(content)

    @contextmanager
    def _one_at_a_time(self, point: MountPoint) -> Iterator[None]:
        """Two containers that are made together fill their volume once."""
        fd = os.open(os.path.dirname(point.source), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _image(self) -> Iterator[int]:
        """The root of the image, for us alone."""
        from ..linux import mount

        rootfs = RootFilesystem(self._store.layers.mounts(self._layers), "", "")
        fd = mount.mount_overlay(rootfs, read_only=True)
        try:
            yield fd
        finally:
            os.close(fd)

    def _owner(self) -> tuple[int, int]:
        """The numbers of the container's user. Raises InvalidInput."""
        from ..runtime import identity

        with self._image() as image_fd:
            passwd, group = (
                safefs.read_file_in_root(image_fd, f"/etc/{name}", identity.MAX_FILE_BYTES)
                for name in ("passwd", "group")
            )
        found = identity.resolve(self._user, (), passwd, group)
        return found.uid, found.gid

    def _change_owner(self, point: MountPoint, owner: tuple[int, int]) -> None:
        """Give what is mounted, and all below it, to the container's user (podman's :U)."""
        if point.kind == "bind":
            refuse_system_directory(point.source)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(point.source, flags)
            try:
                safefs.change_owner(fd, *owner)
            finally:
                os.close(fd)
            return
        with self._volumes.opened(point) as volume_fd:
            flags = os.O_RDONLY | os.O_NONBLOCK
            fd = safefs.open_beneath(volume_fd, point.subpath or ".", flags)
            try:
                safefs.change_owner(fd, *owner)
            finally:
                os.close(fd)


def _require_source(request: MountRequest) -> None:
    if not request.source.startswith("/"):
        raise InvalidInput(
            f"invalid mount config for type \"bind\": invalid mount path: '{request.source}' "
            "mount path must be absolute"
        )
    try:
        os.stat(request.source)
        return
    except FileNotFoundError as error:
        if not request.create_source:
            raise InvalidInput(
                'invalid mount config for type "bind": bind source path does not exist: '
                f"{request.source}"
            ) from error
    except OSError as error:
        raise InvalidInput(f"bind source {request.source}: {error.strerror}") from error
    os.makedirs(request.source, 0o755, exist_ok=True)


def refuse_system_directory(path: str) -> None:
    """Raises InvalidInput for what a whole host stands on: its owner must not change by a slip."""
    if is_system_directory(os.path.realpath(path)):
        raise InvalidInput(f"invalid mode: U: the owner of {path} is not changed")


def is_system_directory(clean: str) -> bool:
    return clean in ("/", "/var/lib", "/var/log") or (
        clean.count("/") == 1 and clean[1:] in _SYSTEM_DIRECTORIES
    )


def open_subpath(volume_fd: int, subpath: str) -> int:
    """A directory or file inside a volume, reached without leaving it (SECURITY A7)."""
    try:
        fd = safefs.open_beneath(volume_fd, subpath, os.O_PATH)
    except OSError as error:
        raise InvalidInput(f"invalid volume-subpath {subpath!r}: {error.strerror}") from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        os.close(fd)
        raise InvalidInput(f"invalid volume-subpath {subpath!r}: not a file or directory")
    return fd
