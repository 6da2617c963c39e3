"""Making layers: from a blob, from a container's changes, and other forms of one that is there.

Bytes first, then the name, then the row: whatever stops in between leaves garbage at most.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from ..errors import CorruptData
from ..linux import process
from ..linux.libc import syscall
from ..spec.digest import Digest
from ..spec.image import Descriptor
from ..spec.mount import LayerMount
from . import diff, lowerfiles
from .backend import Backend
from .durable import in_words, make_directory, publish, remove_file, sync_directory
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

    def ingest(
        self,
        pieces: Iterable[bytes],
        compression: str,
        expected_diff_id: Digest | None,
        expected_blob: Descriptor | None,
        source: str,
        on_progress: Callable[[int], None] | None,
    ) -> LayerInfo:
        """See `Layers.ingest`."""
        inflater = Inflater(compression)
        blob_algorithm = expected_blob.digest.algorithm if expected_blob else "sha256"
        tar_algorithm = expected_diff_id.algorithm if expected_diff_id else "sha256"
        limit = expected_blob.size_bytes if expected_blob else None
        same = not compression and blob_algorithm == tar_algorithm
        with LayerSink(
            make_directory(self._directory),
            tar_algorithm=tar_algorithm,
            blob_algorithm=None if same else blob_algorithm,
        ) as sink:
            for piece in pieces:
                sink.blob(piece)
                if limit is not None and sink.blob_size > limit:
                    break
                for tar_piece in inflater.feed(piece):
                    sink.write(tar_piece)
                if on_progress is not None:
                    on_progress(sink.blob_size)
            _check_size(sink.blob_size, expected_blob)
            inflater.finish()
            contents = sink.finish()
            _check_digests(contents, expected_diff_id, expected_blob)
            blob = KnownBlob(expected_blob, source) if expected_blob else None
            self._keep(sink, contents, blob)
        return LayerInfo(*contents[:4])

    def commit(self, upper: str) -> LayerInfo:
        """See `Layers.commit`."""
        upper_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with LayerSink(make_directory(self._directory)) as sink:
                diff.write_layer(upper_fd, sink.write)
                contents = sink.finish()
                self._keep(sink, contents, None)
        finally:
            os.close(upper_fd)
        return LayerInfo(*contents[:4])

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

    def _keep(self, sink: LayerSink, contents: Contents, blob: KnownBlob | None) -> None:
        """Give the finished file its name, then its row."""
        diff_id, tree = contents.diff_id, contents.tree
        if self._rows.load([diff_id]):
            self._rows.pin([diff_id])
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
            verified_boot=process.boot_id(),
            files=frozenset([("", form)]),
        )
        with self._lock.shared():
            self._publish(sink.fd, diff_id, "", form)
            self._rows.add(row, metadata, blob)
            if tree is not None and form == "tar":
                self._extract(tree, sink.fd, diff_id, "")

    def _publish(self, fd: int, diff_id: Digest, parent: str, form: Form) -> None:
        """A file of that name without a row is what a crash left: ours takes its place."""
        name = file_name(diff_id, parent, form)
        while not publish(fd, self._directory, name):
            if self._rows.has_file(diff_id, parent, form):
                return
            remove_file(f"{self._directory}/{name}")

    def _extract(self, tree: LayerTree, tar_fd: int, diff_id: Digest, parent: str) -> None:
        """The layer as a directory, durable as a whole before its name and its row."""
        target = f"{self._directory}/{file_name(diff_id, parent, 'directory')}"
        with self._scratch.directory() as scratch, self._lock.shared():
            os.mkdir(f"{scratch}/layer", 0o755)
            fd = os.open(f"{scratch}/layer", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                extract(tree, tar_fd, TAR_OFFSET, fd)
                syscall("syncfs", fd)
            except OSError as error:
                raise in_words(error) from error
            finally:
                os.close(fd)
            if os.path.isdir(target):
                if self._rows.has_file(diff_id, parent, "directory"):
                    return
                os.rename(target, f"{scratch}/stale")
            os.rename(f"{scratch}/layer", target)
            sync_directory(self._directory)
            self._rows.add_file(diff_id, parent, "directory", "", opaque=tree.root.opaque)


def _index(pieces: Iterable[bytes], resolve: ResolveLower) -> LayerTree:
    index, tree = TarIndex(require_end=False), LayerTree(resolve)
    for piece in pieces:
        for entry in index.feed(piece):
            tree.add(entry)
    index.finish()
    return tree


def _check_size(found: int, blob: Descriptor | None) -> None:
    if blob is not None and found != blob.size_bytes:
        how = "longer than" if found > blob.size_bytes else f"cut off at {found} of"
        raise CorruptData(f"layer blob {blob.digest} is {how} {blob.size_bytes} bytes")


def _check_digests(contents: Contents, diff_id: Digest | None, blob: Descriptor | None) -> None:
    if blob is not None and contents.blob_digest != blob.digest:
        raise CorruptData(
            f"layer blob {blob.digest} has other content: its digest is {contents.blob_digest}"
        )
    if diff_id is not None and contents.diff_id != diff_id:
        raise CorruptData(f"layer {diff_id} has other content: its diff ID is {contents.diff_id}")
