import json
from typing import Any

import pytest

from onggi.errors import InvalidInput, OnggiError, Unsupported
from onggi.linux.seccomp_profile import (
    Argument,
    Condition,
    Rule,
    default_profile,
    errno_result,
    parse_profile,
    profile_from,
)

ALLOW = 0x7FFF0000


def profile(**fields: Any) -> str:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **fields})


def with_rule(**fields: Any) -> str:
    return profile(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **fields}])


def test_dockers_form() -> None:
    read = parse_profile(
        profile(
            defaultErrnoRet=38,
            archMap=[
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
            ],
            syscalls=[
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 1, "value": 8, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
                    "comment": "why",
                    "includes": {"caps": ["CAP_KILL"], "arches": ["amd64"], "minKernel": "4.8"},
                    "excludes": {},
                },
                {"name": "read", "action": "SCMP_ACT_ERRNO", "errnoRet": 2, "args": None},
            ],
        )
    )
    assert read.default_result == errno_result(38)
    assert read.sub_architectures == (
        ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86",)),
        ("SCMP_ARCH_RISCV64", ()),
    )
    assert read.rules == (
        Rule(
            ("clone",),
            ALLOW,
            (Argument(1, "SCMP_CMP_MASKED_EQ", 8, 4),),
            Condition(("CAP_KILL",), ("amd64",), (4, 8)),
        ),
        Rule(("read",), errno_result(2)),
    )


def test_ocis_form() -> None:
    read = profile_from(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
        }
    )
    assert read.architectures == ("SCMP_ARCH_X86",)
    assert read.rules[0].result == errno_result(1)


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x00030000),
        ("SCMP_ACT_ERRNO", 0x0005000D),
        ("SCMP_ACT_TRACE", 0x7FF0000D),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_ALLOW", ALLOW),
    ],
)
def test_every_action(action: str, result: int) -> None:
    assert parse_profile(with_rule(action=action, errnoRet=13)).rules[0].result == result


ONE = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid seccomp profile"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "profile: want an object"),
        ("{}", "defaultAction: unknown action None"),
        (profile(defaultAction="ALLOW"), "defaultAction: unknown action 'ALLOW'"),
        (profile(defaultErrnoRet=-1), "want 0 to 4095"),
        (profile(defaultErrnoRet=True), "want 0 to 4095"),
        (profile(syscalls={}), "syscalls: want a list, not dict"),
        (profile(syscalls=[None]), r"syscalls\[0\]: want an object, not nothing"),
        (profile(syscalls=[{"names": ["a"]}]), r"syscalls\[0\].action: unknown action None"),
        (with_rule(action="SCMP_ACT_MAYBE"), r"syscalls\[0\].action: unknown action 'SCMP_ACT_MA"),
        (with_rule(names=[]), r"syscalls\[0\]: names no system call"),
        (with_rule(names=[7]), r"syscalls\[0\].names: want a string, not int"),
        (with_rule(name="write"), "either 'name' or 'names'"),
        (with_rule(args=[{**ONE, "op": "EQ"}]), r"args\[0\]: unknown operator 'EQ'"),
        (with_rule(args=[{**ONE, "index": 6}]), r"args\[0\].index: want 0 to 5, not 6"),
        (with_rule(args=[{**ONE, "value": 1 << 64}]), r"args\[0\].value: want 0 to"),
        (with_rule(args=[ONE, {**ONE, "valueTwo": "1"}]), r"args\[1\].valueTwo"),
        (with_rule(includes={"cap": []}), "includes: unknown condition 'cap'"),
        (with_rule(includes={"minKernel": "4"}), "want MAJOR.MINOR, not '4'"),
        (with_rule(excludes={"minKernel": "4.8.1"}), "excludes.minKernel: want MAJOR.MINOR"),
        (profile(archMap=[{}]), r"archMap\[0\].architecture: want a string"),
        (profile(architectures=["a"], archMap=[{"architecture": "b"}]), "use either"),
        (profile(listenerPath="x"), "listenerPath must be absolute"),
        (profile(listenerPath=["/x"]), "listenerPath: want a string"),
        (profile(listenerMetadata="x"), "listenerMetadata without a listenerPath"),
    ],
)
def test_what_is_odd_is_refused_by_place(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse_profile(text)


@pytest.mark.parametrize(
    "text",
    [
        with_rule(action="SCMP_ACT_NOTIFY"),
        profile(flags=["SECCOMP_FILTER_FLAG_NEW_LISTENER"]),
    ],
)
def test_what_needs_an_agent_is_not_offered(text: str) -> None:
    with pytest.raises(Unsupported):
        parse_profile(text)


def test_an_agent_may_answer() -> None:
    text = json.loads(with_rule(action="SCMP_ACT_NOTIFY"))
    found = parse_profile(json.dumps({**text, "listenerPath": "/x", "listenerMetadata": "y"}))
    assert (found.listener_path, found.listener_metadata) == ("/x", "y")


def test_any_json_gives_a_profile_or_an_error() -> None:
    pieces: list[Any] = [None, True, -1, 1.5, "x", [], {}, [[]], [{}], {"names": None}]
    for key in (
        "defaultAction",
        "defaultErrnoRet",
        "archMap",
        "architectures",
        "syscalls",
        "flags",
    ):
        for piece in pieces:
            try:
                parse_profile(profile(**{key: piece}))
            except OnggiError as error:
                assert "seccomp profile" in str(error)


def test_the_default_names_each_call_once_per_list() -> None:
    for rule in default_profile().rules:
        assert len(set(rule.names)) == len(rule.names)
    assert len(default_profile().rules[0].names) == 361
