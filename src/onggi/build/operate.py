"""One vertex: found in the cache, or the work that makes it.

Finding is quick and done by the builder itself; the work may be done by a worker process. Keys are
by content, so it does not matter who did it.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..engine.engine import Engine
from ..errors import CacheVanished, CommandFailed, InvalidInput, NotFound
from ..linux import binfmt
from ..progress import Message, Report, StepFailed, StepOutput, Warning
from ..spec.container import HostOptions
from ..spec.digest import Digest
from ..spec.platform import parse_platform
from ..typed import Any, NamedTuple
from . import explain
from .cache import Cache, Hit, Layers, content, copy_key
from .context import Tree
from .graph import (
    BaseOp,
    CopyOp,
    GitOp,
    MergeOp,
    RunOp,
    UrlOp,
    Vertex,
    WorkdirOp,
    operation_digest,
    plain_fields,
)
from .loans import Loans
from .sources import SourceTree, gather, manifest_digest

_EXPLAINED_FILES = 2000  # of a COPY, kept with its record
OpenContext = Callable[[str], AbstractContextManager[Tree]]


class Result(NamedTuple):
    """A vertex that is there. `cached`: nothing had to be done. `keys` are the cache's names of
    it, for those who export it."""

    layers: Layers
    diff_id: str
    created_ns: int
    cached: bool
    keys: tuple[str, ...] = ()


class Tell:
    """What a step says while it is made."""

    def __init__(self, report: Report, number: int) -> None:
        self._report = report
        self._number = number

    def output(self, stream: int, data: bytes) -> None:
        self._report(StepOutput(self._number, data, stream))

    def failed(self, status: int, command: str) -> None:
        self._report(StepFailed(self._number, status, command))

    def waits(self, cache: str) -> None:
        self._report(Message(f"waiting for the cache {cache}: another build has it"))


Work = Callable[[Tell], Result]


class Missing(NamedTuple):
    """What must be done, and why: `told` are the inputs beside the parent, for people."""

    work: Work
    told: dict[str, Any] = {}  # noqa: RUF012 - never mutated


class FailedRun(NamedTuple):
    """A RUN that failed, the layers with all it had written, what its --mount came from."""

    operation: RunOp
    layers: Layers
    origins: tuple[Layers, ...]
    limits: HostOptions


class Maker:
    def __init__(
        self, engine: Engine, cache: Cache, contexts: OpenContext, loans: Loans, report: Report
    ) -> None:
        self.engine = engine
        self.cache = cache
        self.contexts = contexts
        self.loans = loans
        self.report = report
        self.pinned: set[Digest] = set()
        self.keeps_failed = False
        self.failed: FailedRun | None = None

    def find(
        self, vertex: Vertex, inputs: list[Result], *, fresh: bool = False
    ) -> Result | Missing:
        """The result when it costs nothing, else what must be done; `fresh`: do it anyway."""
        self.cache.skips = fresh
        operation = vertex.operation
        if isinstance(operation, BaseOp):
            layers = tuple(Digest.parse(layer) for layer in operation.diff_ids)
            return Result(layers, "", 0, True)
        parent = inputs[0].layers
        if isinstance(operation, MergeOp):
            return inputs[1]._replace(layers=(*parent, *inputs[1].layers), keys=())
        if isinstance(operation, (UrlOp, GitOp)):
            return Missing(lambda tell: self._remote(operation))
        if isinstance(operation, CopyOp):
            if operation.origin:
                with self.contexts(operation.origin) as tree:
                    return self._copy(operation, parent, tree)
            return self._copy_from(operation, parent, inputs[1].layers)
        return self._find_command(operation, inputs)

    def why(self, vertex: Vertex, inputs: list[Result], missing: Missing, after: bool) -> str:
        """The reason for doing a vertex again; `after` a step before it was."""
        if self.cache.fresh or self.cache.skips:
            return "--no-cache"
        if isinstance(vertex.operation, (UrlOp, GitOp)):
            return "the web is asked each time"
        fields = plain_fields(vertex.operation)
        parent = content(inputs[0].layers)
        missed = explain.Missed(fields, parent, missing.told)
        records = self.cache.records(vertex.operation, parent)
        return explain.why(missed, records, after_change=after)

    def _find_command(self, operation: RunOp | WorkdirOp, inputs: list[Result]) -> Result | Missing:
        contents = tuple(content(made.layers) for made in inputs)
        if isinstance(operation, RunOp):
            self._limits(operation)  # what is not allowed is not found either
        told = {"origin": list(contents[1:])} if contents[1:] else {}
        key = operation_digest(operation, contents)
        hit = self.cache.lookup(key)
        if hit is not None:
            return _found(hit)

        def work(tell: Tell) -> Result:
            from . import ops  # what a build from the cache need not load

            parent = inputs[0].layers
            self.pin(parent)
            if isinstance(operation, WorkdirOp):
                diff_id = ops.workdir(self.engine, operation, parent)
            else:
                diff_id = self._run(operation, inputs, tell)
            made = self.cache.record(key, parent, diff_id or "", operation, told, time.time_ns())
            self.pinned.update(made.layers)  # what a process has made is its own for now
            return Result(made.layers, made.diff_id, made.created_ns, False, (key,))

        return Missing(work, told)

    def _run(self, operation: RunOp, inputs: list[Result], tell: Tell) -> Digest:
        from . import ops, runmounts

        binfmt.require(parse_platform(operation.platform or "linux").architecture)
        parent, *origins = (made.layers for made in inputs)
        for layers in origins:
            self.pin(layers)
        mounts = runmounts.RunMounts(self.engine, self.loans, tell.waits)
        with mounts.lent(operation.lent, tuple(origins), self.loans.proxies) as lent:
            limits = self._limits(operation)
            keep = None
            if self.keeps_failed:
                keep = self._keep(FailedRun(operation, parent, tuple(origins), limits))
            try:
                return ops.run(self.engine, operation, parent, lent, limits, tell.output, keep)
            except CommandFailed as error:
                tell.failed(error.status, " ".join(operation.args))
                raise

    def _limits(self, operation: RunOp) -> HostOptions:
        """With the devices that it asks for."""
        if not operation.devices:
            return self.loans.limits
        from . import devices

        names = devices.granted(operation.devices, self.loans.allowed, self.report)
        return self.loans.limits._replace(cdi_devices=names)

    def _keep(self, run: FailedRun) -> Callable[[str], None]:
        def failed(upper: str) -> None:
            made = self.engine.store.layers.commit(upper)
            self.failed = run._replace(layers=(*run.layers, made.diff_id))

        return failed

    def _remote(self, operation: UrlOp | GitOp) -> Result:
        from . import remote

        found = remote.Remote(self.engine, self.cache, self.loans)
        hit, cached = found.url(operation) if isinstance(operation, UrlOp) else found.git(operation)
        return Result(hit.layers, hit.diff_id, hit.created_ns, cached, (hit.key,))

    def _copy_from(self, operation: CopyOp, parent: Layers, origin: Layers) -> Result | Missing:
        """COPY --from: by what the origin is, which is quick to know; then by what is copied."""
        quick = operation_digest(operation, (content(parent), content(origin)))
        told = {"origin": content(origin)}
        hit = self.cache.lookup(quick)
        if hit is not None:
            return _found(hit)
        skips = self.cache.skips

        def work(tell: Tell) -> Result:
            from . import ops

            self.cache.skips = skips
            self.pin(origin)
            with ops.merged(self.engine, origin, "the stage it is copied from") as tree:
                if tree is None:
                    raise InvalidInput("COPY --from: the stage it is copied from is empty")
                found = self._copy(operation, parent, tree)
                result = found if isinstance(found, Result) else found.work(tell)
            self.cache.record(quick, parent, result.diff_id, operation, told, result.created_ns)
            return result._replace(keys=(quick, *result.keys))

        return Missing(work, told)

    def _copy(self, operation: CopyOp, parent: Layers, tree: Tree) -> Result | Missing:
        sources = gather(operation, tree)
        for pattern in _without_match(operation, sources):
            self.report(Warning(f"COPY: no file matches {pattern}"))
        manifest = manifest_digest(operation, sources)
        key = copy_key(operation, content(parent), manifest)
        hit = self.cache.lookup(key)
        if hit is not None:
            return _found(hit)
        told = {"manifest": manifest, "files": _files(sources)}

        def work(tell: Tell) -> Result:
            from . import ops

            self.pin(parent)
            diff_id = ops.copy(self.engine, operation, parent, sources)
            made = self.cache.record(key, parent, diff_id, operation, told, time.time_ns())
            self.pinned.update(made.layers)
            return Result(made.layers, made.diff_id, made.created_ns, False, (key,))

        return Missing(work, told)

    def size(self, diff_id: str) -> int:
        """Bytes of a layer; 0 of one that is only in a cache elsewhere."""
        try:
            return self.engine.store.layers.size(Digest(diff_id))
        except NotFound:
            return 0

    def pin(self, layers: Layers) -> None:
        """Before the first work on them: garbage collection must not take what we stand on. Raises
        CacheVanished when it has."""
        missing = set(layers) - self.pinned
        if missing:
            present = self.engine.store.layers.pin(sorted(missing))
            self.pinned |= missing
            if self.cache.imports is not None:
                self.cache.ensure(layers)
            elif not present >= missing:
                raise CacheVanished(f"layer {min(missing - present)} was pruned meanwhile")


def _found(hit: Hit) -> Result:
    return Result(hit.layers, hit.diff_id, hit.created_ns, True, (hit.key,))


def _without_match(operation: CopyOp, sources: list[SourceTree]) -> tuple[str, ...]:
    """Docker copies nothing and says nothing; the user should know."""
    return () if sources or operation.inline else operation.sources


def _files(sources: list[SourceTree]) -> dict[str, str]:
    """Paths and digests of what was copied, for explanations."""
    pairs = ((item.entry.path, item.digest[:16]) for s in sources for item in s.items)
    return dict(pair for pair, _ in zip(pairs, range(_EXPLAINED_FILES), strict=False))
