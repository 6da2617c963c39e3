"""The verbatim tar of a stored layer, as a file to read."""

import os
from collections.abc import Iterator

from ..errors import CorruptData
from .erofs import TAR_OFFSET
from .layerfile import read_tar


class LayerTar:
    """The verbatim tar of a layer, open for reading; a context manager."""

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        self._fd = fd
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that is left for -1; b"" at the end."""
        left = self.size - self._done
        size = left if size < 0 else min(size, left)
        data = os.pread(self._fd, size, TAR_OFFSET + self._done) if size else b""
        if size and not data:
            raise CorruptData(f"layer file ends after {self._done} of {self.size} bytes")
        self._done += len(data)
        return data

    def seek(self, offset: int) -> None:
        """Where the next `read` begins."""
        self._done = min(max(offset, 0), self.size)

    def pieces(self) -> Iterator[bytes]:
        """All of it, from the first byte."""
        return read_tar(self._fd, self.size)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "LayerTar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
