"""`manifest create`, `annotate`, `inspect`, `push`, `rm`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import OnggiError
from ...typed import TYPE_CHECKING, Any
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, client_side

if TYPE_CHECKING:
    from ...engine.manifestlists import ManifestLists
    from ...registry.manifestlist import Listed


@contextmanager
def lists(session: Session) -> Iterator["ManifestLists"]:
    """Docker's client does all this by itself, so its errors have no daemon in them."""
    try:
        yield session.engine.images.manifest_lists()
    except OnggiError as error:
        raise client_side(error) from error


def create(session: Session, values: Values, arguments: list[str]) -> int:
    target, *images = arguments
    with lists(session) as found:
        name = found.create(
            target, images, amend=values.on("amend"), insecure=values.on("insecure")
        )
    session.out.line(f"Created manifest list {name}")
    return 0


def annotate(session: Session, values: Values, arguments: list[str]) -> int:
    from ...engine.manifestlists import Annotation

    change = Annotation(
        values.text("arch"),
        values.text("os"),
        values.text("os-version"),
        tuple(values.many("os-features")),
        values.text("variant"),
    )
    with lists(session) as found:
        found.annotate(arguments[0], arguments[1], change)
    return 0


def inspect(session: Session, values: Values, arguments: list[str]) -> int:
    seen: Listed | tuple[Listed, ...]
    with lists(session) as found:
        if len(arguments) == 2:
            seen = found.listed(arguments[0], arguments[1])
        else:
            seen = found.look(arguments[0], insecure=values.on("insecure"))
        shown = verbose(seen) if values.on("verbose") else plain(seen, arguments[-1])
    session.out.show(shown + "\n")
    return 0


def verbose(seen: "Listed | tuple[Listed, ...]") -> str:
    from ...registry.manifestlist import Listed

    if isinstance(seen, Listed):
        return _indented(seen.document())
    return _indented([item.document() for item in seen])


def plain(seen: "Listed | tuple[Listed, ...]", name: str) -> str:
    from ...registry.manifestlist import Listed, list_document
    from ...spec.reference import parse_reference

    if isinstance(seen, Listed):
        return _indented(json.loads(seen.data))
    return list_document(seen, parse_reference(name))[1].decode()


def _indented(document: Any) -> str:
    return json.dumps(document, indent="\t", ensure_ascii=False)


def push(session: Session, values: Values, arguments: list[str]) -> int:
    with lists(session) as found:
        digest = found.push(
            arguments[0],
            lambda name, at: session.out.line(f"Pushed ref {name} with digest: {at}"),
            insecure=values.on("insecure"),
            purge=values.on("purge"),
        )
    session.out.line(digest)
    return 0


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    code = 0
    for name in arguments:
        try:
            with lists(session) as found:
                found.remove(name)
        except OnggiError as error:
            session.complain(error)
            code = 1
    return code


CREATE = Command(
    usage="MANIFEST_LIST MANIFEST [MANIFEST...]",
    summary="Create a local manifest list for annotating and pushing to a registry",
    run=create,
    flags=flag_table("""
  -a, --amend      Amend an existing manifest list
      --insecure   Allow communication with an insecure registry
"""),
    least=2,
    most=-1,
)
ANNOTATE = Command(
    usage="[OPTIONS] MANIFEST_LIST MANIFEST",
    summary="Add additional information to a local image manifest",
    run=annotate,
    flags=flag_table("""
      --arch string           Set architecture
      --os string             Set operating system
      --os-features strings   Set operating system feature
      --os-version string     Set operating system version
      --variant string        Set architecture variant
"""),
    least=2,
    most=2,
)
INSPECT = Command(
    usage="[OPTIONS] [MANIFEST_LIST] MANIFEST",
    summary="Display an image manifest, or manifest list",
    run=inspect,
    flags=flag_table("""
      --insecure   Allow communication with an insecure registry
  -v, --verbose    Output additional info including layers and platform
"""),
    least=1,
    most=2,
)
PUSH = Command(
    usage="[OPTIONS] MANIFEST_LIST",
    summary="Push a manifest list to a repository",
    run=push,
    flags=flag_table("""
      --insecure   Allow push to an insecure registry
  -p, --purge      Remove the local manifest list after push
"""),
    least=1,
    most=1,
)
RM = Command(
    usage="MANIFEST_LIST [MANIFEST_LIST...]",
    summary="Delete one or more manifest lists from local storage",
    run=rm,
    least=1,
    most=-1,
)
