"""`load`: an image archive of any compression, from a pipe, in one pass.

Large members go straight into the layer store, small ones are kept as documents; which of them
matter is known when the manifest has been seen. Images are stored only when all are sound. Layers
that no image took are garbage.
"""

from collections import deque
from collections.abc import Callable, Iterator

from ..errors import CorruptData
from ..progress import Layer, Message, Report
from ..spec.digest import Digest
from ..spec.jsontext import MAX_BYTES
from ..spec.platform import Platform
from ..typed import TYPE_CHECKING, NamedTuple
from .images import Images
from .inflate import ARCHIVE_KINDS, LAYER_KINDS, detect, inflate
from .layerrows import LayerInfo
from .layers import Layers
from .layouts import Loaded, Members, plan
from .tarindex import HARDLINK, REGULAR, SYMLINK, TarEntry, TarIndex, printable

if TYPE_CHECKING:
    from .making import Incoming

_READ = 64 << 10
_TELL_EVERY = 1 << 20
_MAX_MEMBERS = 100_000
_MAX_DOCUMENTS_BYTES = 64 << 20
_HEAD = 512  # enough to tell a tar or a compressed stream from JSON


def load(
    images: Images,
    layers: Layers,
    read: Callable[[int], bytes],
    report: Report,
    platform: Platform | None = None,
) -> list[str]:
    """See `Archive.load`."""
    unpacking = _Unpacking(layers, report)
    try:
        plans = plan(unpacking.run(read), platform)
        return [line for item in plans for line in _add(images, item, report)]
    finally:
        layers.unpin(info.diff_id for info in unpacking.found.values())


def _add(images: Images, item: Loaded, report: Report) -> list[str]:
    new_id = Digest.of(item.config)
    for name in item.names:
        if images.exists(name.familiar):
            old = images.get(name.familiar).id
            if old != new_id:
                report(
                    Message(
                        f"The image {name.familiar} already exists, "
                        f"renaming the old one with ID {old} to empty string"
                    )
                )
    image = images.add(item.config, item.manifest, tags=item.names)
    if not item.names:
        return [f"Loaded image ID: {image.id}"]
    return [f"Loaded image: {name.familiar}" for name in item.names]


class _Pending(NamedTuple):
    start: int
    end: int
    member: "_Member"


class _Unpacking:
    """Cuts the stream into members and gives each to what will take it."""

    def __init__(self, layers: Layers, report: Report) -> None:
        self._layers = layers
        self._report = report
        self._index = TarIndex(require_end=False)
        self._pending: deque[_Pending] = deque()
        self._names: set[str] = set()
        self.documents: dict[str, bytes] = {}
        self.found: dict[str, LayerInfo] = {}
        self.broken: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._document_bytes = 0

    def run(self, read: Callable[[int], bytes]) -> Members:
        try:
            for piece in inflate(_pieces(read), allow=ARCHIVE_KINDS):
                self._feed(piece)
            self._index.finish()
        finally:
            for pending in self._pending:
                pending.member.abandon()
        return Members(self.documents, self.found, self.broken, self._links)

    def _feed(self, piece: bytes) -> None:
        base = self._index.size
        for entry in self._index.feed(piece):
            self._begin(entry)
        while self._pending:
            start, end, member = self._pending[0]
            low, high = max(start - base, 0), min(end - base, len(piece))
            if low < high:
                member.write(piece[low:high])
            if end - base > len(piece):
                return
            self._pending.popleft()
            member.finish()

    def _begin(self, entry: TarEntry) -> None:
        name = entry.path.decode("utf-8", "surrogateescape")
        if self._index.entries > _MAX_MEMBERS:
            raise CorruptData(f"image archive has more than {_MAX_MEMBERS} members")
        if entry.kind not in (REGULAR, HARDLINK, SYMLINK):
            return
        if name in self._names:
            raise CorruptData(f"image archive has {printable(entry.path)} twice")
        self._names.add(name)
        if entry.kind == HARDLINK:
            self._links[name] = entry.link.decode("utf-8", "surrogateescape")
        elif entry.kind == SYMLINK:
            self._links[name] = _inside(name, entry.link.decode("utf-8", "surrogateescape"))
        elif entry.sparse is not None:
            raise CorruptData(f"image archive: {printable(entry.path)} is a sparse file")
        else:
            end = entry.data_offset + entry.size
            self._pending.append(_Pending(entry.data_offset, end, _Member(self, name, entry.size)))

    def add_document(self, name: str, data: bytes) -> None:
        self._document_bytes += len(data)
        if self._document_bytes > _MAX_DOCUMENTS_BYTES:
            raise CorruptData(f"image archive: documents over {_MAX_DOCUMENTS_BYTES} bytes")
        self.documents[name] = data

    def receive(self, name: str, size: int) -> "_LayerMember":
        return _LayerMember(self, self._layers, name, size)

    def tell(self, name: str, done: int, size: int) -> None:
        short = name.removesuffix("/layer.tar").rpartition("/")[2][:12]
        self._report(Layer(short, "Loading layer", done, size))


class _Member:
    """A member whose first bytes decide whether it is a document or a layer."""

    def __init__(self, unpacking: _Unpacking, name: str, size: int) -> None:
        self._unpacking = unpacking
        self._name = name
        self._size = size
        self._data = bytearray()
        self._layer: _LayerMember | None = None

    def write(self, data: bytes) -> None:
        if self._layer is not None:
            self._layer.write(data)
            return
        self._data += data
        if len(self._data) >= _HEAD and (self._size > MAX_BYTES or _is_layer(self._data)):
            self._layer = self._unpacking.receive(self._name, self._size)
            self._layer.write(bytes(self._data))
            self._data.clear()

    def finish(self) -> None:
        if self._layer is not None:
            self._layer.finish()
        elif _is_layer(self._data):  # compressed, under 512 bytes
            layer = self._unpacking.receive(self._name, self._size)
            layer.write(bytes(self._data))
            layer.finish()
        else:
            self._unpacking.add_document(self._name, bytes(self._data))

    def abandon(self) -> None:
        if self._layer is not None:
            self._layer.abandon()


class _LayerMember:
    """A member that goes into the layer store. When it cannot be a layer that is noted, and matters
    only if a manifest names it."""

    def __init__(self, unpacking: _Unpacking, layers: Layers, name: str, size: int) -> None:
        self._unpacking = unpacking
        self._layers = layers
        self._name = name
        self._size = size
        self._incoming: Incoming | None = None
        self._done = 0
        self._told = 0

    def write(self, data: bytes) -> None:
        if self._name in self._unpacking.broken:
            return
        try:
            if self._incoming is None:
                kind = detect(data[:6])
                if kind not in LAYER_KINDS:
                    raise CorruptData(f"{kind} compression is not a layer's")
                self._incoming = self._layers.receive(kind)
            self._incoming.write(data)
        except CorruptData as error:
            self._fail(error)
        self._done += len(data)
        if self._done - self._told >= _TELL_EVERY or self._done == self._size:
            self._told = self._done
            self._unpacking.tell(self._name, self._done, self._size)

    def finish(self) -> None:
        if self._incoming is None:
            return
        try:
            self._unpacking.found[self._name] = self._incoming.finish()
        except CorruptData as error:
            self._fail(error)
        self.abandon()

    def abandon(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.close()

    def _fail(self, error: CorruptData) -> None:
        self._unpacking.broken[self._name] = error.message
        self.abandon()


def _is_layer(head: bytes | bytearray) -> bool:
    """A tar (an empty one is all zeros) or something compressed."""
    start = bytes(head[:_HEAD])
    tar = len(start) == _HEAD and (start[257:262] == b"ustar" or not any(start))
    return tar or bool(detect(start))


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(_READ):
        yield piece


def _inside(name: str, target: str) -> str:
    """Where a symbolic link of the archive points within the archive; "" for outside."""
    if target.startswith("/"):
        return ""
    parts = name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
