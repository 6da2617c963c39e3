"""`diff`, `port`, `top`: looking at one container."""

from ...errors import NotFound
from .. import ending
from ..command import Command
from ..flags import Values
from ..session import Session, refusal
from ..table import align
from .lifecycle import missing_hint
from .ps import shown_address


def diff(session: Session, values: Values, arguments: list[str]) -> int:
    if not arguments[0]:
        raise refusal("Container name cannot be empty")
    try:
        changes = session.engine.containers.diff(arguments[0])
    except NotFound as error:
        raise missing_hint(session, error, arguments[0]) from error
    for kind, path in changes:
        session.out.show(f"{kind} {path}\n")
    return 0


def port(session: Session, values: Values, arguments: list[str]) -> int:
    containers = session.engine.containers
    try:
        container = containers.get(arguments[0])
    except NotFound as error:
        raise missing_hint(session, error, arguments[0]) from error
    bindings = sorted(
        containers.ports(container), key=lambda b: (b.container_port, b.protocol, b.host_ip)
    )
    wanted = arguments[1] if len(arguments) > 1 else ""
    if wanted:
        number, _, protocol = wanted.partition("/")
        protocol = protocol or "tcp"
        if not number.isascii() or not number.isdigit():
            raise refusal(
                f"Error: invalid port ({number}): "
                f'strconv.ParseUint: parsing "{number}": invalid syntax'
            )
        bindings = [
            b for b in bindings if b.container_port == int(number) and b.protocol == protocol
        ]
        if not bindings:
            raise refusal(f"Error: No public port '{wanted}' published for {arguments[0]}")
    for binding in bindings:
        place = f"{shown_address(binding.host_ip)}:{binding.host_port}"
        name = f"{binding.container_port}/{binding.protocol}"
        session.out.line(place if wanted else f"{name} -> {place}")
    ending.loopback_hints(session, container)
    return 0


def top(session: Session, values: Values, arguments: list[str]) -> int:
    try:
        titles, rows = session.engine.containers.top(arguments[0], arguments[1:])
    except NotFound as error:
        raise missing_hint(session, error, arguments[0]) from error
    lines = ["\t".join(titles), *("\t".join(row) for row in rows)]
    session.out.show(align(lines))
    return 0


DIFF = Command(
    usage="CONTAINER",
    summary="Inspect changes to files or directories on a container's filesystem",
    run=diff,
    least=1,
    most=1,
    aliases=("container diff", "diff"),
)
PORT = Command(
    usage="CONTAINER [PRIVATE_PORT[/PROTO]]",
    summary="List port mappings or a specific mapping for the container",
    run=port,
    least=1,
    most=2,
    aliases=("container port", "port"),
)
TOP = Command(
    usage="CONTAINER [ps OPTIONS]",
    summary="Display the running processes of a container",
    run=top,
    least=1,
    most=-1,
    interspersed=False,
    aliases=("container top", "top"),
)
