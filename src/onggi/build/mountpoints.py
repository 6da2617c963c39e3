"""Places that a RUN's mounts need and the image does not have: found before, taken away after.

The runtime makes an empty file or directory to mount on; it is no part of what the command did.
Removes only what was missing before and is still empty, by descriptors inside the upper directory,
so that no command can turn this on a file of the host (SECURITY D2).
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterable

from ..linux.safefs import open_beneath
from .context import Tree, follow


def missing(root: Tree, targets: Iterable[str]) -> list[str]:
    """Paths under these mount targets, parents first, that do not exist yet."""
    found: dict[str, None] = {}
    for target in targets:
        real, exists = follow(target, root.look, None)
        parts = real.split("/")
        for size in range(1, len(parts) + 1):
            path = "/".join(parts[:size])
            if not exists and root.status(path) is None:
                found[path] = None
    return list(found)


def remove(upper: str, paths: list[str]) -> None:
    """Deepest first. What is gone, filled or replaced stays as the command left it."""
    if not paths:
        return
    top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for path in reversed(paths):
            _remove_one(top, posixpath.dirname(path) or ".", posixpath.basename(path))
    finally:
        os.close(top)


def _remove_one(top: int, parent: str, name: str) -> None:
    try:
        directory = open_beneath(top, parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        os.close(directory)
