"""BuildKit's lint rules: each with a file that it speaks of, and one that it does not."""

import pytest

from onggi.build.graph_lint import RULES, Finding

from .test_graph import make

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
    ("ExposeProtoCasing", "FROM a\nEXPOSE 80/TCP", "FROM a\nEXPOSE 80/tcp", "'TCP' in EXPOSE"),
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
    assert set(RULES) - {row[0] for row in TABLE} == {"InvalidDefaultArgInFrom"}
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
