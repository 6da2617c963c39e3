"""The tree that one layer's entries add up to. Pure: `TarEntry` in, `Node` out.

Owns what a layer means: replacement of a name by a later entry, whiteouts, opaque directories,
hard links (also to files of lower layers), parents an archive left out. Both backends, EROFS and
extracted directory, write this same tree, so they cannot disagree; and because a tree of fresh
nodes has no symlink to walk through, no entry can reach outside of it. Never touches a file.

Rules (OCI image-spec, layer.md, and what docker does where the spec is silent):
- a later entry replaces an earlier one of the same name; a directory over a directory only
  updates its metadata; anything else over a directory drops the directory's children;
- `.wh.NAME` hides NAME of the lower layers and nothing of its own layer, in any order: together
  with a directory NAME it makes that directory opaque;
- `.wh..wh..opq` makes its directory opaque, wherever it stands; other `.wh..wh.*` are ignored;
- an entry whose parent is missing gets 0755 root directories; a parent that is no directory, a
  symlink included, is refused;
- a hard link shares its target's node. The target is an earlier entry of this layer, or a file
  that `resolve_lower` finds in the layers below (then its data is copied into this layer).
"""

from collections.abc import Callable

from ..errors import CorruptData
from ..typed import Final, NamedTuple
from .tarindex import CHARACTER, DIRECTORY, HARDLINK, REGULAR, SYMLINK, Extent, TarEntry, printable

WHITEOUT: Final = b"w"  # a kind of Node only; never in a TarEntry
MAX_NODES: Final = 6_000_000  # entries, and parents the archive left out
_NO_CHILDREN: Final[dict[bytes, "Node"]] = {}
_PREFIX, _OPAQUE, _PRIVATE = b".wh.", b".wh..wh..opq", b".wh..wh."


class LowerFile(NamedTuple):
    """A file of the layers below that a hard link names. `read(offset, size)` returns exactly
    that many bytes."""

    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    link: bytes
    read: Callable[[int, int], bytes]


ResolveLower = Callable[[bytes], LowerFile | None]


class Node:
    """One inode. Several names may share it (hard links)."""

    __slots__ = (
        "children", "data_offset", "device", "gid", "kind", "link", "links", "lower", "mode",
        "mtime_ns", "opaque", "place", "shared", "size", "sparse", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, kind: bytes, mode: int = 0o755) -> None:
        self.kind = kind
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.mtime_ns = 0
        self.size = 0
        self.data_offset = 0  # in the tar
        self.link = b""
        self.xattrs: tuple[tuple[bytes, bytes], ...] = ()
        self.device = (0, 0)
        self.sparse: tuple[Extent, ...] | None = None
        self.lower: LowerFile | None = None  # data is there and not in the tar
        self.opaque = False
        self.children: dict[bytes, Node] = {} if kind == DIRECTORY else _NO_CHILDREN
        self.shared = False  # it has had more than one name
        self.links = 0  # this and `place` are for whoever writes the tree
        self.place = 0

    @property
    def is_directory(self) -> bool:
        return self.kind == DIRECTORY


class LayerTree:
    """Add a layer's entries in their order, then read `root`."""

    def __init__(self, resolve_lower: ResolveLower | None = None) -> None:
        self.root = Node(DIRECTORY)
        self.nodes = 0
        self.needs_lower = False  # a hard link reached below: the result depends on the parent
        self._resolve_lower = resolve_lower
        self._lower: dict[bytes, Node] = {}
        self._parent_path = b""
        self._parent = self.root

    def add(self, entry: TarEntry) -> None:
        """Raises CorruptData for what no file system could hold or no layer may say."""
        self._count(entry)
        parent_path, _, name = entry.path.rpartition(b"/")
        if not name:
            _describe(self.root, entry)
            return
        if name.startswith(_PRIVATE) or b"/.wh." in parent_path or parent_path[:4] == _PREFIX:
            self._add_marker(entry, parent_path, name)
            return
        parent = self._directory(entry, parent_path)
        if name.startswith(_PREFIX):
            self._add_whiteout(entry, parent, name[len(_PREFIX) :])
        elif entry.kind == DIRECTORY:
            self._add_directory(entry, parent, name)
        elif entry.kind == HARDLINK:
            self._replace(parent, name, self._link_target(entry))
        elif entry.kind == CHARACTER and entry.device == (0, 0):
            self._add_whiteout(entry, parent, name)
        else:
            node = Node(entry.kind)
            _describe(node, entry)
            self._replace(parent, name, node)

    def _count(self, entry: TarEntry) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _bad(entry, f"the layer has more than {MAX_NODES} files")

    def _add_marker(self, entry: TarEntry, parent_path: bytes, name: bytes) -> None:
        """Names below or like `.wh..wh.`: one of them means something, the rest is aufs' own."""
        for part in parent_path.split(b"/"):
            if part.startswith(_PRIVATE):
                return
            if part.startswith(_PREFIX):
                raise _bad(entry, "lies below a whiteout")
        if name == _OPAQUE:
            self._directory(entry, parent_path).opaque = True

    def _add_whiteout(self, entry: TarEntry, parent: Node, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise _bad(entry, "is a whiteout of no name")
        present = parent.children.get(name)
        if present is None:
            parent.children[name] = Node(WHITEOUT, 0)
        elif present.is_directory:
            present.opaque = True

    def _add_directory(self, entry: TarEntry, parent: Node, name: bytes) -> None:
        node = parent.children.get(name)
        if node is None or not node.is_directory:
            fresh = Node(DIRECTORY)
            fresh.opaque = node is not None and node.kind == WHITEOUT
            node = parent.children[name] = fresh
        _describe(node, entry)

    def _replace(self, parent: Node, name: bytes, node: Node) -> None:
        old = parent.children.get(name)
        if old is not None and old.is_directory:
            self._parent_path, self._parent = b"", self.root  # may lie inside what goes
        parent.children[name] = node

    def _directory(self, entry: TarEntry, path: bytes) -> Node:
        """The node of the directory `path`, made when missing."""
        if path == self._parent_path:
            return self._parent
        node = self.root
        for part in path.split(b"/") if path else ():
            child = node.children.get(part)
            if child is None or child.kind == WHITEOUT:
                self._count(entry)
                fresh = Node(DIRECTORY)
                fresh.opaque = child is not None
                child = node.children[part] = fresh
            elif not child.is_directory:
                raise _bad(entry, f"{printable(part)} in its path is not a directory")
            node = child
        self._parent_path, self._parent = path, node
        return node

    # -- hard links ------------------------------------------------------------------------

    def _link_target(self, entry: TarEntry) -> Node:
        if entry.link == entry.path:
            raise _bad(entry, "is a hard link to itself")
        node: Node | None = self.root
        hidden = False
        for part in entry.link.split(b"/"):
            if node is None:
                break
            if not node.is_directory:
                raise _bad(entry, f"hard link target {printable(entry.link)} does not exist")
            hidden = hidden or node.opaque
            node = node.children.get(part)
        if node is None and not hidden:
            node = self._from_below(entry.link)
        if node is None or node.kind == WHITEOUT:
            raise _bad(entry, f"hard link target {printable(entry.link)} does not exist")
        if node.is_directory:
            raise _bad(entry, f"hard link to the directory {printable(entry.link)}")
        node.shared = True
        return node

    def _from_below(self, path: bytes) -> Node | None:
        node = self._lower.get(path)
        if node is not None:
            return node
        file = self._resolve_lower(path) if self._resolve_lower else None
        if file is None:
            return None
        self.needs_lower = True
        node = Node(file.kind, file.mode)
        node.uid, node.gid, node.mtime_ns = file.uid, file.gid, file.mtime_ns
        node.xattrs, node.link = file.xattrs, file.link
        if file.kind == REGULAR:
            node.size, node.lower = file.size, file
        self._lower[path] = node
        return node


def _describe(node: Node, entry: TarEntry) -> None:
    node.mode = 0o777 if entry.kind == SYMLINK else entry.mode  # Linux knows no other
    node.uid, node.gid = entry.uid, entry.gid
    node.mtime_ns, node.xattrs, node.device = entry.mtime_ns, entry.xattrs, entry.device
    node.size, node.data_offset, node.sparse = entry.size, entry.data_offset, entry.sparse
    node.link = entry.link


def _bad(entry: TarEntry, problem: str) -> CorruptData:
    where = f"at byte {entry.offset}"
    return CorruptData(f"layer entry {printable(entry.path)} {where}: {problem}")
