"""Docker's JSON, as it comes from an engine, to our records: as much as the command line shows.
Pure. Fields that are missing are empty: engines are of many ages."""

from collections.abc import Mapping

from ..engine.imageview import HistoryRow
from ..engine.stats import Sample
from ..engine.system import Usage
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


def listed(found: Document) -> Container:
    """Of an entry of the list, which knows less: no exact times, no exit code."""
    host = found.get("HostConfig") or {}
    exposed = [f"{p['PrivatePort']}/{p['Type']}" for p in found.get("Ports") or ()]
    return Container(
        found["Id"],
        (found.get("Names") or ("",))[0].removeprefix("/"),
        (found.get("Created") or 0) * 10**9,
        ContainerConfig(
            options=ContainerOptions(
                image=found.get("Image") or "",
                host=HostOptions(network_mode=_network_mode(found, host)),
            ),
            process=Process((found.get("Command") or "",), (), "", "", tty=False),
            image_id=found.get("ImageID") or "",
            layers=(),
            hostname="",
            stop_signal="",
            mounts=tuple(_mount(item) for item in found.get("Mounts") or ()),
            labels=found.get("Labels") or {},
            exposed_ports=tuple(dict.fromkeys(exposed)),
        ),
        ContainerState(status=found.get("State") or "created"),
    )


def listed_ports(found: Document) -> tuple[PortBinding, ...]:
    """The published ports of an entry of the list."""
    return tuple(
        PortBinding(port.get("IP") or "", port["PublicPort"], port["PrivatePort"], port["Type"])
        for port in found.get("Ports") or ()
        if port.get("PublicPort")
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


def sample(found: Document) -> Sample:
    """Of one answer of stats, as docker's client counts: memory without what is only cached."""
    memory, moved = found.get("memory_stats") or {}, {"read": 0, "write": 0}
    facts = memory.get("stats") or {}
    cached = facts.get("total_inactive_file") or facts.get("inactive_file") or 0
    used = memory.get("usage") or 0
    io = (found.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    for item in io:
        operation = item["op"].lower()  # capitals with version 1 of control groups
        if operation in moved:
            moved[operation] += item["value"]
    networks = (found.get("networks") or {}).values()
    return Sample(
        time_ns=moment(found.get("read")),
        cpu_ns=((found.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0,
        memory_bytes=used - cached if cached < used else used,
        memory_limit_bytes=memory.get("limit") or 0,
        received_bytes=sum(item["rx_bytes"] for item in networks),
        sent_bytes=sum(item["tx_bytes"] for item in networks),
        read_bytes=moved["read"],
        written_bytes=moved["write"],
        pids=(found.get("pids_stats") or {}).get("current") or 0,
    )


def usage(found: Document) -> list[Usage]:
    """Of the answer of /system/df; what docker's client makes of it."""
    images, containers = found.get("Images") or (), found.get("Containers") or ()
    volumes, cache = found.get("Volumes") or (), found.get("BuildCache") or ()
    used = [image for image in images if image.get("Containers", 0) > 0]
    layers = found.get("LayersSize") or 0
    needed = sum(i["Size"] - max(i.get("SharedSize") or 0, 0) for i in used)
    idle = [c for c in containers if c.get("State") not in ("running", "paused", "restarting")]
    sizes = [(_volume_bytes(v), (v.get("UsageData") or {}).get("RefCount", 0)) for v in volumes]
    writable = sum(c.get("SizeRw") or 0 for c in containers)
    free = sum(record["Size"] for record in cache if not (record["InUse"] or record["Shared"]))
    return [
        Usage("Images", len(images), len(used), layers, layers - needed),
        Usage("Containers", len(containers), len(containers) - len(idle), writable,
              sum(c.get("SizeRw") or 0 for c in idle)),
        Usage("Local Volumes", len(volumes), sum(users > 0 for _, users in sizes),
              sum(size for size, _ in sizes), sum(size for size, users in sizes if users == 0)),
        Usage("Build Cache", len(cache), sum(record["InUse"] for record in cache),
              sum(record["Size"] for record in cache if not record["Shared"]), free),
    ]  # fmt: skip


def _volume_bytes(found: Document) -> int:
    """-1 is what the engine does not know."""
    return max((found.get("UsageData") or {}).get("Size") or 0, 0)


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
