"""Overlay for kernels before 6.13, which take lower layers by path only.

A short-lived child with its own mount namespace attaches the layers under short names in a private
tmpfs, mounts the overlay there, and hands a detached copy back. Nothing is visible on the host.
"""

import errno
import os
from collections.abc import Sequence

from . import mount
from .libc import syscall
from .namespace import CLONE_NEWNS, clone3


def overlay(layers: Sequence[int], options: Sequence[mount.Option], attributes: int = 0) -> int:
    """A detached overlay of `layers` (bottom first; detached mounts or directories)."""
    report_read, report_write = os.pipe()
    hold_read, hold_write = os.pipe()
    pid, pidfd = clone3(CLONE_NEWNS)
    if pid == 0:
        os.close(report_read)
        os.close(hold_write)
        _serve(layers, options, attributes, report_write, hold_read)
    os.close(report_write)
    os.close(hold_read)
    try:
        with open(report_read, "rb", buffering=0) as report:
            kind, _, text = report.readall().decode(errors="replace").partition(" ")
        if kind == "fd":
            return syscall("pidfd_getfd", pidfd, int(text), 0)
        code, _, message = text.partition(" ")
        raise OSError(int(code or errno.ECHILD), message or "the overlay helper died")
    finally:
        os.close(hold_write)
        os.close(pidfd)
        os.waitpid(pid, 0)


def _serve(
    layers: Sequence[int],
    options: Sequence[mount.Option],
    attributes: int,
    report: int,
    hold: int,
) -> None:
    """The child: report the descriptor's number, keep it open until the parent has taken it."""
    try:
        fd = _build(layers, options, attributes)
        os.write(report, b"fd %d" % fd)
    except OSError as error:
        os.write(report, f"error {error.errno} {error.strerror}".encode(errors="replace"))
    finally:
        try:
            os.close(report)
            os.read(hold, 1)
        finally:
            os._exit(0)


def _build(layers: Sequence[int], options: Sequence[mount.Option], attributes: int) -> int:
    mount.mount_setattr("/", propagation=mount.MS_PRIVATE, recursive=True)
    # Host paths are looked up before the staging tmpfs hides "/".
    sources = [os.readlink(f"/proc/self/fd/{fd}") for fd in layers]
    stage = mount.fsmount("tmpfs", (("mode", "0700"),))
    mount.move_mount(stage, "/")  # stacked: paths that start at "/" still see the host
    os.fchdir(stage)
    names = [_place(stage, fd, i, sources[i]) for i, fd in enumerate(layers)]
    words = ["lowerdir=" + ":".join(reversed(names))]
    for key, value in options:
        if key in ("upperdir", "workdir"):  # by link: no comma, colon or length trouble
            os.symlink(str(value), key)
            value = key
        words.append(key if value is None else f"{key}={value}")
    os.mkdir("merged")
    data = ",".join(words).encode()
    syscall("mount", b"overlay", b"merged", b"overlay", attributes & mount.RDONLY, data)
    return mount.open_tree("merged")


def _place(stage: int, fd: int, index: int, source: str) -> str:
    """Give one layer a short name in the staging directory."""
    name = f"{index:x}"
    try:
        os.mkdir(name)
        target = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage)
        mount.move_mount(fd, target)
        os.close(target)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a plain directory cannot be moved
            raise
        os.rmdir(name)
        os.symlink(source, name)
    return name
