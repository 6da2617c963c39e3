"""BuildKit's lint rules, with its names and words: what is legal and probably wrong. Pure."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from ..dockerfile import instructions as df
from ..dockerfile.ignore import IgnoreRules
from ..dockerfile.lexer import Check, parse_check
from ..dockerfile.parser import Source
from ..dockerfile.spelling import nearest
from ..errors import InvalidInput
from ..spec.platform import Platform, parse_platform
from ..typed import NamedTuple

RULES = (
    "StageNameCasing FromAsCasing NoEmptyContinuation ConsistentInstructionCasing "
    "ReservedStageName JSONArgsRecommended MaintainerDeprecated UndefinedArgInFrom "
    "WorkdirRelativePath UndefinedVar MultipleInstructionsDisallowed LegacyKeyValueFormat "
    "RedundantTargetPlatform SecretsUsedInArgOrEnv InvalidDefaultArgInFrom "
    "FromPlatformFlagConstDisallowed ExposeProtoCasing ExposeInvalidFormat "
    "DuplicateStageName InvalidBaseImagePlatform CopyIgnoredFile InvalidDefinitionDescription"
).split()
EXPERIMENTAL = ("invaliddefinitiondescription",)  # as with BuildKit: when asked
_RESERVED = ("context", "scratch")
_VARIABLE = re.compile(r"\\.|\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.ASCII | re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.ASCII | re.IGNORECASE)


class Finding(NamedTuple):
    rule: str
    message: str
    line: int
    text: str = ""
    check: Check = Check()  # of the comments above the line

    def __str__(self) -> str:
        return f"{self.rule}: {self.message} (line {self.line})"


def kept(findings: Iterable[Finding], check: Check) -> tuple[Finding, ...]:
    """Those that neither the file's `# check=` directive skips nor one in a comment above the
    instruction, each once, by line."""
    unique = dict.fromkeys(f for f in findings if _is_on(f.rule.lower(), f.check, check))
    return tuple(sorted(unique, key=lambda finding: finding.line))


def _is_on(rule: str, own: Check, whole: Check) -> bool:
    if rule in EXPERIMENTAL:
        return bool({"all", rule} & (own.experimental | whole.experimental))
    return not {"all", rule} & (own.skip | whole.skip)


def _check_above(comments: Iterable[str]) -> Check:
    """`# check=skip=…` among the comments above one instruction."""
    for comment in comments:
        name, _, value = comment.partition("=")
        if name.strip().lower() == "check":
            return parse_check(value.strip().partition(" ")[0])[0]
    return Check()


def lint(file: df.Dockerfile) -> Iterator[Finding]:
    """What the text alone shows."""
    for line in file.empty_continuations:
        yield Finding("NoEmptyContinuation", "Empty continuation line", line)
    yield from _casing(file)
    yield from _duplicates(file)
    for arg in file.arguments:
        yield from _described("ARG", [name for name, _ in arg.pairs], arg.at)
    for stage in file.stages:
        yield from _from(file, stage.base)
        yield from _once(stage)
        for item in stage.instructions:
            yield from _instruction(item)


def _duplicates(file: df.Dockerfile) -> Iterator[Finding]:
    """A later stage of the same name hides the earlier one."""
    seen: set[str] = set()
    for stage in file.stages:
        name = stage.base.name
        if name and name in seen:
            message = f'Duplicate stage name "{name}", stage names should be unique'
            yield _at("DuplicateStageName", message, stage.base.at)
        seen.add(name)


def _described(keyword: str, names: list[str], at: Source) -> Iterator[Finding]:
    """The comment right above a stage or argument is its description, and begins with its name."""
    if not at.comments or not names or at.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    message = f"Comment for {keyword} should follow the format: `# {example} <description>`"
    yield _at("InvalidDefinitionDescription", message, at)


def _casing(file: df.Dockerfile) -> Iterator[Finding]:
    places: list[Source] = []
    for stage in file.stages:
        places += [stage.base.at, *(item.at for item in stage.instructions)]
    words = [at.text.split(maxsplit=1)[0] for at in places]
    upper = sum(word.isupper() for word in words)
    lower = sum(word.islower() for word in words)
    majority = "uppercase" if upper >= lower else "lowercase"
    for word, at in zip(words, places, strict=True):
        fits = word.isupper() if majority == "uppercase" else word.islower()
        if not fits:
            message = f"Command '{word}' should match the case of the command majority ({majority})"
            yield _at("ConsistentInstructionCasing", message, at)


def _from(file: df.Dockerfile, base: df.From) -> Iterator[Finding]:
    at = base.at
    words = at.text.split()
    yield from _described("FROM", [base.name] if base.name else [], at)
    if base.name:
        name, word = words[-1], words[-2]
        if name != name.lower():
            yield _at("StageNameCasing", f"Stage name '{name}' should be lowercase", at)
        if word.isupper() != words[0].isupper():
            message = f"'{word}' and '{words[0]}' keywords' casing do not match"
            yield _at("FromAsCasing", message, at)
        if base.name in _RESERVED:
            message = f'Stage name should not use the same name as reserved stage "{base.name}"'
            yield _at("ReservedStageName", message, at)
    declared = {name: default for arg in file.arguments for name, default in arg.pairs}
    for name in references(base.image):
        if name not in declared and not name.startswith(("TARGET", "BUILD")):
            guess = nearest(name, declared)
            more = f" (did you mean {guess}?)" if guess else ""
            message = f"FROM argument '{name}' is not declared{more}"
            yield _at("UndefinedArgInFrom", message, at)
        elif declared.get(name, "") is None and base.image in (f"${name}", f"${{{name}}}"):
            value = (
                f"Default value for ARG {base.image} results in empty or invalid base image name"
            )
            yield _at("InvalidDefaultArgInFrom", value, at)
    if base.platform:
        used = references(base.platform)
        if not used and not _names_platform(base):
            message = f'FROM --platform flag should not use constant value "{base.platform}"'
            yield _at("FromPlatformFlagConstDisallowed", message, at)
        elif used == ["TARGETPLATFORM"]:
            message = f"Setting platform to predefined {base.platform} in FROM is redundant as "
            message += "this is the default behavior"
            yield _at("RedundantTargetPlatform", message, at)


def _names_platform(base: df.From) -> bool:
    """Whether the stage's name says that it is for one platform."""
    try:
        platform = parse_platform(base.platform)
    except InvalidInput:
        return True  # an error of its own
    return platform.os in base.name or platform.architecture in base.name


def _once(stage: df.Stage) -> Iterator[Finding]:
    """CMD, ENTRYPOINT and HEALTHCHECK count once a stage: all but the last are told."""
    seen: dict[str, list[Source]] = {}
    for item in stage.instructions:
        if isinstance(item, df.Command) and item.keyword != "SHELL":
            seen.setdefault(item.keyword, []).append(item.at)
        elif isinstance(item, df.Health):
            seen.setdefault("HEALTHCHECK", []).append(item.at)
    for keyword, places in seen.items():
        for at in places[:-1]:
            yield _at(
                "MultipleInstructionsDisallowed",
                f"Multiple {keyword} instructions should not be used in the same stage because "
                "only the last one will be used",
                at,
            )


def _instruction(item: df.Instruction) -> Iterator[Finding]:
    at = item.at
    if isinstance(item, df.Value) and item.keyword == "MAINTAINER":
        message = "Maintainer instruction is deprecated in favor of using label"
        yield _at("MaintainerDeprecated", message, at)
    if isinstance(item, (df.Env, df.Label)) and item.legacy:
        word = "ENV" if isinstance(item, df.Env) else "LABEL"
        message = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
        yield _at("LegacyKeyValueFormat", message, at)
    if isinstance(item, df.Arg):
        yield from _described("ARG", [name for name, _ in item.pairs], at)
    if isinstance(item, (df.Env, df.Arg)):
        word = "ENV" if isinstance(item, df.Env) else "ARG"
        for name, _ in item.pairs:
            if _SECRET.search(name) and not _PUBLIC.search(name):
                message = f'Do not use ARG or ENV instructions for sensitive data ({word} "{name}")'
                yield _at("SecretsUsedInArgOrEnv", message, at)
    if isinstance(item, df.Values) and item.keyword == "EXPOSE":
        yield from _expose(item)


def _expose(item: df.Values) -> Iterator[Finding]:
    for value in item.values:
        port, slash, protocol = value.partition("/")
        if slash and protocol != protocol.lower():
            message = f"Defined protocol '{value}' in EXPOSE instruction should be lowercase"
            yield _at("ExposeProtoCasing", message, item.at)
        if ":" in port:
            message = "EXPOSE instruction should not define an IP address or host-port mapping, "
            yield _at("ExposeInvalidFormat", f"{message}found '{value}'", item.at)


def other_platform(name: str, has: Platform, wanted: Platform, at: Source) -> Iterator[Finding]:
    """A base image that is not for the platform of the build."""
    if not has.matches(wanted):
        message = f'Base image {name} was pulled with platform "{has}", expected "{wanted}"'
        yield _at("InvalidBaseImagePlatform", f"{message} for current build", at)


def shell_form(item: df.Command, shell: tuple[str, ...]) -> Iterator[Finding]:
    """CMD and ENTRYPOINT as text; whoever sets a SHELL means it."""
    if item.shell and not shell:
        message = f"JSON arguments recommended for {item.keyword} to prevent unintended behavior "
        yield _at("JSONArgsRecommended", message + "related to OS signals", item.at)


def ignored_file(keyword: str, source: str, rules: IgnoreRules, at: Source) -> Iterator[Finding]:
    """A source that .dockerignore excludes. With exceptions in it nothing is sure."""
    path = posixpath.normpath("/" + source).strip("/")
    if rules.has_negation:
        return
    if path:
        excluded = rules.why(path) is not None
    else:  # the context itself
        excluded = any(rule.text in ("*", "**", "**/*") for rule in rules.rules)
    if excluded:
        shown = posixpath.normpath(source)
        message = f'Attempting to {keyword.capitalize()} file "{shown}" that is excluded by '
        yield _at("CopyIgnoredFile", message + ".dockerignore", at)


def relative_workdir(path: str, before: str, at: Source) -> Iterator[Finding]:
    """WORKDIR with a relative path in a stage that has not set an absolute one."""
    if not posixpath.isabs(path) and not before:
        message = f'Relative workdir "{path}" can have unexpected results if the base image changes'
        yield _at("WorkdirRelativePath", message, at)


def undefined(text: str, variables: Mapping[str, str], at: Source) -> Iterator[Finding]:
    """Plain uses of variables that are nowhere set."""
    for name in references(text):
        if name not in variables:
            guess = nearest(name, variables)
            more = f" (did you mean ${guess}?)" if guess else ""
            yield _at("UndefinedVar", f"Usage of undefined variable '${name}'{more}", at)


def references(text: str) -> list[str]:
    """Names used as $x or ${x}; those with a default after them are meant to be missing."""
    return [a or b for a, b in _VARIABLE.findall(text) if a or b]


def _at(rule: str, message: str, at: Source) -> Finding:
    return Finding(rule, message, at.line, at.text, _check_above(at.comments))
