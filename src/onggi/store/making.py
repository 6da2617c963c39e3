"""Making layers: from a blob, from a container's changes, and other forms of one that is there.

Bytes first, then the name, then the row: whatever stops in between leaves garbage at most.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ..errors import CorruptData
from ..linux import copied
from ..linux.libc import syscall
from ..spec.digest import Digest
from ..spec.image import Descriptor
from ..spec.mount import LayerMount
from . import diff, lowerfiles
from .backend import Backend
from .durable import in_words, make_directory, publish, publish_over, sync_directory
from .erofs import TAR_OFFSET
from .extract import extract
from .inflate import Inflater
from .layerfile import read_tar
from .layerrows import Form, KnownBlob, LayerInfo, LayerRow, LayerRows, file_name
from .layertree import LayerTree, ResolveLower
from .lock import Lock
from .scratch import Scratch
from .sink import Contents, LayerSink
from .tarindex import TarIndex


class Maker:
    def __init__(
        self, directory: str, rows: LayerRows, lock: Lock, backend: Backend, scratch: Scratch
    ) -> None:
        self._directory = directory
        self._rows = rows
        self._lock = lock
        self._backend = backend
        self._scratch = scratch

    def receive(
        self,
        compression: str,
        expected_diff_id: Digest | None = None,
        expected_blob: Descriptor | None = None,
        source: str = "",
    ) -> "Incoming":
        """A layer whose blob will be written to it; see `Layers.ingest`."""
        return Incoming(self, compression, expected_diff_id, expected_blob, source)

    def new_sink(
        self, tar_algorithm: str = "sha256", blob_algorithm: str | None = None
    ) -> LayerSink:
        directory = make_directory(self._directory)
        return LayerSink(directory, tar_algorithm=tar_algorithm, blob_algorithm=blob_algorithm)

    def commit(self, upper: str, mtime_clamp_s: int | None) -> LayerInfo:
        """See `Layers.commit`."""
        upper_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self.new_sink() as sink:
                diff.write_layer(
                    upper_fd,
                    sink.write,
                    mtime_clamp_s=mtime_clamp_s,
                    pristine=copied.pristine(upper),
                )
                contents = sink.finish()
                self.keep(sink, contents, None)
        finally:
            os.close(upper_fd)
        return LayerInfo(*contents[:4])

    def join(self, chain: str, layers: Sequence[str]) -> str:
        """The union of extracted layers as one tree that shares their files."""
        name = f"{chain.partition(':')[2]}.joined"
        target = f"{self._directory}/{name}"
        with self._scratch.directory() as scratch, self._lock.shared():
            if not os.path.isdir(target):
                os.mkdir(f"{scratch}/joined", 0o755)
                copied.merge(layers, f"{scratch}/joined")
                with _alone(self._directory):
                    if not os.path.isdir(target):
                        os.rename(f"{scratch}/joined", target)
        return target

    def materialise(
        self, row: LayerRow, parent: str, form: Form, lowers: Sequence[LayerMount]
    ) -> LayerRow:
        """Make the form of the layer that this host mounts, from its tar. `lowers` are the layers
        below, which `parent` names, for a layer that depends on them."""
        with ExitStack() as stack:
            source = os.open(self._tar_path(row), os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, source)
            resolve = stack.enter_context(lowerfiles.resolver(lowers if row.depends else ()))
            if form == "erofs":
                opaque = self._materialise_erofs(row, parent, source, resolve)
            else:
                tree = _index(read_tar(source, row.tar_bytes), resolve)
                opaque = tree.root.opaque
                self._extract(tree, source, row.diff_id, parent)
        return row._replace(files=row.files | {(parent, form)}, opaque=opaque)

    def _materialise_erofs(
        self, row: LayerRow, parent: str, source: int, resolve: ResolveLower
    ) -> bool:
        with LayerSink(self._directory, resolve_lower=resolve) as sink:
            for piece in read_tar(source, row.tar_bytes):
                sink.write(piece)
            tree = sink.finish().tree
            assert tree is not None  # it had a resolver
            metadata = sink.append_erofs(tree, row.diff_id, row.tar_bytes)
            with self._lock.shared():
                self._publish(sink.fd, row.diff_id, parent, "erofs")
                opaque = tree.root.opaque
                self._rows.add_file(row.diff_id, parent, "erofs", metadata, opaque=opaque)
        return opaque

    def _tar_path(self, row: LayerRow) -> str:
        form: Form = "tar" if ("", "tar") in row.files else "erofs"
        return f"{self._directory}/{file_name(row.diff_id, '', form)}"

    def keep(self, sink: LayerSink, contents: Contents, blob: KnownBlob | None) -> None:
        """Give the finished file its name, then its row."""
        diff_id, tree = contents.diff_id, contents.tree
        # Looking costs no write; to pin says again, in one transaction, whether it is there.
        if self._rows.load([diff_id]) and self._rows.pin([diff_id]):
            if blob is not None:
                self._rows.remember(diff_id, blob)
            return
        form: Form = "tar"
        metadata = ""
        if tree is not None and self._backend.form == "erofs":
            form = "erofs"
            metadata = sink.append_erofs(tree, diff_id, contents.tar_size)
        row = LayerRow(
            diff_id,
            contents.tar_size,
            depends=tree is None,
            opaque=tree is not None and tree.root.opaque,
            verified_boot=self._backend.epoch(),
            files=frozenset([("", form)]),
        )
        with self._lock.shared():
            self._publish(sink.fd, diff_id, "", form)
            self._rows.add(row, metadata, blob)
            if tree is not None and form == "tar":
                self._extract(tree, sink.fd, diff_id, "")

    def _publish(self, fd: int, diff_id: Digest, parent: str, form: Form) -> None:
        """A file of that name without a row is what a crash left, or what another process is about
        to note: ours, which is the same, takes its place."""
        name = file_name(diff_id, parent, form)
        if publish(fd, self._directory, name) or self._rows.has_file(diff_id, parent, form):
            return
        publish_over(fd, self._directory, name)

    def _extract(self, tree: LayerTree, tar_fd: int, diff_id: Digest, parent: str) -> None:
        """The layer as a directory, durable as a whole before its name and its row."""
        target = f"{self._directory}/{file_name(diff_id, parent, 'directory')}"
        with self._scratch.directory() as scratch, self._lock.shared():
            os.mkdir(f"{scratch}/layer", 0o755)
            fd = os.open(f"{scratch}/layer", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                extract(tree, tar_fd, TAR_OFFSET, fd, in_user_namespace=self._backend.is_limited)
                syscall("syncfs", fd)
            except OSError as error:
                raise in_words(error) from error
            finally:
                os.close(fd)
            with _alone(self._directory):  # a directory cannot replace another at one stroke
                if self._rows.has_file(diff_id, parent, "directory") and os.path.isdir(target):
                    return
                if os.path.isdir(target):
                    os.rename(target, f"{scratch}/stale")
                os.rename(f"{scratch}/layer", target)
                sync_directory(self._directory)
                self._rows.add_file(diff_id, parent, "directory", "", opaque=tree.root.opaque)


class Incoming:
    """One layer on its way in. A context manager: what is not finished is gone."""

    def __init__(
        self,
        maker: Maker,
        compression: str,
        diff_id: Digest | None,
        blob: Descriptor | None,
        source: str,
    ) -> None:
        self._maker = maker
        self._diff_id = diff_id
        self._blob = blob
        self._source = source
        self._inflater = Inflater(compression)
        blob_algorithm = blob.digest.algorithm if blob else "sha256"
        tar_algorithm = diff_id.algorithm if diff_id else "sha256"
        same = not compression and blob_algorithm == tar_algorithm
        self._sink = maker.new_sink(tar_algorithm, None if same else blob_algorithm)

    @property
    def received(self) -> int:
        """Bytes of the blob so far."""
        return self._sink.blob_size

    def write(self, piece: bytes) -> None:
        """The next bytes of the blob."""
        self._sink.blob(piece)
        if self._blob is not None and self.received > self._blob.size_bytes:
            raise CorruptData(
                f"layer blob {self._blob.digest} is longer than {self._blob.size_bytes} bytes"
            )
        for tar_piece in self._inflater.feed(piece):
            self._sink.write(tar_piece)

    def finish(self) -> LayerInfo:
        """Check and keep the layer."""
        blob = self._blob
        if blob is not None and self.received < blob.size_bytes:
            raise CorruptData(
                f"layer blob {blob.digest} is cut off at {self.received} of {blob.size_bytes} bytes"
            )
        self._inflater.finish()
        contents = self._sink.finish()
        _check_digests(contents, self._diff_id, blob)
        self._maker.keep(self._sink, contents, KnownBlob(blob, self._source) if blob else None)
        return LayerInfo(*contents[:4])

    def close(self) -> None:
        self._sink.close()

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Nobody else is between its look at a name here and its row."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _index(pieces: Iterable[bytes], resolve: ResolveLower) -> LayerTree:
    index, tree = TarIndex(require_end=False), LayerTree(resolve)
    for piece in pieces:
        for entry in index.feed(piece):
            tree.add(entry)
    index.finish()
    return tree


def _check_digests(contents: Contents, diff_id: Digest | None, blob: Descriptor | None) -> None:
    if blob is not None and contents.blob_digest != blob.digest:
        raise CorruptData(
            f"filesystem layer verification failed for digest {blob.digest}: "
            f"the digest of what came is {contents.blob_digest}"
        )
    if diff_id is not None and contents.diff_id != diff_id:
        raise CorruptData(f"layer {diff_id} has other content: its diff ID is {contents.diff_id}")
