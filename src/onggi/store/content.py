"""Blobs: bytes in files named by their digest, complete and durable before their row appears.

Holds manifests, configurations, and compressed layers only while they are pushed. Never decides
what may go: that is `gc`.
"""

import os
from collections.abc import Callable, Iterable, Iterator

from ..errors import CorruptData, NotFound
from ..spec.digest import Digest
from .db import Database
from .durable import make_directory, open_tmpfile, publish, publish_over, write_all
from .lock import Lock

CHUNK = 64 << 10
_LITTLE_BYTES = 1 << 18


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
        import hashlib  # 2 ms that only those who store bytes pay

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
            self._publish(fd, found, total)
        finally:
            os.close(fd)
        return found, total

    def open_upload(self) -> int:
        """A nameless file for a blob that comes in parts: write to it, then `adopt` it, or close
        it and it is gone."""
        return open_tmpfile(self._directory("sha256"))

    def adopt(self, fd: int, digest: Digest, size_bytes: int) -> None:
        """The file of `open_upload` with all its bytes, whose digest the caller knows to be
        this."""
        self._publish(fd, digest, size_bytes)

    def _publish(self, fd: int, digest: Digest, size_bytes: int) -> None:
        directory = self._directory(digest.algorithm)
        with self._lock.shared():
            if not publish(fd, directory, digest.hex) and not self.has(digest):
                publish_over(fd, directory, digest.hex)  # a crash left it, or it was damaged
            self._db.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (digest, size_bytes))

    def read(self, digest: Digest) -> bytes:
        """All bytes of a small blob, checked against the digest. A damaged one is forgotten, so
        that it can be stored anew."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            self._db.execute("DELETE FROM blob WHERE digest = ?", (digest,))
            raise NotFound(f"no such blob: {digest}") from None
        if not _has_digest(data, digest):
            self._db.execute("DELETE FROM blob WHERE digest = ?", (digest,))
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


def _has_digest(data: bytes, digest: Digest) -> bool:
    if digest.algorithm == "sha256" and len(data) < _LITTLE_BYTES:
        return Digest.of(data) == digest
    import hashlib  # 2 ms, which no start of a container is to pay for its image's configuration

    return hashlib.new(digest.algorithm, data).hexdigest() == digest.hex
