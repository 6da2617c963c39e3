"""The plans of several platforms as one graph: what they share is made once, the rest beside each
other. Pure.

FROM --platform=$BUILDPLATFORM …   the same vertices in every plan
everything else                    vertices of its own, in lanes of their own
"""

from collections.abc import Mapping

from ..spec.platform import Platform
from ..typed import NamedTuple
from .graph import Plan, Step, Vertex


class Share(NamedTuple):
    """One plan's part of a graph: where its vertices are, and the numbers of its steps, from 1."""

    vertices: tuple[int, ...]
    first: int
    last: int


class Graph(NamedTuple):
    """What a solver solves. `results` are the vertices that are wanted, one for each plan."""

    vertices: tuple[Vertex, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]
    shares: tuple[Share, ...]


def joined(plans: Mapping[Platform, Plan]) -> Graph:
    """Steps come plan after plan; of several, each names its platform."""
    vertices: dict[str, int] = {}
    rows: list[Vertex] = []
    steps: list[Step] = []
    shares: list[Share] = []
    for platform, plan in plans.items():
        own: list[int] = []
        for vertex in plan.vertices:
            if vertex.digest not in vertices:
                vertices[vertex.digest] = len(rows)
                rows.append(vertex._replace(inputs=tuple(own[i] for i in vertex.inputs)))
            own.append(vertices[vertex.digest])
        label = str(platform) if len(plans) > 1 else ""
        shares.append(Share(tuple(own), len(steps) + 1, len(steps) + len(plan.steps)))
        steps += [step._replace(vertex=own[step.vertex], platform=label) for step in plan.steps]
    results = tuple(
        share.vertices[plan.result] for share, plan in zip(shares, plans.values(), strict=True)
    )
    return Graph(tuple(rows), tuple(steps), results, tuple(shares))
