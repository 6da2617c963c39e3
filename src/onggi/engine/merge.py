"""What an image says and what the user asks, merged into a container's fixed configuration. Pure.

The rules are docker's (moby daemon/create.go and container/env.go): the user's entrypoint drops the
image's command; environment variables merge by name; labels, ports and volumes add up.
"""

from collections.abc import Iterable, Iterator

from ..errors import InvalidInput
from ..patterns import is_name
from ..spec.container import ContainerConfig, ContainerOptions, Process
from ..spec.image import Image
from ..spec.mount import MountPoint, MountRequest
from . import health

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_name(name: str) -> str:
    """A container's name, docker's rule. Raises InvalidInput."""
    if len(name) < 2 or not is_name(name):
        raise InvalidInput(
            f"Invalid container name ({name[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return name


def check_volume_name(name: str) -> str:
    """A volume's name, docker's rule. Raises InvalidInput."""
    if not is_name(name):
        raise InvalidInput(
            f'create {name[:80]}: "{name[:80]}" includes invalid characters for a local volume '
            'name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
            "directory, use absolute path"
        )
    if len(name) < 2:
        raise InvalidInput(
            f"create {name}: volume name is too short, names should be at least two alphanumeric "
            "characters"
        )
    return name


def merge(
    container_id: str,
    options: ContainerOptions,
    image: Image,
    mounts: tuple[MountPoint, ...],
    host_name: str = "",
) -> ContainerConfig:
    """The configuration of a new container. `host_name` is given when it shares the host's UTS
    namespace. Raises InvalidInput with docker's words."""
    check_modes(options)
    config = image.config
    hostname = host_name or options.hostname or container_id[:12]
    entrypoint, command = command_of(options, config.entrypoint, config.cmd)
    if not entrypoint + command:
        raise InvalidInput("no command specified")
    working_dir = options.working_dir or config.working_dir or "/"
    if not working_dir.startswith("/"):
        raise InvalidInput(
            f"the working directory '{working_dir}' is invalid, it needs to be an absolute path"
        )
    process = Process(
        args=entrypoint + command,
        env=environment((), chosen_env(config.env, options.env), hostname, options.tty),
        working_dir=working_dir,
        user=options.user or config.user,
        tty=options.tty,
        entrypoint=entrypoint,
        command=command,
    )
    return ContainerConfig(
        options=options,
        process=process,
        image_id=image.id,
        layers=config.diff_ids,
        hostname=hostname,
        stop_signal=options.stop_signal or config.stop_signal or "SIGTERM",
        mounts=mounts,
        labels={**config.labels, **options.labels},
        exposed_ports=tuple(sorted(set(image_ports(config.exposed_ports)) | exposed(options))),
        health=health.merge(options.health, config.healthcheck),
        shell=config.shell,
    )


def command_of(
    options: ContainerOptions, entrypoint: tuple[str, ...], cmd: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(entrypoint, command) after docker's rules."""
    if options.entrypoint is not None:
        return options.entrypoint, options.command or ()
    return entrypoint, options.command or cmd


def check_modes(options: ContainerOptions) -> None:
    """What a shared network or UTS namespace leaves no room for. Raises InvalidInput."""
    host = options.host
    if host.uts_mode == "host" and options.hostname:
        raise InvalidInput("conflicting options: hostname and the UTS mode")
    if host.network_mode.startswith("container:"):
        if host.dns:
            raise InvalidInput("conflicting options: dns and the network mode")
        if host.extra_hosts:
            raise InvalidInput(
                "conflicting options: custom host-to-IP mapping and the network mode"
            )
        if options.exposed_ports:
            raise InvalidInput(
                "conflicting options: port exposing and the container type network mode"
            )


def chosen_env(image_env: Iterable[str], user_env: Iterable[str]) -> tuple[str, ...]:
    """The user's variables, then those of the image that the user does not name, as docker."""
    user = tuple(user_env)
    named = {entry.partition("=")[0] for entry in user}
    return user + tuple(e for e in image_env if e.partition("=")[0] not in named)


def environment(
    image_env: Iterable[str], user_env: Iterable[str], hostname: str, tty: bool
) -> tuple[str, ...]:
    """PATH, HOSTNAME, TERM, then the image's and the user's; the last of a name wins in place."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        merged["TERM"] = "xterm"
    for entry in (*image_env, *user_env):
        name, equals, value = entry.partition("=")
        if not name or "\0" in entry:
            raise InvalidInput(f"invalid environment variable: {entry[:80]!r}")
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)  # `-e NAME` without a value on the host removes it
    return tuple(f"{name}={value}" for name, value in merged.items())


def image_ports(texts: Iterable[str]) -> Iterator[str]:
    """An image's ports, one by one: it may name "8000-8010" or leave the protocol out. What is no
    port is nobody's."""
    for text in texts:
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        if all(n.isascii() and n.isdigit() and len(n) < 6 for n in (first, last or first)):
            for number in range(int(first), min(int(last or first), 65535) + 1):
                yield f"{number}/{protocol or 'tcp'}"


def exposed(options: ContainerOptions) -> set[str]:
    """Ports as "8000/tcp": --expose and the container side of -p."""
    published = {f"{port.container_port}/{port.protocol}" for port in options.host.ports}
    return published | set(options.exposed_ports)


def wanted_mounts(
    options: ContainerOptions, image_volumes: Iterable[str], inherited: Iterable[str] = ()
) -> tuple[MountRequest, ...]:
    """The user's mounts, and an anonymous volume for each VOLUME of the image that neither they nor
    the targets `inherited` by --volumes-from cover. Raises InvalidInput for two mounts on one
    target or a target that is no absolute path."""
    by_target: dict[str, MountRequest] = {}
    for request in options.host.mounts:
        target = clean_target(request.target)
        if target in by_target:
            raise InvalidInput(f"Duplicate mount point: {target}")
        by_target[target] = request._replace(target=target)
    covered = set(inherited)
    for volume in image_volumes:
        target = clean_target(volume)
        if target not in covered:
            by_target.setdefault(target, MountRequest("volume", "", target))
    return tuple(by_target[target] for target in sorted(by_target))


def clean_target(path: str) -> str:
    """A mount's place in the container: absolute, normal, not the root. Raises InvalidInput."""
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput(
            f"invalid mount config: invalid mount path: '{path[:200]}' mount path must be absolute"
        )
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise InvalidInput("invalid specification: destination can't be '/'")
    return "/" + "/".join(parts)
