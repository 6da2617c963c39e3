"""BuildKit's lint rules: each with a file that it speaks of, and one that it does not."""

import pytest

from onggi.build.graph_lint import RULES, Finding, other_platform
from onggi.dockerfile.ignore import parse
from onggi.dockerfile.parser import Source
from onggi.spec.platform import Platform

from .test_graph import make

EXPERIMENTAL = "# check=experimental=all"
TABLE = [
    ("StageNameCasing", "FROM a AS Base", "FROM a AS base", "'Base' should be lowercase"),
    ("FromAsCasing", "FROM a as b", "FROM a AS b", "'as' and 'FROM' keywords' casing do not match"),
    ("NoEmptyContinuation", "FROM a\nRUN x \\\n\n y", "FROM a\nRUN x \\\n y", "Empty continuation"),
    (
        "ConsistentInstructionCasing", "FROM a\nRUN x\nrun y", "from a\nrun x",
        "Command 'run' should match the case of the command majority (uppercase)",
    ),
    ("ReservedStageName", "FROM a AS context", "FROM a AS ctx", 'reserved stage "context"'),
    ("JSONArgsRecommended", "FROM a\nCMD x", 'FROM a\nCMD ["x"]', "recommended for CMD"),
    ("MaintainerDeprecated", "FROM a\nMAINTAINER me", "FROM a\nLABEL a=b", "deprecated"),
    (
        "UndefinedArgInFrom", "ARG BASE=a\nFROM a:x$BASF", "ARG BASE=a\nFROM $BASE",
        "FROM argument 'BASF' is not declared (did you mean BASE?)",
    ),
    (
        "WorkdirRelativePath", "FROM a\nWORKDIR x", "FROM a\nWORKDIR /x\nWORKDIR y",
        'Relative workdir "x" can have unexpected results',
    ),
    (
        "UndefinedVar", "FROM a\nENV NAME=x\nCOPY f /$NAM", "FROM a\nCOPY f /${NAM:-x}$LANG",
        "Usage of undefined variable '$NAM' (did you mean $NAME?)",
    ),
    (
        "MultipleInstructionsDisallowed", 'FROM a\nCMD ["a"]\nCMD ["b"]', 'FROM a\nCMD ["a"]',
        "Multiple CMD instructions",
    ),
    ("LegacyKeyValueFormat", "FROM a\nENV A b", "FROM a\nENV A=b", '"ENV key=value"'),
    (
        "RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a",
        "FROM --platform=$BUILDPLATFORM a", "is redundant",
    ),
    (
        "SecretsUsedInArgOrEnv", "FROM a\nENV DB_PASSWORD=x", "FROM a\nENV PUBLIC_KEY=x KEYBOARD=x",
        'sensitive data (ENV "DB_PASSWORD")',
    ),
    (
        "FromPlatformFlagConstDisallowed", "FROM --platform=linux/amd64 a",
        "FROM --platform=$BUILDPLATFORM a", 'constant value "linux/amd64"',
    ),
    ("ExposeProtoCasing", "FROM a\nEXPOSE 80/TCP", "FROM a\nEXPOSE 80/tcp", "'80/TCP' in EXPOSE"),
    (
        "DuplicateStageName", "FROM a AS x\nFROM a AS x", "FROM a AS x\nFROM a AS y",
        'Duplicate stage name "x"',
    ),
    (
        "InvalidDefinitionDescription", f"{EXPERIMENTAL}\n# made here\nFROM a AS x",
        f"{EXPERIMENTAL}\n# no\n\n# x is made here\nFROM a AS x\n# B says\nARG B A=1",
        "Comment for FROM should follow the format: `# x <description>`",
    ),
    ("ExposeInvalidFormat", "FROM a\nEXPOSE 1:80", "FROM a\nEXPOSE 80", "found '1:80'"),
]  # fmt: skip


def found(text: str) -> tuple[Finding, ...]:
    return make(f"{text}\n").findings


@pytest.mark.parametrize(("rule", "wrong", "right", "message"), TABLE, ids=[r[0] for r in TABLE])
def test_rules(rule: str, wrong: str, right: str, message: str) -> None:
    (finding,) = found(wrong)
    assert finding.rule == rule and message in finding.message
    assert found(right) == ()


def test_every_rule_has_a_test() -> None:
    elsewhere = {"InvalidDefaultArgInFrom", "InvalidBaseImagePlatform", "CopyIgnoredFile"}
    assert set(RULES) - {row[0] for row in TABLE} == elsewhere
    text = "ARG BASE\nFROM $BASE\n"
    (finding,) = make(text, build_args={"BASE": "a"}).findings
    assert finding.rule == "InvalidDefaultArgInFrom"


@pytest.mark.sec("D8")
@pytest.mark.parametrize("name", ["API_TOKEN", "secret", "AWS_SECRET_KEY", "GIT_AUTH"])
def test_names_that_look_secret(name: str) -> None:
    (finding,) = found(f"FROM a\nARG {name}")
    message = f'Do not use ARG or ENV instructions for sensitive data (ARG "{name}")'
    assert str(finding) == f"SecretsUsedInArgOrEnv: {message} (line 2)"


def test_the_check_directive() -> None:
    wrong = "FROM a as b\nCMD x"
    assert len(found(wrong)) == 2
    assert [f.rule for f in found(f"# check=skip=FromAsCasing\n{wrong}")] == ["JSONArgsRecommended"]
    assert found(f"# check=skip=all;error=true\n{wrong}") == ()
    made = make(f"# check=error=true\n{wrong}\n")
    assert made.check.error and len(made.findings) == 2


def test_a_directive_above_one_instruction() -> None:
    wrong = "FROM a\n# check=skip=JSONArgsRecommended,FromAsCasing why not\nCMD x\nENTRYPOINT y"
    (finding,) = found(wrong)
    assert finding.rule == "JSONArgsRecommended" and finding.line == 4


@pytest.mark.parametrize(
    "text",
    [
        'FROM a\nSHELL ["/bin/bash", "-c"]\nCMD x',  # whoever sets a shell means it
        "FROM --platform=linux/amd64 a AS made-for-amd64",
        "FROM a\nENV TOKEN_FILE=/run/t KEY_VERSION=2",
        "FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y",
        "arg A=1\nFROM a:$A",
    ],
)
def test_what_is_no_finding(text: str) -> None:
    assert found(text) == ()


@pytest.mark.parametrize(
    ("ignored", "line", "shown"),
    [
        ("secret", "COPY secret /", 'Copy file "secret"'),
        ("dir", "ADD ./dir/x /", 'Add file "dir/x"'),
        ("*", "COPY . /", 'Copy file "."'),
        ("*.md", "COPY . /", ""),
        ("*\n!a", "COPY b /", ""),
        ("secret", "COPY --from=a secret /", ""),
    ],
)
def test_files_that_are_ignored(ignored: str, line: str, shown: str) -> None:
    rules = parse(ignored.encode())
    messages = [f.message for f in make(f"FROM a\n{line}\n", ignored=rules).findings]
    told = f"Attempting to {shown} that is excluded by .dockerignore"
    assert messages == ([told] if shown else [])


def test_experimental_rules_are_off_unless_asked_for() -> None:
    text = "# no\nFROM a AS x\n# of\nARG B C"
    assert found(text) == ()
    asked = "# check=experimental=InvalidDefinitionDescription"
    first, second = found(f"{asked}\n{text}")
    assert first.line == 3 and second.message.endswith("`# <arg_key> <description>`")
    assert len(found(f"{asked};skip=all\n{text}")) == 2  # skip is for the others
    assert len(found(f"{asked}\n{text.replace('# of', '# of' + chr(10) + '#')}")) == 1
    given = {"BUILDKIT_DOCKERFILE_CHECK": "experimental=all"}
    assert len(make(f"{text}\n", build_args=given).findings) == 2


def test_a_later_stage_hides_the_earlier_of_its_name() -> None:
    made = make("FROM a AS x\nENV N=1\nFROM b AS x\nENV N=2\nFROM x\n")
    assert "N=2" in made.config.env


def test_a_base_image_for_another_machine() -> None:
    arm, here = Platform("linux", "arm64"), Platform("linux", "amd64")
    at = Source(1, 1, "FROM a")
    (finding,) = other_platform("a", arm, here, at)
    assert 'pulled with platform "linux/arm64", expected' in finding.message
    assert not list(other_platform("a", here, here, at))
