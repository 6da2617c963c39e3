"""A plan made real, step by step: found in the cache, or done.

Owns the order and the results; one vertex after the other, since a RUN forks and a process with
threads must not. An error names the step's line; the steps before it stay cached.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from ..dockerfile.problem import placed
from ..engine.engine import Engine
from ..errors import InvalidInput, OnggiError
from ..progress import Message, Report, StepFinished, StepOutput, StepStarted, Warning
from ..spec.digest import Digest
from .cache import Cache, Hit, Layers, content, copy_key
from .context import Tree
from .graph import (
    BaseOp,
    CopyOp,
    GitOp,
    MergeOp,
    Plan,
    RunOp,
    Step,
    UrlOp,
    Vertex,
    WorkdirOp,
    operation_digest,
)
from .loans import Loans
from .sources import SourceTree, gather, manifest_digest

_EXPLAINED_FILES = 2000  # of a COPY, kept with its record
OpenContext = Callable[[str], AbstractContextManager[Tree]]


class Result(NamedTuple):
    """A vertex that is there. `cached`: nothing had to be done."""

    layers: Layers
    diff_id: str
    created_ns: int
    cached: bool


class Solution(NamedTuple):
    """`results` by vertex; `cached_steps` counts the steps that cost nothing."""

    results: dict[int, Result]
    cached_steps: int


class Solver:
    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        cache: Cache,
        contexts: OpenContext,
        loans: Loans,
        report: Report,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.cache = cache
        self.contexts = contexts
        self.loans = loans
        self.report = report
        self.results: dict[int, Result] = {}
        self.number = 0
        self.pinned: set[Digest] = set()

    def solve(self) -> Solution:
        """Every step in order. Raises OnggiError with the step's line in it."""
        total, cached_steps, warm = len(self.plan.steps), 0, True
        for number, step in enumerate(self.plan.steps, 1):
            self.number = number
            self.report(StepStarted(self.number, total, step.text, step.stage))
            began = time.monotonic()
            cached = warm and bool(step.created_by)
            if step.makes:
                with _told(step):
                    result = self.vertex(step.vertex)
                cached = warm = result.cached
            elif step.config:
                self.vertex(step.vertex)
            cached_steps += cached
            took = time.monotonic() - began
            self.report(StepFinished(self.number, self.short(step), cached, took))
        self.vertex(self.plan.result)
        return Solution(self.results, cached_steps)

    def short(self, step: Step) -> str:
        """12 characters that name the image so far."""
        result = self.results.get(step.vertex)
        parent = content(result.layers) if result is not None else ""
        return operation_digest(BaseOp((step.config,)), (parent,))[:12]

    def vertex(self, index: int) -> Result:
        """The result, made once."""
        known = self.results.get(index)
        if known is not None:
            return known._replace(cached=True)
        vertex = self.plan.vertices[index]
        if isinstance(vertex.operation, BaseOp):
            layers = tuple(Digest.parse(layer) for layer in vertex.operation.diff_ids)
            result = Result(layers, "", 0, True)
        else:
            inputs = [self.vertex(i) for i in vertex.inputs]
            result = self.operate(vertex, inputs)
        self.results[index] = result
        return result

    def operate(self, vertex: Vertex, inputs: list[Result]) -> Result:
        operation, parent = vertex.operation, inputs[0].layers
        if isinstance(operation, MergeOp):
            return inputs[1]._replace(layers=(*parent, *inputs[1].layers))
        if isinstance(operation, (UrlOp, GitOp)):
            return self.remote(operation)
        if isinstance(operation, CopyOp):
            if operation.origin:
                with self.contexts(operation.origin) as tree:
                    return self.copy(operation, parent, tree)
            return self.copy_from(operation, parent, inputs[1].layers)
        key = operation_digest(operation, tuple(content(made.layers) for made in inputs))
        hit = self.cache.lookup(key)
        if hit is not None:
            return _found(hit)
        from . import ops  # what a build from the cache need not load

        self.pin(parent)
        if isinstance(operation, WorkdirOp):
            diff_id = ops.workdir(self.engine, operation, parent)
        else:
            assert isinstance(operation, RunOp)
            diff_id = self.run(operation, inputs)
        made = self.cache.record(key, parent, diff_id or "", operation, {}, time.time_ns())
        return Result(made.layers, made.diff_id, made.created_ns, False)

    def remote(self, operation: UrlOp | GitOp) -> Result:
        from . import remote

        found = remote.Remote(self.engine, self.cache, self.loans)
        hit, cached = found.url(operation) if isinstance(operation, UrlOp) else found.git(operation)
        return Result(hit.layers, hit.diff_id, hit.created_ns, cached)

    def run(self, operation: RunOp, inputs: list[Result]) -> Digest:
        from . import ops, runmounts

        parent, *origins = (made.layers for made in inputs)
        for layers in origins:
            self.pin(layers)
        mounts = runmounts.RunMounts(self.engine, self.loans, self.waits)
        with mounts.lent(operation.lent, tuple(origins), self.loans.proxies) as lent:
            return ops.run(self.engine, operation, parent, lent, self.output)

    def waits(self, cache: str) -> None:
        self.report(Message(f"waiting for the cache {cache}: another build has it"))

    def copy_from(self, operation: CopyOp, parent: Layers, origin: Layers) -> Result:
        """COPY --from: by what the origin is, which is quick to know; then by what is copied."""
        quick = operation_digest(operation, (content(parent), content(origin)))
        hit = self.cache.lookup(quick)
        if hit is not None:
            return _found(hit)
        from . import ops

        self.pin(origin)
        with ops.merged(self.engine, origin, "the stage it is copied from") as tree:
            if tree is None:
                raise InvalidInput("COPY --from: the stage it is copied from is empty")
            result = self.copy(operation, parent, tree)
        told = {"origin": content(origin)}
        self.cache.record(quick, parent, result.diff_id, operation, told, result.created_ns)
        return result

    def copy(self, operation: CopyOp, parent: Layers, tree: Tree) -> Result:
        sources = gather(operation, tree)
        for pattern in _without_match(operation, sources):
            self.report(Warning(f"COPY: no file matches {pattern}"))
        manifest = manifest_digest(operation, sources)
        key = copy_key(operation, content(parent), manifest)
        hit = self.cache.lookup(key)
        if hit is not None:
            return _found(hit)
        from . import ops

        self.pin(parent)
        diff_id = ops.copy(self.engine, operation, parent, sources)
        told = {"manifest": manifest, "files": _files(sources)}
        made = self.cache.record(key, parent, diff_id, operation, told, time.time_ns())
        return Result(made.layers, made.diff_id, made.created_ns, False)

    def pin(self, layers: Layers) -> None:
        """Before the first work on them: garbage collection must not take what we stand on."""
        missing = set(layers) - self.pinned
        if missing:
            self.engine.store.layers.pin(sorted(missing))
            self.pinned |= missing

    def output(self, stream: int, data: bytes) -> None:
        self.report(StepOutput(self.number, data, stream))


def _found(hit: Hit) -> Result:
    return Result(hit.layers, hit.diff_id, hit.created_ns, True)


def _without_match(operation: CopyOp, sources: list[SourceTree]) -> tuple[str, ...]:
    """Docker copies nothing and says nothing; the user should know."""
    return () if sources or operation.inline else operation.sources


def _files(sources: list[SourceTree]) -> dict[str, str]:
    """Paths and digests of what was copied, for explanations."""
    pairs = ((item.entry.path, item.digest[:16]) for s in sources for item in s.items)
    return dict(pair for pair, _ in zip(pairs, range(_EXPLAINED_FILES), strict=False))


@contextmanager
def _told(step: Step) -> Iterator[None]:
    """Adds the step's place and text to what went wrong in it."""
    try:
        yield
    except OnggiError as error:
        raise placed(error, step.at.line, step.text) from error
    except OSError as error:
        keyword = step.text.split(maxsplit=1)[0].upper()
        failed = InvalidInput(f"{keyword} failed: {error}")
        raise placed(failed, step.at.line, step.text) from error
