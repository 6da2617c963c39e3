"""Owners that this host's ids cannot express, in a user namespace with few of them.

A file whose owner is not mapped keeps it in an attribute, in the words of fuse-overlayfs and
containers/storage ("uid:gid:mode"), and is written with that owner into the layers that are made
of it. Links and nodes can have no such attribute: theirs become root's.
"""

import errno
import os

RECORD = "user.containers.override_stat"


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


def _is_unmapped(error: OSError) -> bool:
    return error.errno == errno.EINVAL or (error.errno == errno.EPERM and os.geteuid() != 0)
