"""Bringing containers back at boot, and putting them to rest for a shutdown.

There is no daemon that would do it: the systemd unit calls `onggi system start` and `system stop`.
"""

from collections.abc import Callable, Sequence

from ..errors import NotModified, OnggiError
from ..spec.container import Container, ContainerState
from . import restart
from .containers import Containers
from .networks import container_of_mode
from .reaper import ACTIVE
from .specgen import SHARED, mode_of
from .watch import policy_of

MAX_AT_ONCE = 32
Failed = Callable[[Container, OnggiError], None]


def due(containers: Containers) -> list[Container]:
    """What the policies want to run and does not, in an order in which it can start: a container
    after those whose namespaces it shares, else the oldest first."""
    found = [
        container
        for container in reversed(containers.list(all=True))
        if container.state.status not in ACTIVE and wants_start(container)
    ]
    return ordered(found)


def wants_start(container: Container) -> bool:
    state: ContainerState = container.state
    return restart.starts_at_boot(
        policy_of(container.config),
        was_started=state.started_ns > 0,
        stopped_by_user=state.stopped_by_user,
        interrupted=state.interrupted,
    )


def ordered(found: Sequence[Container]) -> list[Container]:
    """Stable; a circle of containers is left as it came, and its start says what is wrong."""
    by_name = {key: c for c in found for key in (c.id, c.name)}
    result: dict[str, Container] = {}

    def take(container: Container, above: tuple[str, ...]) -> None:
        if container.id in result or container.id in above:
            return
        for kind in ("network", *SHARED):
            other = by_name.get(container_of_mode(mode_of(container.config.options.host, kind)))
            if other is not None:
                take(other, (*above, container.id))
        result[container.id] = container

    for container in found:
        take(container, ())
    return list(result.values())


def start(containers: Containers, failed: Failed) -> list[Container]:
    """Start what is due; those that started. One that cannot start stops none of the others."""
    started = []
    for container in due(containers):
        try:
            started.append(containers.start(container.id))
        except NotModified:
            continue  # somebody was faster
        except OnggiError as error:
            failed(container, error)
    return started


def stop(containers: Containers, failed: Failed) -> list[Container]:
    """Stop all that run, together: the slowest takes as long as all. The next boot starts those
    again whose policy says so."""
    from concurrent.futures import ThreadPoolExecutor

    def stopped(container: Container) -> OnggiError | None:
        try:
            containers.stop(container.id, why="shutdown")
        except OnggiError as error:
            return error
        return None

    running = containers.list()
    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
        ends = list(zip(running, pool.map(stopped, running), strict=True))
    for container, error in ends:
        if error is not None and not isinstance(error, NotModified):
            failed(container, error)
    return [container for container, error in ends if error is None]


def command_line(program: str, root: str, run: str) -> str:
    """As a unit has it: `program` is onggi's absolute path."""
    flags = "".join(
        f" {flag} {quoted(value)}"
        for flag, value, usual in (
            ("--root", root, "/var/lib/onggi"),
            ("--run-root", run, "/run/onggi"),
        )
        if value != usual
    )
    return quoted(program) + flags


def server_units(program: str, root: str, run: str, group: str) -> str:
    """The service and the socket of `onggi serve`, one after the other."""
    command = command_line(program, root, run)
    return f"""\
# /etc/systemd/system/onggi.socket
[Unit]
Description=Socket of onggi's Docker Engine API

[Socket]
ListenStream={quoted(run + "/onggi.sock")}
SocketMode=0660
SocketUser=root
SocketGroup={group}

[Install]
WantedBy=sockets.target

# /etc/systemd/system/onggi.service
[Unit]
Description=Docker Engine API of onggi
Requires=onggi.socket
After=onggi.socket network-online.target

[Service]
ExecStart={command} serve -H fd://
# The containers' monitors are not this unit's to kill.
KillMode=process
Delegate=yes
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def unit(program: str, root: str, run: str) -> str:
    """A systemd unit that does both; `program` is onggi's absolute path."""
    command = command_line(program, root, run)
    return f"""\
[Unit]
Description=Containers of onggi
Wants=network-online.target
After=network-online.target nss-lookup.target firewalld.service nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} system start
ExecStop={command} system stop
# The containers' monitors are not this unit's to kill.
KillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=infinity

[Install]
WantedBy=multi-user.target
"""


def quoted(word: str) -> str:
    """As systemd.syntax(7) reads it back: quotes, backslashes, % and $ are special."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    if word.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-%$"):
        escaped = escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return escaped
