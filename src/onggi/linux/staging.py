"""What older kernels make only of mounts that are attached: overlays before 6.13, which take lower
layers by path only, and copies of a part of a mount before 6.15.

A short-lived child with its own mount namespace attaches the mounts there and hands a detached
result back. Nothing is visible on the host.
"""

import errno
import os
from collections.abc import Callable, Sequence

from . import mount
from .libc import syscall
from .namespace import CLONE_NEWNS, clone3


def overlay(layers: Sequence[int], options: Sequence[mount.Option], attributes: int = 0) -> int:
    """A detached overlay of `layers` (bottom first; detached mounts or directories)."""
    return _made_in_child(lambda: _build(layers, options, attributes))


def part_of(mount_fd: int, part_fd: int) -> int:
    """A detached copy of what `part_fd` (O_PATH) names inside the detached mount `mount_fd`, which
    may be gone afterwards: before 6.15 only what is attached somewhere can be copied."""
    try:
        return mount.open_tree("", directory_fd=part_fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return _made_in_child(lambda: _attached_part(mount_fd, part_fd))


def _attached_part(mount_fd: int, part_fd: int) -> int:
    mount.mount_setattr("/", propagation=mount.MS_PRIVATE, recursive=True)
    mount.move_mount(mount_fd, "/")
    return mount.open_tree("", directory_fd=part_fd)


def _made_in_child(make: Callable[[], int]) -> int:
    """The descriptor that `make` returns in a child with a mount namespace of its own."""
    report_read, report_write = os.pipe()
    hold_read, hold_write = os.pipe()
    pid, pidfd = clone3(CLONE_NEWNS)
    if pid == 0:
        os.close(report_read)
        os.close(hold_write)
        _serve(make, report_write, hold_read)
    os.close(report_write)
    os.close(hold_read)
    try:
        with open(report_read, "rb", buffering=0) as report:
            kind, _, text = report.readall().decode(errors="replace").partition(" ")
        if kind == "fd":
            return syscall("pidfd_getfd", pidfd, int(text), 0)
        code, _, message = text.partition(" ")
        raise OSError(int(code or errno.ECHILD), message or "the mount helper died")
    finally:
        os.close(hold_write)
        os.close(pidfd)
        os.waitpid(pid, 0)


def _serve(make: Callable[[], int], report: int, hold: int) -> None:
    """The child: report the descriptor's number, keep it open until the parent has taken it."""
    try:
        fd = make()
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
        words.append(_word(key, value))
    os.mkdir("merged")
    data = ",".join(words).encode()
    syscall("mount", b"overlay", b"merged", b"overlay", attributes & mount.RDONLY, data)
    return mount.open_tree("merged")


def _word(key: str, value: str | int | None) -> str:
    """An option in mount(2)'s one text. SELinux's labels have commas and may be quoted, others not
    (security/selinux/hooks.c, selinux_sb_eat_lsm_opts)."""
    if value is None:
        return key
    return f'{key}="{value}"' if key == "context" else f"{key}={value}"


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
