"""`network ls`."""

from ...engine.filters import has_label
from ...errors import InvalidInput
from ...spec.network import Network
from ...units import format_local
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import filters_of, print_rows
from .ps import FORMAT_HELP

HEADERS = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4",
    "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}  # fmt: skip


def ls(session: Session, values: Values, arguments: list[str]) -> int:
    found = select(list(session.engine.networks.list()), filters_of(values.many("filter")))
    trunc = not values.on("no-trunc")
    if values.on("quiet") and not values.text("format"):
        for network in found:
            session.out.line(network.id[:12] if trunc else network.id)
        return 0
    rows = []
    for network in found:
        labels = network.labels
        rows.append({
            "ID": network.id[:12] if trunc else network.id,
            "Name": network.name,
            "Driver": network.driver,
            "Scope": "local",
            "IPv4": "true",
            "IPv6": "false",
            "Internal": "true" if network.internal else "false",
            "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
            "CreatedAt": format_local(network.created_ns),
        })  # fmt: skip
    columns = ("ID", "Name", "Driver", "Scope")
    print_rows(session, rows, columns=columns, headers=HEADERS, template=values.text("format"))
    return 0


def select(found: list[Network], filters: dict[str, list[str]]) -> list[Network]:
    for name, texts in filters.items():
        match name:
            case "name":
                found = [n for n in found if any(text in n.name for text in texts)]
            case "id":
                found = [n for n in found if any(n.id.startswith(text) for text in texts)]
            case "driver":
                found = [n for n in found if n.driver in texts]
            case "scope":
                found = found if "local" in texts else []
            case "type":
                builtin = {"bridge", "host", "none"}
                found = [n for n in found if (n.name in builtin) == ("builtin" in texts)]
            case "label":
                found = [n for n in found if all(has_label(n.labels, text) for text in texts)]
            case _:
                raise InvalidInput(f"invalid filter '{name}'")
    return sorted(found, key=lambda network: network.name)


LS = Command(
    usage="[OPTIONS]",
    summary="List networks",
    run=ls,
    flags=flag_table(
        """
  -f, --filter filter   Provide filter values (e.g. "driver=bridge")
      --no-trunc        Do not truncate the output
  -q, --quiet           Only display network IDs
"""
        + FORMAT_HELP
    ),
    aliases=("network ls", "network list"),
)
