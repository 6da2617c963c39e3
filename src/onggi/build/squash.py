"""--squash: what a build made, as one layer on its base image.

Owns the comparison of the two file systems: whatever differs is in the layer, contents included;
what is gone is a whiteout. A directory is written with its attributes when anything below it is.
"""

import os
import stat

from ..engine.engine import Engine
from ..spec.digest import Digest
from ..store.pack import Packer
from ..store.tarwrite import LayerWriter
from . import ops
from .cache import Cache, content
from .graph import BaseOp, Plan, operation_digest

Layers = tuple[Digest, ...]
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 256 << 10


def base_layers(plan: Plan) -> Layers:
    """Those of the image that the target's stage began with."""
    index = plan.result
    while not isinstance(operation := plan.vertices[index].operation, BaseOp):
        index = plan.vertices[index].inputs[0]
    return tuple(Digest.parse(layer) for layer in operation.diff_ids)


def squashed(engine: Engine, cache: Cache, base: Layers, result: Layers) -> Layers:
    """`base` and one more layer; the same file systems are the same layer."""
    if len(result) - len(base) < 2:
        return result
    key = operation_digest(BaseOp(("squash",)), (content(base), content(result)))
    hit = cache.lookup(key)
    if hit is not None:
        return hit.layers
    with engine.store.scratch.directory() as directory:
        path = f"{directory}/layer.tar"
        with open(path, "xb") as file:
            _write(engine, base, result, LayerWriter(file.write))
        with open(path, "rb") as file:
            diff_id = engine.store.layers.ingest(iter(lambda: file.read(_PIECE), b"")).diff_id
    return cache.record(key, base, diff_id, BaseOp(("squash",)), {}, 0).layers


def _write(engine: Engine, base: Layers, result: Layers, writer: LayerWriter) -> None:
    with ops.merged(engine, base, "the base") as below, ops.merged(engine, result, "it") as above:
        assert above is not None
        comparison = _Comparison(writer)
        old = os.open(".", _DIRECTORY, dir_fd=below.fd) if below is not None else -1
        new = os.open(".", _DIRECTORY, dir_fd=above.fd)
        try:
            if old < 0:
                comparison.packer.contents(new, b"")
            else:
                comparison.top(old, new)
        finally:
            os.close(new)
            if old >= 0:
                os.close(old)
    writer.finish()


class _Comparison:
    """Writes what a directory has other than an older one. `owed` are the directories on the way
    that are not written yet: (descriptor, path)."""

    def __init__(self, writer: LayerWriter) -> None:
        self.writer = writer
        self.packer = Packer(writer, overlay=False, devices=True)

    def top(self, old: int, new: int) -> None:
        owed = [(new, b"")]
        if _attributes(os.fstat(old)) != _attributes(os.fstat(new)):
            self._pay(owed)
        self.directory(old, new, b"", owed)

    def directory(self, old: int, new: int, prefix: bytes, owed: list[tuple[int, bytes]]) -> None:
        before = set(map(os.fsencode, os.listdir(old)))
        now = set(map(os.fsencode, os.listdir(new)))
        for name in sorted(before | now):
            if name not in now:
                self._pay(owed)
                self.writer.whiteout(prefix + name)
            elif name not in before:
                self._pay(owed)
                self.packer.entry(new, name, prefix + name)
            else:
                self._both(old, new, name, prefix + name, owed)

    def _both(
        self, old: int, new: int, name: bytes, path: bytes, owed: list[tuple[int, bytes]]
    ) -> None:
        one = os.stat(name, dir_fd=old, follow_symlinks=False)
        other = os.stat(name, dir_fd=new, follow_symlinks=False)
        if not (stat.S_ISDIR(one.st_mode) and stat.S_ISDIR(other.st_mode)):
            if not _same(old, new, name, one, other):
                self._pay(owed)
                self.packer.entry(new, name, path)
            return
        first, second = (os.open(name, _DIRECTORY, dir_fd=fd) for fd in (old, new))
        try:
            mine = [*owed, (second, path)]
            if _attributes(one) != _attributes(other) or _xattrs(first) != _xattrs(second):
                self._pay(mine)
            self.directory(first, second, path + b"/", mine)
            if not mine:  # paid
                owed.clear()
        finally:
            os.close(first)
            os.close(second)

    def _pay(self, owed: list[tuple[int, bytes]]) -> None:
        for fd, path in owed:
            self.packer.root(fd, path)
        owed.clear()


def _attributes(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_uid, status.st_gid, int(status.st_mtime), status.st_rdev)


def _same(old: int, new: int, name: bytes, one: os.stat_result, other: os.stat_result) -> bool:
    if _attributes(one) != _attributes(other) or one.st_size != other.st_size:
        return False
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(name, dir_fd=old) == os.readlink(name, dir_fd=new)
    if not stat.S_ISREG(one.st_mode):
        return True
    first, second = (os.open(name, _FILE, dir_fd=fd) for fd in (old, new))
    try:
        if _xattrs(first) != _xattrs(second):
            return False
        while data := os.read(first, _PIECE):
            if os.read(second, _PIECE) != data:
                return False
        return True
    finally:
        os.close(first)
        os.close(second)


def _xattrs(fd: int) -> dict[str, bytes]:
    return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
