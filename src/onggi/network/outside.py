"""A container's way to the outside without root: which helper does it, and how that is started.

pasta is faster and keeps addresses; it needs a default route on the host. slirp4netns does without.
Each is one process for each container, which ends with it.
"""

import os

from ..errors import Unavailable
from ..linux import mount, namespace, process, rtnetlink, tools
from ..spec.network import Endpoint
from . import pasta, slirp
from .pasta import RECORD

TUN = "/dev/net/tun"


def missing() -> tuple[str, str]:
    """What keeps containers from a network, and the command that brings it; "" for nothing."""
    if not os.access(TUN, os.R_OK | os.W_OK):
        if not os.path.exists(TUN):
            return f"{TUN} is missing", "sudo modprobe tun"
        return f"{TUN} is not ours to open", f"sudo chmod 666 {TUN}"
    if _has("slirp4netns"):
        return "", ""
    if not _has("pasta"):
        return "pasta is not installed", "sudo apt-get install passt"
    if not has_route():
        about = "pasta needs a default route, which this host has not"
        return about, "sudo apt-get install slirp4netns"
    return "", ""


def name() -> str:
    """The helper that is taken."""
    return "pasta" if _has("pasta") and has_route() else "slirp4netns"


def has_route() -> bool:
    with rtnetlink.Netlink() as socket:
        return any(not route.destination for route in rtnetlink.routes(socket))


def start(pid: int, directory: str, endpoint: Endpoint) -> None:
    """Connect the network namespace of the process `pid`; returns when it is up. `directory` keeps
    what `stop` needs. Raises Conflict for a port that is taken, Unavailable."""
    netns = f"{directory}/netns"
    os.close(os.open(netns, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    # By a mount, which nobody but us and it sees: it gives up the right to look into /proc/PID.
    copy = mount.open_tree(f"/proc/{pid}/ns/net")
    mount.move_mount(copy, netns)
    os.close(copy)
    if name() == "pasta":
        pasta.start(netns, directory, endpoint)
        return
    slirp.start(netns, directory)
    inside(pid, lambda: slirp.configure(endpoint))
    slirp.publish(directory, endpoint)


def stop(directory: str) -> None:
    """End it. Idempotent."""
    try:
        mount.umount_detach(f"{directory}/netns")  # or the directory could not go
    except OSError:
        pass  # it is another process's mount: its end takes it away
    try:
        with open(f"{directory}/{RECORD}", encoding="ascii") as file:
            pid, start_time = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        return
    pidfd = process.open_process(pid, start_time)
    if pidfd is None:
        return
    try:
        process.pidfd_send_signal(pidfd, 9)
        process.pidfd_wait(pidfd, 5)  # its ports are free then
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended; it is another process's child
    finally:
        os.close(pidfd)


def loopback_up(pid: int) -> None:
    """127.0.0.1 works in the process's network namespace."""
    inside(pid, _loopback_up)


def _loopback_up() -> None:
    with rtnetlink.Netlink() as socket:
        socket.apply(rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX))


def inside(pid: int, work: "slirp.Work") -> None:
    """Do something in the process's network namespace. By a child, since for us there is no way
    back from there: our own belongs to the host."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            namespace.setns(fd, namespace.CLONE_NEWNET)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    os.close(fd)
    if os.waitpid(child, 0)[1]:
        raise Unavailable("the container's interface cannot be set up")


def _has(program: str) -> bool:
    try:
        return bool(tools.find(program))
    except Unavailable:
        return False
