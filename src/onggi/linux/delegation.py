"""The control groups that an unprivileged user may use: a v2 group that was given to him.

A group is delegated when its directory and its cgroup.procs are ours to write
(Documentation/admin-guide/cgroup-v2.rst, "Delegation"), as in `systemd-run --user --scope -p
Delegate=yes`. Other processes are moved only within what is above them and ours, so what counts is
the group that we are in.
"""

import errno
import os

from .cgroup import Layout, host_layout, read, read_pids, write

COMMANDS = "onggi-commands"  # the leaf for whatever is no container


def own_group(pid: int | str = "self") -> str:
    """The v2 path of a process, below the mount point; "" when there is none."""
    try:
        lines = read(f"/proc/{pid}/cgroup").splitlines()
    except ProcessLookupError:
        return ""
    for line in lines:
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""


def layout(host: Layout | None = None, group: str | None = None) -> Layout:
    """What we may use, as a hierarchy of its own: the delegated group, or nothing."""
    point = (host_layout() if host is None else host).v2
    path = own_group() if group is None else group
    if not point or not path:
        return Layout((), "")
    base = f"{point}{path.removesuffix('/' + COMMANDS)}"
    ours = all(os.access(name, os.W_OK) for name in (base, f"{base}/cgroup.procs"))
    return Layout((), base if ours else "")


def make_room(base: str) -> None:
    """A group with processes of its own can hand no controllers down: put them into a leaf."""
    available = set(read(f"{base}/cgroup.controllers").split())
    if not available - set(read(f"{base}/cgroup.subtree_control").split()):
        return
    leaf = f"{base}/{COMMANDS}"
    os.makedirs(leaf, 0o755, exist_ok=True)
    for pid in read_pids(base):
        try:
            write(f"{leaf}/cgroup.procs", str(pid))
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.EACCES, errno.EPERM):
                raise
