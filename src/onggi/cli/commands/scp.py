"""`image scp` (podman's word), `push ssh://…`, and what they start on the other side.

Through ssh as the user has it configured; ONGGI_SSH names another program or flags, as
GIT_SSH_COMMAND does.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...engine.wire import Gone, Wire
from ...errors import OnggiError, Unavailable
from ...linux import tools
from ...spec.reference import parse_reference
from ...store.containers import is_hexadecimal
from ...typed import NamedTuple
from ..bars import reporter
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal
from .transfer import checked_reference

_WHERE = re.compile(
    r"(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"  # a name that begins with a dash would be a flag
    r"([A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?",
    re.ASCII,
)
COMMAND = "onggi"
NOT_THERE = 127
SHORT_ID = 12


class Place(NamedTuple):
    """An image here (no host), or on a host that ssh reaches. `image` "" is the other side's."""

    image: str
    host: str = ""
    user: str = ""
    port: str = ""


def scp(session: Session, values: Values, arguments: list[str]) -> int:
    source, target = place(arguments[0]), place(arguments[1]) if len(arguments) > 1 else Place("")
    if not source.image:
        raise refusal(f"no image named in {arguments[0]}")
    if not source.host and not target.host:
        raise refusal(
            "neither side is another host",
            "onggi image scp IMAGE [USER@]HOST:: (onggi tag renames)",
        )
    copy(session, source, target, quiet=values.on("quiet"))
    return 0


def push(session: Session, text: str, *, quiet: bool) -> int:
    target = place(text)
    if not target.image:
        raise refusal(f"no image named in {text}", "onggi push ssh://[USER@]HOST[:PORT]/IMAGE")
    copy(session, Place(target.image), target._replace(image=""), quiet=quiet)
    return 0


def copy(session: Session, source: Place, target: Place, *, quiet: bool) -> None:
    if session.elsewhere is not None:
        raise refusal("images are copied by ssh from and to the engine of this machine")
    # Of an image that is asked for by its id the name is nobody's business.
    name = target.image or ("" if _is_id(source.image) else source.image)
    if source.host and target.host:
        _between(session, source, target, name)
    elif target.host:
        report = reporter(session, session.out, quiet=quiet)
        with _other_side(session, target, ["image", "receive", "--stdio"]) as wire:
            session.engine.transfer.send(source.image, wire, report, target.image)
    else:
        report = reporter(session, session.out, quiet=quiet)
        with _other_side(session, source, ["image", "send", "--stdio", source.image]) as wire:
            session.engine.transfer.receive(wire, report, name)
    session.out.line(str(parse_reference(name)) if name else source.image)


def _is_id(text: str) -> bool:
    """As `images` shows them, or longer."""
    digits = text.removeprefix("sha256:")
    return len(digits) >= SHORT_ID and is_hexadecimal(digits)


def place(text: str) -> Place:
    """`IMAGE`, `[user@]host::[IMAGE]`, `ssh://[user@]host[:port]/[IMAGE]`. Raises CommandError."""
    if text.startswith("ssh://"):
        where, _, image = text.removeprefix("ssh://").partition("/")
    elif "::" in text and not text.startswith("["):
        where, _, image = text.partition("::")
    else:
        return Place(checked_reference(text))
    found = _WHERE.fullmatch(where)
    if found is None or not 0 < int(found[3] or 22) < 65536:
        raise refusal(f"invalid host in {text}: must be [USER@]HOST[:PORT]")
    if image:
        checked_reference(image)
    return Place(image, found[2].strip("[]"), found[1] or "", found[3] or "")


def ssh_command(session: Session, where: Place, words: list[str]) -> list[str]:
    """The whole argument list; the other side's shell gets `words` quoted."""
    import shlex

    program = shlex.split(session.environ.get("ONGGI_SSH", "")) or ["ssh"]
    host = f"{where.user}@{where.host}" if where.user else where.host
    port = ["-p", where.port] if where.port else []
    return [*program, "-T", *port, "--", host, shlex.join([COMMAND, *words])]


@contextmanager
def _other_side(session: Session, where: Place, words: list[str]) -> Iterator[Wire]:
    """onggi there, at the other end of ssh. What ssh itself says goes to our error output."""
    to_read, theirs_out = os.pipe2(os.O_CLOEXEC)
    theirs_in, to_write = os.pipe2(os.O_CLOEXEC)
    session.out.flush()
    try:
        pid = tools.attached(
            ssh_command(session, where, words), theirs_in, theirs_out, session.environ
        )
    except BaseException:
        os.close(to_read)
        os.close(to_write)
        raise
    finally:
        os.close(theirs_in)
        os.close(theirs_out)
    try:
        yield Wire(to_read, to_write)
    except Gone as error:
        os.close(to_write)
        os.close(to_read)
        status = tools.wait(pid)
        raise _explained(where, status, error) from error
    except BaseException:
        os.close(to_write)
        os.close(to_read)  # it ends when it finds nobody
        tools.wait(pid)
        raise
    os.close(to_write)
    os.close(to_read)
    tools.wait(pid)


def _explained(where: Place, status: int, error: OnggiError) -> OnggiError:
    if status == NOT_THERE:
        return Unavailable(
            f"{where.host} has no onggi", hint="install onggi there, where ssh finds programs"
        )
    return Unavailable(f"{where.host}: {error.message} (ssh ended with status {status})")


def _between(session: Session, source: Place, target: Place, name: str) -> None:
    """From one host to another, through this one."""
    first_out, second_in = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    send = ["image", "send", "--stdio", *(["--name", name] if name else []), source.image]
    session.out.flush()
    pids = []
    try:
        for where, words, stdin, stdout in (
            (source, send, second_in[0], first_out[1]),
            (target, ["image", "receive", "--stdio"], first_out[0], second_in[1]),
        ):
            argv = ssh_command(session, where, words)
            pids.append(tools.attached(argv, stdin, stdout, session.environ))
    finally:
        for fd in (*first_out, *second_in):
            os.close(fd)
        statuses = [tools.wait(pid) for pid in pids]
    if any(statuses):
        raise Unavailable(
            f"the copy from {source.host} to {target.host} failed (ssh ended with status "
            f"{statuses[0]} and {statuses[1]})"
        )


def send(session: Session, values: Values, arguments: list[str]) -> int:
    _require_pipe(values)
    session.engine.transfer.send(arguments[0], Wire(0, 1), _quiet, values.text("name"))
    return 0


def receive(session: Session, values: Values, arguments: list[str]) -> int:
    _require_pipe(values)
    session.engine.transfer.receive(Wire(0, 1), _quiet)
    return 0


def _quiet(event: object) -> None:
    """Our output is the other side's input."""


def _require_pipe(values: Values) -> None:
    if not values.on("stdio") or os.isatty(0) or os.isatty(1):
        raise refusal("this is what image scp starts on the other side: it needs --stdio and pipes")


SCP = Command(
    usage="[OPTIONS] SOURCE [DESTINATION]",
    summary="Copy an image to or from another host by ssh",
    run=scp,
    flags=flag_table("  -q, --quiet   Suppress the output"),
    least=1,
    most=2,
    description="Copy an image to or from another host by ssh, without a registry. SOURCE and "
    "DESTINATION are IMAGE, [USER@]HOST::[IMAGE] or ssh://[USER@]HOST[:PORT]/[IMAGE]",
)
SEND = Command(
    usage="[OPTIONS] IMAGE",
    summary="Give an image to an image scp on another host",
    run=send,
    flags=flag_table("""
      --name string   What the image is to be called there
      --stdio         Speak over standard input and output
"""),
    least=1,
    most=1,
)
RECEIVE = Command(
    usage="[OPTIONS]",
    summary="Take an image from an image scp on another host",
    run=receive,
    flags=flag_table("      --stdio         Speak over standard input and output"),
)
