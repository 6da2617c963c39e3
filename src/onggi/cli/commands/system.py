"""`version`, `info`, `system df`."""

from typing import Any

from ...units import format_binary_size, format_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import CommandError, Session
from ..table import print_rows, unescaped
from .ps import FORMAT_HELP

FORMAT = """
  -f, --format string   Format output using a custom template:
                        |'json':             Print in JSON format
                        |'TEMPLATE':         Print output using the given Go template.
                        |Refer to https://docs.docker.com/go/formatting/ for more information about
                        formatting output with templates
"""
DF_HEADERS = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}  # fmt: skip
INFO_LINES = (
    ("Containers", "Containers"), (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"), (" Stopped", "ContainersStopped"), ("Images", "Images"),
    ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"), ("Cgroup Version", "CgroupVersion"),
    ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"), ("Architecture", "Architecture"), ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"), ("Name", "Name"), ("Docker Root Dir", "DockerRootDir"),
)  # fmt: skip


def templated(session: Session, form: str, data: Any) -> int:
    from ..gotemplate import parse
    from ..gotemplate_functions import to_json
    from ..gotemplate_syntax import TemplateError

    if form == "json":
        session.out.line(to_json(data))
        return 0
    try:
        session.out.line(parse(unescaped(form)).render(data))
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}") from error
    return 0


def version(session: Session, values: Values, arguments: list[str]) -> int:
    found = session.engine.system.version()
    if values.text("format"):
        return templated(session, values.text("format"), {"Client": found, "Server": found})
    session.out.line("Client and engine (no daemon):")
    session.out.line(f" Version:           {found['Version']}")
    session.out.line(f" API version:       {found['ApiVersion']}")
    session.out.line(f" OS/Arch:           {found['Os']}/{found['Arch']}")
    session.out.line(f" Kernel:            {found['KernelVersion']}")
    return 0


def info(session: Session, values: Values, arguments: list[str]) -> int:
    found = session.engine.system.info()
    if values.text("format"):
        return templated(session, values.text("format"), found)
    for title, key in INFO_LINES:
        value = found.get(key, "")
        if key == "MemTotal":
            value = format_binary_size(int(value))
        session.out.line(f"{title}: {value}")
        if key == "Driver":
            for name, text in found.get("DriverStatus") or ():
                session.out.line(f" {name}: {text}")
    return 0


def df(session: Session, values: Values, arguments: list[str]) -> int:
    rows = []
    for usage in session.engine.system.usage():
        share = (
            f" ({100 * usage.reclaimable_bytes // usage.size_bytes}%)" if usage.size_bytes else ""
        )
        rows.append({
            "Type": usage.kind,
            "TotalCount": str(usage.total),
            "Active": str(usage.active),
            "Size": format_size(usage.size_bytes),
            "Reclaimable": format_size(usage.reclaimable_bytes) + share,
        })  # fmt: skip
    print_rows(
        session,
        rows,
        columns=tuple(DF_HEADERS),
        headers=DF_HEADERS,
        template=values.text("format"),
    )
    return 0


VERSION = Command(
    usage="[OPTIONS]",
    summary="Show the onggi version information",
    run=version,
    flags=flag_table(FORMAT),
)
INFO = Command(
    usage="[OPTIONS]",
    summary="Display system-wide information",
    run=info,
    flags=flag_table(FORMAT),
    aliases=("system info", "info"),
)
DF = Command(
    usage="[OPTIONS]",
    summary="Show disk usage",
    run=df,
    flags=flag_table(FORMAT_HELP, "v/verbose"),
)
