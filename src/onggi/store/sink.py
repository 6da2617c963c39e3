"""One pass over a layer: hash, write, index. What comes out is a nameless file and its tree.

Owns the order of things while a layer streams by; what is done with the file afterwards is for
`layers` to say. Never keeps anything of a layer that fails.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from ..errors import CorruptData
from ..linux.libc import syscall
from ..spec.digest import Digest
from ..typed import NamedTuple
from .durable import in_words, open_tmpfile, write_all
from .erofs import TAR_OFFSET, ErofsImage
from .inflate import CHECK_EVERY, MAX_BYTES
from .layerfile import append_image
from .layertree import LayerTree, LowerFile, ResolveLower
from .tarindex import TarIndex

_QUEUED = 32  # pieces that wait to be hashed and written
_GATHER = 64 << 10  # small writes are put together up to this size
_WRITE_BACK = 16 << 20  # bytes after which the disk is told to begin with them
_SYNC_FILE_RANGE_WRITE = 2
_FLOOR_BYTES = 1 << 30
_PIECE = 1 << 20


class Contents(NamedTuple):
    """What a layer's stream was. `tree` is None when it links to files of lower layers and
    nobody could look there."""

    diff_id: Digest
    blob_digest: Digest
    blob_size: int
    tar_size: int
    tree: LayerTree | None


class LayerSink:
    """Takes a layer's tar, piece by piece, and beside it the compressed blob it came from."""

    def __init__(
        self,
        directory: str,
        *,
        tar_algorithm: str = "sha256",
        blob_algorithm: str | None = None,
        resolve_lower: ResolveLower | None = None,
    ) -> None:
        """`blob_algorithm` None: the tar itself is the blob."""
        self.fd = open_tmpfile(directory)
        os.lseek(self.fd, TAR_OFFSET, os.SEEK_SET)
        self._tar_hash = hashlib.new(tar_algorithm)
        self._blob_hash = hashlib.new(blob_algorithm) if blob_algorithm else None
        self._behind = _Behind()  # a thread: after what may fail
        self._index = TarIndex(require_end=False)
        self._tree: LayerTree | None = LayerTree(resolve_lower or _defer)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._check_at = CHECK_EVERY
        self._fresh = 0  # bytes that nobody told the disk of
        self.blob_size = 0

    def __enter__(self) -> "LayerSink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The file vanishes unless it has been given a name. Idempotent."""
        self._behind.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def blob(self, piece: bytes) -> None:
        """The next bytes of the compressed blob."""
        self.blob_size += len(piece)
        if self._blob_hash is not None:
            self._behind.do(self._blob_hash.update, piece)

    def write(self, piece: bytes) -> None:
        """The next bytes of the tar."""
        if len(piece) < _GATHER:
            self._gathered.append(piece)
            self._gathered_bytes += len(piece)
            if self._gathered_bytes >= _GATHER:
                self._take_gathered()
            return
        self._take_gathered()
        self._take(piece)

    def _take_gathered(self) -> None:
        if self._gathered:
            self._take(b"".join(self._gathered))
            self._gathered, self._gathered_bytes = [], 0

    def finish(self) -> Contents:
        """The stream is over. Raises CorruptData when the tar is not whole."""
        self._take_gathered()
        self._index.finish()
        self._behind.finish()
        self._start_write_back()  # while its metadata is made
        diff_id, size = _digest(self._tar_hash), self._index.size
        if self._blob_hash is None:
            return Contents(diff_id, diff_id, size, size, self._tree)
        return Contents(diff_id, _digest(self._blob_hash), self.blob_size, size, self._tree)

    def append_erofs(self, tree: LayerTree, diff_id: Digest, tar_size: int) -> Digest:
        """Make the file mountable; returns the digest of what is around the tar."""
        try:
            append_image(self.fd, ErofsImage(tree, tar_size), bytes.fromhex(diff_id.hex[:32]))
        except OSError as error:
            raise in_words(error) from error
        return metadata_digest(self.fd, tar_size)

    def _take(self, piece: bytes) -> None:
        self._behind.do(self._keep, piece)
        entries = self._index.feed(piece)
        if self._tree is not None:
            for entry in entries:
                try:
                    self._tree.add(entry)
                except _Deferred:
                    self._tree = None
                    break
        if self._index.size >= self._check_at:
            self._check_at = self._index.size + CHECK_EVERY
            self._check_limits()

    def _keep(self, piece: bytes) -> None:
        self._tar_hash.update(piece)
        write_all(self.fd, piece)
        self._fresh += len(piece)
        if self._fresh >= _WRITE_BACK:
            self._fresh = 0
            self._start_write_back()

    def _start_write_back(self) -> None:
        """Leaves the sync in the end little to wait for: of 250 MB it took 0.2 s, and takes 0.03.
        What fails here fails there, where it is told."""
        with suppress(OSError):
            syscall("sync_file_range", self.fd, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def _check_limits(self) -> None:
        if self._index.size > MAX_BYTES:
            raise CorruptData(f"layer is larger than {MAX_BYTES} bytes")
        require_space(self.fd)


def require_space(fd: int) -> None:
    """Raises Unavailable when the file system is nearly full: 5 % or 1 GiB must stay free."""
    space = os.fstatvfs(fd)
    floor = min(space.f_blocks * space.f_frsize // 20, _FLOOR_BYTES)
    if space.f_bavail * space.f_frsize < floor:
        raise in_words(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def metadata_digest(fd: int, tar_size: int) -> Digest:
    """The digest of what an EROFS layer file has before and after its tar."""
    hasher = hashlib.sha256(os.pread(fd, TAR_OFFSET, 0))
    position = TAR_OFFSET + tar_size
    while piece := os.pread(fd, _PIECE, position):
        hasher.update(piece)
        position += len(piece)
    return _digest(hasher)


class _Deferred(Exception):
    """A hard link names a file of a lower layer, and we are not told which layers lie below."""


def _defer(path: bytes) -> LowerFile | None:
    raise _Deferred


class _Behind:
    """A thread that hashes and writes what has been read: both release the GIL, so that the next
    piece is inflated and indexed meanwhile."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Callable[[bytes], None], bytes] | None] = SimpleQueue()
        self._room = threading.Semaphore(_QUEUED)
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="onggi-layer", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[bytes], None], piece: bytes) -> None:
        """In the order of the calls. Raises what an earlier piece's work raised."""
        self._room.acquire()
        if self._failed is not None:
            raise self._failed
        self._queue.put((work, piece))

    def finish(self) -> None:
        """Wait until everything is done. Raises what any of it raised."""
        self.close()
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, piece = item
            try:
                if self._failed is None:
                    work(piece)
            except Exception as error:  # raised where the pieces come from
                self._failed = error
            self._room.release()


def _digest(hasher: "hashlib._Hash") -> Digest:
    return Digest.parse(f"{hasher.name}:{hasher.hexdigest()}")
