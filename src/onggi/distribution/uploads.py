"""Blobs on their way in: sessions by random name, each a nameless file that grows in order.

While there are any, and a while after, garbage collection is kept away: between its last byte and
the manifest that names it no row holds a blob.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterable

from ..errors import Conflict, CorruptData, InvalidInput, NotFound, Unavailable
from ..spec.digest import Digest
from ..store.durable import write_all
from ..store.lock import Hold
from ..store.sink import require_space
from ..store.store import Store

MAX_SESSIONS = 256
IDLE_S = 3600.0  # a session that nothing comes for
GRACE_S = 900.0  # between the last blob and the manifest
_PIECE = 1 << 20


class Upload:
    def __init__(self, name: str, repository: str, fd: int) -> None:
        self.name = name
        self.repository = repository
        self.size_bytes = 0
        self.lock = threading.Lock()
        self.touched_s = time.monotonic()
        self.fd = fd
        self._hash = hashlib.sha256()

    def append(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            write_all(self.fd, piece)
            self._hash.update(piece)
            before, self.size_bytes = self.size_bytes, self.size_bytes + len(piece)
            self.touched_s = time.monotonic()
            if before // (64 * _PIECE) != self.size_bytes // (64 * _PIECE):
                require_space(self.fd)

    def digest(self, algorithm: str) -> Digest:
        hasher = self._hash
        if algorithm != "sha256":
            hasher = hashlib.new(algorithm)
            offset = 0
            while piece := os.pread(self.fd, _PIECE, offset):
                hasher.update(piece)
                offset += len(piece)
        return Digest.parse(f"{algorithm}:{hasher.hexdigest()}")

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Uploads:
    """May be used from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[str, Upload] = {}
        self._hold: Hold | None = None
        self._until_s = 0.0

    def begin(self, repository: str) -> Upload:
        self.tidy()
        with self._lock:
            if len(self._open) >= MAX_SESSIONS:
                raise Unavailable("too many uploads at once")
            self._keep()
            fd = self._store.blobs.open_upload()
            upload = Upload(os.urandom(16).hex(), repository, fd)
            self._open[upload.name] = upload
        return upload

    def find(self, repository: str, name: str) -> Upload:
        """Raises NotFound."""
        with self._lock:
            upload = self._open.get(name)
        if upload is None or upload.repository != repository:
            raise NotFound("blob upload unknown to registry")
        return upload

    def append(self, upload: Upload, start: int | None, pieces: Iterable[bytes]) -> None:
        """`start` is where the client thinks that it stands. Raises OutOfOrder."""
        with _alone(upload):
            if start is not None and start != upload.size_bytes:
                raise OutOfOrder("the requested range cannot be satisfied")
            upload.append(pieces)

    def finish(self, upload: Upload, digest: Digest, pieces: Iterable[bytes]) -> None:
        """With the last bytes. Raises CorruptData, and forgets the upload, when it is not what
        `digest` says."""
        with _alone(upload):
            upload.append(pieces)
            found = upload.digest(digest.algorithm)
            with self._lock:
                self._open.pop(upload.name, None)
            try:
                if found != digest:
                    raise CorruptData(f"provided digest did not match uploaded content: {found}")
                with self._lock:
                    self._keep()
                self._store.blobs.adopt(upload.fd, digest, upload.size_bytes)
            finally:
                upload.close()

    def cancel(self, upload: Upload) -> None:
        with self._lock:
            self._open.pop(upload.name, None)
        with _alone(upload):
            upload.close()

    def tidy(self) -> None:
        """Forget what nobody goes on with, and let garbage collection in when nothing is under
        way."""
        now = time.monotonic()
        with self._lock:
            for name, upload in list(self._open.items()):
                if now - upload.touched_s > IDLE_S and upload.lock.acquire(blocking=False):
                    del self._open[name]
                    upload.close()
                    upload.lock.release()
            if self._hold is not None and not self._open and now > self._until_s:
                self._hold.close()
                self._hold = None

    def close(self) -> None:
        with self._lock:
            for upload in self._open.values():
                upload.close()
            self._open.clear()
            if self._hold is not None:
                self._hold.close()
                self._hold = None

    def _keep(self) -> None:
        self._until_s = time.monotonic() + GRACE_S
        if self._hold is None:
            self._hold = self._store.shared()


class OutOfOrder(InvalidInput):
    http_status = 416


class _alone:
    """One request at a time writes to an upload."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __enter__(self) -> None:
        if not self._upload.lock.acquire(blocking=False):
            raise Conflict("another request is writing to that upload")
        if self._upload.fd < 0:
            self._upload.lock.release()
            raise NotFound("blob upload unknown to registry")

    def __exit__(self, *_: object) -> None:
        self._upload.lock.release()
