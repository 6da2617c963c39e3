"""Named and anonymous volumes: rows in the store, directories under ROOT/volumes/NAME/_data.

What a volume with options holds is not in its directory: see `volumesource`. How containers get
their volumes: `mountpoints`.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import Conflict, NotFound
from ..linux import safefs
from ..spec.mount import MountPoint, Volume
from ..store.store import Store
from . import volumesource
from .events import Events
from .merge import check_volume_name
from .pruning import Chosen

DRIVERS = ("", "local")
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_GOING = ".removing-"  # what a removed volume's directory is called until it is gone


class Volumes:
    def __init__(self, store: Store, root: str, events: Events) -> None:
        self._store = store
        self._events = events
        self._directory = f"{root}/volumes"

    def path(self, name: str) -> str:
        """Where the volume's data lies on the host."""
        return f"{self._directory}/{name}/_data"

    def create(
        self,
        name: str = "",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        *,
        driver: str = "local",
    ) -> Volume:
        """The volume of that name: one that exists as it is, else a new one; no name makes an
        anonymous one. Raises InvalidInput, and NotFound for any driver but local."""
        anonymous = not name
        name = name or os.urandom(32).hex()
        if driver not in DRIVERS:
            raise NotFound(
                f"create {'' if anonymous else name}: error looking up volume plugin {driver}: "
                f'plugin "{driver}" not found'
            )
        check_volume_name(name)
        volumesource.check(name, options or {})
        began_ns = time.time_ns()
        with self._locked():
            labels = {**(labels or {}), **({ANONYMOUS_LABEL: ""} if anonymous else {})}
            volume = self._store.volumes.create(name, labels, options, anonymous=anonymous)
            os.makedirs(self.path(name), 0o755, exist_ok=True)
        if volume.created_ns >= began_ns:
            self._events.volume("create", name)
        return volume

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The directory of all volumes. One process at a time makes or removes one: a row and its
        directory come and go together, however two commands meet."""
        os.makedirs(self._directory, 0o711, exist_ok=True)
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

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
        with self._locked() as directory:
            existed = self._store.volumes.remove(name)
            aside = self._set_aside(name, directory)
        if aside:
            self._delete(aside)
            self._forget_note(name)
        if existed:
            self._events.volume("destroy", name)

    def prune(self, *, all: bool = False, chosen: Chosen | None = None) -> Sequence[str]:
        """Remove volumes no container mounts: the anonymous ones, with `all` named ones too; with
        `chosen` only those with its labels."""
        removed = []
        if os.path.isdir(self._directory):
            self._delete()
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
        """Delete the anonymous volumes of a removed container that nobody else mounts. One that the
        user gave by its name stays, whoever made it."""
        unused = {volume.name for volume in self._store.volumes.unused() if volume.anonymous}
        for point in mounts:
            if point.kind == "volume" and not point.named and point.name in unused:
                try:
                    self.remove(point.name, force=True)
                except Conflict:
                    continue

    def _set_aside(self, name: str, directory: int) -> str:
        """Take the directory away from its name: deleting it takes long, and a new volume of that
        name may be made at once. What it is called now; "" when there was none."""
        if not name or name[0] == "." or "/" in name:
            return ""  # no volume can be called so
        aside = f"{_GOING}{os.urandom(8).hex()}"
        try:
            os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
        except FileNotFoundError:
            return ""
        return aside

    def _forget_note(self, name: str) -> None:
        """Of a volume in memory: see `points`."""
        try:
            os.unlink(f"{self._store.run}/volumes/{name}")
        except FileNotFoundError:
            pass

    def _delete(self, *names: str) -> None:
        """Directories of removed volumes; with no names those that a killed command left."""
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            left = [name for name in os.listdir(directory) if name.startswith(_GOING)]
            for name in names or left:
                safefs.remove_tree(directory, name)
        finally:
            os.close(directory)

    @contextmanager
    def opened(self, point: MountPoint) -> Iterator[int]:
        """The volume's top directory, mounted for this process alone when it has options."""
        if point.options:
            fd = volumesource.mounted(point.options, point.source)
        else:
            fd = os.open(point.source, safefs.O_PATH_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
