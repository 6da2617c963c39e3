"""Which stages a target needs, and which images they start from or copy from. Pure.

Owns the scopes of names: a stage by name or number, an image otherwise, `scratch`.
"""

from collections.abc import Iterable, Mapping

from ..dockerfile import runmount
from ..dockerfile.expand import ExpansionError, expand
from ..dockerfile.instructions import Arg, Copy, Dockerfile, Instruction, Run, Stage, Value
from ..dockerfile.parser import Source
from ..dockerfile.problem import at_line
from ..dockerfile.spelling import nearest
from ..errors import InvalidInput
from ..spec.platform import Platform, parse_platform
from ..spec.reference import parse_reference
from ..typed import NamedTuple

SCRATCH = "scratch"


class ImageWanted(NamedTuple):
    """An image by the name in the file; `at` is where it is named."""

    reference: str
    platform: Platform
    at: Source


class StageBase(NamedTuple):
    """Exactly one of: another stage (its index), an image, a named context, nothing (scratch)."""

    stage: int | None
    image: ImageWanted | None
    platform: Platform
    context: str = ""


class Selection(NamedTuple):
    """`needed` in file order; `bases` of those; `images` every image wanted, each once;
    `globals` the variables of FROM lines."""

    target: int
    needed: tuple[int, ...]
    bases: dict[int, StageBase]
    images: tuple[ImageWanted, ...]
    globals: dict[str, str]


class Arguments(NamedTuple):
    """What the user gave that names and platforms depend on."""

    build_args: Mapping[str, str]
    target: str
    platform: Platform  # of the result
    build_platform: Platform
    contexts: tuple[str, ...] = ()  # names of the named contexts that are files
    images: Mapping[str, str] = {}  # named contexts that are images
    all_stages: bool = False  # every stage is needed, for the lint rules


Triggers = Mapping[int, tuple[Instruction, ...]]


def predefined(arguments: Arguments, target: str) -> dict[str, str]:
    """BUILD* and TARGET*, as an `ARG` line without default sees them."""
    values = {"TARGETSTAGE": target or "default"}
    platforms = (("BUILD", arguments.build_platform), ("TARGET", arguments.platform))
    for prefix, platform in platforms:
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
        values[f"{prefix}OSVERSION"] = ""
    return {name: arguments.build_args.get(name, value) for name, value in values.items()}


def global_arguments(file: Dockerfile, arguments: Arguments, target: str) -> dict[str, str]:
    """The variables FROM may use, in the order of the ARG lines before it."""
    values = predefined(arguments, target)
    for line in file.arguments:
        for name, default in line.pairs:
            if name in arguments.build_args:
                values[name] = arguments.build_args[name]
            elif default is not None:
                values[name] = expanded(default, values, file.escape, line.at)
    return values


def expanded(text: str, variables: Mapping[str, str], escape: str, at: Source) -> str:
    """`expand`, with the line in the error."""
    try:
        return expand(text, variables, escape)
    except ExpansionError as error:
        raise at_line(error.message, at.line, at.text, near=text) from error


def select(file: Dockerfile, arguments: Arguments, triggers: Triggers) -> Selection:
    """`triggers` are the ONBUILD instructions found in base images so far, by stage. Raises
    InvalidInput."""
    target = _target(file.stages, arguments.target)
    name = file.stages[target].base.name
    values = global_arguments(file, arguments, name)
    names: dict[str, int] = {}
    bases: dict[int, StageBase] = {}
    for index, stage in enumerate(file.stages):
        bases[index] = _base(stage, names, values, file.escape, arguments)
        if stage.base.name:
            names[stage.base.name] = index
    origins = {
        index: [
            origin_of(name, item.at, index, names, len(file.stages), arguments)
            for item in (*triggers.get(index, ()), *stage.instructions)
            for name in _origin_names(item)
        ]
        for index, stage in enumerate(file.stages)
    }
    targets = range(len(file.stages)) if arguments.all_stages else (target,)
    needed = _reach(targets, bases, origins)
    wanted = {base.image: None for i in needed if (base := bases[i]).image is not None}
    for index in needed:
        for origin in origins[index]:
            if isinstance(origin, ImageWanted):
                wanted[origin] = None
    images = tuple(image for image in wanted if image is not None)
    return Selection(target, needed, {i: bases[i] for i in needed}, images, values)


def _target(stages: tuple[Stage, ...], target: str) -> int:
    if not target:
        return len(stages) - 1
    names = {stage.base.name: index for index, stage in enumerate(stages) if stage.base.name}
    if target.lower() in names:
        return names[target.lower()]
    if target.isascii() and target.isdigit() and int(target[:6]) < len(stages):
        return int(target)
    guess = nearest(target, names)
    raise InvalidInput(
        f'target stage "{target}" could not be found',
        hint=f"did you mean {guess}" if guess else None,
    )


def context_name(text: str) -> str:
    """A named context's name, or an image's where one stands for it: app, app:latest and
    docker.io/library/app are the same."""
    try:
        return parse_reference(text).familiar.removesuffix(":latest")
    except InvalidInput:
        return text


def _base(
    stage: Stage,
    names: Mapping[str, int],
    values: Mapping[str, str],
    escape: str,
    arguments: Arguments,
) -> StageBase:
    line = stage.base
    image = expanded(line.image, values, escape, line.at)
    if not image:
        raise at_line(
            f"base name ({line.image}) should not be blank", line.at.line, line.at.text,
            near=line.image, hint="give the ARG a default before FROM, or pass --build-arg",
        )  # fmt: skip
    platform = arguments.platform
    if line.platform:
        text = expanded(line.platform, values, escape, line.at)
        try:
            platform = parse_platform(text)
        except InvalidInput as error:
            raise at_line(error.message, line.at.line, line.at.text) from error
    named = context_name(image)
    if named in arguments.contexts:
        return StageBase(None, None, platform, named)
    if named in arguments.images:
        return StageBase(None, ImageWanted(arguments.images[named], platform, line.at), platform)
    if image in names:
        return StageBase(names[image], None, platform)
    if image == SCRATCH:
        return StageBase(None, None, platform)
    return StageBase(None, ImageWanted(image, platform, line.at), platform)


def _origin_names(item: Instruction) -> list[str]:
    """The names after --from= and, in a --mount, from=."""
    if isinstance(item, Copy):
        return [item.stage] if item.stage else []
    if not isinstance(item, Run):
        return []
    try:
        return [name for text in item.mounts if (name := runmount.origin_of(text))]
    except InvalidInput as error:
        raise at_line(error.message, item.at.line, item.at.text, hint=error.hint) from error


def origin_of(
    name: str, at: Source, stage: int, names: Mapping[str, int], count: int, arguments: Arguments
) -> int | str | ImageWanted:
    """What `--from` means: a stage's index, a named context, or an image. A stage wins over an
    image of the same name."""
    if "$" in name:
        raise at_line(
            "variable expansion is not supported for --from, define a new stage with FROM using "
            "ARG from global scope as a workaround", at.line, at.text, near=name,
        )  # fmt: skip
    named = context_name(name)
    if named in arguments.contexts:
        return named
    if named in arguments.images:
        return ImageWanted(arguments.images[named], arguments.platform, at)
    index = names.get(name.lower())
    if index is None and name.isascii() and name.isdigit():
        index = int(name[:6])
        if index >= count:
            raise at_line(f"invalid stage index {name[:20]}", at.line, at.text, near=name)
    if index is None:
        return ImageWanted(name, arguments.platform, at)
    if index >= stage:
        where = "itself" if index == stage else "a later stage"
        raise at_line(
            f'cannot copy from stage "{name}", it needs to be defined before the current stage: '
            f"it is {where}", at.line, at.text, near=name,
        )  # fmt: skip
    return index


def _reach(
    targets: Iterable[int],
    bases: Mapping[int, StageBase],
    origins: Mapping[int, list[int | str | ImageWanted]],
) -> tuple[int, ...]:
    """Every edge leads to an earlier stage, so there is no cycle."""
    found: set[int] = set()
    pending = list(targets)
    while pending:
        index = pending.pop()
        if index in found:
            continue
        found.add(index)
        base = bases[index].stage
        pending += [base] if base is not None else []
        pending += [origin for origin in origins[index] if isinstance(origin, int)]
    return tuple(sorted(found))


def stage_triggers(stage: Stage) -> tuple[str, ...]:
    """The ONBUILD lines of a stage, for a later `FROM` of it."""
    return tuple(
        item.value
        for item in stage.instructions
        if isinstance(item, Value) and item.keyword == "ONBUILD"
    )


def declared_arguments(file: Dockerfile, triggers: Triggers) -> set[str]:
    """Every name an ARG declares anywhere: a --build-arg of another name is not consumed."""
    lines: list[Arg] = list(file.arguments)
    for index, stage in enumerate(file.stages):
        body = (*triggers.get(index, ()), *stage.instructions)
        lines += [item for item in body if isinstance(item, Arg)]
    return {name for line in lines for name, _ in line.pairs}
