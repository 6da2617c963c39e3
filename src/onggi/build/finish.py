"""From solved plans to a result: the image, the store, archives, registries, caches.

Owns what is written at the end, and in which order; what goes into an index is for `publish`.
"""

from collections.abc import Callable
from functools import partial

from ..engine.engine import Engine
from ..errors import InvalidInput, NotFound
from ..progress import Report
from ..spec.digest import Digest
from ..spec.image import MAX_LAYERS, History, ImageConfig, config_document
from ..spec.jsontext import canonical
from ..spec.platform import Platform
from ..spec.reference import Reference
from ..typed import TYPE_CHECKING, NamedTuple
from ..units import format_rfc3339
from . import history
from .bases import Bases
from .cache import Cache
from .graph import Plan
from .operate import Maker, Result
from .options import (
    Annotations,
    BuildOptions,
    BuildResult,
    epoch_of,
    keeps_image,
    platforms_of,
    wants_inline_cache,
)
from .solve import Solution

if TYPE_CHECKING:
    from .cacheformat import Entry
    from .publish import Built

HISTORY_COMMENT = "buildkit.dockerfile.v0"  # what docker's own builder writes; tools look for it


class Work(NamedTuple):
    """What the end of a build works with."""

    engine: Engine
    options: BuildOptions
    tags: tuple[Reference, ...]
    cache: Cache
    bases: Bases
    report: Report
    began_ns: int
    dockerfile: bytes


class Solved(NamedTuple):
    """One platform's plan, made. `squashed` are the image's layers with --squash."""

    platform: Platform
    plan: Plan
    solution: Solution
    squashed: tuple[Digest, ...] | None = None


def is_index(options: BuildOptions) -> bool:
    """Whether the result is more than one manifest of an image, or has notes on it."""
    several = len(platforms_of(options)) > 1
    return bool(several or options.sbom or options.provenance or options.annotations)


def refuse_what_no_store_holds(options: BuildOptions) -> None:
    """Raises InvalidInput when the result is an index and goes where none can be."""
    if not is_index(options):
        return
    several = len(platforms_of(options)) > 1
    what = "several platforms" if several else "attestations and annotations"
    kinds = {output.kind for output in options.outputs}
    if not options.push and not kinds:
        raise InvalidInput(
            f"{what} make an image index, which the store of images does not hold",
            hint="--push it, or write it: -o type=oci,dest=FILE",
        )
    plain = kinds & {"local", "tar"} if not several else set()
    for kind in sorted(kinds & {"image", "docker"} | plain):
        raise InvalidInput(
            f"output type {kind} cannot hold {what}", hint="use -o type=oci,dest=FILE"
        )


def finish(work: Work, solved: list[Solved], maker: Maker) -> BuildResult:
    """Everything that was asked for, but a plain image's push."""
    for one in solved:
        work.cache.ensure(_layers(one))
    if work.options.squash:
        solved = [_squashed(work, one, maker) for one in solved]
    names = tuple(f"{tag.name}:{tag.tag}" for tag in work.tags)
    manifest = ""
    if is_index(work.options) or work.options.outputs:
        for one in solved:
            maker.pin(_layers(one))
    if is_index(work.options):
        image_id, manifest = _index(work, solved)
    else:
        image_id = _image(work, solved[0], names, maker)
    _export_caches(work, solved, maker)
    reports = tuple(step for one in solved for step in one.solution.reports)
    history.write(work.engine.store.root, image_id, names, reports)
    steps = sum(len(one.plan.steps) for one in solved)
    cached = sum(step.cached for step in reports)
    return BuildResult(image_id, names, steps, cached, reports, manifest)


def pushed(
    engine: Engine, options: BuildOptions, result: BuildResult, report: Report
) -> BuildResult:
    """A plain image under all its names in their registries."""
    if not options.push or is_index(options):
        return result
    for name in result.tags:
        engine.images.push(name, report)
    manifest = engine.images.get(result.tags[0]).manifest_digest
    return result._replace(manifest=str(manifest or ""))


def _image(work: Work, solved: Solved, names: tuple[str, ...], maker: Maker) -> Digest:
    engine, options = work.engine, work.options
    document = _document(options, solved)
    image_id = Digest.of(document)
    if keeps_image(options):
        image_id = _store(engine, document, work.tags, lambda: maker.pin(_layers(solved)))
    if options.outputs:
        from . import export

        shown = names or (str(image_id),)
        export.export(engine, _layers(solved), shown, options.outputs, options.stdout)
    return image_id


def _index(work: Work, solved: list[Solved]) -> tuple[Digest, str]:
    """The index's digest, as what it is and as what was pushed."""
    from . import attest, export, publish

    options = work.options
    images = [
        publish.Built(
            one.platform, _document(options, one), _layers(one), attest.attestations(work, one)
        )
        for one in solved
    ]
    notes = options.annotations or Annotations()
    digest = Digest.of(images[0].document)
    if options.push:
        digest = publish.push(work.engine, work.tags, images, notes, work.report)
    for output in options.outputs:
        if output.kind == "oci":
            digest = _archive(work, images, notes, output.destination)
        else:
            export.files_by_platform(
                work.engine, [(one.platform, one.layers) for one in images], output, options.stdout
            )
    return digest, str(digest) if options.push else ""


def _archive(work: Work, images: "list[Built]", notes: Annotations, destination: str) -> Digest:
    from . import export, publish

    with publish.layout(work.engine, work.tags, images, notes) as (directory, digest):
        export.to(destination, work.options.stdout, partial(publish.write_tar, directory))
    return digest


def _squashed(work: Work, solved: Solved, maker: Maker) -> Solved:
    from . import squash

    maker.pin(_layers(solved))
    base = squash.base_layers(solved.plan)
    layers = squash.squashed(work.engine, work.cache, base, _layers(solved))
    return solved._replace(squashed=layers)


# -- the image


def _layers(solved: Solved) -> tuple[Digest, ...]:
    if solved.squashed is not None:
        return solved.squashed
    return solved.solution.results[solved.plan.result].layers


def image_id(options: BuildOptions, solved: Solved) -> Digest:
    """What the image will be called, when its last step is done."""
    return Digest.of(_document(options, solved))


def _document(options: BuildOptions, solved: Solved) -> bytes:
    """The image's configuration, with the cache in it when --cache-to says so."""
    config = _configuration(solved, epoch_of(options))
    document = config_document(config)
    if wants_inline_cache(options):
        from .cacheformat import INLINE_KEY
        from .cacheplaces import inline_value

        document[INLINE_KEY] = inline_value(_entries([solved]), config.diff_ids)
    return canonical(document)


def _configuration(solved: Solved, epoch: int | None) -> ImageConfig:
    """The configuration with its layers, and each history entry with the time its layer was made,
    so that a build from the cache gives the same image."""
    made, layers = solved.plan, _layers(solved)
    if len(layers) > MAX_LAYERS:
        raise InvalidInput(
            f"the image would have {len(layers)} layers, more than {MAX_LAYERS}",
            hint="join RUN lines with && or build in stages and COPY --from the result",
        )
    config = made.config
    created = config.created or format_rfc3339(1)
    entries = []
    for index in made.history:
        step = made.steps[index]
        result = solved.solution.results[step.vertex]
        if result.created_ns:
            created = format_rfc3339(result.created_ns)
        if epoch is not None:
            created = format_rfc3339(epoch * 10**9)
        empty = not (step.makes and result.diff_id) or solved.squashed is not None
        entries.append(History(created, step.created_by, HISTORY_COMMENT, "", empty))
    if solved.squashed is not None and any(step.makes for step in made.steps):
        entries.append(History(created, "", "squashed layers"))
    return config._replace(created=created, diff_ids=layers, history=(*config.history, *entries))


def _store(
    engine: Engine, document: bytes, tags: tuple[Reference, ...], hold: Callable[[], None]
) -> Digest:
    """Add the image, after its layers are held; a build from the cache gives one that is there,
    with its tags."""
    image_id = Digest.of(document)
    names = {f"{tag.name}:{tag.tag}" for tag in tags}
    try:
        if names <= set(engine.store.images.get(image_id).tags):
            return image_id
    except NotFound:
        pass
    hold()
    return engine.store.images.add(document, tags=tags).id


# -- the cache


def _entries(solved: list[Solved]) -> "list[Entry]":
    """What a cache can be exported of."""
    from .cacheformat import Entry

    found: dict[str, Result] = {}
    for one in solved:
        for _, made in sorted(one.solution.results.items()):
            found |= dict.fromkeys(made.keys, made)
    return [Entry(key, made.layers, made.diff_id, made.created_ns) for key, made in found.items()]


def _export_caches(work: Work, solved: list[Solved], maker: Maker) -> None:
    targets = [target for target in work.options.cache_to if target.kind != "inline"]
    if not targets:
        return
    from .cacheplaces import chosen, export_cache

    entries = _entries(solved)
    results = [_layers(one._replace(squashed=None)) for one in solved]
    for target in targets:
        wanted = chosen(entries, results, target.mode)
        for entry in wanted:
            maker.pin(entry.layers)
        export_cache(work.engine, target, wanted, work.report)
