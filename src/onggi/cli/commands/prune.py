"""`prune` of containers, images, volumes, networks, the build cache, and of the system."""

import os
import time

from ...engine.pruning import Chosen, parse
from ...typed import TYPE_CHECKING, Any
from ...units import format_size, parse_size
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal
from ..table import filters_of

if TYPE_CHECKING:
    from ...build.pruning import Kept

CACHE_SIZES = ("keep-storage", "reserved-space", "max-used-space", "min-free-space")
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


def chosen_by(values: Values, *, until: bool = True) -> Chosen:
    return parse(filters_of(values.many("filter")), time.time_ns(), until=until)


def containers(session: Session, values: Values, arguments: list[str]) -> int:
    chosen = chosen_by(values)
    if not confirmed(session, values, "This will remove all stopped containers."):
        return 0
    before = used(session)
    prune_containers(session, chosen)
    freed(session, before)
    return 0


def prune_containers(session: Session, chosen: Chosen) -> None:
    removed = session.engine.containers.prune(chosen)
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
    rest = dict(filters)
    everything = everything or rest.pop("dangling", ["true"])[-1] in ("false", "0")
    chosen = parse(rest, time.time_ns())
    removed = session.engine.images.prune(chosen, everything=everything).removed
    if removed:
        session.out.line("Deleted Images:")
        for kind, what in removed:
            session.out.line(f"{kind.lower()}: {what}")
        session.out.line("")


def volumes(session: Session, values: Values, arguments: list[str]) -> int:
    filters = filters_of(values.many("filter"))
    everything = values.on("all") or filters.pop("all", ["false"])[-1] in ("true", "1")
    chosen = parse(filters, time.time_ns(), until=False)
    kind = "local volumes" if everything else "anonymous local volumes"
    if not confirmed(
        session, values, f"This will remove {kind} not used by at least one container."
    ):
        return 0
    before = used(session)
    prune_volumes(session, chosen, everything=everything)
    freed(session, before)
    return 0


def prune_volumes(session: Session, chosen: Chosen, *, everything: bool) -> None:
    removed = session.engine.volumes.prune(all=everything, chosen=chosen)
    if removed:
        session.out.line("Deleted Volumes:")
        for name in removed:
            session.out.line(name)
        session.out.line("")


def networks(session: Session, values: Values, arguments: list[str]) -> int:
    chosen = chosen_by(values)
    if not confirmed(
        session, values, "This will remove all custom networks not used by at least one container."
    ):
        return 0
    prune_networks(session, chosen)
    return 0


def prune_networks(session: Session, chosen: Chosen) -> None:
    removed = session.engine.networks.prune(chosen)
    if removed:
        session.out.line("Deleted Networks:")
        for name in removed:
            session.out.line(name)
        session.out.line("")


def builder(session: Session, values: Values, arguments: list[str]) -> int:
    if session.elsewhere is not None:
        return builder_elsewhere(session, values)
    kept = kept_cache(values)
    kind = "all build cache" if values.on("all") else "all dangling build cache"
    if not confirmed(session, values, f"This will remove {kind}."):
        return 0
    before = used(session)
    prune_cache(session, kept)
    freed(session, before)
    return 0


def builder_elsewhere(session: Session, values: Values) -> int:
    engine: Any = session.engine
    kind = "all build cache" if values.on("all") else "all dangling build cache"
    if not confirmed(session, values, f"This will remove {kind}."):
        return 0
    asked = {
        name: parse_size(values.text(name)) or None for name in CACHE_SIZES if values.given(name)
    }
    freed_now = engine.builds.prune(
        {"all": values.on("all"), **asked}, filters_of(values.many("filter"))
    )
    session.out.line(f"Total reclaimed space: {format_size(freed_now.reclaimed_bytes)}")
    return 0


def kept_cache(values: Values) -> "Kept":
    """What the flags of `builder prune` leave; --keep-storage is the older --reserved-space."""
    from ...build.pruning import Kept
    from ..cachefilters import until_ns, wanted

    filters = filters_of(values.many("filter"))
    older = values.text("keep-storage") or "0"
    return Kept(
        until_ns(filters, time.time_ns()),
        parse_size(values.text("reserved-space") or older),
        max_used_bytes=parse_size(values.text("max-used-space") or "0"),
        min_free_bytes=parse_size(values.text("min-free-space") or "0"),
        everything=values.on("all"),
        wanted=wanted(filters),
    )


def prune_cache(session: Session, kept: "Kept") -> None:
    from ...build.pruning import prune

    prune(session.engine, kept)


def system(session: Session, values: Values, arguments: list[str]) -> int:
    everything, filters = values.on("all"), filters_of(values.many("filter"))
    if "until" in filters and values.on("volumes"):
        raise refusal('ERROR: The "until" filter is not supported with "--volumes"')
    chosen = chosen_by(values)
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
    prune_containers(session, chosen)
    prune_networks(session, chosen)
    if values.on("volumes"):
        prune_volumes(session, chosen, everything=False)
    prune_images(session, filters, everything=everything)
    if session.elsewhere is not None:
        engine: Any = session.engine
        until = {"until": filters["until"]} if "until" in filters else {}
        engine.builds.prune({"all": everything}, until)
    else:
        from ...build.pruning import Kept

        prune_cache(session, Kept(chosen.until_ns, everything=everything))
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
        "  -a, --all             Remove all unused volumes, not just anonymous ones\n"
        '      --filter filter   Provide filter values (e.g. "label=<label>")\n' + FORCE,
    ),
)
NETWORK_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove all unused networks",
    run=networks,
    flags=flag_table(UNTIL + FORCE),
)
BUILDER_PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove build cache",
    run=builder,
    flags=flag_table(
        "  -a, --all                    Remove all unused build cache, not just dangling ones\n"
        '      --filter filter          Provide filter values (e.g. "until=24h")\n'
        "  -f, --force                  Do not prompt for confirmation\n"
        "      --keep-storage bytes     Amount of disk space to keep for cache\n"
        "      --max-used-space bytes   Maximum amount of disk space allowed to keep for cache\n"
        "      --min-free-space bytes   Target amount of free disk space after pruning\n"
        "      --reserved-space bytes   Amount of disk space always allowed to keep for cache\n"
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
