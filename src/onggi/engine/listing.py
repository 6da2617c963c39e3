"""A container in a list: docker's texts and its JSON of `GET /containers/json`."""

import os
import time
from collections.abc import Mapping, Sequence

from ..spec.container import Container, ContainerState
from ..spec.network import Endpoint, Network, PortBinding
from ..typed import Any
from ..units import format_elapsed


def summary(
    c: Container,
    endpoints: Sequence[Endpoint],
    networks: Mapping[str, Network],
    sizes: tuple[int, int] | None,
) -> dict[str, Any]:
    """Docker's JSON object; `sizes` when they are asked for."""
    from ..linux.rtnetlink import has_ipv6
    from . import mountview, networkview
    from .endpoints import shown

    host = c.config.options.host
    found: dict[str, Any] = {
        "Id": c.id,
        "Names": [f"/{c.name}"],
        "Image": c.config.options.image,
        "ImageID": c.config.image_id,
        "Command": command_line(c.config.process.args),
        "Created": c.created_ns // 1_000_000_000,
        "Ports": ports(c, [port for e in endpoints for port in shown(e, v6=has_ipv6())]),
        "Labels": dict(sorted(c.config.labels.items())),
        "State": c.state.status,
        "Status": status_text(c, time.time()),
        "HostConfig": {"NetworkMode": host.network_mode},
        "NetworkSettings": {"Networks": networkview.networks_of(c, endpoints, networks)},
        "Mounts": mountview.listed(c.config),
    }
    if host.annotations:
        found["HostConfig"]["Annotations"] = dict(host.annotations)
    if sizes is not None:
        found["SizeRw"], found["SizeRootFs"] = sizes
    return found


def ports(c: Container, published: Sequence[PortBinding]) -> list[dict[str, Any]]:
    """What is published and what is only exposed, of a container that runs."""
    if c.state.status not in ("running", "paused"):
        return []
    found: list[dict[str, Any]] = [
        {
            "IP": port.host_ip or "0.0.0.0",  # noqa: S104 - shown, not bound
            "PrivatePort": port.container_port,
            "PublicPort": port.host_port,
            "Type": port.protocol,
        }
        for port in published
    ]
    known = {(port.container_port, port.protocol) for port in published}
    for text in c.config.exposed_ports:
        number, _, protocol = text.partition("/")
        if (int(number), protocol) not in known:
            found.append({"PrivatePort": int(number), "Type": protocol})
    return sorted(found, key=lambda port: (port["PrivatePort"], port["Type"]))


def command_line(args: Sequence[str]) -> str:
    """Arguments with blanks in quotes."""
    first, *rest = args or ("",)
    return " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])


def status_text(container: Container, now: float) -> str:
    """ "Up 5 minutes", "Exited (0) 3 seconds ago", "Created"."""
    state = container.state
    match state.status:
        case "running" | "paused":
            age = format_elapsed(running_s(state))
            return f"Up {age}{condition(state)}"
        case "restarting":
            age = format_elapsed(now - state.finished_ns / 1e9)
            return f"Restarting ({state.exit_code}) {age} ago"
        case "exited":
            age = format_elapsed(now - state.finished_ns / 1e9)
            return f"Exited ({state.exit_code}) {age} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
    return "Created"


def running_s(state: ContainerState) -> float:
    """By the clock that nobody sets: the process's own start; of a process on another machine we
    only know what the wall clock there said."""
    if not state.pid_start:
        return time.time() - state.started_ns / 1e9
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - state.pid_start / ticks


def condition(state: ContainerState) -> str:
    if state.status == "paused":
        return " (Paused)"
    if state.health is None:
        return ""
    return (
        " (health: starting)" if state.health.status == "starting" else f" ({state.health.status})"
    )
