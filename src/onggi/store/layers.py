"""Layers: from a stream to a mountable file, and back to the exact tar.

A layer is stored once, under its diff ID, with its verbatim tar. What it is mounted from (an EROFS
file, or a directory) is made on the way in or, when this host or a hard link into a lower layer
asks for it, later from that tar. Never follows a path of an archive on the host.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from ..errors import CorruptData, NotFound
from ..spec.digest import Digest, chain_id
from ..spec.image import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor
from ..spec.mount import LayerMount
from ..typed import TYPE_CHECKING
from .backend import Backend
from .content import Blobs
from .layerrows import Form, KnownBlob, LayerInfo, LayerRow, LayerRows, file_name
from .lock import Lock
from .scratch import Scratch

if TYPE_CHECKING:
    from .layertar import LayerTar
    from .making import Incoming, Maker

_MEDIA_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


class Layers:
    def __init__(
        self,
        root: str,
        rows: LayerRows,
        blobs: Blobs,
        lock: Lock,
        backend: Backend,
        scratch: Scratch,
    ) -> None:
        self._directory = f"{root}/layers"
        self._rows = rows
        self._blobs = blobs
        self._lock = lock
        self.backend = backend
        self._scratch = scratch

    @cached_property
    def _maker(self) -> "Maker":
        from .making import Maker  # threads and decompressors: not for those who only mount

        return Maker(self._directory, self._rows, self._lock, self.backend, self._scratch)

    # -- looking

    def has(self, diff_id: Digest) -> bool:
        """Whether the layer is there and sound, as far as `mounts` would find out."""
        return bool(self._sound([diff_id]))

    def size(self, diff_id: Digest) -> int:
        """Bytes of the layer's tar."""
        return self._row(diff_id).tar_bytes

    def pin(self, diff_ids: Iterable[Digest]) -> frozenset[Digest]:
        """Keep these layers, present or to come, until an image holds them or this process ends;
        returns those that are present."""
        return self._sound(self._rows.pin(diff_ids))

    def unpin(self, diff_ids: Iterable[Digest] | None = None) -> None:
        """Let go of these layers, or of every one that this process keeps without an image."""
        self._rows.unpin(diff_ids)

    # -- coming in

    def ingest(
        self,
        pieces: Iterable[bytes],
        *,
        compression: str = "",
        expected_diff_id: Digest | None = None,
        expected_blob: Descriptor | None = None,
        source: str = "",
        on_progress: Callable[[int], None] | None = None,
    ) -> LayerInfo:
        """Store a layer from its blob, in one pass. `on_progress` gets the blob bytes so far;
        `source` is the repository (`docker.io/library/python`) that is known to have the blob.

        Raises CorruptData, and keeps nothing, when the blob, its size or the diff ID is not the
        expected one; Unavailable when the disk is full.
        """
        with self.receive(compression, expected_diff_id, expected_blob, source) as incoming:
            for piece in pieces:
                incoming.write(piece)
                if on_progress is not None:
                    on_progress(incoming.received)
            return incoming.finish()

    def receive(
        self,
        compression: str = "",
        expected_diff_id: Digest | None = None,
        expected_blob: Descriptor | None = None,
        source: str = "",
    ) -> "Incoming":
        """The same for who has the pieces pushed at him: write to what this returns, finish it."""
        return self._maker.receive(compression, expected_diff_id, expected_blob, source)

    def commit(self, upper: str, *, mtime_clamp_s: int | None = None) -> LayerInfo:
        """Store what an overlay's upper directory holds as a layer; no time in it is later than
        `mtime_clamp_s`."""
        return self._maker.commit(upper, mtime_clamp_s)

    # -- going out

    def open_tar(self, diff_id: Digest) -> "LayerTar":
        """The exact tar the layer came as."""
        from .layertar import LayerTar

        row = self._row(diff_id)
        whole: tuple[Form, ...] = ("tar", "erofs")
        form = next(form for form in whole if ("", form) in row.files)
        path = f"{self._directory}/{file_name(diff_id, '', form)}"
        try:
            return LayerTar(os.open(path, os.O_RDONLY | os.O_CLOEXEC), row.tar_bytes)
        except FileNotFoundError:
            raise self._damaged(diff_id, f"{path} is gone") from None

    def known_blobs(self, diff_id: Digest) -> list[KnownBlob]:
        """Compressed forms of the layer that registries have, then our own."""
        return self._rows.blobs(diff_id)

    def remember_blob(self, diff_id: Digest, descriptor: Descriptor, source: str = "") -> None:
        """Note that `source`, a repository, has this compressed form of the layer."""
        self._rows.remember(diff_id, KnownBlob(descriptor, source))

    def compressed(
        self, diff_id: Digest, kind: str
    ) -> tuple[Descriptor, Callable[[], Iterator[bytes]]]:
        """The layer's blob ("gzip", "zstd" or "" for the tar) and a factory of its bytes. Hold
        `Store.shared` until it is sent: the file goes with the next garbage collection."""
        if not kind:
            tar = Descriptor(OCI_LAYER, diff_id, self.size(diff_id))
            return tar, lambda: self._pieces(diff_id)
        from .deflate import deflate

        digest, size = self._blobs.put(deflate(self._pieces(diff_id), kind))
        descriptor = Descriptor(_MEDIA_TYPES[kind], digest, size)
        self._rows.remember(diff_id, KnownBlob(descriptor, ""))
        return descriptor, self._blobs.reader(digest)

    def _pieces(self, diff_id: Digest) -> Iterator[bytes]:
        with self.open_tar(diff_id) as tar:
            yield from tar.pieces()

    # -- mounting

    def mounts(self, diff_ids: Sequence[Digest]) -> tuple[LayerMount, ...]:
        """How to mount the stack `diff_ids`, bottom first, as it is returned.

        Raises NotFound when a layer is not in the store, CorruptData when it is damaged: it is
        then forgotten, so that a pull repairs it.
        """
        rows = self._rows.load(diff_ids)
        boot_id = self.backend.epoch()
        form, kind = self.backend.form, self.backend.kind
        stack: list[LayerMount] = []
        for position, diff_id in enumerate(diff_ids):
            row = rows.get(diff_id)
            if row is None:
                raise _missing(diff_id)
            row = self._verified(row, boot_id)
            below = tuple(diff_ids[:position])
            parent = chain_id(below) if row.depends and below else ""
            if (parent, form) not in row.files:
                lowers = self._joined(below, stack) if row.depends else stack
                row = self._maker.materialise(row, parent, form, lowers)
            path = f"{self._directory}/{file_name(diff_id, parent, form)}"
            if not os.path.exists(path):
                raise self._damaged(diff_id, f"{path} is gone")
            if row.opaque:
                stack.clear()
            stack.append(LayerMount(kind, path))
        return tuple(self._joined(tuple(diff_ids), stack))

    def _joined(self, diff_ids: tuple[Digest, ...], stack: list[LayerMount]) -> list[LayerMount]:
        """Where layers cannot be mounted over each other they are one tree, made when it is asked
        for and gone with the next collection."""
        if self.backend.kind != "copied" or len(stack) < 2:
            return stack
        path = self._maker.join(chain_id(diff_ids), [layer.path for layer in stack])
        return [LayerMount("copied", path)]

    def _row(self, diff_id: Digest) -> LayerRow:
        row = self._rows.load([diff_id]).get(diff_id)
        if row is None:
            raise _missing(diff_id)
        return row

    def _sound(self, diff_ids: Iterable[Digest]) -> frozenset[Digest]:
        """Those that are there and whole; damaged ones are forgotten."""
        found = set()
        boot_id = self.backend.epoch()
        for diff_id, row in self._rows.load(diff_ids).items():
            try:
                self._verified(row, boot_id)
                self.open_tar(diff_id).close()
            except CorruptData:
                continue
            found.add(diff_id)
        return frozenset(found)

    def _verified(self, row: LayerRow, boot_id: str) -> LayerRow:
        """If the machine was restarted since the layer's bytes were last hashed: hash them. A
        directory cannot be hashed, it is extracted anew."""
        if row.verified_boot == boot_id:
            return row
        from .verify import damage

        found = damage(self._directory, row, self._rows.metadata_digests(row.diff_id))
        if found:
            raise self._damaged(row.diff_id, found)
        stale = {key for key in row.files if key[1] == "directory"}
        for parent, form in stale:
            self._rows.drop_file(row.diff_id, parent, form)
        self._rows.verified(row.diff_id, boot_id)
        return row._replace(files=row.files - stale, verified_boot=boot_id)

    def _damaged(self, diff_id: Digest, what: str) -> CorruptData:
        self._rows.drop(diff_id)
        return CorruptData(
            f"layer {diff_id} is damaged: {what}", hint="pull or build the image again"
        )


def _missing(diff_id: Digest) -> NotFound:
    return NotFound(f"layer {diff_id} is not in the store", hint="pull or build the image again")
