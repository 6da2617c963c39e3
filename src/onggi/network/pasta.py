"""pasta: one interface in a container's network namespace, whose connections it carries over
sockets of the host, as the user who runs it; published ports are its listening sockets. Owns its
command line and its start.
"""

from ..errors import Conflict, OnggiError, Unavailable
from ..linux import process, tools
from ..spec.network import Endpoint, PortBinding
from . import rules

SUBNET, GATEWAY, INTERFACE = "10.0.2.0/24", "10.0.2.2", "eth0"
PREFIX_LENGTH = 24
RECORD = "network-helper"  # its pid and start time
_START_TIMEOUT_S = 30.0


def arguments(netns: str, pid_file: str, endpoint: Endpoint) -> list[str]:
    """Its command line. Nothing of the host is reached by way of the gateway's address, and the
    host's loopback not at all."""
    argv = ["pasta", "--config-net", "--quiet", "--ipv4-only", "--no-map-gw", "--netns-only"]
    argv += ["-I", INTERFACE, "-a", endpoint.address, "-n", str(PREFIX_LENGTH), "-g", GATEWAY]
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        specs = [_spec(port) for port in endpoint.ports if port.protocol == protocol]
        for spec in specs or ["none"]:
            argv += [flag, spec]
    return [*argv, "-T", "none", "-U", "none", "-P", pid_file, "--netns", netns]


def _spec(port: PortBinding) -> str:
    host = "" if port.host_ip in rules.EVERY_ADDRESS else f"{port.host_ip}/"
    return f"{host}{port.host_port}:{port.container_port}"


def start(netns: str, directory: str, endpoint: Endpoint) -> None:
    """Returns when the interface is up."""
    pid_file = f"{directory}/pasta.pid"
    argv = arguments(netns, pid_file, endpoint)
    done = tools.run(argv, timeout_s=_START_TIMEOUT_S, check=False)
    if done.status:
        raise _refusal(done.stderr.decode(errors="replace"))
    with open(pid_file, encoding="ascii") as file:
        record(directory, int(file.read()))


def record(directory: str, pid: int) -> None:
    with open(f"{directory}/{RECORD}", "w", encoding="ascii") as file:
        file.write(f"{pid} {process.start_time(pid) or 0}")


def _refusal(said: str) -> OnggiError:
    lines = [line for line in said.splitlines() if line and not line.startswith("Failed to send")]
    text = "; ".join(lines) or "no message"
    if "bind" in text.lower() or "port" in text.lower():
        return Conflict(f"driver failed programming external connectivity: pasta: {text}")
    return Unavailable(f"pasta cannot connect the container: {text}", hint="onggi doctor")
