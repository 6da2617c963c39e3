"""`system df`: what takes how much space, in sum or (-v) one by one."""

import time

from ...engine.system import tree_bytes
from ...spec.image import Image
from ...spec.reference import parse_reference
from ...typed import Any
from ...units import format_elapsed, format_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal
from ..table import print_rows
from . import ps
from .ps import FORMAT_HELP

HEADERS = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}  # fmt: skip
IMAGE_HEADERS = {
    "Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED",
    "Size": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}  # fmt: skip
CONTAINER_HEADERS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE", "RunningFor": "CREATED", "Status": "STATUS",
    "Names": "NAMES",
}  # fmt: skip
VOLUME_HEADERS = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
CACHE_HEADERS = {
    "ID": "CACHE ID", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED", "UsageCount": "USAGE", "Shared": "SHARED",
}  # fmt: skip


def df(session: Session, values: Values, arguments: list[str]) -> int:
    template = values.text("format")
    if values.on("verbose"):
        if session.elsewhere is not None:
            raise refusal("'system df -v' cannot be done with an engine elsewhere yet")
        return details(session, template)
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
    print_rows(session, rows, columns=tuple(HEADERS), headers=HEADERS, template=template)
    return 0


def details(session: Session, template: str) -> int:
    now = time.time()
    parts = {
        "Images": images(session, now),
        "Containers": [
            {**ps.row(session, c, now, trunc=True, size=True), "Size": writable(session, c.id)}
            for c in session.engine.containers.list(all=True)
        ],
        "Volumes": volumes(session),
        "BuildCache": cache(session, now),
    }
    if template == "json":
        from ..gotemplate_functions import to_json
        from ..table import plain

        session.out.line(to_json({kind: [plain(r) for r in rows] for kind, rows in parts.items()}))
        return 0
    cached = sum(record.size_bytes for record in session.engine.store.cache.list())
    for title, kind, headers in (
        ("Images space usage:", "Images", IMAGE_HEADERS),
        ("Containers space usage:", "Containers", CONTAINER_HEADERS),
        ("Local Volumes space usage:", "Volumes", VOLUME_HEADERS),
        (f"Build cache usage: {format_size(cached)}", "BuildCache", CACHE_HEADERS),
    ):
        session.out.line(title + "\n")
        print_rows(session, parts[kind], columns=tuple(headers), headers=headers, template=template)
        session.out.line("")
    return 0


def writable(session: Session, container_id: str) -> str:
    return format_size(session.engine.containers.size(container_id)[0], 3)


def images(session: Session, now: float) -> list[dict[str, Any]]:
    engine = session.engine
    found = engine.images.list()
    users: dict[str, int] = {}
    for container in engine.containers.list(all=True):
        users[container.config.image_id] = users.get(container.config.image_id, 0) + 1
    holders: dict[str, int] = {}
    for image in found:
        for layer in set(image.config.diff_ids):
            holders[layer] = holders.get(layer, 0) + 1
    rows = []
    for image in found:
        sizes = {layer: engine.store.layers.size(layer) for layer in set(image.config.diff_ids)}
        shared = sum(size for layer, size in sizes.items() if holders[layer] > 1)
        for repository, tag in names(image):
            rows.append({
                "Repository": repository,
                "Tag": tag,
                "ID": str(image.id).removeprefix("sha256:")[:12],
                "CreatedSince": format_elapsed(now - image.created_ns / 1e9) + " ago",
                "Size": format_size(sum(sizes.values()), 3),
                "SharedSize": format_size(shared, 3),
                "UniqueSize": format_size(sum(sizes.values()) - shared, 3),
                "Containers": str(users.get(str(image.id), 0)),
            })  # fmt: skip
    return rows


def names(image: Image) -> list[tuple[str, str]]:
    found = [parse_reference(str(name)) for name in image.tags]
    return [(name.familiar_name, name.tag or "<none>") for name in found] or [("<none>", "<none>")]


def volumes(session: Session) -> list[dict[str, Any]]:
    service = session.engine.volumes
    return [
        {
            "Name": volume.name,
            "Links": str(len(service.users(volume.name))),
            "Size": format_size(tree_bytes(service.path(volume.name)), 3),
        }
        for volume in sorted(service.list(), key=lambda volume: volume.name)
    ]


def cache(session: Session, now: float) -> list[dict[str, Any]]:
    return [
        {
            "ID": record.key.removeprefix("sha256:")[:12],
            "CacheType": "regular",
            "Size": format_size(record.size_bytes, 3),
            "CreatedSince": format_elapsed(now - record.created_ns / 1e9) + " ago",
            "LastUsedSince": format_elapsed(now - record.last_used_ns / 1e9) + " ago",
            "UsageCount": "N/A",
            "Shared": "false",
        }
        for record in session.engine.store.cache.list()
    ]


DF = Command(
    usage="[OPTIONS]",
    summary="Show disk usage",
    run=df,
    flags=flag_table(
        FORMAT_HELP + "  -v, --verbose         Show detailed information on space usage\n"
    ),
)
