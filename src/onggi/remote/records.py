"""Docker's JSON, as it comes from an engine, to our records: as much as the command line shows.
Pure. Fields that are missing are empty: engines are of many ages."""

from collections.abc import Mapping

from ..engine.imageview import HistoryRow
from ..spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    Health,
    HostOptions,
    Process,
    Resources,
)
from ..spec.digest import Digest
from ..spec.image import Image, ImageConfig
from ..spec.mount import MountPoint, Volume
from ..spec.network import Network, PortBinding
from ..spec.platform import Platform
from ..spec.reference import parse_reference
from ..typed import Any
from ..units import parse_rfc3339

Document = Mapping[str, Any]
ZERO = "0001-01-01T00:00:00Z"


def moment(text: str | None) -> int:
    """ns; 0 for the zero time and what is no time."""
    if not text or text.startswith("0001-"):
        return 0
    try:
        return parse_rfc3339(text)
    except ValueError:
        return 0


def container(found: Document) -> Container:
    """Of what inspect shows."""
    config, host = found.get("Config") or {}, found.get("HostConfig") or {}
    args = (found.get("Path") or "", *(found.get("Args") or ()))
    wait = config.get("StopTimeout")
    options = ContainerOptions(
        image=config.get("Image") or found.get("Image") or "",
        tty=bool(config.get("Tty")),
        open_stdin=bool(config.get("OpenStdin")),
        stop_timeout_s=wait,
        host=HostOptions(
            network_mode=_network_mode(found, host),
            auto_remove=bool(host.get("AutoRemove")),
            resources=Resources(memory_bytes=host.get("Memory") or 0),
        ),
    )
    return Container(
        found["Id"],
        (found.get("Name") or "").removeprefix("/"),
        moment(found.get("Created")),
        ContainerConfig(
            options=options,
            process=Process(args, tuple(config.get("Env") or ()), "", "", options.tty),
            image_id=found.get("Image") or "",
            layers=(),
            hostname=config.get("Hostname") or "",
            stop_signal=config.get("StopSignal") or "",
            mounts=tuple(_mount(item) for item in found.get("Mounts") or ()),
            labels=config.get("Labels") or {},
            exposed_ports=tuple(config.get("ExposedPorts") or ()),
        ),
        _state(found.get("State") or {}, found.get("RestartCount") or 0),
    )


def _network_mode(found: Document, host: Document) -> str:
    """What `ps` shows: the names of the networks it is on."""
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    return ",".join(networks) or host.get("NetworkMode") or ""


def _state(state: Document, restarts: int) -> ContainerState:
    health = state.get("Health")
    return ContainerState(
        status=state.get("Status") or "created",
        pid=state.get("Pid") or 0,
        started_ns=moment(state.get("StartedAt")),
        finished_ns=moment(state.get("FinishedAt")),
        exit_code=state.get("ExitCode") or 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        restart_count=restarts,
        health=None if not health or health["Status"] == "none" else Health(health["Status"]),
    )


def _mount(found: Document) -> MountPoint:
    return MountPoint(
        found.get("Type") or "bind",
        found.get("Name") or "",
        found.get("Source") or "",
        found.get("Destination") or "",
        read_only=not found.get("RW", True),
    )


def ports(found: Document) -> tuple[PortBinding, ...]:
    """The published ports of what inspect shows."""
    made = []
    for name, bindings in ((found.get("NetworkSettings") or {}).get("Ports") or {}).items():
        number, _, protocol = name.partition("/")
        for binding in bindings or ():
            host_port = int(binding["HostPort"])
            made.append(PortBinding(binding["HostIp"], host_port, int(number), protocol or "tcp"))
    return tuple(made)


def image(found: Document) -> Image:
    """Of an entry of the list, and of what inspect shows."""
    created = found.get("Created")
    created_ns = created * 10**9 if isinstance(created, int) else moment(created)
    labels = found.get("Labels") or (found.get("Config") or {}).get("Labels") or {}
    names = [name for name in found.get("RepoTags") or () if name != "<none>:<none>"]
    digests = [name for name in found.get("RepoDigests") or () if name != "<none>@<none>"]
    return Image(
        Digest(found["Id"]),
        ImageConfig(_platform(found), (), labels=labels),
        None,
        found.get("Size") or 0,
        created_ns,
        tuple(str(parse_reference(name)) for name in names),
        tuple(str(parse_reference(name, default_tag="")) for name in digests),
        found.get("ParentId") or "",
    )


def _platform(found: Document) -> Platform:
    return Platform(found.get("Os") or "linux", found.get("Architecture") or "")


def history(found: Document) -> HistoryRow:
    return HistoryRow(
        found["Id"], found["Created"] * 10**9, found["CreatedBy"], found["Size"],
        found.get("Comment") or "", tuple(found.get("Tags") or ()),
    )  # fmt: skip


def volume(found: Document) -> Volume:
    return Volume(
        found["Name"],
        created_ns=moment(found.get("CreatedAt")),
        labels=found.get("Labels") or {},
        options=found.get("Options") or {},
    )


def network(found: Document) -> Network:
    return Network(
        found["Id"],
        found["Name"],
        found["Driver"],
        internal=bool(found.get("Internal")),
        created_ns=moment(found.get("Created")),
        labels=found.get("Labels") or {},
        ipv4=found.get("EnableIPv4", True),
        ipv6=bool(found.get("EnableIPv6")),
    )
