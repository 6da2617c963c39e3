"""Cache mounts: directories that outlive the build, under ROOT/buildcache-mounts.

Owns their names (a hash of the id, so that no id is a path: SECURITY D1), their locks and their
removal. `shared` takes the directory beside other builds, `locked` waits until it is alone,
`private` takes another one meanwhile.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import InvalidInput, NotFound
from ..linux import mount as kernel
from ..linux import safefs
from ..store.durable import make_directory
from ..store.store import Store
from ..typed import NamedTuple
from .graph import RunMount, canonical

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_COPIES = 1000
Seed = Callable[[int], None]


class CacheDirectory(NamedTuple):
    """One directory as `builder du` shows it."""

    name: str
    id: str
    size_bytes: int
    last_used_ns: int
    in_use: bool


class CacheMounts:
    """`waits` is told an id whose lock another build holds."""

    def __init__(self, store: Store, waits: Callable[[str], None] = lambda id_: None) -> None:
        self._top = f"{store.root}/buildcache-mounts"
        self._waits = waits

    @contextmanager
    def opened(self, wanted: RunMount, seed: Seed | None) -> Iterator[int]:
        """A detached mount of the directory, locked as its sharing says while the block lasts. The
        descriptor becomes the caller's."""
        make_directory(self._top)
        top = os.open(self._top, _DIRECTORY)
        try:
            lock, name = self._locked(top, wanted)
            try:
                yield self._mounted(top, name, wanted, seed)
                os.utime(lock)
            finally:
                os.close(lock)
        finally:
            os.close(top)

    def _locked(self, top: int, wanted: RunMount) -> tuple[int, str]:
        base = directory_name(wanted)
        if wanted.sharing != "private":
            how = fcntl.LOCK_SH if wanted.sharing == "shared" else fcntl.LOCK_EX
            return self._lock(top, base, how, wanted.id), base
        for number in range(_MAX_COPIES):
            name = f"{base}.{number}" if number else base
            lock = self._try_lock(top, name, fcntl.LOCK_EX)
            if lock is not None:
                return lock, name
        raise AssertionError("a thousand builds at once hold this cache")

    def _lock(self, top: int, name: str, how: int, id_: str) -> int:
        lock = self._try_lock(top, name, how)
        if lock is not None:
            return lock
        self._waits(id_)
        while True:
            lock = _open_lock(top, name)
            fcntl.flock(lock, how)
            if _is_current(top, name, lock):
                return lock
            os.close(lock)  # removed by a prune meanwhile

    def _try_lock(self, top: int, name: str, how: int) -> int | None:
        while True:
            lock = _open_lock(top, name)
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return None
            if _is_current(top, name, lock):
                return lock
            os.close(lock)

    def _mounted(self, top: int, name: str, wanted: RunMount, seed: Seed | None) -> int:
        try:
            directory = os.open(name, _DIRECTORY, dir_fd=top)
        except FileNotFoundError:
            directory = self._made(top, name, wanted, seed)
        try:
            part = _part(directory, wanted)
            try:
                fd = kernel.open_tree("", directory_fd=part)
            finally:
                os.close(part)
            kernel.mount_setattr(fd, set_attributes=kernel.NODEV)
            return fd
        finally:
            os.close(directory)

    def _made(self, top: int, name: str, wanted: RunMount, seed: Seed | None) -> int:
        """A new directory appears whole, under a temporary name until then: two builds that share
        it may both make one, and the first one stays."""
        temporary = f"{name}.new.{os.urandom(6).hex()}"
        os.mkdir(temporary, 0o700, dir_fd=top)
        try:
            directory = os.open(temporary, _DIRECTORY, dir_fd=top)
            try:
                if seed is not None:
                    seed(directory)
                else:
                    os.fchown(directory, wanted.uid, wanted.gid)
                    os.fchmod(directory, wanted.mode)
                _write_note(top, name, wanted.id)
            finally:
                os.close(directory)
            # rename would replace an empty directory, which another builder has mounted by now
            fcntl.flock(top, fcntl.LOCK_EX)
            try:
                if not os.path.isdir(f"{self._top}/{name}"):
                    os.rename(temporary, name, src_dir_fd=top, dst_dir_fd=top)
            finally:
                fcntl.flock(top, fcntl.LOCK_UN)
        finally:
            safefs.remove_tree(top, temporary)
        return os.open(name, _DIRECTORY, dir_fd=top)

    # -- looking and removing

    def list(self) -> list[CacheDirectory]:
        """Least recently used first."""
        try:
            top = os.open(self._top, _DIRECTORY)
        except FileNotFoundError:
            return []
        try:
            found = [_described(top, n) for n in os.listdir(top) if n.endswith(".lock")]
        finally:
            os.close(top)
        return sorted(found, key=lambda item: (item.last_used_ns, item.name))

    def size_bytes(self) -> int:
        """Of all directories; only those used since they were last measured are measured."""
        return sum(item.size_bytes for item in self.list())

    def remove(self, name: str) -> bool:
        """Delete a directory that no build uses; whether it did."""
        top = os.open(self._top, _DIRECTORY)
        try:
            lock = self._try_lock(top, name, fcntl.LOCK_EX)
            if lock is None:
                return False
            try:
                # Whoever makes one holds the lock: a half-made one is of a builder that died.
                begun = [n for n in os.listdir(top) if n.startswith(f"{name}.new.")]
                for left in (*begun, name, f"{name}.id", f"{name}.size", f"{name}.lock"):
                    safefs.remove_tree(top, left)
            finally:
                os.close(lock)
            return True
        finally:
            os.close(top)


def _part(directory: int, wanted: RunMount) -> int:
    """The directory, or without from= the folder `source` in it. Links stay inside, and what was
    looked up is what gets mounted, whatever other steps do to its name meanwhile (SECURITY D1)."""
    if wanted.seed or not wanted.source.strip("/"):
        return os.dup(directory)
    try:
        return safefs.open_in_root(directory, wanted.source, safefs.O_PATH_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f'"{wanted.source}": not found in the cache {wanted.id}') from error
    except OSError as error:
        raise InvalidInput(f"{wanted.source} of the cache {wanted.id}: {error.strerror}") from error


def directory_name(wanted: RunMount) -> str:
    """Different seeds and owners are different caches, as with docker."""
    parts = [wanted.id, wanted.seed] if wanted.seed else [wanted.id]
    return hashlib.sha256(canonical(parts)).hexdigest()


def _open_lock(top: int, name: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(f"{name}.lock", flags, 0o600, dir_fd=top)


def _is_current(top: int, name: str, lock: int) -> bool:
    try:
        now = os.stat(f"{name}.lock", dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return False
    held = os.fstat(lock)
    return (now.st_dev, now.st_ino) == (held.st_dev, held.st_ino)


def _write_note(top: int, name: str, id_: str) -> None:
    """The id in words, for people."""
    _write(top, f"{name}.id", os.fsencode(id_)[:4096])


def _write(top: int, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=top)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _described(top: int, lock_name: str) -> CacheDirectory:
    name = lock_name.removesuffix(".lock")
    lock = _open_lock(top, name)
    try:
        used_ns = os.fstat(lock).st_mtime_ns
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            in_use = False
        except BlockingIOError:
            in_use = True
    finally:
        os.close(lock)
    try:
        with open(os.open(f"{name}.id", os.O_RDONLY | os.O_CLOEXEC, dir_fd=top), "rb") as file:
            id_ = os.fsdecode(file.read(4096))
    except FileNotFoundError:
        id_ = ""
    size_bytes = _size(top, name) if in_use else _size_since(top, name, used_ns)
    return CacheDirectory(name, id_, size_bytes, used_ns, in_use)


def _size_since(top: int, name: str, used_ns: int) -> int:
    """As it was noted when the directory was last measured, unless it was used since."""
    try:
        with open(os.open(f"{name}.size", os.O_RDONLY | os.O_CLOEXEC, dir_fd=top), "rb") as file:
            size, then = file.read(64).split()
        if int(then) == used_ns:
            return int(size)
    except (FileNotFoundError, ValueError):
        pass
    size_bytes = _size(top, name)
    _write(top, f"{name}.size", b"%d %d" % (size_bytes, used_ns))
    return size_bytes


def _size(parent: int, name: str) -> int:
    """Bytes on disk; what vanishes meanwhile counts nothing."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError:
        return 0
    total = 0
    try:
        for _, directories, files, here in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            for item in (*directories, *files):
                try:
                    total += os.stat(item, dir_fd=here, follow_symlinks=False).st_blocks * 512
                except FileNotFoundError:
                    continue
    finally:
        os.close(fd)
    return total
