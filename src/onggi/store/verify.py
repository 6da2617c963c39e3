"""Whether a stored layer still has its bytes."""

import hashlib
import os
from collections.abc import Mapping

from ..errors import CorruptData
from .layerfile import read_tar
from .layerrows import Form, LayerRow, file_name
from .sink import metadata_digest


def damage(directory: str, row: LayerRow, files: Mapping[tuple[str, Form], str]) -> str:
    """What is wrong with the layer's files, "" for nothing: the tar against the diff ID, what
    surrounds it against the digest noted when it was written. Directories are not looked at."""
    for (parent, form), metadata in files.items():
        if form == "directory":
            continue
        path = f"{directory}/{file_name(row.diff_id, parent, form)}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return f"{path} is gone"
        try:
            if not _has_digest(fd, row):
                return f"the bytes of {path} have changed"
            if form == "erofs" and metadata_digest(fd, row.tar_bytes) != metadata:
                return f"the metadata of {path} has changed"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        finally:
            os.close(fd)
    return ""


def _has_digest(fd: int, row: LayerRow) -> bool:
    hasher = hashlib.new(row.diff_id.algorithm)
    try:
        for piece in read_tar(fd, row.tar_bytes):
            hasher.update(piece)
    except CorruptData:  # shorter than it was
        return False
    return hasher.hexdigest() == row.diff_id.hex
