"""`version`, `info`, `system start`, `system stop`, `system unit`."""

import os
from collections.abc import Callable

from ...errors import OnggiError
from ...spec.container import Container
from ...typed import Any
from ...units import format_binary_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import CommandError, Session
from ..table import unescaped

FORMAT = """
  -f, --format string   Format output using a custom template:
                        |'json':             Print in JSON format
                        |'TEMPLATE':         Print output using the given Go template.
                        |Refer to https://docs.docker.com/go/formatting/ for more information about
                        formatting output with templates
"""
INFO_LINES = (
    ("Containers", "Containers"), (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"), (" Stopped", "ContainersStopped"), ("Images", "Images"),
    ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"), ("Cgroup Version", "CgroupVersion"),
    ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"), ("Architecture", "Architecture"), ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"), ("Name", "Name"), ("Docker Root Dir", "DockerRootDir"),
    ("Privilege", "Privilege"),
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
        if key == "Privilege" and found["PrivilegeRaise"]:
            session.out.line(f" Raise it: {found['PrivilegeRaise']}")
        if key == "Driver":
            for name, text in found.get("DriverStatus") or ():
                session.out.line(f" {name}: {text}")
    return 0


def start(session: Session, values: Values, arguments: list[str]) -> int:
    from ...engine import autostart

    return boot_or_shutdown(session, autostart.start)


def stop(session: Session, values: Values, arguments: list[str]) -> int:
    from ...engine import autostart

    return boot_or_shutdown(session, autostart.stop)


def boot_or_shutdown(session: Session, act: Callable[..., list[Container]]) -> int:
    """Print the names, and the errors of those it did not work for; 1 if there were any."""
    failed = []

    def tell(container: Container, error: OnggiError) -> None:
        failed.append(container.name)
        session.complain(error)

    for container in act(session.engine.containers, tell):
        session.out.line(container.name)
    return 1 if failed else 0


def unit(session: Session, values: Values, arguments: list[str]) -> int:
    from ...engine import autostart

    session.out.write(autostart.unit(own_program(), session.root, session.run))
    return 0


def own_program() -> str:
    """The launcher: beside the interpreter of a virtual environment, in a checkout, or where
    distributions put it."""
    import sys

    checkout = os.path.dirname(os.path.abspath(__file__).rpartition("/onggi/")[0])
    beside = os.path.dirname(os.path.abspath(sys.executable))
    for folder in (f"{checkout}/bin", beside, "/usr/local/bin"):
        if os.access(f"{folder}/onggi", os.X_OK):
            return f"{folder}/onggi"
    return "/usr/bin/onggi"


START = Command(
    usage="",
    summary="Start the containers whose restart policy says so, after a boot",
    run=start,
)
STOP = Command(
    usage="",
    summary="Stop all containers before a shutdown; system start brings them back",
    run=stop,
)
UNIT = Command(
    usage="",
    summary="Print a systemd unit that calls system start and system stop",
    run=unit,
)
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
