"""`inspect` of everything, and the nouns' own `inspect`."""

from collections.abc import Callable, Mapping

from ... import jsons
from ...errors import NotFound, OnggiError
from ...typed import TYPE_CHECKING, Any
from ..command import Command
from ..flags import Flag, Values, flag_table
from ..hints import hint, nearest
from ..session import CommandError, Session
from ..table import unescaped

if TYPE_CHECKING:
    from ..gotemplate import Template

Look = Callable[[Session, str, bool], Mapping[str, Any]]
# Fields that the JSON leaves out when there is nothing to say, and that a template still has.
ABSENT: dict[str, dict[str, Any]] = {"container": {"SizeRw": None, "SizeRootFs": None}}
OTHER_TYPES = ("config", "node", "plugin", "secret", "service", "task")


class BadTemplate(CommandError):
    exit_code = 64


def container(session: Session, name: str, size: bool) -> Mapping[str, Any]:
    return session.engine.containers.inspect(name, size=size)


def image(session: Session, name: str, size: bool) -> Mapping[str, Any]:
    return session.engine.images.inspect(name)


def network(session: Session, name: str, size: bool) -> Mapping[str, Any]:
    return session.engine.networks.inspect(name)


def volume(session: Session, name: str, size: bool) -> Mapping[str, Any]:
    from ...engine import inspection
    from .volume import users_of

    found = session.engine.volumes.get(name)
    shown = inspection.volume(found, session.engine.volumes.path(found.name))
    users = users_of(session, found)
    return {**shown, "UsedBy": users} if users else shown


LOOKS: dict[str, Look] = {
    "container": container,
    "image": image,
    "network": network,
    "volume": volume,
}


def inspect(session: Session, values: Values, arguments: list[str]) -> int:
    kind = values.text("type")
    if values.given("type") and kind not in LOOKS:
        known = ", ".join(f'"{name}"' for name in sorted((*LOOKS, *OTHER_TYPES)))
        if kind in OTHER_TYPES:
            raise CommandError(f"inspect of type {kind!r} is not supported yet")
        raise CommandError(f'unknown type: "{kind}": must be one of {known}')
    kinds = [kind] if kind else ["container", "image", "network", "volume"]
    size = values.on("size")

    def look(name: str) -> Mapping[str, Any]:
        return look_everywhere(session, kinds, name, size)

    return show(session, values.text("format"), arguments, look)


def look_everywhere(session: Session, kinds: list[str], name: str, size: bool) -> Mapping[str, Any]:
    """The first kind that has such an object; docker's order."""
    for kind in kinds:
        try:
            return LOOKS[kind](session, name, size)
        except NotFound:
            continue
    if len(kinds) == 1:
        return LOOKS[kinds[0]](session, name, size)
    raise CommandError(f"Error: No such object: {name}", hint=near_object(session, kinds, name))


def near_object(session: Session, kinds: list[str], name: str) -> str | None:
    engine = session.engine
    if "container" in kinds:
        near = nearest(name, [c.name for c in engine.containers.list(all=True)])
        if near:
            return hint("container", session.language, near=near)
    return None


def show(
    session: Session,
    form: str,
    names: list[str],
    look: Callable[[str], Mapping[str, Any]],
) -> int:
    """Print what was found: one indented JSON list, or the template for each. Missing objects are
    told on stderr after it; 1 if any."""
    template = parsed(form)
    found: list[Mapping[str, Any]] = []
    problems: list[OnggiError] = []
    for name in names:
        try:
            found.append(look(name))
        except OnggiError as error:
            problems.append(error)
    if template is None and form != "json":
        session.out.line(jsons.indented(found))
    for item in found:
        if form == "json":
            session.out.line(jsons.dumps(item, ascii=False))
        elif template is not None:
            session.out.show(rendered(session, template, item) + "\n")
    if template is not None and not found:
        session.out.line("")
    for problem in problems:
        session.complain(problem)
    return 1 if problems else 0


def kind_of(item: Mapping[str, Any]) -> str:
    return "container" if "HostConfig" in item else ""


def rendered(session: Session, template: "Template", item: Mapping[str, Any]) -> str:
    from ..gotemplate_syntax import TemplateError

    try:
        return template.render({**ABSENT.get(kind_of(item), {}), **item})
    except TemplateError as error:
        session.out.line("")  # docker ends the line that it could not write
        raise CommandError(f"template parsing error: {error}") from error


def parsed(form: str) -> "Template | None":
    if not form or form == "json":
        return None
    from ..gotemplate import parse  # with `re`: 4 ms
    from ..gotemplate_syntax import TemplateError

    try:
        return parse(unescaped(form))
    except TemplateError as error:
        raise BadTemplate(f"template parsing error: {error}") from error


def only(kind: str) -> Callable[[Session, Values, list[str]], int]:
    """The `run` of `KIND inspect`."""

    def run(session: Session, values: Values, arguments: list[str]) -> int:
        size = kind == "container" and values.on("size")
        platform = values.text("platform") if kind == "image" else ""

        def look(name: str) -> Mapping[str, Any]:
            if platform:
                session.engine.images.require(name, platform)
            return LOOKS[kind](session, name, size)

        return show(session, values.text("format"), arguments, look)

    return run


FORMAT = """
  -f, --format string   Format output using a custom template:
                        |'json':             Print in JSON format
                        |'TEMPLATE':         Print output using the given Go template.
                        |Refer to https://docs.docker.com/go/formatting/ for more information about
                        formatting output with templates
"""
SIZE = "  -s, --size            Display total file sizes"


def _command(kind: str, flags: dict[str, Flag]) -> Command:
    word = kind.upper()
    return Command(
        usage=f"[OPTIONS] {word} [{word}...]",
        summary=f"Display detailed information on one or more {kind}s",
        run=only(kind),
        flags=flags,
        least=1,
        most=-1,
    )


INSPECT = Command(
    usage="[OPTIONS] NAME|ID [NAME|ID...]",
    summary="Return low-level information on Docker objects",
    run=inspect,
    flags=flag_table(
        FORMAT
        + """
  -s, --size            Display total file sizes if the type is container
      --type string     Only inspect objects of the given type
"""
    ),
    least=1,
    most=-1,
)
CONTAINER_INSPECT = _command("container", flag_table(FORMAT + SIZE))
IMAGE_INSPECT = _command(
    "image",
    flag_table(
        FORMAT
        + """
      --platform string Inspect a specific platform of the multi-platform image.
                        |If the image or the server is not multi-platform capable, the command will
                        error out if the platform does not match.
                        |'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)
"""
    ),
)
VOLUME_INSPECT = _command("volume", flag_table(FORMAT))
NETWORK_INSPECT = _command(
    "network", flag_table(FORMAT + "  -v, --verbose         Verbose output for diagnostics")
)
