"""Named and anonymous volumes: rows in the store, directories under ROOT/volumes/NAME/_data.

Also turns mount requests into mount points at create, and fills a new volume from the image.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence

from ..errors import Conflict, InvalidInput
from ..linux import safefs
from ..spec.digest import Digest
from ..spec.image import Image
from ..spec.mount import MountPoint, MountRequest, RootFilesystem, Volume
from ..store.store import Store
from .events import Events
from .merge import check_volume_name
from .pruning import Chosen


class Volumes:
    def __init__(self, store: Store, root: str, events: Events) -> None:
        self._store = store
        self._events = events
        self._directory = f"{root}/volumes"

    def path(self, name: str) -> str:
        """Where the volume's data lies on the host."""
        return f"{self._directory}/{name}/_data"

    def create(
        self, name: str = "", labels: dict[str, str] | None = None, *, anonymous: bool = False
    ) -> Volume:
        """The volume of that name, made when missing; no name makes an anonymous one."""
        if name:
            check_volume_name(name)
        else:
            name, anonymous = os.urandom(32).hex(), True
        began_ns = time.time_ns()
        volume = self._store.volumes.create(name, labels, anonymous=anonymous)
        if volume.created_ns >= began_ns:
            self._events.volume("create", name)
        os.makedirs(self._directory, 0o711, exist_ok=True)
        os.makedirs(self.path(name), 0o755, exist_ok=True)
        return volume

    def get(self, name: str) -> Volume:
        return self._store.volumes.get(name)

    def list(self) -> Sequence[Volume]:
        return self._store.volumes.list()

    def users(self, name: str) -> Sequence[str]:
        """Ids of the containers that mount it."""
        return self._store.volumes.users(name)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Forget a volume and delete its data. Raises Conflict while a container mounts it, and
        NotFound when there is none (not with `force`)."""
        if not force:
            self._store.volumes.get(name)
        self._store.volumes.remove(name)
        self._delete_data(name)
        self._events.volume("destroy", name)

    def prune(self, *, all: bool = False, chosen: Chosen | None = None) -> Sequence[str]:
        """Remove volumes no container mounts: the anonymous ones, with `all` named ones too; with
        `chosen` only those with its labels."""
        removed = []
        for volume in self._store.volumes.unused():
            labelled = chosen is None or chosen.admits(volume.labels, volume.created_ns)
            if labelled and (volume.anonymous or all):
                try:
                    self.remove(volume.name, force=True)
                except Conflict:
                    continue  # a container took it meanwhile
                removed.append(volume.name)
        return removed

    def remove_anonymous(self, mounts: Iterable[MountPoint]) -> None:
        """Delete the anonymous volumes of a removed container that nobody else mounts."""
        unused = {volume.name for volume in self._store.volumes.unused() if volume.anonymous}
        for point in mounts:
            if point.kind == "volume" and point.name in unused:
                try:
                    self.remove(point.name, force=True)
                except Conflict:
                    continue

    def _delete_data(self, name: str) -> None:
        try:
            parent = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            safefs.remove_tree(parent, name)
        finally:
            os.close(parent)

    # -- mounts of containers

    def resolve(
        self,
        requests: Sequence[MountRequest],
        layers: tuple[Digest, ...],
        find_image: Callable[[str], Image],
    ) -> tuple[MountPoint, ...]:
        """Mount points for a new container; makes missing volumes and fills the empty ones with
        what the image has at that place. Raises InvalidInput with docker's words."""
        made: list[MountPoint] = []
        try:
            for request in requests:
                made.append(self._resolve(request, layers, find_image))  # noqa: PERF401 - see below
        except BaseException:
            self.remove_anonymous(made)  # a later mount is wrong: the volumes made so far go
            raise
        return tuple(made)

    def _resolve(
        self,
        request: MountRequest,
        layers: tuple[Digest, ...],
        find_image: Callable[[str], Image],
    ) -> MountPoint:
        if request.kind == "image":
            return MountPoint(
                "image", "", request.source, request.target, request.read_only, "",
                layers=find_image(request.source).config.diff_ids, subpath=request.subpath,
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
            )
        return self._volume_point(request, layers)

    def _volume_point(self, request: MountRequest, layers: tuple[Digest, ...]) -> MountPoint:
        volume = self.create(request.source, request.labels)
        source = self.path(volume.name)
        point = MountPoint(
            "volume", volume.name, source, request.target, request.read_only, "",
            subpath=request.subpath,
        )  # fmt: skip
        try:
            if not request.no_copy:
                self._copy_up(source, request.target, layers)
            if request.subpath:
                os.close(open_subpath(source, request.subpath))
        except BaseException:
            self.remove_anonymous((point,))
            raise
        return point

    def _copy_up(self, source: str, target: str, layers: tuple[Digest, ...]) -> None:
        """Fill an empty volume with the image's files at `target`, owner and mode included."""
        from ..linux import mount
        from ..store import tree

        volume_fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if os.listdir(volume_fd):
                return
            rootfs = RootFilesystem(self._store.layers.mounts(layers), "", "")
            image_fd = mount.mount_overlay(rootfs, read_only=True)
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY
                try:
                    content = safefs.open_in_root(image_fd, target, flags)
                except (FileNotFoundError, NotADirectoryError):
                    return
                try:
                    tree.copy_tree(content, volume_fd)
                finally:
                    os.close(content)
            finally:
                os.close(image_fd)
        finally:
            os.close(volume_fd)


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


def open_subpath(source: str, subpath: str) -> int:
    """A directory or file inside a volume, reached without leaving it (SECURITY A7)."""
    volume_fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = safefs.open_beneath(volume_fd, subpath, os.O_PATH)
    except OSError as error:
        raise InvalidInput(f"invalid volume-subpath {subpath!r}: {error.strerror}") from error
    finally:
        os.close(volume_fd)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        os.close(fd)
        raise InvalidInput(f"invalid volume-subpath {subpath!r}: not a file or directory")
    return fd
