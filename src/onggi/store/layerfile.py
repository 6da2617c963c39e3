"""Bytes of a layer file, on disk: append an `ErofsImage` to a tar, and read the tar back.

Owns the short-write loops and sendfile-like copies around layer files; decides nothing.
"""

import os
from collections.abc import Iterator

from ..errors import CorruptData
from .erofs import TAR_OFFSET, Copy, ErofsImage

_PIECE = 1 << 20


def write_all(fd: int, data: bytes) -> None:
    """Write every byte at the current position."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def write_all_at(fd: int, data: bytes, position: int) -> None:
    """Write every byte at `position`."""
    done = os.pwrite(fd, data, position)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], position + done)


def read_exactly(fd: int, size: int, position: int) -> bytes:
    """`size` bytes at `position`; raises CorruptData when the file is shorter."""
    data = os.pread(fd, size, position)
    while len(data) < size:
        more = os.pread(fd, size - len(data), position + len(data))
        if not more:
            raise CorruptData(f"layer file ends at {position + len(data)}, in the middle of a file")
        data += more
    return data


def append_image(fd: int, image: ErofsImage, uuid: bytes) -> None:
    """Complete the layer file `fd`, which holds the tar at TAR_OFFSET: copies, metadata, final
    size, and the header last. No sync: that is the caller's."""
    os.ftruncate(fd, image.size)
    for copy in image.copies:
        _write_copy(fd, copy)
    position = image.metadata_offset
    for piece in image.metadata():
        write_all_at(fd, piece, position)
        position += len(piece)
    write_all_at(fd, image.header(uuid), 0)


def _write_copy(fd: int, copy: Copy) -> None:
    done = 0
    while done < copy.size:
        size = min(copy.size - done, _PIECE)
        if copy.source is None:
            data = read_exactly(fd, size, TAR_OFFSET + copy.offset + done)
        else:
            data = copy.source.read(copy.offset + done, size)
            if len(data) != size:
                raise CorruptData("a file of a lower layer is shorter than its inode says")
        write_all_at(fd, data, copy.position + done)
        done += size


def read_tar(fd: int, tar_size: int) -> Iterator[bytes]:
    """The verbatim tar of a layer file, in pieces."""
    done = 0
    while done < tar_size:
        size = min(tar_size - done, _PIECE)
        yield read_exactly(fd, size, TAR_OFFSET + done)
        done += size
