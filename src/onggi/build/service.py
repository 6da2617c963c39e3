"""Builds an image from a Dockerfile and a context: the entry of the package.

Owns the order of the work: read, choose stages, fetch base images, plan, solve, tag. Never prints,
never runs a process itself: RUN is an ephemeral container of `engine`.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from ..dockerfile.instructions import Dockerfile, Instruction, read, trigger
from ..dockerfile.problem import placed
from ..engine.engine import Engine
from ..errors import InvalidInput, NotFound, OnggiError
from ..progress import Report, Warning
from ..spec.container import HostOptions
from ..spec.digest import Digest
from ..spec.image import MAX_LAYERS, History, ImageConfig, config_document
from ..spec.jsontext import canonical
from ..spec.mount import MountRequest
from ..spec.platform import host_platform, parse_platform
from ..spec.reference import Reference, parse_reference
from ..store.lock import Hold, Lock
from ..typed import TYPE_CHECKING, NamedTuple
from ..units import format_rfc3339
from . import export, history, inputs
from .cache import Cache
from .contexts import IMAGE, Contexts, Opened
from .explain import StepReport
from .export import Output
from .graph import Plan
from .graph_plan import PROXIES, PlanOptions, plan
from .graph_select import Arguments, ImageWanted, Selection, select, stage_triggers
from .loans import Loans, Secret
from .operate import Maker, Result
from .solve import Solver

if TYPE_CHECKING:
    from .cacheformat import Entry
    from .cacheplaces import CacheSource, CacheTarget

HISTORY_COMMENT = "buildkit.dockerfile.v0"  # what docker's own builder writes; tools look for it


class BuildOptions(NamedTuple):
    """What `docker build` asks.

    `context_dir` is a folder, a URL, a git repository, "-" for what `stdin` reads, or "" for no
    context at all. `dockerfile` "" means Dockerfile in the context; else a path (of the host for a
    folder), unless `dockerfile_text` is the text. A build arg of None is as if not given (the
    frontend has already looked in its environment). `build_contexts` are named folders, addresses
    and docker-image:// names for FROM and --from.
    """

    context_dir: str
    dockerfile: str = ""
    dockerfile_text: bytes | None = None
    tags: tuple[str, ...] = ()
    build_args: dict[str, str | None] = {}  # noqa: RUF012 - never mutated
    no_cache: bool = False
    target: str = ""
    pull: bool = False
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    platform: str = ""
    network_mode: str = "bridge"
    volumes: tuple[MountRequest, ...] = ()  # bound into every RUN
    extra_hosts: tuple[str, ...] = ()
    shm_bytes: int = 64 << 20
    build_contexts: dict[str, str] = {}  # noqa: RUF012 - never mutated
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - never mutated
    agents: dict[str, str] = {}  # noqa: RUF012 - never mutated; id: path of a socket
    stdin: Callable[[int], bytes] | None = None
    stdout: Callable[[bytes], object] = len  # of an output to "-"
    outputs: tuple[Output, ...] = ()
    push: bool = False
    no_cache_filter: frozenset[str] = frozenset()  # stages
    limits: HostOptions = HostOptions()  # resources, ulimits, cgroup parent of every RUN
    allowed: frozenset[str] = frozenset()  # entitlements: network.host, security.insecure
    cache_from: "tuple[CacheSource, ...]" = ()
    cache_to: "tuple[CacheTarget, ...]" = ()


class BuildResult(NamedTuple):
    """`tags` are full references; `steps` counts the steps of the stages that were needed."""

    image_id: Digest
    tags: tuple[str, ...]
    steps: int
    cached_steps: int
    reports: tuple[StepReport, ...] = ()


def build(engine: Engine, options: BuildOptions, report: Report) -> BuildResult:
    """Build, store and tag. Raises InvalidInput for a bad Dockerfile or context and for a RUN that
    fails, NotFound for a source or image that is not there."""
    tags = tuple(_tag(text) for text in options.tags)
    given = {name: value for name, value in options.build_args.items() if value is not None}
    _epoch(given)
    if options.push and not tags:
        raise InvalidInput("tag is needed when pushing to registry", hint="add -t NAME")
    arguments = _arguments(options, given)
    cache = Cache(engine.store, fresh=options.no_cache)
    if options.cache_from:
        from .cacheplaces import Imports

        cache.imports = Imports(engine, options.cache_from, report)
    loans = Loans(options.secrets, options.agents, _proxies(options), options.limits)
    with ExitStack() as held:
        keep_git = given.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in ("1", "true")
        contexts = Contexts(
            engine, cache, loans, options.build_contexts, held,
            read=options.stdin, keep_git_dir=keep_git,
        )  # fmt: skip
        opened = contexts.main(options.context_dir)
        made = _plan(engine, options, opened, arguments, report)
        for warning in (*made.warnings, *made.findings):
            report(Warning(str(warning)))
        if made.findings and made.check.error:
            rules = ", ".join(dict.fromkeys(finding.rule for finding in made.findings))
            raise InvalidInput(f"lint violation found for rules: {rules}")
        maker = Maker(engine, cache, contexts.of, loans, report)
        solver = Solver(made, maker, report, fresh_stages=options.no_cache_filter)
        result = _make(engine, options, solver, tags, report)
    if options.push:
        for name in result.tags:
            engine.images.push(name, report)
    return result


def check(engine: Engine, options: BuildOptions, report: Report) -> Plan:
    """What a build would do, and what the lint rules say; nothing is built."""
    given = {name: value for name, value in options.build_args.items() if value is not None}
    cache, loans = Cache(engine.store, fresh=False), Loans(options.secrets, options.agents)
    with ExitStack() as held:
        contexts = Contexts(
            engine, cache, loans, options.build_contexts, held, read=options.stdin
        )  # fmt: skip
        opened = contexts.main(options.context_dir)
        return _plan(engine, options, opened, _arguments(options, given), report)


def _arguments(options: BuildOptions, given: dict[str, str]) -> Arguments:
    images = _images_of(options.build_contexts)
    return Arguments(
        given,
        options.target,
        parse_platform(options.platform) if options.platform else host_platform(),
        host_platform(),
        tuple(name for name in options.build_contexts if name not in images),
        images,
    )


def _plan(
    engine: Engine, options: BuildOptions, opened: Opened, arguments: Arguments, report: Report
) -> Plan:
    """The file read and what it names fetched."""
    tree = opened.tree
    file = read(_dockerfile(opened, options))
    named = "" if options.dockerfile_text is not None else options.dockerfile
    tree.rules = inputs.read_rules(tree, named, local=opened.local)
    bases = _Bases(engine, options, report)
    selection, triggers = _select(file, arguments, bases)
    return plan(
        file,
        selection,
        bases.configs,
        triggers,
        PlanOptions(
            arguments, options.labels, options.network_mode, options.volumes, options.extra_hosts,
            options.shm_bytes, tree.label, _epoch(arguments.build_args), options.allowed,
        ),
    )  # fmt: skip


def _proxies(options: BuildOptions) -> tuple[str, ...]:
    return tuple(
        f"{name}={value}"
        for name, value in options.build_args.items()
        if value is not None and name.upper() in PROXIES
    )


def _make(
    engine: Engine,
    options: BuildOptions,
    solver: Solver,
    tags: tuple[Reference, ...],
    report: Report,
) -> BuildResult:
    names = tuple(f"{tag.name}:{tag.tag}" for tag in tags)
    cache = solver.maker.cache
    with _among_builders(engine):
        try:
            solution = solver.solve()
            cache.ensure(solution.results[solver.plan.result].layers)
            config = _finished(solver.plan, solution.results, _epoch(options.build_args))
            document = _document(config, options, solution.results)
            image_id = Digest.of(document)
            if export.keeps_image(options.outputs):
                image_id = _store(engine, document, tags)
            shown = names or (str(image_id),)
            export.export(engine, config.diff_ids, shown, options.outputs, options.stdout)
            _export_caches(engine, options, solver, solution.results, report)
            cache.note_use()
        finally:
            if solver.maker.pinned:
                engine.store.layers.unpin()
    history.write(engine.store.root, image_id, names, solution.reports)
    count = len(solver.plan.steps)
    return BuildResult(image_id, names, count, solution.cached_steps, solution.reports)


def _entries(results: dict[int, Result]) -> "list[Entry]":
    """What a cache can be exported of."""
    from .cacheformat import Entry

    return [
        Entry(key, made.layers, made.diff_id, made.created_ns)
        for _, made in sorted(results.items())
        for key in made.keys
    ]


def _document(config: ImageConfig, options: BuildOptions, results: dict[int, Result]) -> bytes:
    """The image's configuration, with the cache in it when --cache-to says so."""
    document = config_document(config)
    if any(target.kind == "inline" for target in options.cache_to):
        from .cacheformat import INLINE_KEY
        from .cacheplaces import inline_value

        document[INLINE_KEY] = inline_value(_entries(results), config.diff_ids)
    return canonical(document)


def _export_caches(
    engine: Engine,
    options: BuildOptions,
    solver: Solver,
    results: dict[int, Result],
    report: Report,
) -> None:
    targets = [target for target in options.cache_to if target.kind != "inline"]
    if not targets:
        return
    from .cacheplaces import chosen, export_cache

    entries = _entries(results)
    for target in targets:
        wanted = chosen(entries, results[solver.plan.result].layers, target.mode)
        for entry in wanted:
            solver.maker.pin(entry.layers)
        export_cache(engine, target, wanted, report)


def sweep(engine: Engine) -> None:
    """Take away the step containers of builders that died, unless a builder is about: an ended step
    may be one it is committing."""
    alone = _lock(engine).try_exclusive()
    if alone is not None:
        with alone:
            engine.steps.sweep()


def _among_builders(engine: Engine) -> Hold:
    """Every builder holds RUN/build.lock, shared."""
    sweep(engine)
    return _lock(engine).shared()


def _lock(engine: Engine) -> Lock:
    return Lock(f"{engine.store.run}/build.lock")


def _finished(made: Plan, results: dict[int, Result], epoch: int | None) -> ImageConfig:
    """The configuration with its layers, and each history entry with the time its layer was made,
    so that a build from the cache gives the same image."""
    layers = results[made.result].layers
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
        result = results[step.vertex]
        if result.created_ns:
            created = format_rfc3339(result.created_ns)
        if epoch is not None:
            created = format_rfc3339(epoch * 10**9)
        empty = not (step.makes and result.diff_id)
        entries.append(History(created, step.created_by, HISTORY_COMMENT, "", empty))
    history = (*config.history, *entries)
    return config._replace(created=created, diff_ids=layers, history=history)


def _store(engine: Engine, document: bytes, tags: tuple[Reference, ...]) -> Digest:
    """Add the image; a build from the cache gives one that is there, with its tags."""
    image_id = Digest.of(document)
    names = {f"{tag.name}:{tag.tag}" for tag in tags}
    try:
        if names <= set(engine.store.images.get(image_id).tags):
            return image_id
    except NotFound:
        pass
    return engine.store.images.add(document, tags=tags).id


def _tag(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.digest is not None:
        raise InvalidInput(f"invalid tag {text!r}: a tag cannot have a digest")
    return reference


def _epoch(given: Mapping[str, str | None]) -> int | None:
    """SOURCE_DATE_EPOCH, as a build argument."""
    text = given.get("SOURCE_DATE_EPOCH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise InvalidInput(f"invalid SOURCE_DATE_EPOCH: {text[:40]!r} is not a number of seconds")
    return int(text)


def _dockerfile(opened: Opened, options: BuildOptions) -> bytes:
    text = options.dockerfile_text if options.dockerfile_text is not None else opened.text
    if text is None:
        return inputs.read_dockerfile(opened.tree, options.dockerfile, local=opened.local)
    if not text.strip():
        raise InvalidInput("the Dockerfile cannot be empty")
    return text


def _images_of(contexts: dict[str, str]) -> dict[str, str]:
    """The named contexts that are images."""
    return {n: w.removeprefix(IMAGE) for n, w in contexts.items() if w.startswith(IMAGE)}


class _Bases:
    """Base images, by what the file calls them; fetched when they are missing or --pull says so."""

    def __init__(self, engine: Engine, options: BuildOptions, report: Report) -> None:
        self.engine = engine
        self.options = options
        self.report = report
        self.configs: dict[ImageWanted, ImageConfig] = {}

    def fetch(self, wanted: ImageWanted) -> ImageConfig:
        known = self.configs.get(wanted)
        if known is None:
            known = self.configs[wanted] = self._fetch(wanted)
        return known

    def _fetch(self, wanted: ImageWanted) -> ImageConfig:
        images = self.engine.images
        try:
            if not self.options.pull:
                config = images.get(wanted.reference).config
                if config.platform.matches(wanted.platform):
                    return config
        except NotFound:
            pass
        except InvalidInput as error:
            raise placed(error, wanted.at.line, wanted.at.text) from error
        try:
            platform = str(wanted.platform)
            return images.pull(wanted.reference, platform=platform, report=self.report).config
        except OnggiError as error:
            raise placed(error, wanted.at.line, wanted.at.text) from error


Triggers = dict[int, tuple[Instruction, ...]]


def _select(file: Dockerfile, arguments: Arguments, bases: _Bases) -> tuple[Selection, Triggers]:
    """The stages and images that are needed. An image's ONBUILD lines may need more of both, so
    look again until nothing is new."""
    triggers: Triggers = {}
    while True:
        selection = select(file, arguments, triggers)
        for wanted in selection.images:
            bases.fetch(wanted)
        found = {index: _triggers(file, selection, bases, index) for index in selection.needed}
        found = {index: lines for index, lines in found.items() if lines}
        if found == triggers:
            return selection, triggers
        triggers = found


def _triggers(
    file: Dockerfile, selection: Selection, bases: _Bases, index: int
) -> tuple[Instruction, ...]:
    base, line = selection.bases[index], file.stages[index].base.at.line
    if base.stage is not None:
        texts = stage_triggers(file.stages[base.stage])
    elif base.image is not None:
        texts = bases.fetch(base.image).on_build
    else:
        texts = ()
    return tuple(trigger(text, line) for text in texts)
