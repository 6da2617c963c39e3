"""One image from one store to another, over any two pipes; only the layers that are missing.

    sender                                              receiver
      the image: configuration, manifest, names ──────>   which layers are here, or in part?
      <────────────── the layers that are wanted, from which byte on
      each: zstd of the tar from there ───────────────>   kept as they come; stored when whole
      <────────────── stored: the image, in one transaction

What broke off is gone on with by the next try. Nothing of what the sender says is believed: a layer
is what its digest says or it is not stored.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CorruptData, OnggiError
from ..progress import Layer, Report
from ..spec.digest import Digest
from ..spec.image import MAX_LAYERS, Image, parse_config, parse_manifest
from ..spec.reference import Reference, parse_reference
from ..store.deflate import deflate
from ..store.inflate import MAX_BYTES, ZSTD, inflate
from ..store.layertar import LayerTar
from ..store.partial import partial
from ..store.store import Store
from ..typed import Any, NamedTuple
from .events import Events
from .wire import Wire

VERSION = 1
TELL_EVERY = 4 << 20
_PIECE = 1 << 20


class Offered(NamedTuple):
    """An image as its sender describes it, checked as far as one can without its layers."""

    config: bytes
    manifest: bytes | None
    names: tuple[Reference, ...]
    layers: tuple[tuple[Digest, int], ...]  # with the bytes of their tars


class Transfer:
    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events

    def send(self, reference: str, wire: Wire, report: Report, name: str = "") -> None:
        """`name` is what it is to be called there, "" as here."""
        with _told(wire):
            image = self._store.images.get(reference)
            with self._store.shared():
                self._send(image, reference, wire, report, name)
        self._events.image("push", reference, reference)

    def receive(self, wire: Wire, report: Report, name: str | None = None) -> Image:
        """`name` is what it is called here, whatever the sender says: "" for no name. None believes
        him."""
        with _told(wire):
            offered = parse_offer(wire.hear())
            if name is not None:
                offered = offered._replace(names=(parse_reference(name),) if name else ())
            image = self._receive(offered, wire, report)
            wire.tell({"done": image.id})
        self._events.image("load", image.id, image.id)
        return image

    # -- the sender

    def _send(self, image: Image, reference: str, wire: Wire, report: Report, name: str) -> None:
        manifest = self._store.images.manifest_bytes(image.id)
        sizes = {diff_id: self._store.layers.size(diff_id) for diff_id in image.config.diff_ids}
        wire.tell({
            "version": VERSION,
            "config": _packed(self._store.images.config_bytes(image.id)),
            "manifest": _packed(manifest) if manifest else None,
            "names": [name or text for text in _names(image, reference)][:1 if name else None],
            "layers": [[diff_id, sizes[diff_id]] for diff_id in image.config.diff_ids],
        })  # fmt: skip
        wanted = parse_wanted(wire.hear(), sizes)
        for diff_id in sizes:
            if diff_id not in wanted:
                report(Layer(diff_id.short, "Layer already exists"))
        for diff_id, offset in wanted.items():
            pieces = self._pieces(diff_id, offset, sizes[diff_id], report)
            for piece in deflate(pieces, ZSTD):
                wire.send(piece)
            wire.end()
            report(Layer(diff_id.short, "Pushed"))
        if wire.hear().get("done") != image.id:
            raise CorruptData("the other side stored another image")

    def _pieces(self, diff_id: Digest, offset: int, size: int, report: Report) -> Iterator[bytes]:
        told = offset
        with self._store.layers.open_tar(diff_id) as tar:
            tar.seek(offset)
            for piece in _rest(tar):
                yield piece
                offset += len(piece)
                if offset - told >= TELL_EVERY:
                    told = offset
                    report(Layer(diff_id.short, "Pushing", offset, size))

    # -- the receiver

    def _receive(self, offered: Offered, wire: Wire, report: Report) -> Image:
        diff_ids = [diff_id for diff_id, _ in offered.layers]
        present = self._store.layers.pin(diff_ids)
        try:
            missing = {d: size for d, size in offered.layers if d not in present}
            wanted = {diff_id: self._held(diff_id, size) for diff_id, size in missing.items()}
            wire.tell({"wanted": [[diff_id, start] for diff_id, start in wanted.items()]})
            for diff_id in dict.fromkeys(diff_ids):
                if diff_id in present:
                    report(Layer(diff_id.short, "Already exists"))
            for diff_id, start in wanted.items():
                self._take(diff_id, start, missing[diff_id], wire, report)
            return self._store.images.add(offered.config, offered.manifest, tags=offered.names)
        finally:
            self._store.layers.unpin(diff_ids)

    def _held(self, diff_id: Digest, size: int) -> int:
        """How much of it came before."""
        with partial(self._store.root, diff_id) as part:
            if part.size_bytes > size:
                part.restart()
            return part.size_bytes

    def _take(self, diff_id: Digest, start: int, size: int, wire: Wire, report: Report) -> None:
        with partial(self._store.root, diff_id) as part:
            told = position = start
            goes_on = part.size_bytes >= start  # else another receiver has finished it meanwhile
            for piece in inflate(wire.data(), allow=frozenset((ZSTD,)), max_bytes=size):
                position += len(piece)
                if position > size:
                    raise CorruptData(f"layer {diff_id} is longer than its sender said")
                if goes_on and position > part.size_bytes:
                    part.append(piece[max(0, part.size_bytes - (position - len(piece))) :])
                if position - told >= TELL_EVERY:
                    told = position
                    report(Layer(diff_id.short, "Downloading", position, size))
            if position != size:
                raise CorruptData(f"layer {diff_id} is shorter than its sender said")
            if not self._store.layers.has(diff_id):
                try:
                    self._store.layers.ingest(part.pieces(), expected_diff_id=diff_id)
                except CorruptData:
                    part.restart()
                    raise
            part.remove()
        report(Layer(diff_id.short, "Pull complete"))


def parse_offer(document: dict[str, Any]) -> Offered:
    """Raises CorruptData for what does not fit together."""
    if document.get("version") != VERSION:
        raise CorruptData(
            "the other side speaks another version of the transfer protocol",
            hint="use the same onggi on both sides",
        )
    try:
        config = base64.b64decode(document["config"], validate=True)
        manifest = document["manifest"]
        layers = tuple((Digest.parse(d), int(size)) for d, size in document["layers"])
        names = tuple(parse_reference(str(text)) for text in document["names"])
        raw = base64.b64decode(manifest, validate=True) if manifest else None
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData("the other side sent no image") from error
    if raw is not None:
        parse_manifest(raw)
    diff_ids = parse_config(config).diff_ids
    if len(layers) > MAX_LAYERS or tuple(d for d, _ in layers) != diff_ids:
        raise CorruptData("the image's layers are not those of its configuration")
    if not all(0 < size <= MAX_BYTES for _, size in layers) or len(names) > 100:
        raise CorruptData("the image's layers are of no possible size")
    return Offered(config, raw, names, layers)


def parse_wanted(document: dict[str, Any], sizes: dict[Digest, int]) -> dict[Digest, int]:
    """From which byte on. Raises CorruptData for what was not offered."""
    try:
        wanted = {Digest.parse(d): int(start) for d, start in document["wanted"]}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData("the other side asked for no layers") from error
    for diff_id, start in wanted.items():
        if diff_id not in sizes or not 0 <= start <= sizes[diff_id]:
            raise CorruptData("the other side asked for what was not offered")
    return wanted


def _names(image: Image, reference: str) -> list[str]:
    """The one name that was asked for; of an id none."""
    try:
        named = str(parse_reference(reference))
    except OnggiError:
        return []
    return [named] if named in image.tags else []


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _rest(tar: LayerTar) -> Iterator[bytes]:
    while piece := tar.read(_PIECE):
        yield piece


@contextmanager
def _told(wire: Wire) -> Iterator[None]:
    """What goes wrong here is said there."""
    try:
        yield
    except OnggiError as error:
        wire.tell_error(error)
        raise
    except OSError as error:
        failure = OnggiError((error.strerror or str(error)).lower())
        wire.tell_error(failure)
        raise
