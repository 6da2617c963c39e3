"""`images`, `rmi`, `tag`, `history`."""

import time

from ...engine import imagelist
from ...engine.imagelist import Listed
from ...errors import InvalidInput, NotFound, OnggiError
from ...spec.image import Image
from ...spec.reference import parse_reference
from ...typed import Any
from ...units import format_elapsed, format_local, format_rfc3339, format_size
from ..command import Command
from ..flags import Values, flag_table
from ..hints import hint, nearest
from ..session import CommandError, Session
from ..table import filters_of, print_rows
from .ps import FORMAT_HELP

HEADERS = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID",
    "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "Size": "SIZE",
    "Containers": "CONTAINERS", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}  # fmt: skip
HISTORY_HEADERS = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
}  # fmt: skip
NONE = "<none>"


def missing_image(session: Session, error: OnggiError, name: str) -> OnggiError:
    """A NotFound with the nearest local name as its hint."""
    if isinstance(error, NotFound) and not error.hint:
        tags = [
            parse_reference(tag).familiar.removesuffix(":latest")
            for image in session.engine.images.list()
            for tag in image.tags
        ]
        near = nearest(name.removesuffix(":latest"), tags)
        if near:
            error.hint = hint("image", session.language, near=near)
    return error


# -- images


def images(session: Session, values: Values, arguments: list[str]) -> int:
    filters = filters_of(values.many("filter"))
    if arguments:
        filters.setdefault("reference", []).append(arguments[0])
    found = select(session, filters)
    trunc = not values.on("no-trunc")
    digests = values.on("digests") or ".Digest" in values.text("format")
    rows = [row for listed in found for row in rows_of(listed, trunc=trunc, digests=digests)]
    if values.on("quiet") and not values.text("format"):
        shown = dict.fromkeys(row["ID"] for row in rows)
        for identity in shown:
            session.out.line(identity)
        return 0
    columns = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if values.on("digests"):
        columns.insert(2, "Digest")
    print_rows(session, rows, columns=columns, headers=HEADERS, template=values.text("format"))
    return 0


def select(session: Session, filters: dict[str, list[str]]) -> list[Listed]:
    engine = session.engine.images
    return imagelist.select(engine.list(), filters, find=engine.get, now_ns=time.time_ns())


def rows_of(listed: Listed, *, trunc: bool, digests: bool) -> list[dict[str, Any]]:
    """One row per name that the filters let pass; one with <none> for an image without any."""
    image = listed.image
    by_name = {}
    for text in image.repo_digests:
        reference = parse_reference(text)
        by_name[reference.name] = str(reference.digest)
    rows = []
    for tag in listed.tags:
        reference = parse_reference(tag)
        digest = by_name.get(reference.name, NONE) if digests else NONE
        rows.append(row_of(image, reference.familiar_name, reference.tag, digest, trunc=trunc))
    if not image.tags:
        known = [parse_reference(text) for text in image.repo_digests]
        first = known[0] if known else None
        name = first.familiar_name if first else NONE
        digest = str(first.digest) if first and digests else NONE
        rows.append(row_of(image, name, NONE, digest, trunc=trunc))
    return rows


def row_of(image: Image, name: str, tag: str, digest: str, *, trunc: bool) -> dict[str, Any]:
    age = format_elapsed(time.time() - image.created_ns / 1e9) + " ago"
    return {
        "Repository": name,
        "Tag": tag,
        "Digest": digest,
        "ID": image.id.short if trunc else str(image.id),
        "CreatedSince": age if image.created_ns else "N/A",
        "CreatedAt": format_local(image.created_ns),
        "Size": format_size(image.size_bytes, 3),
        "VirtualSize": format_size(image.size_bytes, 3),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    }


# -- rmi, tag, history


def rmi(session: Session, values: Values, arguments: list[str]) -> int:
    code = 0
    for name in arguments:
        try:
            done = session.engine.images.remove(
                name, force=values.on("force"), keep_parents=values.on("no-prune")
            )
        except OnggiError as error:
            if isinstance(error, NotFound) and values.on("force"):
                session.err.line(f"Error response from daemon: {error.message}")
                continue
            session.complain(missing_image(session, error, name))
            code = 1
            continue
        for kind, what in done:
            session.out.line(f"{kind}: {what}")
    return code


def tag(session: Session, values: Values, arguments: list[str]) -> int:
    source, target = arguments
    for name in arguments:
        try:
            parse_reference(name)
        except InvalidInput as error:
            raise CommandError(
                f'Error parsing reference: "{name}" is not a valid repository/tag: '
                + error.message,
                hint=error.hint,
            ) from error
    try:
        session.engine.images.tag(source, target)
    except NotFound as error:
        raise missing_image(session, error, source) from error
    return 0


def history(session: Session, values: Values, arguments: list[str]) -> int:
    try:
        session.engine.images.require(arguments[0], values.text("platform"))
        found = session.engine.images.history(arguments[0])
    except NotFound as error:
        raise missing_image(session, error, arguments[0]) from error
    trunc, human = not values.on("no-trunc"), values.on("human")
    rows = []
    for item in found:
        identity = item.id or "<missing>"
        short = identity.removeprefix("sha256:")[:12] if trunc else identity
        created_by = item.created_by.replace("\t", " ")
        if trunc and len(created_by) > 45:
            created_by = created_by[:44] + "…"
        age = format_elapsed(time.time() - item.created_ns / 1e9) + " ago"
        stamp = format_rfc3339(item.created_ns)
        rows.append({
            "ID": identity if identity == "<missing>" else short,
            "CreatedSince": ("N/A" if not item.created_ns else age) if human else stamp,
            "CreatedAt": stamp,
            "CreatedBy": created_by,
            "Size": format_size(item.size_bytes, 3) if human else str(item.size_bytes),
            "Comment": item.comment,
        })  # fmt: skip
    if values.on("quiet"):
        for row in rows:
            session.out.line(row["ID"])
        return 0
    columns = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    print_rows(
        session, rows, columns=columns, headers=HISTORY_HEADERS, template=values.text("format")
    )
    return 0


IMAGES = Command(
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    summary="List images",
    run=images,
    flags=flag_table(
        """
  -a, --all             Show all images (default hides intermediate images)
      --digests         Show digests
  -f, --filter filter   Filter output based on conditions provided
      --no-trunc        Don't truncate output
  -q, --quiet           Only show image IDs
"""
        + FORMAT_HELP,
        "tree",
    ),
    most=1,
    aliases=("image ls", "image list", "images"),
)
RMI = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    summary="Remove one or more images",
    run=rmi,
    flags=flag_table(
        """
  -f, --force              Force removal of the image
      --no-prune           Do not delete untagged parents
""",
        "platform:strings",
    ),
    least=1,
    most=-1,
    aliases=("image rm", "image remove", "rmi"),
)
TAG = Command(
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    summary="Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    run=tag,
    least=2,
    most=2,
    aliases=("image tag", "tag"),
)
HISTORY = Command(
    usage="[OPTIONS] IMAGE",
    summary="Show the history of an image",
    run=history,
    flags=flag_table(
        FORMAT_HELP
        + """
  -H, --human             Print sizes and dates in human readable format (default true)
      --no-trunc          Don't truncate output
      --platform string   Show history for the given platform. Formatted as "os[/arch[/variant]]"
                          (e.g., "linux/amd64")
  -q, --quiet             Only show image IDs
"""
    ),
    least=1,
    most=1,
    aliases=("image history", "history"),
)
