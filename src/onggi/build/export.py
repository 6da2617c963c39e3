"""--output: a build's result as a folder, a tar of its files, or an archive of the image.

Owns where bytes go; the image itself is made by `service`.
"""

import os
from collections.abc import Callable, Sequence

from ..engine.engine import Engine
from ..errors import InvalidInput
from ..spec.digest import Digest
from ..spec.platform import Platform
from ..store.pack import Packer
from ..store.tarwrite import LayerWriter
from ..store.unpack import extract_into
from . import ops
from .options import STDOUT, Output

_PIECE = 256 << 10
Write = Callable[[bytes], object]


def export(
    engine: Engine,
    layers: tuple[Digest, ...],
    names: tuple[str, ...],
    outputs: tuple[Output, ...],
    stdout: Write,
) -> None:
    """Write everything that was asked for. `names` are the image's, or its id."""
    for output in outputs:
        if output.kind == "local":
            _folder(engine, layers, output.destination)
        elif output.kind == "tar":
            to(output.destination, stdout, lambda write: _files(engine, layers, write))
        elif output.destination:
            to(output.destination, stdout, lambda write: engine.images.save(names, write))


def to(destination: str, stdout: Write, make: Callable[[Write], None]) -> None:
    """To stdout, or to a file that appears when it is whole."""
    if destination == STDOUT:
        make(stdout)
        return
    temporary = f"{destination}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            make(file.write)
        os.rename(temporary, destination)
    except OSError as error:
        raise InvalidInput(f"output {destination}: {error.strerror}") from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def files_by_platform(
    engine: Engine,
    results: Sequence[tuple[Platform, tuple[Digest, ...]]],
    output: Output,
    stdout: Write,
) -> None:
    """Each platform's files below a folder of its name, as BuildKit writes them."""
    names = [(str(platform).replace("/", "_"), layers) for platform, layers in results]
    if output.kind == "local":
        for name, layers in names:
            _folder(engine, layers, f"{output.destination}/{name}")
        return

    def write_all(write: Write) -> None:
        writer = LayerWriter(write)
        for name, layers in names:
            writer.directory(name, 0o755, 0, 0, 0)
            _add_files(engine, layers, writer, os.fsencode(f"{name}/"))
        writer.finish()

    to(output.destination, stdout, write_all)


def _files(engine: Engine, layers: tuple[Digest, ...], write: Write) -> None:
    writer = LayerWriter(write)
    _add_files(engine, layers, writer, b"")
    writer.finish()


def _add_files(
    engine: Engine, layers: tuple[Digest, ...], writer: LayerWriter, prefix: bytes
) -> None:
    with ops.merged(engine, layers, "the result") as root:
        if root is None:
            return
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.fd)
        try:
            Packer(writer, overlay=False, devices=True).contents(directory, prefix)
        finally:
            os.close(directory)


def _folder(engine: Engine, layers: tuple[Digest, ...], destination: str) -> None:
    """The files merged into the folder, which is made when it is missing."""
    try:
        os.makedirs(destination, exist_ok=True)
        top = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInput(f"output {destination}: {error.strerror}") from error
    try:
        with engine.store.scratch.directory() as directory:
            path = f"{directory}/files.tar"
            to(path, len, lambda write: _files(engine, layers, write))
            with open(path, "rb") as file:
                extract_into(top, "/", iter(lambda: file.read(_PIECE), b""))
    finally:
        os.close(top)
