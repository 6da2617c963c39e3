"""What a program asks of a container, as the engine's options. Pure."""

import shlex
from collections.abc import Mapping, Sequence

from ..engine import bindspec
from ..errors import InvalidInput
from ..spec.container import ContainerOptions, HostOptions, Resources
from ..spec.image import Healthcheck
from ..spec.mount import MountRequest
from ..spec.network import PortBinding, Protocol
from ..typed import Any
from ..units import parse_cpus, parse_size

Command = str | Sequence[str]
Ports = Mapping[int | str, int | tuple[str, int] | None]
LOOPBACK = "127.0.0.1"
_PROTOCOLS: dict[str, Protocol] = {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}


def words(command: Command | None) -> tuple[str, ...] | None:
    """A text is split as a shell would, and given to no shell."""
    if command is None:
        return None
    return tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)


def variables(env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in env.items())


def container_options(
    image: str,
    command: Command | None,
    *,
    cwd: str,
    name: str = "",
    entrypoint: Command | None = None,
    env: Mapping[str, str] | None = None,
    workdir: str = "",
    user: str = "",
    hostname: str = "",
    labels: Mapping[str, str] | None = None,
    ports: Ports | None = None,
    volumes: Mapping[str, str] | None = None,
    tmpfs: Sequence[str] = (),
    network: str = "bridge",
    memory: int | str = 0,
    cpus: float | str = 0,
    pids_limit: int = 0,
    privileged: bool = False,
    read_only: bool = False,
    cap_add: Sequence[str] = (),
    cap_drop: Sequence[str] = (),
    security_opt: Sequence[str] = (),
    security: str = "",
    extra_hosts: Mapping[str, str] | None = None,
    init: bool = False,
    healthcheck: Command | None = None,
    health_interval_s: float = 1.0,
    platform: str = "",
    stdin: bool = False,
) -> ContainerOptions:
    """Raises InvalidInput. Volumes are {host path or volume name: "/place[:ro]"} against `cwd`."""
    host = HostOptions(
        mounts=_mounts(volumes or {}, tmpfs, cwd),
        ports=tuple(binding(port, where) for port, where in (ports or {}).items()),
        network_mode=network,
        privileged=privileged,
        read_only=read_only,
        cap_add=tuple(cap_add),
        cap_drop=tuple(cap_drop),
        security_opt=tuple(security_opt),
        security=security,
        extra_hosts=tuple(f"{host}:{ip}" for host, ip in (extra_hosts or {}).items()),
        init=init,
        resources=Resources(
            memory_bytes=_size(memory), nano_cpus=_cpus(cpus), pids_limit=pids_limit
        ),
    )
    return ContainerOptions(
        image=image,
        command=words(command),
        entrypoint=words(entrypoint),
        name=name,
        env=variables(env or {}),
        working_dir=workdir,
        user=user,
        hostname=hostname,
        labels=dict(labels or {}),
        open_stdin=stdin,
        stdin_once=stdin,
        platform=platform,
        host=host,
        health=_health(healthcheck, health_interval_s),
    )


def binding(port: int | str, where: int | tuple[str, int] | None) -> PortBinding:
    """{80: 8080}, {80: None} for any free port, {"53/udp": ("0.0.0.0", 53)}. On loopback unless an
    address is given: what a test or a script publishes is nobody else's."""
    number, _, protocol = str(port).partition("/")
    kind = _PROTOCOLS.get(protocol or "tcp")
    address, host_port = where if isinstance(where, tuple) else (LOOPBACK, where or 0)
    if kind is None or not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidInput(f"invalid container port {port!r}: 80, or '53/udp'")
    if not 0 <= host_port < 65536:
        raise InvalidInput(f"invalid host port {host_port} for {port}: 0 to 65535")
    return PortBinding(address, host_port, int(number), kind)


def _mounts(volumes: Mapping[str, str], tmpfs: Sequence[str], cwd: str) -> tuple[MountRequest, ...]:
    found = [bindspec.parse_volume(f"{source}:{place}", cwd) for source, place in volumes.items()]
    return (*found, *(bindspec.parse_tmpfs(text) for text in tmpfs))


def _size(value: int | str) -> int:
    try:
        return value if isinstance(value, int) else parse_size(value)
    except ValueError as error:
        raise InvalidInput(f"invalid size {value!r}: bytes, or a text such as 512m") from error


def _cpus(value: float | str) -> int:
    try:
        return parse_cpus(str(value)) if value else 0
    except ValueError as error:
        raise InvalidInput(f"invalid number of CPUs {value!r}: such as 1.5") from error


def _health(command: Command | None, interval_s: float) -> Healthcheck | None:
    if command is None:
        return None
    test: Any = ("CMD-SHELL", command) if isinstance(command, str) else ("CMD", *command)
    return Healthcheck(test=test, interval_ns=int(interval_s * 1e9))
