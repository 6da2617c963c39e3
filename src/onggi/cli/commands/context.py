"""`context`: names for engines elsewhere, in docker's own store of them."""

import json
import os
import stat
from collections.abc import Callable

from ...errors import CorruptData, NotFound, OnggiError
from ...remote.address import parse
from ...remote.contexts import DEFAULT, FILES, Context, check_name, of_document
from ...remote.contexts import document as document_of
from ...store.tarindex import REGULAR, TarIndex
from ...store.tarwrite import END_OF_ARCHIVE, header, padding
from ...typed import Any
from .. import elsewhere
from ..command import Command, Run
from ..flags import Values, flag_table
from ..session import CommandError, Session, client_side, each, refusal, write_all
from ..table import print_rows
from .inspect import FORMAT, show
from .ps import FORMAT_HELP
from .transfer import written

HERE = "this machine, no server"
HEADERS = {
    "Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR", "Current": "CURRENT",
}  # fmt: skip
KEYS = ("host", "ca", "cert", "key", "skip-tls-verify", "from")
MAX_ARCHIVE = 10 << 20


def told(run: Run) -> Run:
    """No engine is asked here, so none of it is an answer of one."""

    def plain(session: Session, values: Values, arguments: list[str]) -> int:
        try:
            return run(session, values, arguments)
        except CommandError:
            raise
        except OnggiError as error:
            raise client_side(error) from error

    return plain


def create(session: Session, values: Values, arguments: list[str]) -> int:
    name = arguments[0]
    check_name(name)
    contexts = elsewhere.contexts(session)
    if values.given("from") or values.given("docker"):
        made = contexts.get(values.text("from") or DEFAULT)._replace(name=name)
    else:
        raise refusal("docker endpoint configuration is required",
                      f"onggi context create {name} --docker host=ssh://user@host")  # fmt: skip
    contexts.put(changed(session, made, values))
    session.out.line(name)
    session.err.line(f'Successfully created context "{name}"')
    return 0


def update(session: Session, values: Values, arguments: list[str]) -> int:
    contexts = elsewhere.contexts(session)
    before = contexts.get(arguments[0])
    contexts.put(changed(session, before, values), replace=True)
    session.out.line(before.name)
    session.err.line(f'Successfully updated context "{before.name}"')
    return 0


def changed(session: Session, context: Context, values: Values) -> Context:
    """With --description and --docker of the command line."""
    if values.given("description"):
        context = context._replace(description=values.text("description"))
    pairs = [pair for text in values.many("docker") for pair in text.split(",")]
    given = dict(pair.partition("=")[::2] for pair in pairs)
    for key in given:
        if key not in KEYS:
            raise refusal(f"unrecognized config keys: {key}", f"known: {', '.join(KEYS)}")
    if "from" in given:
        other = elsewhere.contexts(session).get(given["from"])
        context = context._replace(host=other.host, tls=other.tls, skip_verify=other.skip_verify)
    if "host" in given:
        if given["host"]:
            parse(given["host"])
        context = context._replace(host=given["host"])
    files = dict(zip(("ca", "cert", "key"), FILES, strict=True))
    tls = {name: read(given[key]) for key, name in files.items() if given.get(key)}
    skip = given.get("skip-tls-verify", "").lower() in ("1", "t", "true")
    return context._replace(tls={**context.tls, **tls}, skip_verify=skip or context.skip_verify)


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(1 << 20)
    except OSError as error:
        raise refusal(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def ls(session: Session, values: Values, arguments: list[str]) -> int:
    contexts, current = elsewhere.contexts(session), elsewhere.current(session)
    found = contexts.list()
    if values.on("quiet"):
        for context in found:
            session.out.line(context.name)
        return 0
    template = values.text("format")
    rows = [
        {
            "Name": c.name + (" *" if c.name == current and not template else ""),
            "Description": c.description,
            "DockerEndpoint": c.host or HERE,
            "Error": "",
            "Current": c.name == current,
        }
        for c in found
    ]
    columns = ("Name", "Description", "DockerEndpoint", "Error")
    print_rows(session, rows, columns=columns, headers=HEADERS, template=template)
    return 0


def inspect(session: Session, values: Values, arguments: list[str]) -> int:
    contexts = elsewhere.contexts(session)

    def look(name: str) -> dict[str, Any]:
        context = contexts.get(name)
        metadata, tls = contexts.paths(name) if name != DEFAULT else ("<IN MEMORY>",) * 2
        return {
            **document_of(context),
            "TLSMaterial": {"docker": list(context.tls)} if context.tls else {},
            "Storage": {"MetadataPath": metadata, "TLSPath": tls},
        }

    names = arguments or [elsewhere.current(session)]
    return show(session, values.text("format"), names, look)


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    contexts = elsewhere.contexts(session)

    def one(name: str) -> str:
        if name == contexts.current() and name != DEFAULT:
            if not values.on("force"):
                raise refusal(f'context "{name}" is in use, set -f flag to force remove')
            contexts.use(DEFAULT)
        try:
            contexts.remove(name)
        except NotFound as error:
            if not values.on("force"):
                raise client_side(error) from error
        return name

    return each(session, arguments, one)


def use(session: Session, values: Values, arguments: list[str]) -> int:
    elsewhere.contexts(session).use(arguments[0])
    session.out.line(arguments[0])
    session.err.line(f'Current context is now "{arguments[0]}"')
    for name in ("ONGGI_HOST", "ONGGI_CONTEXT"):
        if session.environ.get(name):
            session.warn(
                f"{name} is set and overrides the active context; unset it to use this one"
            )
    return 0


def current(session: Session, values: Values, arguments: list[str]) -> int:
    session.out.line(elsewhere.current(session))
    return 0


def export(session: Session, values: Values, arguments: list[str]) -> int:
    """docker's archive: meta.json, and tls/docker/ with the certificates."""
    name = arguments[0]
    context = elsewhere.contexts(session).get(name)
    target = arguments[1] if len(arguments) > 1 else f"{name}.dockercontext"
    if target == "-":
        if os.isatty(1):
            raise refusal("cowardly refusing to export to a terminal, specify a file path")
        write_all(1, archive(context))
        return 0
    if os.path.lexists(target):
        raise refusal(f"open {target}: file exists")
    with written(target, "failed to export context") as fd:
        write_all(fd, archive(context))
    session.err.line(f'Written file "{target}"')
    return 0


def archive(context: Context) -> bytes:
    meta = json.dumps(document_of(context), separators=(",", ":")).encode()
    files = {"meta.json": meta}
    files |= {f"tls/docker/{name}": data for name, data in context.tls.items()}
    parts = []
    for name, data in files.items():
        parts += [header(name.encode(), REGULAR, mode=0o600, size=len(data)), data]
        parts.append(padding(len(data)))
    return b"".join(parts) + END_OF_ARCHIVE


def import_(session: Session, values: Values, arguments: list[str]) -> int:
    name, source = arguments
    check_name(name)
    elsewhere.contexts(session).put(unpacked(contents(source))._replace(name=name))
    session.out.line(name)
    session.err.line(f'Successfully imported context "{name}"')
    return 0


def contents(source: str) -> bytes:
    opened: Callable[[], Any] = lambda: os.fdopen(0, "rb", closefd=False)  # noqa: E731
    try:
        if source != "-" and not stat.S_ISREG(os.stat(source).st_mode):
            raise refusal(f"{source} is no regular file")
        with opened() if source == "-" else open(source, "rb") as stream:
            data: bytes = stream.read(MAX_ARCHIVE + 1)
    except OSError as error:
        raise refusal(f"open {source}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_ARCHIVE:
        raise refusal(f"{source} is larger than {MAX_ARCHIVE} bytes: no exported context")
    return data


def unpacked(data: bytes) -> Context:
    """Only the files that a context has; the archive's own name for it does not count."""
    index = TarIndex()
    found = {
        entry.path.decode("utf-8", "replace"): data[entry.data_offset :][: entry.size]
        for entry in index.feed(data)
        if entry.kind == REGULAR and entry.sparse is None
    }
    index.finish()
    if "meta.json" not in found:
        raise CorruptData("invalid context: no meta.json found")
    tls = {name: found[f"tls/docker/{name}"] for name in FILES if f"tls/docker/{name}" in found}
    context = of_document(found["meta.json"])
    if context.host:
        parse(context.host)
    return context._replace(tls=tls)


ENDPOINT = """

Docker endpoint config:

NAME                DESCRIPTION
from                Copy named context's Docker endpoint configuration
host                Docker endpoint on which to connect
ca                  Trust certs signed only by this CA
cert                Path to TLS certificate file
key                 Path to TLS key file
skip-tls-verify     Skip TLS certificate validation

Example:

$ onggi context {} my-context --description "some description" --docker "{}"
"""
EXAMPLE = "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file"
DOCKER = """
      --description string   Description of the context
      --docker map           set the docker endpoint (default map[])
"""
CREATE = Command(
    usage="[OPTIONS] CONTEXT",
    summary="Create a context",
    description="Create a context" + ENDPOINT.format("create", EXAMPLE),
    run=told(create),
    flags=flag_table(DOCKER + "      --from string          create context from a named context"),
    least=1,
    most=1,
)
UPDATE = Command(
    usage="[OPTIONS] CONTEXT", summary="Update a context", run=told(update),
    description="Update a context" + ENDPOINT.format("update", EXAMPLE),
    flags=flag_table(DOCKER), least=1, most=1,
)  # fmt: skip
LS = Command(
    usage="[OPTIONS]",
    summary="List contexts",
    run=told(ls),
    flags=flag_table(FORMAT_HELP + "\n  -q, --quiet           Only show context names\n"),
    aliases=("context ls", "context list"),
)
INSPECT = Command(
    usage="[OPTIONS] [CONTEXT] [CONTEXT...]",
    summary="Display detailed information on one or more contexts",
    run=told(inspect),
    flags=flag_table(FORMAT),
    most=-1,
)
RM = Command(
    usage="CONTEXT [CONTEXT...]",
    summary="Remove one or more contexts",
    run=told(rm),
    flags=flag_table("  -f, --force   Force the removal of a context in use"),
    least=1,
    most=-1,
    aliases=("context rm", "context remove"),
)
SHOW = Command(usage="", summary="Print the name of the current context", run=told(current))
USE = Command(
    usage="CONTEXT", summary="Set the current onggi context", run=told(use), least=1, most=1,
)  # fmt: skip
EXPORT = Command(
    usage="[OPTIONS] CONTEXT [FILE|-]",
    summary="Export a context to a tar archive FILE or a tar stream on STDOUT.",
    run=told(export),
    least=1,
    most=2,
)
IMPORT = Command(
    usage="CONTEXT FILE|-",
    summary="Import a context from a tar or zip file",
    run=told(import_),
    least=2,
    most=2,
)
