"""A container's way to the outside without root: pasta, one process for each container.

pasta puts one interface into the container's network namespace and carries its connections over
sockets of the host, as the user who runs it; published ports are its listening sockets. Owns its
command line, its start and its end.
"""

import os

from ..errors import Conflict, OnggiError, Unavailable
from ..linux import mount, namespace, process, rtnetlink, tools
from ..spec.network import Endpoint, PortBinding
from . import rules

SUBNET, GATEWAY, INTERFACE = "10.0.2.0/24", "10.0.2.2", "eth0"
_PREFIX_LENGTH = "24"
_START_TIMEOUT_S = 30.0
TUN = "/dev/net/tun"


def is_usable() -> str:
    """ "" when containers can have it, else what is missing, for the user."""
    try:
        tools.find("pasta")
    except Unavailable:
        return "pasta is not installed"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} is not ours to open"
    return ""


def arguments(netns: str, pid_file: str, endpoint: Endpoint) -> list[str]:
    """Its command line. Nothing of the host is reached by way of the gateway's address, and the
    host's loopback not at all."""
    argv = ["pasta", "--config-net", "--quiet", "--ipv4-only", "--no-map-gw", "--netns-only"]
    argv += ["-I", INTERFACE, "-a", endpoint.address, "-n", _PREFIX_LENGTH, "-g", GATEWAY]
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        specs = [_spec(port) for port in endpoint.ports if port.protocol == protocol]
        for spec in specs or ["none"]:
            argv += [flag, spec]
    return [*argv, "-T", "none", "-U", "none", "-P", pid_file, "--netns", netns]


def _spec(port: PortBinding) -> str:
    host = "" if port.host_ip in rules.EVERY_ADDRESS else f"{port.host_ip}/"
    return f"{host}{port.host_port}:{port.container_port}"


def start(pid: int, directory: str, endpoint: Endpoint) -> None:
    """Connect the network namespace of the process `pid`; returns when it is up. `directory` keeps
    what `stop` needs. Raises Conflict for a port that is taken, Unavailable without pasta."""
    netns, pid_file = f"{directory}/netns", f"{directory}/pasta.pid"
    os.close(os.open(netns, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    # By a mount, which nobody but us and it sees: it gives up the right to look into /proc/PID.
    copy = mount.open_tree(f"/proc/{pid}/ns/net")
    mount.move_mount(copy, netns)
    os.close(copy)
    argv = arguments(netns, pid_file, endpoint)
    done = tools.run(argv, timeout_s=_START_TIMEOUT_S, check=False)
    if done.status:
        raise _refusal(done.stderr.decode(errors="replace"))
    with open(pid_file, encoding="ascii") as file:
        number = int(file.read())
    with open(f"{directory}/pasta", "w", encoding="ascii") as file:
        file.write(f"{number} {process.start_time(number) or 0}")


def loopback_up(pid: int) -> None:
    """127.0.0.1 works in the process's network namespace. By a child, since for us there is no way
    back from there: our own belongs to the host."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            namespace.setns(fd, namespace.CLONE_NEWNET)
            with rtnetlink.Netlink() as socket:
                socket.apply(rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(fd)
    if os.waitpid(child, 0)[1]:
        raise Unavailable("the loopback interface cannot be set up")


def _refusal(said: str) -> OnggiError:
    lines = [line for line in said.splitlines() if line and not line.startswith("Failed to send")]
    text = "; ".join(lines) or "no message"
    if "bind" in text.lower() or "port" in text.lower():
        return Conflict(f"driver failed programming external connectivity: pasta: {text}")
    return Unavailable(f"pasta cannot connect the container: {text}", hint="onggi doctor")


def stop(directory: str) -> None:
    """End it. Idempotent."""
    try:
        mount.umount_detach(f"{directory}/netns")  # or the directory could not go
    except OSError:
        pass  # it is another process's mount: its end takes it away
    try:
        with open(f"{directory}/pasta", encoding="ascii") as file:
            pid, start_time = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        return
    pidfd = process.open_process(pid, start_time)
    if pidfd is None:
        return
    try:
        process.pidfd_send_signal(pidfd, 9)
        process.pidfd_wait(pidfd, 5)  # its ports are free then
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
