"""`ps` and `container ls`."""

import time
from collections.abc import Iterable, Sequence

from ... import jsons
from ...engine import listing
from ...errors import NotFound
from ...spec.container import Container
from ...spec.network import PortBinding
from ...spec.reference import parse_reference
from ...typed import Any
from ...units import format_elapsed, format_local, format_size
from .. import ending
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import filters_of, print_rows

COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
HEADERS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED",
    "Status": "STATUS", "Ports": "PORTS", "Names": "NAMES", "Size": "SIZE",
    "CreatedAt": "CREATED AT", "State": "STATE", "Labels": "LABELS", "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
}  # fmt: skip
COMMAND_WIDTH, MOUNT_WIDTH = 20, 15
FORMAT_HELP = """
      --format string   Format output using a custom template:
                        |'table':            Print output in table format with column headers
                        (default)
                        |'table TEMPLATE':   Print output in table format using the given Go
                        template
                        |'json':             Print in JSON format
                        |'TEMPLATE':         Print output using the given Go template.
                        |Refer to https://docs.docker.com/go/formatting/ for more information about
                        formatting output with templates
"""


def run(session: Session, values: Values, arguments: list[str]) -> int:
    containers = session.engine.containers
    limit = 1 if values.on("latest") else max(values.number("last"), 0)
    found = containers.list(
        all=values.on("all"), filters=filters_of(values.many("filter")), limit=limit
    )
    trunc = not values.on("no-trunc")
    if values.on("quiet") and not values.text("format"):
        for container in found:
            session.out.line(container.id[:12] if trunc else container.id)
        return 0
    template = values.text("format")
    with_size = values.on("size") or ".Size" in template
    now = time.time()
    rows = [row(session, container, now, trunc=trunc, size=with_size) for container in found]
    columns = (*COLUMNS, "Size") if values.on("size") else COLUMNS
    print_rows(session, rows, columns=columns, headers=HEADERS, template=template)
    if not template:
        for container in found:
            if container.state.status == "running":
                ending.loopback_hints(session, container)
    return 0


def row(
    session: Session, container: Container, now: float, *, trunc: bool, size: bool
) -> dict[str, Any]:
    """Docker's formatting context of one container."""
    config, options = container.config, container.config.options
    running = container.state.status in ("running", "paused")
    bindings = session.engine.containers.ports(container) if running else ()
    labels = config.labels
    mounts = [mount.name or mount.source for mount in config.mounts if mount.kind != "tmpfs"]
    return {
        "ID": container.id[:12] if trunc else container.id,
        "Image": image_name(options.image, config.image_id, trunc=trunc),
        "Command": command_text(config.process.args, trunc=trunc),
        "CreatedAt": format_local(container.created_ns),
        "RunningFor": format_elapsed(now - container.created_ns / 1e9) + " ago",
        "Ports": ports_text(bindings, config.exposed_ports if running else ()),
        "State": container.state.status,
        "Status": status_text(session, container, now),
        "Size": size_text(session, container) if size else "0B",
        "Names": container.name,
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(
            name[: MOUNT_WIDTH - 1] + "…" if trunc and len(name) > MOUNT_WIDTH else name
            for name in mounts
        ),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in config.mounts)),
        "Networks": ",".join(session.engine.containers.network_names(container)),
    }


def status_text(session: Session, container: Container, now: float) -> str:
    if session.elsewhere is None:
        return listing.status_text(container, now)
    there: Any = session.engine.containers
    text: str = there.status_text(container)
    return text


def image_name(given: str, image_id: str, *, trunc: bool) -> str:
    """What `run` was told; an id is shortened as docker does."""
    hexadecimal = given.removeprefix("sha256:")
    if trunc and len(hexadecimal) > 12 and image_id.removeprefix("sha256:").startswith(hexadecimal):
        return hexadecimal[:12]
    if "@" in given and trunc:
        reference = parse_reference(given)
        return reference.familiar_name + (f":{reference.tag}" if reference.tag else "")
    return given


def command_text(args: Sequence[str], *, trunc: bool) -> str:
    """Arguments with blanks in quotes; all of it quoted, and shortened with an ellipsis."""
    text = listing.command_line(args)
    if trunc and len(text) > COMMAND_WIDTH:
        text = text[: COMMAND_WIDTH - 1] + "…"
    return jsons.dumps(text, ascii=False)


def size_text(session: Session, container: Container) -> str:
    try:
        writable, everything = session.engine.containers.size(container.id)
    except (NotFound, FileNotFoundError):  # removed since it was listed
        writable = everything = 0
    return f"{format_size(writable, 3)} (virtual {format_size(everything, 3)})"


def ports_text(bindings: Iterable[PortBinding], exposed: Iterable[str]) -> str:
    """ "0.0.0.0:8000->8000/tcp, 9000/tcp", ordered and joined to ranges as docker does: first what
    keeps its number, then what is published under another one."""
    found: list[tuple[int, str, int, str]] = [
        (b.container_port, shown_address(b.host_ip), b.host_port, b.protocol) for b in bindings
    ]
    published = {f"{port}/{protocol}" for port, _, _, protocol in found}
    for text in exposed:
        number, _, kind = text.partition("/")
        if text not in published:
            found.append((int(number), "", 0, kind))
    groups: dict[str, tuple[int, int]] = {}
    shown, renumbered = [], []
    for port, address, host_port, protocol in sorted(found):
        if address and host_port != port:
            renumbered.append(f"{address}:{host_port}->{port}/{protocol}")
            continue
        key = f"{address}/{protocol}"
        first, last = groups.get(key, (port, port - 1))
        if port != last + 1:
            shown.append(_group(key, first, last))
            first = port
        groups[key] = (first, port)
    shown += [_group(key, first, last) for key, (first, last) in groups.items()]
    return ", ".join(shown + renumbered)


def shown_address(host_ip: str) -> str:
    address = host_ip or "0.0.0.0"  # noqa: S104 - shown, not bound
    return f"[{address}]" if ":" in address else address


def _group(key: str, first: int, last: int) -> str:
    address, _, protocol = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{span}->{span}/{protocol}" if address else f"{span}/{protocol}"


PS = Command(
    usage="[OPTIONS]",
    summary="List containers",
    run=run,
    flags=flag_table(
        """
  -a, --all             Show all containers (default shows just running)
  -f, --filter filter   Filter output based on conditions provided
  -n, --last int        Show n last created containers (includes all states) (default -1)
  -l, --latest          Show the latest created container (includes all states)
      --no-trunc        Don't truncate output
  -q, --quiet           Only display container IDs
  -s, --size            Display total file sizes
"""
        + FORMAT_HELP
    ),
    aliases=("container ls", "container list", "container ps", "ps"),
)
