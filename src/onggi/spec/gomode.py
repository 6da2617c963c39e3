"""st_mode as Go's os.FileMode, which docker's API speaks, and back. Pure."""

import stat

_KINDS = (
    (stat.S_IFDIR, 1 << 31),
    (stat.S_IFLNK, 1 << 27),
    (stat.S_IFBLK, 1 << 26),
    (stat.S_IFCHR, 1 << 26 | 1 << 21),
    (stat.S_IFIFO, 1 << 25),
    (stat.S_IFSOCK, 1 << 24),
)
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_KIND_MASK = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21


def go_mode(mode: int) -> int:
    """Of a st_mode."""
    found = mode & 0o777
    found |= next((bits for kind, bits in _KINDS if stat.S_IFMT(mode) == kind), 0)
    for unix, go in _BITS:
        if mode & unix:
            found |= go
    return found


def unix_mode(mode: int) -> int:
    """The st_mode of an os.FileMode; of no known kind is a regular file."""
    found = mode & 0o777
    kinds = (kind for kind, bits in _KINDS if mode & _KIND_MASK == bits)
    found |= next(kinds, stat.S_IFREG)
    for unix, go in _BITS:
        if mode & go:
            found |= unix
    return found
