"""Blobs: bytes in files named by their digest, complete and durable before their row appears.

Holds manifests, configurations, and compressed layers only while they are pushed. Never decides
what may go: that is `gc`.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from ..errors import CorruptData, NotFound, Unavailable
from ..spec.digest import Digest
from .db import Database
from .lock import Lock

_TMPFILE = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
CHUNK = 64 << 10


class Blobs:
    def __init__(self, root: str, db: Database, lock: Lock) -> None:
        self._root = root
        self._db = db
        self._lock = lock

    def has(self, digest: Digest) -> bool:
        return self._db.row("SELECT 1 FROM blob WHERE digest = ?", (digest,)) is not None

    def size(self, digest: Digest) -> int:
        row = self._db.row("SELECT size_bytes FROM blob WHERE digest = ?", (digest,))
        if row is None:
            raise NotFound(f"no such blob: {digest}")
        return int(row[0])

    def put(
        self, pieces: Iterable[bytes], digest: Digest | None = None, size_bytes: int | None = None
    ) -> tuple[Digest, int]:
        """Store the bytes; returns digest and size. Raises CorruptData, and keeps nothing, when
        they are not what `digest` and `size_bytes` say."""
        hasher = hashlib.new(digest.algorithm if digest else "sha256")
        directory = self._directory(hasher.name)
        total = 0
        fd = open_tmpfile(directory)
        try:
            for piece in pieces:
                total += len(piece)
                if size_bytes is not None and total > size_bytes:
                    break
                hasher.update(piece)
                write_all(fd, piece)
            found = Digest.parse(f"{hasher.name}:{hasher.hexdigest()}")
            if size_bytes is not None and total != size_bytes:
                raise CorruptData(f"blob {digest or found} is not {size_bytes} bytes long")
            if digest is not None and found != digest:
                raise CorruptData(f"blob {digest} has other content: its digest is {found}")
            with self._lock.shared():
                publish(fd, directory, found.hex)
                self._db.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (found, total))
        finally:
            os.close(fd)
        return found, total

    def read(self, digest: Digest) -> bytes:
        """All bytes of a small blob, checked against the digest."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}") from None
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
            raise CorruptData(
                f"{self.path(digest)} is damaged: its bytes do not have digest {digest}",
                hint="pull or build the image again",
            )
        return data

    def reader(self, digest: Digest) -> Callable[[], Iterator[bytes]]:
        """A factory of iterators over the blob's bytes, one for each attempt of an upload."""
        path = self.path(digest)

        def pieces() -> Iterator[bytes]:
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(CHUNK):
                    yield piece

        return pieces

    def path(self, digest: Digest) -> str:
        return f"{self._root}/blobs/{digest.algorithm}/{digest.hex}"

    def _directory(self, algorithm: str) -> str:
        return make_directory(f"{self._root}/blobs/{algorithm}")


def make_directory(path: str) -> str:
    """The directory, made durable when it is new."""
    if not os.path.isdir(path):
        os.makedirs(path, 0o700, exist_ok=True)
        sync_directory(os.path.dirname(path))
    return path


def open_tmpfile(directory: str) -> int:
    """A nameless file: it vanishes with the process unless `publish` gives it a name."""
    return os.open(directory, _TMPFILE, 0o600)


def publish(fd: int, directory: str, name: str) -> bool:
    """Make the file's bytes durable and give it its name; False when that name already is there."""
    os.fdatasync(fd)
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with dst_dir_fd does Python call linkat(AT_SYMLINK_FOLLOW) and not link(2).
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.fsync(directory_fd)
        os.close(directory_fd)
    return True


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte. Raises Unavailable in words when the file system is full."""
    try:
        written = os.write(fd, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(fd, data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(error) from error
        raise


def no_space(error: OSError) -> Unavailable:
    where = f" on {os.fsdecode(error.filename)}" if error.filename else ""
    return Unavailable(
        f"no space left on device{where}: the layer store's file system is full",
        hint="free space, for example with: onggi rmi IMAGE",
    )
