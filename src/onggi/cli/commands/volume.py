"""`volume create`, `ls`, `rm`. `inspect` and `prune` are with those of the other nouns."""

from ...engine import volume_filters
from ...spec.mount import Volume
from ...typed import Any
from .. import environment
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, each
from ..table import filters_of, print_rows
from .ps import FORMAT_HELP

HEADERS = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS", "Size": "SIZE", "Links": "LINKS", "Availability": "AVAILABILITY",
    "Group": "GROUP", "Status": "STATUS", "UsedBy": "USED BY",
}  # fmt: skip


def create(session: Session, values: Values, arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    labels = environment.labels((), values.many("label"))
    options = dict(text.partition("=")[::2] for text in values.many("opt"))
    driver = values.text("driver")
    volume = session.engine.volumes.create(name, labels, options, driver=driver)
    session.out.line(volume.name)
    return 0


def ls(session: Session, values: Values, arguments: list[str]) -> int:
    filters = filters_of(values.many("filter"))
    found = sorted(select(session, filters), key=lambda volume: volume.name)
    if values.on("quiet") and not values.text("format"):
        for volume in found:
            session.out.line(volume.name)
        return 0
    template = values.text("format")
    tells_users = template == "json" or "UsedBy" in template
    rows = [row(session, volume, tells_users) for volume in found]
    print_rows(session, rows, columns=("Driver", "Name"), headers=HEADERS, template=template)
    return 0


def select(session: Session, filters: dict[str, list[str]]) -> list[Volume]:
    volumes = session.engine.volumes
    return volume_filters.select(
        volumes.list(), filters, lambda volume: bool(volumes.users(volume.name))
    )


def row(session: Session, volume: Volume, tells_users: bool) -> dict[str, Any]:
    labels = volume.labels
    return {
        "Driver": "local",
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": session.engine.volumes.path(volume.name),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "UsedBy": ", ".join(users_of(session, volume)) if tells_users else "",
        "Links": "N/A",
        "Size": "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
    }


def users_of(session: Session, volume: Volume) -> list[str]:
    """Names of the containers that mount it."""
    containers = session.engine.containers
    return sorted(containers.get(id_).name for id_ in session.engine.volumes.users(volume.name))


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    def one(name: str) -> str:
        session.engine.volumes.remove(name, force=values.on("force"))
        return name

    return each(session, arguments, one)


CREATE = Command(
    usage="[OPTIONS] [VOLUME]",
    summary="Create a volume",
    run=create,
    flags=flag_table(
        """
  -d, --driver string             Specify volume driver name (default "local")
      --label list                Set metadata for a volume
  -o, --opt map                   Set driver specific options (default map[])
""",
        "availability:string group:string limit-bytes:bytes required-bytes:bytes "
        "scope:string secret:map sharing:string topology-preferred:list topology-required:list "
        "type:string",
    ),
    most=1,
    checks={"label": environment.check_label},
)
LS = Command(
    usage="[OPTIONS]",
    summary="List volumes",
    run=ls,
    flags=flag_table(
        """
  -f, --filter filter   Provide filter values (e.g. "dangling=true")
  -q, --quiet           Only display volume names
"""
        + FORMAT_HELP,
        "cluster",
    ),
    aliases=("volume ls", "volume list"),
)
RM = Command(
    usage="[OPTIONS] VOLUME [VOLUME...]",
    summary="Remove one or more volumes",
    description="Remove one or more volumes. You cannot remove a volume that is in use by a "
    "container.",
    run=rm,
    flags=flag_table("  -f, --force    Force the removal of one or more volumes"),
    least=1,
    most=-1,
    aliases=("volume rm", "volume remove"),
)
