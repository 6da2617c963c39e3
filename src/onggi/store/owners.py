"""Owners that this host's ids cannot express, in a user namespace with few of them.

A file whose owner is not mapped keeps it in an attribute, in the words of fuse-overlayfs and
containers/storage ("uid:gid:mode"), and is written with that owner into the layers that are made
of it. Links and nodes can have no such attribute: theirs become root's.
"""

import errno
import os

from ..errors import InvalidInput

RECORD = "user.containers.override_stat"
RANGE = 65536  # the numbers of such a namespace
NOBODY = 65534


def give(fd: int, uid: int, gid: int, mode: int) -> None:
    """chown an open file or directory, or note its owner."""
    try:
        os.fchown(fd, uid, gid)
    except OSError as error:
        if not _is_unmapped(error):
            raise
        os.setxattr(fd, RECORD, f"{uid}:{gid}:0{mode:o}".encode())


def give_name(name: bytes, uid: int, gid: int, directory_fd: int) -> None:
    """chown what cannot be opened: a link, a node."""
    try:
        os.chown(name, uid, gid, dir_fd=directory_fd, follow_symlinks=False)
    except OSError as error:
        if not _is_unmapped(error):
            raise


def of(status: os.stat_result, record: bytes) -> tuple[int, int]:
    """(uid, gid) of a file with that attribute, b"" for none. The attribute is a container's to
    write: it counts on files of our own alone, so that nobody in there makes a file root's."""
    fields = record.split(b":")
    ours = status.st_uid == os.geteuid()
    if ours and len(fields) == 3 and all(f.isdigit() and len(f) < 11 for f in fields[:2]):
        uid, gid = int(fields[0]), int(fields[1])
        if uid < 0xFFFFFFFF and gid < 0xFFFFFFFF:
            return uid, gid
    return status.st_uid, status.st_gid


def inside(owner: tuple[int, int], id_base: int) -> tuple[int, int]:
    """What an owner is in a user namespace whose root is `id_base` here (0: none): nobody, where
    it has no number there."""
    if not id_base:
        return owner
    uid, gid = (number - id_base for number in owner)
    return (uid if 0 <= uid < RANGE else NOBODY), (gid if 0 <= gid < RANGE else NOBODY)


def outside(owner: tuple[int, int], id_base: int) -> tuple[int, int]:
    """The other way round. Raises InvalidInput for a number that the namespace does not have."""
    if not id_base:
        return owner
    if max(owner) >= RANGE:
        raise InvalidInput(
            f"owner {owner[0]}:{owner[1]} has no number in the container's user namespace"
        )
    return owner[0] + id_base, owner[1] + id_base


def _is_unmapped(error: OSError) -> bool:
    return error.errno == errno.EINVAL or (error.errno == errno.EPERM and os.geteuid() != 0)
