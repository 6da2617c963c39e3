"""Where COPY, ADD and WORKDIR write: a new layer over a root filesystem, as tar records.

Owns docker's rules for destinations: links below are followed inside the root, missing parents are
made, directories are not replaced by files. A directory of a lower layer that the new layer touches
is written again as it is, because overlayfs shows the topmost entry's owner and mode.
"""

import os
import posixpath
import stat

from ..errors import InvalidInput
from ..linux.safefs import open_beneath
from ..store.tarindex import DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK
from ..store.tarwrite import header
from ..typed import Literal, NamedTuple
from .context import Tree, follow, xattrs_of

SECOND_NS = 1_000_000_000
EARLIEST_NS = 315_619_200 * SECOND_NS  # 1980-01-02: for what has no time; zip knows none before
Kind = Literal["file", "directory", "link", "fifo"]
Xattrs = tuple[tuple[bytes, bytes], ...]


class Attributes(NamedTuple):
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Xattrs = ()


class Target:
    """`root` is the merged file system below, None for an empty one. `owner` and `mode` are those
    of directories that must be made; `epoch` clamps every time. Headers gather in `records`."""

    def __init__(
        self, root: Tree | None, owner: tuple[int, int], mode: int, epoch: int | None
    ) -> None:
        self.root = root
        self.owner = owner
        self.mode = mode
        self.epoch_ns = None if epoch is None else epoch * SECOND_NS
        self.records: list[bytes] = []
        self.made: dict[str, tuple[Kind, str]] = {}  # written so far: kind, link's target
        self.fresh: set[str] = set()  # directories that the root does not have

    def look(self, path: str) -> str | None:
        """As `Tree.look`, with what this layer wrote on top."""
        made = self.made.get(path)
        if made is not None:
            return made[1]
        if self.root is None or posixpath.dirname(path) in self.fresh:
            return None
        return self.root.look(path)

    def real(self, path: str) -> str:
        """`path` with all links followed inside the root; parts may be missing."""
        return follow(path, self.look, None)[0]

    def kind(self, path: str) -> Kind | Literal["other"] | None:
        if path == "":
            return "directory"
        made = self.made.get(path)
        if made is not None:
            return made[0]
        if self.root is None or posixpath.dirname(path) in self.fresh:
            return None
        status = self.root.status(path)
        if status is None:
            return None
        kinds: dict[int, Kind] = {
            stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link",
        }  # fmt: skip
        return kinds.get(stat.S_IFMT(status.st_mode), "other")

    def directory(self, path: str, mtime_ns: int = EARLIEST_NS) -> None:
        """See to it that `path` (without links) and its parents are directories of the layer."""
        if path in self.made or path == "":
            if path and self.made[path][0] != "directory":
                raise InvalidInput(f"cannot copy to non-directory: /{path}")
            return
        self.directory(posixpath.dirname(path), mtime_ns)
        kind = self.kind(path)
        if kind is None:
            self.fresh.add(path)
            self.put(path, "directory", Attributes(self.mode, *self.owner, mtime_ns))
        elif kind == "directory":
            self.put(path, "directory", self._existing(path))
        else:
            raise InvalidInput(f"cannot copy to non-directory: /{path}")

    def _existing(self, path: str) -> Attributes:
        assert self.root is not None
        fd = open_beneath(self.root.fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = os.fstat(fd)
            mode = stat.S_IMODE(status.st_mode)
            owner = (status.st_uid, status.st_gid, status.st_mtime_ns)
            return Attributes(mode, *owner, xattrs_of(fd))
        finally:
            os.close(fd)

    def put(
        self,
        path: str,
        kind: Kind,
        attributes: Attributes,
        *,
        size: int = 0,
        link: str = "",
        hard: bool = False,
    ) -> None:
        """One member's header; the parents must be there. Raises InvalidInput when a file would
        replace a directory or the other way round."""
        if path and posixpath.basename(path).startswith(".wh."):
            raise InvalidInput(f"a layer cannot hold a file named /{path}: .wh. marks deletions")
        if "\0" in path:
            raise InvalidInput("a file name holds a NUL byte")
        codes = {"directory": DIRECTORY, "file": REGULAR, "link": SYMLINK, "fifo": FIFO}
        name = os.fsencode(path)
        self.records.append(
            header(
                name + b"/" if kind == "directory" else name,
                HARDLINK if hard else codes[kind],
                mode=0o777 if kind == "link" else attributes.mode,
                uid=attributes.uid,
                gid=attributes.gid,
                size=size,
                mtime_ns=self.time(attributes.mtime_ns),
                link=os.fsencode(link),
                xattrs=attributes.xattrs,
            )
        )
        self.made[path] = (kind, link if kind == "link" else "")

    def require_replaceable(self, path: str, kind: Kind) -> None:
        """Directories merge, files replace files; nothing else."""
        existing = self.kind(path)
        if kind == "directory" and existing not in (None, "directory"):
            raise InvalidInput(f"cannot copy to non-directory: /{path}")
        if kind != "directory" and existing == "directory":
            raise InvalidInput(f"cannot replace to directory /{path} with file")

    def time(self, mtime_ns: int) -> int:
        if self.epoch_ns is not None:
            mtime_ns = min(mtime_ns, self.epoch_ns)
        return mtime_ns // SECOND_NS * SECOND_NS

    def drain(self) -> bytes:
        records, self.records = b"".join(self.records), []
        return records
