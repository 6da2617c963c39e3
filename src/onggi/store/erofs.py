"""EROFS metadata that makes a verbatim tar mountable. Sans-IO: a `LayerTree` in, bytes out.

One file a layer: [4 KiB: superblock at 1024][the tar][copies][inodes][directories]. Blocks are 512
bytes, as tar's records are, so file data is addressed where the tar has it and never moves
(kernel 6.4 and later). A sparse file is a chunk map over its data. "Copies" is what cannot be
addressed in place: data of lower layers' files that a hard link names, and sparse files whose
runs do not start on a record. The format: Documentation/filesystems/erofs.rst and
fs/erofs/erofs_fs.h in Linux.

Owns the on-disk format and where each byte goes; the caller writes (`layerfile`). The same entries
always give the same bytes.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator

from ..errors import CorruptData
from ..typed import Final, NamedTuple
from .layertree import WHITEOUT, LayerTree, LowerFile, Node
from .tarindex import BLOCK, CHARACTER, DIRECTORY, FIFO, REGULAR, SYMLINK, Extent, printable

TAR_OFFSET: Final = 4096
_BITS, _BLOCK = 9, 512
_PAGE = 4096
_MAGIC, _SUPER_OFFSET = 0xE0F5E1E2, 1024
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_INODE = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBx")
_COMPAT_CHECKSUM, _COMPAT_MTIME, _INCOMPAT_CHUNKED = 1, 2, 4
_PLAIN, _INLINE, _CHUNKED = 0, 2, 4  # data layouts; bit 0 of i_format: 64-byte inode
_HOLE = 0xFFFFFFFF
_MAX_CHUNKS = 16 << 20  # of all sparse files of a layer: 64 MiB of map
_MAX_REALIGNED = 1 << 30  # bytes of badly aligned sparse data we are willing to copy
_MODES = {
    REGULAR: 0o100000, SYMLINK: 0o120000, CHARACTER: 0o020000, BLOCK: 0o060000,
    DIRECTORY: 0o040000, FIFO: 0o010000, WHITEOUT: 0o020000,
}  # fmt: skip
_TYPES = {REGULAR: 1, DIRECTORY: 2, CHARACTER: 3, WHITEOUT: 3, BLOCK: 4, FIFO: 5, SYMLINK: 7}
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_OPAQUE = (b"trusted.overlay.opaque", b"y")


class Copy(NamedTuple):
    """Data to write at `position` of the layer file, from a lower file or, when that is None, from
    the tar. What no copy covers stays zero."""

    position: int
    source: LowerFile | None
    offset: int
    size: int


class _Placed(NamedTuple):
    node: Node
    parent: Node
    names: list[bytes]  # of a directory, sorted, with "." and ".."
    size: int  # i_size
    block: int  # where plain data is; of directories: relative to the end of the inodes
    chunk_bits: int  # of a sparse file, else 0


class ErofsImage:
    """What to write around a tar of `tar_size` bytes that stands at TAR_OFFSET.

    Consumes the tree (its scratch fields): one image per tree. Raises CorruptData when the layer
    exceeds the format.
    """

    def __init__(self, tree: LayerTree, tar_size: int) -> None:
        self.copies: list[Copy] = []
        self.root_opaque = tree.root.opaque  # hides all layers below, which overlayfs does not do
        self._end = -(-(TAR_OFFSET + tar_size) // _BLOCK)  # block after the copies so far
        self._position = 64  # in the inode area; 0 would be no inode
        self._placed: list[_Placed] = []
        self._directory_blocks = 0
        self._chunks = 0
        self._realigned = 0
        self._place_all(tree.root)
        self._inode_blocks = -(-self._position // _BLOCK)
        self.inodes = len(self._placed)
        self.metadata_offset = self._end * _BLOCK
        blocks = self._end + self._inode_blocks + self._directory_blocks
        self.size = -(-blocks * _BLOCK // _PAGE) * _PAGE
        if self.size >= _HOLE * _BLOCK:
            raise CorruptData(f"layer of {self.size} bytes is too large for EROFS")

    # -- placing ---------------------------------------------------------------------------

    def _place_all(self, root: Node) -> None:
        """Breadth first, so that the inodes `ls -l` reads together lie together."""
        self._place(root, root)
        root.links = 2
        directories = [root]
        for directory in directories:
            for _, child in sorted(directory.children.items()):
                if child.is_directory:
                    directory.links += 1
                    child.links = 2
                    directories.append(child)
                else:
                    child.links += 1
                    if child.place:
                        continue
                self._place(child, directory)

    def _place(self, node: Node, parent: Node) -> None:
        names: list[bytes] = []
        size, block, chunk_bits, inline = node.size, 0, 0, 0
        if node.is_directory:
            names = sorted([*node.children, b".", b".."])
            size = _directory_size(names)
            inline = size
        elif node.kind == SYMLINK:
            size = len(node.link)
            inline = size
        elif node.sparse is not None and size:
            chunk_bits, block = self._place_sparse(node, node.sparse)
        elif node.lower is not None:
            block = self._copy_lower(node.lower)
        else:
            block = (TAR_OFFSET + node.data_offset) // _BLOCK
        head = _head_size(node)
        if inline and head + inline <= _BLOCK:
            if self._position % _BLOCK + head + inline > _BLOCK:
                self._position = -(-self._position // _BLOCK) * _BLOCK
            head += inline
        elif inline:
            block = self._directory_blocks
            self._directory_blocks += -(-inline // _BLOCK)
        elif chunk_bits:
            head += 4 * -(-size >> chunk_bits)
        node.place = self._position
        self._position = (self._position + head + 31) & ~31
        self._placed.append(_Placed(node, parent, names, size, block, chunk_bits))

    def _copy_lower(self, lower: LowerFile) -> int:
        block = self._end
        self.copies.append(Copy(block * _BLOCK, lower, 0, lower.size))
        self._end += -(-lower.size // _BLOCK)
        return block

    def _place_sparse(self, node: Node, extents: tuple[Extent, ...]) -> tuple[int, int]:
        """(chunk bits, 0), or (page bits, first block of a copy) when the tar's runs are not
        aligned to records."""
        grain = _alignment(extents, node.size)
        bits = max(_BITS, min(40, (node.size - 1).bit_length()))
        if grain:
            bits = min(bits, (grain & -grain).bit_length() - 1)
        block = 0
        if bits < _BITS:
            bits, block = 12, self._end
            self._realign(extents)
        self._chunks += -(-node.size >> bits)
        if self._chunks > _MAX_CHUNKS or self._realigned > _MAX_REALIGNED:
            raise CorruptData(f"sparse file of {node.size} bytes is too large or too fragmented")
        return bits, block

    def _realign(self, extents: tuple[Extent, ...]) -> None:
        """Copy the runs so that each page that holds data lies whole and in order."""
        page = -1
        for extent in extents:
            first, last = extent.offset // _PAGE, (extent.offset + extent.size - 1) // _PAGE
            fresh = last - max(first, page + 1) + 1
            start = self._end * _BLOCK - (_PAGE if first == page else 0)
            self.copies.append(
                Copy(start + extent.offset % _PAGE, None, extent.data_offset, extent.size)
            )
            self._end += fresh * (_PAGE // _BLOCK)
            self._realigned += fresh * _PAGE
            page = last

    # -- bytes -----------------------------------------------------------------------------

    def header(self, uuid: bytes) -> bytes:
        """The first 4 KiB. Write it last: until then the file is no file system."""
        chunked = _INCOMPAT_CHUNKED if self._chunks else 0
        fields = (
            _MAGIC, 0, _COMPAT_CHECKSUM | _COMPAT_MTIME, _BITS, 0, self._placed[0].node.place >> 5,
            self.inodes, 0, 0, self.size // _BLOCK, self._end, 0, uuid, b"", chunked,
            0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        block = bytearray(_SUPERBLOCK.pack(*fields).ljust(_BLOCK, b"\0"))
        struct.pack_into("<I", block, 4, _crc32c(bytes(block)))
        return (bytes(_SUPER_OFFSET) + bytes(block)).ljust(TAR_OFFSET, b"\0")

    def metadata(self) -> Iterator[bytes]:
        """Pieces of what stands from `metadata_offset` on, in order."""
        area = bytearray()
        base = 0  # position of area[0]
        for number, placed in enumerate(self._placed, 1):
            place = placed.node.place
            if place - base > 1 << 20:
                area.extend(bytes(place - base - len(area)))
                yield bytes(area)
                area.clear()
                base = place
            area.extend(bytes(place - base - len(area)))
            area += self._inode(number, placed)
        area.extend(bytes(self._inode_blocks * _BLOCK - base - len(area)))
        yield bytes(area)
        yield from self._outer_data()

    def _inode(self, number: int, placed: _Placed) -> bytes:
        """The inode, its attributes, and its inline data or chunk map."""
        node = placed.node
        attributes = _attributes(node)
        tail, layout, address = b"", _PLAIN, placed.block
        if placed.chunk_bits:
            layout, address = _CHUNKED, placed.chunk_bits - _BITS
            tail = _chunk_map(node, placed.chunk_bits, placed.block)
        elif node.is_directory or node.kind == SYMLINK:
            if 64 + len(attributes) + placed.size <= _BLOCK:
                layout, address, tail = _INLINE, 0, _contents(placed)
            else:
                address += self._end + self._inode_blocks
        elif node.kind != REGULAR:
            major, minor = node.device
            address = (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12
        seconds, nanoseconds = divmod(node.mtime_ns, 1_000_000_000)
        count = 1 + (len(attributes) - 12) // 4 if attributes else 0
        fixed = _INODE.pack(
            1 | layout << 1, count, _MODES[node.kind] | node.mode, 0, placed.size, address,
            number, node.uid, node.gid, seconds & 0xFFFFFFFFFFFFFFFF, nanoseconds, node.links,
        )  # fmt: skip
        return fixed + attributes + tail

    def _outer_data(self) -> Iterator[bytes]:
        for placed in self._placed:
            node = placed.node
            if not node.is_directory and node.kind != SYMLINK:
                continue
            if _head_size(node) + placed.size > _BLOCK:
                data = _contents(placed)
                yield data.ljust(-(-len(data) // _BLOCK) * _BLOCK, b"\0")


def _head_size(node: Node) -> int:
    return 64 + len(_attributes(node))


def _attributes(node: Node) -> bytes:
    """The inline attribute area: a 12-byte header, then entries padded to 4 bytes."""
    pairs: Iterable[tuple[bytes, bytes]] = node.xattrs
    if node.opaque:
        pairs = sorted([*node.xattrs, _OPAQUE])
    if not pairs:
        return b""
    area = bytearray(12)
    for name, value in pairs:
        prefix, index = next((p for p in _PREFIXES if name.startswith(p[0])), (b"", 0))
        if not index:
            raise CorruptData(f"extended attribute {printable(name)} has no place in EROFS")
        suffix = name[len(prefix) :]
        area += struct.pack("<BBH", len(suffix), index, len(value)) + suffix + value
        area += bytes(-len(area) % 4)
    return bytes(area)


def _contents(placed: _Placed) -> bytes:
    """A symlink's target or a directory's blocks."""
    node = placed.node
    if node.kind == SYMLINK:
        return node.link
    children, blocks = node.children, []
    own = {b".": (node.place, DIRECTORY), b"..": (placed.parent.place, DIRECTORY)}
    for first, last, used in _partition(placed.names):
        names = placed.names[first:last]
        offset = 12 * len(names)
        entries = []
        for name in names:
            child = children.get(name)
            place, kind = (child.place, child.kind) if child is not None else own[name]
            entries.append(_DIRENT.pack(place >> 5, offset, _TYPES[kind]))
            offset += len(name)
        blocks += [*entries, *names]
        if last < len(placed.names):
            blocks.append(bytes(_BLOCK - used))
    return b"".join(blocks)


def _partition(names: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """(first, last, bytes used) of each block of a directory. Names never straddle blocks."""
    first, used = 0, 0
    for index, name in enumerate(names):
        need = 12 + len(name)
        if used + need > _BLOCK:
            yield first, index, used
            first, used = index, 0
        used += need
    yield first, len(names), used


def _directory_size(names: list[bytes]) -> int:
    total = 12 * len(names) + sum(map(len, names))
    if total <= _BLOCK:
        return total
    size = 0
    for _, last, used in _partition(names):
        size += used if last == len(names) else _BLOCK
    return size


def _alignment(extents: tuple[Extent, ...], size: int) -> int:
    """A number whose lowest set bit is the largest power of two that divides every border of the
    runs (the end of the file does not count); 0 when there is none."""
    grain = 0
    for extent in extents:
        grain |= extent.offset
        if extent.offset + extent.size != size:
            grain |= extent.size
    return grain


def _chunk_map(node: Node, bits: int, copied_to: int) -> bytes:
    """Block addresses of each chunk. `copied_to`: first block of a realigned copy, or 0."""
    chunk = 1 << bits
    table = array("I", [_HOLE]) * -(-node.size >> bits)
    step = chunk // _BLOCK
    next_block, page = copied_to, -1
    for extent in node.sparse or ():
        first, last = extent.offset >> bits, (extent.offset + extent.size - 1) >> bits
        if copied_to:
            first = max(first, page + 1)
            page = last
            start = next_block
            next_block += (last - first + 1) * step
        else:
            start = (TAR_OFFSET + extent.data_offset) // _BLOCK
        table[first : last + 1] = array("I", range(start, start + (last - first + 1) * step, step))
    if sys.byteorder == "big":
        table.byteswap()
    return table.tobytes()


def _crc32c(data: bytes) -> int:
    """Castagnoli's, without the final inversion, as EROFS wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc
