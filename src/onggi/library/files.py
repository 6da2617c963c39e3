"""Files into and out of a container, as tar archives that stream through a pipe."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InvalidInput, NotFound, OnggiError
from ..store import tree, unpack
from ..store.tarindex import REGULAR, TarIndex
from ..store.tarwrite import END_OF_ARCHIVE, header, padding
from ..typed import TypeVar

BLOCK = 1 << 18
T = TypeVar("T")
Write = Callable[[bytes], object]


def sent(fill: Callable[[Write], None], take: Callable[[int], None]) -> None:
    """What `fill` writes is read by who `take` gives a descriptor to. Raises what either does."""

    def filling(end: int) -> None:
        try:
            fill(lambda data: _write_all(end, data))
        except BrokenPipeError:
            pass  # the taker says why it stopped
        finally:
            os.close(end)

    taking, end = os.pipe()
    _beside(lambda: filling(end), lambda: _closing(taking, take))


def received(give: Callable[[int], None], use: Callable[[Iterator[bytes]], T]) -> T:
    """What `use` makes of the bytes that come from who `give` gives a descriptor to."""
    found: list[T] = []

    def using(end: int) -> None:
        found.append(use(iter(lambda: os.read(end, BLOCK), b"")))

    end, giving = os.pipe()
    _beside(lambda: _closing(end, using), lambda: _closing(giving, give))
    return found[0]


def one_file(
    name: str, content: bytes, mode: int, owner: tuple[int, int]
) -> Callable[[Write], None]:
    def fill(write: Write) -> None:
        write(header(os.fsencode(name), REGULAR, mode=mode, uid=owner[0], gid=owner[1],
                     size=len(content), mtime_ns=int(time.time()) * 10**9))  # fmt: skip
        write(content + padding(len(content)) + END_OF_ARCHIVE)

    return fill


def tree_of_host(source: Path, name: str) -> Callable[[Write], None]:
    """A file or directory of the host, as `name`. Raises NotFound."""
    if not os.path.lexists(source):
        raise NotFound(f"no such file or directory: {source}")

    def fill(write: Write) -> None:
        parent = os.open(source.absolute().parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree.write_tar_of(parent, source.name, write, name=name)
        finally:
            os.close(parent)

    return fill


def only_file(chunks: Iterator[bytes], path: str) -> bytes:
    """The content of the one regular file in a tar. Raises InvalidInput for anything else."""
    index, whole = TarIndex(), bytearray()
    for chunk in chunks:
        whole += chunk
        for entry in index.feed(chunk):
            if entry.kind != REGULAR or entry.sparse is not None:
                raise InvalidInput(f"{path} is no regular file: use get_tree")
            found = entry
    index.finish()
    return bytes(whole[found.data_offset : found.data_offset + found.size])


def into_host(chunks: Iterator[bytes], into: Path) -> None:
    """Below a directory of the host, owned by us. Nothing of it lands outside."""
    into.mkdir(parents=True, exist_ok=True)
    root = os.open(into, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpack.extract_into(root, "", chunks, owner=(os.geteuid(), os.getegid()))
    finally:
        os.close(root)


def _beside(ours: Callable[[], None], theirs: Callable[[], None]) -> None:
    """Both at once, `ours` in a thread. When both fail, one failed only because nobody was at the
    other end any more: an error of theirs that has a name is the cause, else ours is."""
    failed: list[Exception] = []

    def working() -> None:
        try:
            ours()
        except (OnggiError, OSError) as error:
            failed.append(error)

    thread = threading.Thread(target=working)
    thread.start()
    try:
        theirs()
    except OnggiError as error:
        thread.join()
        if failed and type(error) is OnggiError:
            raise failed[0] from error
        raise
    finally:
        thread.join()
    if failed:
        raise failed[0]


def _closing(fd: int, use: Callable[[int], None]) -> None:
    try:
        use(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
