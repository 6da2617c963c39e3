"""Plans made real: every step found in the cache, or done; independent steps at once.

    lanes (stages) ── each moves on while its next step is found ── misses become work
      one piece of work and nobody busy: done here; else each in a worker process (workers)

Owns the order and what is told of it. Results do not depend on who finishes first: keys are by
content, and every layer is made from its own inputs alone.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby

from ..dockerfile.problem import placed
from ..errors import InvalidInput, OnggiError
from ..progress import Event, Report, StepFinished, StepStarted
from ..spec.digest import Digest
from ..typed import NamedTuple
from .cache import content
from .explain import StepReport
from .graph import BaseOp, Step, operation_digest
from .operate import Maker, Result, Tell, Work
from .platforms import Graph, Share
from .workers import Workers

MIN_WORKERS = 4
_MAKING = frozenset("FROM RUN COPY ADD WORKDIR".split())


class Solution(NamedTuple):
    """`results` by vertex of the plan, `reports` of its steps in their order."""

    results: Mapping[int, Result]
    reports: tuple[StepReport, ...] = ()


class Lane:
    """The steps of one stage. `held` is what is not told yet, because an earlier stage is still
    being told; `warm` whether every step so far was found, `found` whether one that made something
    was."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = deque(numbers)
        self.held: list[Event] = []
        self.warm = True
        self.found = False


class Job(NamedTuple):
    number: int
    lane: Lane
    work: Work
    reason: str


class Solver:
    def __init__(
        self,
        graph: Graph,
        maker: Maker,
        report: Report,
        *,
        fresh_stages: frozenset[str] = frozenset(),
        image_id: Callable[[int, Solution], Digest] | None = None,
        serial: bool = False,
    ) -> None:
        """`image_id` names an image, by the index of its plan, when its last step is done."""
        self.graph = graph
        self.image_id = image_id
        self.maker = maker
        self.report = report
        self.fresh_stages = fresh_stages
        self.serial = serial  # one step at a time, all in this process
        self.results: dict[int, Result] = {}
        numbered = list(enumerate(graph.steps, 1))
        self.lanes = [
            Lane([number for number, _ in group]) for _, group in groupby(numbered, key=_lane_of)
        ]
        self.counted = counted(graph.steps)
        self.owners: dict[int, int] = {}
        for number, step in numbered:
            if step.makes:
                self.owners.setdefault(step.vertex, number)
        self.waiting: dict[int, Job] = {}  # found missing, not begun
        self.began: dict[int, float] = {}  # steps at work
        self.lane = self.lanes[0]
        self.start = time.monotonic()
        self.reasons: dict[int, str] = {}
        self.reports: dict[int, StepReport] = {}

    def solve(self) -> list[Solution]:
        """Every step of every plan. Raises OnggiError with the step's line in it."""
        limit = max(MIN_WORKERS, 2 * (os.cpu_count() or 1))
        with Workers(self.maker.engine.store.close, limit) as workers:
            while True:
                for lane in self.lanes:
                    self._advance(lane, workers)
                self._tell_held()
                if not self.waiting and not workers.busy:
                    break
                if self.serial or (len(self.waiting) == 1 and not workers.busy):
                    self._do_here()
                    continue
                for vertex in list(self.waiting)[: workers.free]:
                    self._do_there(vertex, workers)
                self.results.update(workers.wait(self.report))
        for result in self.graph.results:
            self._reach(result, 0, workers)
        return [self._part(share) for share in self.graph.shares]

    def _part(self, share: Share) -> Solution:
        known = enumerate(share.vertices)
        results = {own: self.results[index] for own, index in known if index in self.results}
        numbers = range(share.first, share.last + 1)
        return Solution(results, tuple(self.reports[n] for n in numbers if n in self.reports))

    # -- moving on

    def _advance(self, lane: Lane, workers: Workers) -> None:
        self.lane = lane
        while lane.numbers:
            number = lane.numbers[0]
            step = self.graph.steps[number - 1]
            if step.config and not self._is_there(step, number, workers):
                return
            lane.numbers.popleft()
            self._finish(lane, number, step)

    def _is_there(self, step: Step, number: int, workers: Workers) -> bool:
        if step.makes and self.owners[step.vertex] == number:
            return self._reach(step.vertex, number, workers)
        if step.vertex in self.owners:  # another step's: wait for it
            return step.vertex in self.results
        return self._reach(step.vertex, number, workers)

    def _reach(self, index: int, number: int, workers: Workers) -> bool:
        """Whether the vertex is there now. If not and all it needs is, its work waits."""
        if index in self.results:
            return True
        if index in self.waiting or index in workers.busy:
            return False
        vertex = self.graph.vertices[index]
        ready = [
            i in self.results if self.owners.get(i, number) != number
            else self._reach(i, number, workers)
            for i in vertex.inputs
        ]  # fmt: skip
        if not all(ready):
            return False
        try:
            step = self.graph.steps[number - 1]
            with _told(step):
                fresh = bool(step.stage) and step.stage in self.fresh_stages
                inputs = [self.results[i] for i in vertex.inputs]
                found = self.maker.find(vertex, inputs, fresh=fresh)
        except OnggiError:
            self._begin(number, self.lane)
            raise
        if isinstance(found, Result):
            self.results[index] = found
            return True
        reason = self.maker.why(vertex, inputs, found, not self.lane.warm)
        self.waiting[index] = Job(number, self.lane, found.work, reason)
        return False

    # -- work

    def _do_here(self) -> None:
        (index, job), *_ = self.waiting.items()
        del self.waiting[index]
        self.reasons[job.number] = job.reason
        self._begin(job.number, job.lane)
        with _told(self.graph.steps[job.number - 1]):
            self.results[index] = job.work(Tell(self.report, job.number))

    def _do_there(self, index: int, workers: Workers) -> None:
        from ..engine import launch  # noqa: F401 - once, not in every worker
        from . import ops  # noqa: F401

        job = self.waiting.pop(index)
        self.reasons[job.number] = job.reason
        self._begin(job.number, job.lane)
        step = self.graph.steps[job.number - 1]

        def work(report: Report) -> Result:
            with _told(step):
                return job.work(Tell(report, job.number))

        workers.start(index, work)

    # -- telling

    def _begin(self, number: int, lane: Lane) -> None:
        """What a user sees before the first output of a step; once, also when it has two parts."""
        if number in self.began:
            return
        self._tell(lane)
        self.began[number] = time.monotonic()
        self.report(self._started(number))

    def _note(self, number: int, step: Step, cached: bool) -> None:
        """The step's row for explanations."""
        now = time.monotonic()
        began = self.began.get(number, now)
        size_bytes = 0
        if step.makes and self.results[step.vertex].diff_id:
            size_bytes = self.maker.size(self.results[step.vertex].diff_id)
        reason = "" if cached else self.reasons.get(number, "")
        self.reports[number] = StepReport(
            number, step.text, _place(step), cached, reason, began - self.start, now - began,
            size_bytes,
        )  # fmt: skip

    def _started(self, number: int) -> StepStarted:
        step, total = self.graph.steps[number - 1], len(self.graph.steps)
        place = self.counted.get(number, (0, 0))
        return StepStarted(number, total, step.text, step.stage, step.platform, place)

    def _finish(self, lane: Lane, number: int, step: Step) -> None:
        if step.makes:
            owned = self.owners[step.vertex] == number
            cached = lane.warm = self.results[step.vertex].cached or not owned
            lane.found = lane.found or cached
        else:
            cached = lane.warm and bool(step.created_by) and self._met_again(lane, step)
        self._note(number, step, cached)
        if number in self.began:
            took_s = time.monotonic() - self.began[number]
            self.report(StepFinished(number, self.short(number), cached, took_s))
            return
        lane.held += [self._started(number), StepFinished(number, self.short(number), cached)]

    def _met_again(self, lane: Lane, step: Step) -> bool:
        """Whether metadata stood on the same content in an earlier build."""
        parent = self.results.get(step.vertex)
        layers = parent.layers if parent is not None else ()
        return lane.found or self.maker.cache.meets_again(BaseOp((step.config,)), layers)

    def _tell_held(self) -> None:
        """In the order of the file, as far as it goes without waiting."""
        for lane in self.lanes:
            self._tell(lane)
            if lane.numbers:
                break

    def _tell(self, lane: Lane) -> None:
        held, lane.held = lane.held, []
        for event in held:
            self.report(event)

    def short(self, number: int) -> str:
        """12 characters that name the image so far; after the last step its real id."""
        for index, share in enumerate(self.graph.shares):
            if number == share.last and self.image_id is not None:
                return self.image_id(index, self._part(share)).short
        step = self.graph.steps[number - 1]
        result = self.results.get(step.vertex)
        parent = content(result.layers) if result is not None else ""
        return operation_digest(BaseOp((step.config,)), (parent,))[:12]


def _lane_of(numbered: tuple[int, Step]) -> tuple[str, str]:
    return numbered[1].platform, numbered[1].stage


def _place(step: Step) -> str:
    return " ".join(filter(None, (step.platform, step.stage)))


def counted(steps: tuple[Step, ...]) -> dict[int, tuple[int, int]]:
    """By the number of a step that makes something: which of its stage's it is, and how many."""
    found: dict[int, tuple[int, int]] = {}
    for _, group in groupby(enumerate(steps, 1), key=_lane_of):
        making = [n for n, step in group if step.text.split(maxsplit=1)[0].upper() in _MAKING]
        found |= {number: (place, len(making)) for place, number in enumerate(making, 1)}
    return found


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
