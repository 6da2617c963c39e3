"""`container prune`, `image prune`, `volume prune`, `builder prune`, `system prune`."""

import os

from ...errors import Conflict, NotFound
from ...units import format_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import filters_of
from .images import select

SURE = "Are you sure you want to continue? [y/N] "


def confirmed(session: Session, values: Values, warning: str) -> bool:
    """Ask, unless -f; anything but y or Y, or no more input, is no."""
    if values.on("force"):
        return True
    session.out.write(f"WARNING! {warning}\n{SURE}")
    session.out.flush()
    answer = os.read(0, 4096).strip().lower()
    return answer in (b"y", b"yes")


def freed(session: Session, before: int) -> None:
    session.out.line(f"Total reclaimed space: {format_size(max(before - used(session), 0))}")


def used(session: Session) -> int:
    return sum(row.size_bytes for row in session.engine.system.usage())


def containers(session: Session, values: Values, arguments: list[str]) -> int:
    if not confirmed(session, values, "This will remove all stopped containers."):
        return 0
    before = used(session)
    prune_containers(session, filters_of(values.many("filter")))
    freed(session, before)
    return 0


def prune_containers(session: Session, filters: dict[str, list[str]]) -> None:
    removed = session.engine.containers.prune(filters)
    if removed:
        session.out.line("Deleted Containers:")
        for identity in removed:
            session.out.line(identity)
        session.out.line("")


def images(session: Session, values: Values, arguments: list[str]) -> int:
    what = "all images without at least one container associated to them" if values.on("all") else (
        "all dangling images"
    )  # fmt: skip
    if not confirmed(session, values, f"This will remove {what}."):
        return 0
    before = used(session)
    prune_images(session, filters_of(values.many("filter")), everything=values.on("all"))
    freed(session, before)
    return 0


def prune_images(session: Session, filters: dict[str, list[str]], *, everything: bool) -> None:
    """Images that no container needs: the nameless ones, or all."""
    engine = session.engine
    in_use = {c.config.image_id for c in engine.containers.list(all=True)}
    chosen = dict(filters)
    everything = everything or chosen.pop("dangling", ["true"])[-1] in ("false", "0")
    lines: list[str] = []
    for image in select(session, chosen):
        if image.id in in_use or (image.tags and not everything):
            continue
        for name in image.tags or (str(image.id),):
            try:
                done = engine.images.remove(name)
            except (Conflict, NotFound):
                continue  # somebody took or removed it meanwhile
            lines += [f"{kind.lower()}: {what}" for kind, what in done]
    if lines:
        session.out.line("Deleted Images:")
        for line in lines:
            session.out.line(line)
        session.out.line("")


def volumes(session: Session, values: Values, arguments: list[str]) -> int:
    kind = "local volumes" if values.on("all") else "anonymous local volumes"
    if not confirmed(
        session, values, f"This will remove {kind} not used by at least one container."
    ):
        return 0
    before = used(session)
    prune_volumes(session, everything=values.on("all"))
    freed(session, before)
    return 0


def prune_volumes(session: Session, *, everything: bool) -> None:
    removed = session.engine.volumes.prune(all=everything)
    if removed:
        session.out.line("Deleted Volumes:")
        for name in removed:
            session.out.line(name)
        session.out.line("")


def builder(session: Session, values: Values, arguments: list[str]) -> int:
    kind = "all build cache" if values.on("all") else "all dangling build cache"
    if not confirmed(session, values, f"This will remove {kind}."):
        return 0
    before = used(session)
    prune_cache(session)
    freed(session, before)
    return 0


def prune_cache(session: Session) -> None:
    """What killed builders left and the records go, then the layers that only they held."""
    from ...build.service import sweep

    sweep(session.engine)
    store = session.engine.store
    store.cache.remove(tuple(record.key for record in store.cache.list()))
    store.collect()


def system(session: Session, values: Values, arguments: list[str]) -> int:
    everything = values.on("all")
    kinds = ["all stopped containers", "all networks not used by at least one container"]
    if values.on("volumes"):
        kinds.append("all anonymous volumes not used by at least one container")
    kinds.append(
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    kinds.append("all build cache" if everything else "unused build cache")
    warning = "This will remove:\n" + "".join(f"  - {kind}\n" for kind in kinds)
    if not confirmed(session, values, warning):
        return 0
    before = used(session)
    filters = filters_of(values.many("filter"))
    prune_containers(session, filters)
    if values.on("volumes"):
        prune_volumes(session, everything=False)
    prune_images(session, filters, everything=everything)
    prune_cache(session)
    freed(session, before)
    return 0


FORCE = "  -f, --force           Do not prompt for confirmation\n"
UNTIL = '      --filter filter   Provide filter values (e.g. "until=<timestamp>")\n'
CONTAINER_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove all stopped containers",
    run=containers,
    flags=flag_table(UNTIL + FORCE),
)
IMAGE_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove unused images",
    run=images,
    flags=flag_table(
        "  -a, --all             Remove all unused images, not just dangling ones\n" + UNTIL + FORCE
    ),
)
VOLUME_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove unused local volumes",
    run=volumes,
    flags=flag_table(
        "  -a, --all             Remove all unused volumes, not just anonymous ones\n" + FORCE,
        "filter:filter",
    ),
)
BUILDER_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove build cache",
    run=builder,
    flags=flag_table(
        "  -a, --all                  Remove all unused build cache, not just dangling ones\n"
        + FORCE,
        "filter:filter keep-storage:bytes",
    ),
)
SYSTEM_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove unused data",
    run=system,
    flags=flag_table(
        "  -a, --all             Remove all unused images not just dangling ones\n"
        '      --filter filter   Provide filter values (e.g. "label=<key>=<value>")\n'
        + FORCE
        + "      --volumes         Prune anonymous volumes\n"
    ),
)
