"""`run` and `create`."""

import os

from ...errors import InvalidInput, NotFound
from ...progress import Event, Report
from ...spec.container import Container, ContainerOptions
from ...spec.platform import parse_platform
from ...spec.reference import parse_reference
from ..attaching import StdinNotTerminal, detach_sequence, refuse_false_terminal
from ..command import Command
from ..ending import loopback_hints
from ..flags import Values
from ..options import CHECKS, CREATE_FLAGS, RUN_FLAGS, container_options
from ..session import CommandError, Session, WrongFlags, client_side, refusal, write_all

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"


def create(session: Session, values: Values, arguments: list[str]) -> int:
    options = read_options(session, values, arguments)
    container = make(session, values, options)
    session.out.line(container.id)
    return 0


def run(session: Session, values: Values, arguments: list[str]) -> int:
    detach = values.on("detach")
    if detach and values.given("attach"):
        raise StdinNotTerminal("conflicting options: cannot specify both --attach and --detach")
    options = read_options(session, values, arguments)
    if values.on("security-check"):
        return show_layers(session, options)
    keys = detach_sequence(values)
    if not detach:
        refuse_false_terminal(options.tty, options.open_stdin)
    container = make(session, values, options)
    if detach:
        session.out.line(container.id)  # docker: also when the start then fails
        session.engine.containers.start(container.id)
        session.out.flush()
        loopback_hints(session, container)
        return 0
    return foreground(session, values, container, keys)


def show_layers(session: Session, options: ContainerOptions) -> int:
    """What would protect the container here; nothing is started."""
    from ..table import align

    rows = session.engine.security_layers(options.host)
    lines = [f"{name}\t{'on' if on else 'off'}\t{about}" for name, on, about in rows]
    session.out.show(align(["LAYER\tSTATE\tWHAT", *lines]))
    return 0


def read_options(session: Session, values: Values, arguments: list[str]) -> ContainerOptions:
    """What the flags come to. Raises WrongFlags for what docker's client refuses as it reads them,
    and with docker's other code what it looks at later: the image's name, the id file."""
    try:
        options = container_options(session, values, arguments)
    except CommandError as error:
        raise WrongFlags(error.message, hint=error.hint) from error
    check_files(values)
    if options.host.network_mode == "host" and (options.host.ports or options.host.publish_all):
        session.warn("Published ports are discarded when using host network mode")
    try:
        if options.platform:
            parse_platform(options.platform)
    except InvalidInput as error:
        raise refusal(f"error parsing specified platform: {error.message}") from error
    try:
        if not is_image_id(options.image):
            parse_reference(options.image)
    except InvalidInput as error:
        raise client_side(error) from error
    return options


def check_files(values: Values) -> None:
    cidfile = values.text("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise refusal(
            "container ID file found, make sure the other container isn't running or delete "
            + cidfile
        )


def is_image_id(text: str) -> bool:
    digits = text.removeprefix("sha256:")
    return len(digits) == 64 and all(c in "0123456789abcdef" for c in digits)


def make(session: Session, values: Values, options: ContainerOptions) -> Container:
    """Create; pull what is missing; write the id file."""
    try:
        container = session.engine.containers.create(
            options,
            pull=values.text("pull") or "missing",
            report=pull_report(session, quiet=values.on("quiet")),
        )
    except NotFound as error:
        if options.image not in error.message:  # a network, another container
            raise
        from .images import missing_image

        raise missing_image(session, error, options.image) from error
    if values.text("cidfile"):
        write_id(values.text("cidfile"), container.id)
    return container


def pull_report(session: Session, *, quiet: bool) -> Report:
    """Progress of a pull that run needs goes to stderr: stdout belongs to the container."""
    drawn: list[Report] = []

    def report(event: Event) -> None:
        if not drawn:
            from ..bars import reporter  # a run whose image is here needs no locks and bars

            drawn.append(reporter(session, session.err, quiet=quiet))
        drawn[0](event)

    return report


def write_id(path: str, container_id: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise refusal(
            f"failed to create the container ID file: open {path}: "
            + (error.strerror or str(error)).lower()
        ) from error
    try:
        write_all(fd, container_id.encode())
    finally:
        os.close(fd)


def foreground(session: Session, values: Values, container: Container, keys: bytes) -> int:
    """Start with our streams, and end as the container ends."""
    from .attach import relay

    wanted = {name.lower() for name in values.many("attach")}
    stdin = container.config.options.open_stdin and (not wanted or "stdin" in wanted)
    return relay(
        session,
        values,
        container,
        session.engine.containers.start_attached(container.id, stdin=stdin),
        stdin=stdin,
        keys=keys,
        outputs=frozenset(wanted & {"stdout", "stderr"}) if wanted else None,
    )


RUN = Command(
    usage=USAGE,
    summary="Create and run a new container from an image",
    run=run,
    flags=RUN_FLAGS,
    least=1,
    most=-1,
    interspersed=False,
    checks=CHECKS,
    aliases=("container run", "run"),
    failure_code=125,
)
CREATE = Command(
    usage=USAGE,
    summary="Create a new container",
    run=create,
    flags=CREATE_FLAGS,
    least=1,
    most=-1,
    interspersed=False,
    checks=CHECKS,
    aliases=("container create", "create"),
)
