"""`-H`, `--context`, ONGGI_HOST: the command line as the client of an engine elsewhere."""

import os

from ..engine.settings import from_environment
from ..errors import OnggiError
from ..registry.credentials import Credentials
from ..remote.address import Address, Tls, parse
from ..remote.contexts import DEFAULT, Contexts
from ..remote.engine import RemoteEngine
from ..typed import Any
from .flags import Values
from .session import Session, client_side, refusal

# What the remote engine has all the calls for.
COMMANDS = frozenset(
    """
    attach build commit cp create diff events exec export history images import info inspect kill
    load logs pause port ps pull push rename restart rm rmi run save search start stats stop tag top
    unpause update version wait
    """.split()
)
NOUNS = {
    "container": COMMANDS | {"ls", "prune"},
    "image": frozenset("build history import inspect load ls prune pull push rm save tag".split()),
    "builder": frozenset(("build", "prune")),
    "buildx": frozenset(("build", "prune")),
    "system": frozenset(("df", "events", "info", "prune")),
    "network": frozenset("connect create disconnect inspect ls prune rm".split()),
    "volume": frozenset("create inspect ls prune rm".split()),
}


def check(path: str) -> None:
    """Raises CommandError for a command that works on this machine's engine only."""
    noun, _, verb = path.partition(" ")
    if (verb not in NOUNS.get(noun, frozenset())) if verb else (noun not in COMMANDS):
        raise refusal(
            f"'onggi {path}' cannot be done with an engine elsewhere yet",
            "run it on that machine, or use docker with DOCKER_HOST",
        )


def choose(session: Session, values: Values) -> None:
    """From the global flags."""
    hosts = values.many("host")
    if hosts and values.given("context"):
        raise refusal("conflicting options: cannot specify both --host and --context")
    if len(hosts) > 1:
        raise refusal("specify only one -H")
    if values.given("context"):
        session.elsewhere = _named(session, values.text("context"))
        return
    secure = values.on("tls") or values.on("tlsverify")
    tls = _tls(session, values) if secure else None
    try:
        session.elsewhere = parse(hosts[0], tls)
    except OnggiError as error:
        raise client_side(error) from error


def default(session: Session) -> Address | None:
    """From ONGGI_HOST, ONGGI_CONTEXT and `context use`."""
    host = session.environ.get("ONGGI_HOST")
    if host:
        return parse(host)
    return _named(session, current(session))


def _named(session: Session, name: str) -> Address | None:
    try:
        return contexts(session).address(name)
    except OnggiError as error:
        raise client_side(error) from error


def current(session: Session) -> str:
    return session.environ.get("ONGGI_CONTEXT") or contexts(session).current() or DEFAULT


def contexts(session: Session) -> Contexts:
    directory = os.path.dirname(session.docker_config)
    return Contexts(f"{directory}/contexts", session.chosen_context)


def engine(session: Session, address: Address) -> Any:
    """Has the calls of engine.Engine that the commands above make: nothing says so to a type
    checker, tests/e2e/test_elsewhere.py does."""
    return RemoteEngine(
        address,
        environ=session.environ,
        credentials=Credentials(from_environment(session.environ).docker_config, warn=session.warn),
        warn=session.warn,
    )


def _tls(session: Session, values: Values) -> Tls:
    """The files that were named, else docker's where they are."""
    folder = os.path.dirname(session.docker_config)

    def file(flag: str, usual: str) -> str:
        path = values.text(flag) if values.given(flag) else f"{folder}/{usual}"
        return path if values.given(flag) or os.path.exists(path) else ""

    return Tls(
        file("tlscacert", "ca.pem"),
        file("tlscert", "cert.pem"),
        file("tlskey", "key.pem"),
        values.on("tlsverify"),
    )
