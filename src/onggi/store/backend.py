"""How layers are mounted on this host: tried once, remembered until the next boot.

The best that works wins: an EROFS file mounted directly (Linux 6.12 with file-backed mounts),
through a loop device, or a directory of extracted files.
"""

import os

from ..linux import process
from ..spec.mount import LayerMount, RootFilesystem
from ..typed import Literal, get_args
from .durable import make_directory, write_all
from .scratch import Scratch

Kind = Literal["erofs", "erofs-loop", "directory", "user-directory", "copied"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Backend:
    def __init__(self, run: str, scratch: Scratch, forced: Kind | None = None) -> None:
        self._path = f"{run}/backend"
        self._run = run
        self._scratch = scratch
        self._kind = forced

    @property
    def kind(self) -> Kind:
        if self._kind is None:
            self._kind = self._remembered() or self._try_all()
        return self._kind

    @property
    def form(self) -> Literal["erofs", "directory"]:
        """What a layer must lie on disk as."""
        return "erofs" if self.kind.startswith("erofs") else "directory"

    @property
    def tree_kind(self) -> Literal["directory", "user-directory", "copied"]:
        """What a directory of ours is mounted as, beside the layers."""
        if self.kind == "user-directory" or self.kind == "copied":
            return self.kind
        return "directory"

    @property
    def is_limited(self) -> bool:
        """Whether files are extracted by who is no root of the host."""
        return self.kind in ("user-directory", "copied")

    def epoch(self) -> str:
        """What a layer's check is good for: this boot, and for extracted files the ids they were
        extracted with."""
        boot_id = process.boot_id()
        if not self.is_limited:
            return boot_id
        from ..linux import userns

        return f"{boot_id} {userns.ids_from_zero(userns.own_map())}"

    def _remembered(self) -> Kind | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                text = file.read(32).strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return next((kind for kind in KINDS if kind == text), None)

    def _try_all(self) -> Kind:
        from ..linux import capability, userns

        kind: Kind = "directory"
        if not (userns.is_initial() and capability.held() & capability.SYS_ADMIN):
            kind = "user-directory"  # trusted.* attributes are for the host's root alone
        with self._scratch.directory() as directory:
            if kind == "user-directory" and not _overlays(directory):
                kind = "copied"
            path = f"{directory}/trial.erofs"
            _write_trial(path)
            for candidate in ("erofs", "erofs-loop"):
                if _mounts(LayerMount(candidate, path)):
                    kind = candidate
                    break
        make_directory(self._run)
        temporary = f"{self._path}.{os.getpid()}.{os.urandom(4).hex()}"  # threads may race
        with open(temporary, "w", encoding="ascii") as file:
            file.write(f"{kind}\n")
        os.rename(temporary, self._path)
        return kind


def _write_trial(path: str) -> None:
    """An EROFS file of an empty layer."""
    from .erofs import ErofsImage
    from .layertree import LayerTree

    image = ErofsImage(LayerTree(), 0)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, image.header(bytes(16)))
        os.lseek(fd, image.metadata_offset, os.SEEK_SET)
        for piece in image.metadata():
            write_all(fd, piece)
        os.ftruncate(fd, image.size)
    finally:
        os.close(fd)


def _overlays(directory: str) -> bool:
    """Whether an overlay with its marks in user.* attributes can be mounted."""
    from ..linux import mount

    for name in ("lower", "upper", "work"):
        os.mkdir(f"{directory}/{name}")
    lower = LayerMount("user-directory", f"{directory}/lower")
    try:
        fd = mount.mount_overlay(
            RootFilesystem((lower,), f"{directory}/upper", f"{directory}/work")
        )
    except OSError:
        return False
    os.close(fd)
    return True


def _mounts(layer: LayerMount) -> bool:
    from ..linux import mount  # for the one trial of a boot

    try:
        fd = mount.mount_layer(layer)
    except OSError:  # whatever the reason, this way is closed
        return False
    try:
        inner = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            return os.listdir(inner) == []
        finally:
            os.close(inner)
    except OSError:
        return False
    finally:
        os.close(fd)
