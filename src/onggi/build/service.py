"""Builds an image from a Dockerfile and a context: the entry of the package.

Owns the order of the work: read, choose stages, fetch base images, plan, solve, tag. Never prints,
never runs a process itself: RUN is an ephemeral container of `engine`.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ..dockerfile import ignore
from ..dockerfile.instructions import read
from ..engine.engine import Engine
from ..errors import CacheVanished, InvalidInput, OnggiError
from ..progress import Message, Report, Warning
from ..spec.digest import Digest
from ..spec.platform import Platform, host_platform
from ..spec.reference import Reference, parse_reference
from ..typed import TYPE_CHECKING
from . import finish, inputs
from .bases import OCI_LAYOUT, Bases, chosen_stages
from .builders import among_builders
from .cache import Cache
from .contexts import IMAGE, Contexts, Opened
from .graph import Plan
from .graph_plan import PROXIES, PlanOptions, plan
from .graph_select import Arguments
from .loans import Loans, is_agent
from .operate import Maker
from .options import BuildOptions as BuildOptions
from .options import BuildResult as BuildResult
from .options import epoch_of, given_arguments, platforms_of
from .platforms import joined
from .solve import Solution, Solver

if TYPE_CHECKING:
    from .outline import Outline, Target

ATTEMPTS = 3


def build(engine: Engine, options: BuildOptions, report: Report) -> BuildResult:
    """Build, store and tag. Raises InvalidInput for a bad Dockerfile or context and for a RUN that
    fails, NotFound for a source or image that is not there."""
    began_ns = time.time_ns()
    tags = tuple(_tag(text) for text in options.tags)
    given = given_arguments(options)
    if options.push and not tags:
        raise InvalidInput("tag is needed when pushing to registry", hint="add -t NAME")
    finish.refuse_what_no_store_holds(options)
    _check_budget(engine)
    cache = Cache(engine.store, fresh=options.no_cache)
    if options.cache_from:
        from .cacheplaces import Imports

        cache.imports = Imports(engine, options.cache_from, report)
    loans = Loans(options.secrets, options.agents, _proxies(options), options.limits,
                  options.allowed)  # fmt: skip
    with ExitStack() as held:
        keep_git = given.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in ("1", "true")
        contexts = Contexts(
            engine, cache, loans, options.build_contexts, held,
            read=options.stdin, archives=options.archives, keep_git_dir=keep_git,
        )  # fmt: skip
        opened = contexts.main(options.context_dir)
        if any(not is_agent(path) for path in options.agents.values()):
            from .sshkeys import agents_of

            loans = loans._replace(agents=agents_of(engine, options.agents, held))
        bases = Bases(engine, report, pull=options.pull)
        plans = _plans(engine, options, opened, bases)
        _tell_findings(plans.values(), report)
        maker = Maker(engine, cache, contexts.of, loans, report)
        text = _dockerfile(opened, options)
        work = finish.Work(engine, options, tags, cache, bases, report, began_ns, text)
        with among_builders(engine):
            try:
                result = _made(work, plans, maker)
            finally:
                if maker.pinned or options.cache_from or bases.pinned:
                    engine.store.layers.unpin()
    if any(step.reason for step in result.reports):  # something was done
        from .pruning import keep_budget

        keep_budget(engine, began_ns)
    return finish.pushed(engine, options, result, report)


def _check_budget(engine: Engine) -> None:
    """A mistake in what is said of the cache's budget is told before anything is built."""
    if engine.cache_budget.sizes:
        from .pruning import wished

        wished(engine)


def _made(work: finish.Work, plans: dict[Platform, Plan], maker: Maker) -> BuildResult:
    """Solved and finished; anew when somebody pruned what had been found and was not yet held."""
    for left in reversed(range(ATTEMPTS)):
        try:
            solved = _solved(work.options, plans, maker, work.report)
            result = finish.finish(work, solved, maker)
            work.cache.note_use()
            return result
        except CacheVanished:
            if not left:
                raise
            maker.pinned.clear()
            work.report(Message("the build cache was pruned meanwhile: looking again"))
    raise AssertionError("unreachable")


def _solved(
    options: BuildOptions, plans: dict[Platform, Plan], maker: Maker, report: Report
) -> "list[finish.Solved]":
    """All platforms at once."""
    maker.keeps_failed = options.on_failure is not None
    each = list(plans.items())

    def image_id(index: int, solution: Solution) -> Digest:
        return finish.image_id(options, finish.Solved(*each[index], solution))

    solver = Solver(
        joined(plans), maker, report,
        fresh_stages=options.no_cache_filter, serial=options.on_failure is not None,
        image_id=None if options.squash else image_id,
    )  # fmt: skip
    try:
        solutions = solver.solve()
    except OnggiError as error:
        if options.on_failure is not None and maker.failed is not None:
            from . import failure

            failure.show(maker, maker.failed, error, options.on_failure)
        raise
    return [finish.Solved(*pair, made) for pair, made in zip(each, solutions, strict=True)]


def _tell_findings(plans: Iterable[Plan], report: Report) -> None:
    plans = tuple(plans)
    told = [str(item) for made in plans for item in (*made.warnings, *made.findings)]
    for text in dict.fromkeys(told):
        report(Warning(text))
    if any(made.findings and made.check.error for made in plans):
        rules = dict.fromkeys(finding.rule for made in plans for finding in made.findings)
        raise InvalidInput(f"lint violation found for rules: {', '.join(rules)}")


def check(engine: Engine, options: BuildOptions, report: Report) -> Plan:
    """What a build would do, and what the lint rules say, without a target of every stage; nothing
    is built."""
    with _opened(engine, options) as opened:
        bases = Bases(engine, report, pull=options.pull)
        plans = _plans(engine, options, opened, bases, all_stages=not options.target)
        return next(iter(plans.values()))


def targets_of(engine: Engine, options: BuildOptions) -> "list[Target]":
    """The stages of the Dockerfile; no image is looked at."""
    from .outline import targets

    with _opened(engine, options) as opened:
        return targets(read(_dockerfile(opened, options)))


def outline_of(engine: Engine, options: BuildOptions, report: Report) -> "Outline":
    """What the target takes."""
    from .outline import outline

    with _opened(engine, options) as opened:
        file = read(_dockerfile(opened, options))
        bases = Bases(engine, report, pull=options.pull)
        arguments = _arguments(options, platforms_of(options)[0])
        selection, _ = chosen_stages(file, arguments, bases)
        return outline(file, selection, given_arguments(options))


@contextmanager
def _opened(engine: Engine, options: BuildOptions) -> Iterator[Opened]:
    """The context of what builds nothing."""
    cache, loans = Cache(engine.store, fresh=False), Loans(options.secrets, options.agents)
    with ExitStack() as held:
        contexts = Contexts(
            engine, cache, loans, options.build_contexts, held, read=options.stdin,
            archives=options.archives,
        )  # fmt: skip
        yield contexts.main(options.context_dir)


def _arguments(options: BuildOptions, platform: Platform) -> Arguments:
    images = _images_of(options.build_contexts)
    return Arguments(
        given_arguments(options),
        options.target,
        platform,
        host_platform(),
        tuple(name for name in options.build_contexts if name not in images),
        images,
    )


def _plans(
    engine: Engine,
    options: BuildOptions,
    opened: Opened,
    bases: Bases,
    *,
    all_stages: bool = False,
) -> dict[Platform, Plan]:
    """The file read and what it names fetched, for every platform."""
    tree = opened.tree
    file = read(_dockerfile(opened, options))
    named = "" if options.dockerfile_text is not None else options.dockerfile
    if options.ignore_text is not None:
        tree.rules = ignore.parse(options.ignore_text)
    else:
        tree.rules = inputs.read_rules(tree, named, local=opened.local)
    plans: dict[Platform, Plan] = {}
    for platform in platforms_of(options):
        arguments = _arguments(options, platform)._replace(all_stages=all_stages)
        selection, triggers = chosen_stages(file, arguments, bases)
        plans[platform] = plan(
            file, selection, bases.configs, triggers,
            PlanOptions(
                arguments, options.labels, options.network_mode, options.volumes,
                options.extra_hosts, options.shm_bytes, tree.label,
                epoch_of(options), options.allowed, tree.rules,
            ),
        )  # fmt: skip
    return plans


def _proxies(options: BuildOptions) -> tuple[str, ...]:
    return tuple(
        f"{name}={value}"
        for name, value in options.build_args.items()
        if value is not None and name.upper() in PROXIES
    )


def _tag(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.digest is not None:
        raise InvalidInput(f"invalid tag {text!r}: a tag cannot have a digest")
    return reference


def _dockerfile(opened: Opened, options: BuildOptions) -> bytes:
    text = options.dockerfile_text if options.dockerfile_text is not None else opened.text
    if text is None:
        return inputs.read_dockerfile(opened.tree, options.dockerfile, local=opened.local)
    if not text.strip():
        raise InvalidInput("the Dockerfile cannot be empty")
    return text


def _images_of(contexts: dict[str, str]) -> dict[str, str]:
    """The named contexts that are images."""
    return {
        name: where.removeprefix(IMAGE)
        for name, where in contexts.items()
        if where.startswith((IMAGE, OCI_LAYOUT))
    }
