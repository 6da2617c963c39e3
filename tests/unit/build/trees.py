"""Real directories to copy from and over, and a reader for the layers that come out."""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onggi.build.context import Tree
from onggi.build.copying import Owner, layer_pieces
from onggi.build.graph import CopyOp
from onggi.build.sources import gather, manifest_digest
from onggi.build.target import Target
from onggi.dockerfile.ignore import parse

Files = dict[str, str | bytes | None]  # content; None for a directory; "-> x" for a link


def make(top: Path, files: Files) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            path.unlink(missing_ok=True)
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return top


@contextmanager
def opened(top: Path, *, ignore: str = "", rooted: bool = False) -> Iterator[Tree]:
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Tree(fd, str(top), parse(ignore.encode()), rooted=rooted)
    finally:
        os.close(fd)


def layer(
    operation: CopyOp, tree: Tree, root: Tree | None = None, owner: Owner | None = None
) -> list[tarfile.TarInfo]:
    return read(pieces(operation, tree, root, owner))


def pieces(
    operation: CopyOp, tree: Tree, root: Tree | None = None, owner: Owner | None = None
) -> bytes:
    mode = int(operation.chmod, 8) if operation.chmod else 0o755
    target = Target(root, owner or Owner(0, 0), mode, operation.epoch)
    return b"".join(layer_pieces(operation, gather(operation, tree), target, owner))


def read(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def key(operation: CopyOp, tree: Tree) -> str:
    return manifest_digest(operation, gather(operation, tree))
