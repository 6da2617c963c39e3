"""`build --call=outline` and `targets`: what a Dockerfile can be asked for. Pure.

A description is the comment right above a stage or argument that begins with its name.
"""

from collections.abc import Iterable, Iterator

from ..dockerfile import instructions as df
from ..dockerfile import runmount
from ..dockerfile.parser import Source
from ..typed import NamedTuple
from .graph_select import Selection


class Target(NamedTuple):
    """A stage that can be built; the last one is the default."""

    name: str
    description: str
    base: str
    platform: str
    default: bool


class Argument(NamedTuple):
    name: str
    value: str
    description: str


class Loan(NamedTuple):
    """A secret or an agent that a RUN asks for."""

    name: str
    required: bool


class Outline(NamedTuple):
    """What one target takes."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Loan, ...]
    agents: tuple[Loan, ...]


def targets(file: df.Dockerfile) -> list[Target]:
    """All stages in the order of the file."""
    last = len(file.stages) - 1
    return [
        Target(
            stage.base.name, description(stage.base.at, [stage.base.name]), stage.base.image,
            stage.base.platform, index == last,
        )
        for index, stage in enumerate(file.stages)
    ]  # fmt: skip


def outline(file: df.Dockerfile, selection: Selection, given: dict[str, str]) -> Outline:
    """Of the target that was selected; `given` are the build arguments."""
    base = file.stages[selection.target].base
    arguments: dict[str, Argument] = {}
    for line in _arguments(file, selection):
        for name, default in line.pairs:
            known = arguments.get(name, Argument(name, "", ""))
            value = given.get(name, default if default is not None else known.value)
            told = description(line.at, [name]) or known.description
            arguments[name] = Argument(name, value, told)
    mounts = list(_mounts(file, selection))
    return Outline(
        base.name,
        description(base.at, [base.name]),
        tuple(arguments.values()),
        _loans(mounts, "secret"),
        _loans(mounts, "ssh"),
    )


def _arguments(file: df.Dockerfile, selection: Selection) -> Iterator[df.Arg]:
    yield from file.arguments
    for index in selection.needed:
        for item in file.stages[index].instructions:
            if isinstance(item, df.Arg):
                yield item


def _mounts(file: df.Dockerfile, selection: Selection) -> Iterator[runmount.Mount]:
    for index in selection.needed:
        for item in file.stages[index].instructions:
            if isinstance(item, df.Run):
                for text in item.mounts:
                    yield runmount.parse_mount(text, lambda value: value)


def _loans(mounts: Iterable[runmount.Mount], kind: str) -> tuple[Loan, ...]:
    found: dict[str, bool] = {}
    for mount in mounts:
        if mount.kind == kind:
            found[mount.id] = found.get(mount.id, False) or mount.required
    return tuple(Loan(name, required) for name, required in found.items())


def description(at: Source, names: list[str]) -> str:
    for name in filter(None, names):
        for comment in at.comments:
            if comment.startswith(f"{name} "):
                return comment[len(name) + 1 :]
    return ""
