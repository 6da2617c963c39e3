"""A directory tree as a value, to compare trees file by file."""

import os
import stat
from typing import NamedTuple


class File(NamedTuple):
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    rdev: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]


def snapshot(root_fd: int, *, times: bool = True, links: bool = True) -> dict[str, File]:
    """Every path below the directory, "." included. Directories' link counts are left out."""
    found: dict[str, File] = {}
    pending = ["."]
    while pending:
        path = pending.pop()
        full = f"/proc/self/fd/{root_fd}/{path}"
        status = os.stat(full, follow_symlinks=False)
        mode = status.st_mode
        content = b""
        if stat.S_ISDIR(mode):
            pending += [f"{path}/{name}" for name in os.listdir(full)]
        elif stat.S_ISLNK(mode):
            content = os.fsencode(os.readlink(full))
        elif stat.S_ISREG(mode):
            with open(full, "rb") as file:
                content = file.read()
        names = sorted(os.listxattr(full, follow_symlinks=False))
        found[path] = File(
            mode, status.st_uid, status.st_gid, status.st_mtime_ns if times else 0,
            status.st_nlink if links and not stat.S_ISDIR(mode) else 0, status.st_rdev, content,
            tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names),
        )  # fmt: skip
    return found


def difference(one: dict[str, File], other: dict[str, File]) -> list[str]:
    """What differs, in words; [] when nothing does."""
    lines = [f"only in the first: {path}" for path in sorted(one.keys() - other.keys())]
    lines += [f"only in the second: {path}" for path in sorted(other.keys() - one.keys())]
    for path in sorted(one.keys() & other.keys()):
        for field, a, b in zip(File._fields, one[path], other[path], strict=True):
            if a != b:
                lines.append(f"{path}: {field} {a!r:.80} != {b!r:.80}")
    return lines
