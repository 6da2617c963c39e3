"""From text to typed instructions, and docker's words when that fails."""

import pytest

from onggi.dockerfile import instructions as i
from onggi.dockerfile.instructions import read, trigger
from onggi.errors import InvalidInput
from onggi.spec.image import Healthcheck


def body(text: str) -> tuple[i.Instruction, ...]:
    return read(f"FROM scratch\n{text}\n".encode()).stages[0].instructions


def first(text: str) -> i.Instruction:
    return body(text)[0]


def test_stages_and_global_arguments() -> None:
    file = read(b"ARG V=1\nFROM a:$V AS One\nRUN x\nFROM --platform=linux/arm64 one\n")
    assert file.arguments[0].pairs == (("V", "1"),)
    one, two = file.stages
    assert (one.base.image, one.base.name) == ("a:$V", "one")
    assert (two.base.image, two.base.platform) == ("one", "linux/arm64")


@pytest.mark.parametrize(
    ("text", "pairs", "legacy"),
    [
        ("ENV A=1 B=2", (("A", "1"), ("B", "2")), False),
        ("ENV A 1 2  3", (("A", "1 2  3"),), True),
        ('ENV A="x y" B=\\ z', (("A", '"x y"'), ("B", "\\ z")), False),
        ("ENV A=", (("A", ""),), False),
        ("ENV A=$B=c", (("A", "$B=c"),), False),
    ],
)
def test_env(text: str, pairs: tuple[tuple[str, str], ...], legacy: bool) -> None:
    env = first(text)
    assert isinstance(env, i.Env)
    assert (env.pairs, env.legacy) == (pairs, legacy)


def test_copy() -> None:
    copy = first('COPY --from=base --chown=app:app --chmod="755" a b /dir/')
    assert isinstance(copy, i.Copy)
    assert (copy.stage, copy.chown, copy.chmod) == ("base", "app:app", "755")
    assert (copy.sources, copy.destination) == (("a", "b"), "/dir/")
    spaced = first('COPY ["a file", "/to here/"]')
    assert isinstance(spaced, i.Copy)
    assert (spaced.sources, spaced.destination) == (("a file",), "/to here/")


def test_copy_of_a_heredoc() -> None:
    copy = first("COPY <<EOF other /etc/\nhello\nEOF")
    assert isinstance(copy, i.Copy)
    assert copy.sources == ("other",)
    assert copy.inline[0].content == "hello\n"


def test_run_forms() -> None:
    shell, exec_form = body('RUN echo "a" && b\nRUN ["echo", "a\\u00e9"]')
    assert isinstance(shell, i.Run)
    assert isinstance(exec_form, i.Run)
    assert (shell.args, shell.shell) == (('echo "a" && b',), True)
    assert (exec_form.args, exec_form.shell) == (("echo", "aé"), False)


def test_broken_json_is_the_shell_form_with_a_warning() -> None:
    file = read(b'FROM scratch\nCMD ["a",\n')
    command = file.stages[0].instructions[0]
    assert isinstance(command, i.Command)
    assert (command.args, command.shell) == (('["a",',), True)
    assert "line 2: CMD looks like a JSON list" in file.warnings[0]


def test_healthcheck() -> None:
    check = first("HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://x/ || exit 1")
    assert isinstance(check, i.Health)
    wanted = Healthcheck(("CMD-SHELL", "curl -f http://x/ || exit 1"), 90 * 10**9, 0, 0, 3)
    assert check.check == wanted
    listed = first('HEALTHCHECK CMD ["a", "b"]')
    assert isinstance(listed, i.Health)
    assert listed.check.test == ("CMD", "a", "b")
    assert first("HEALTHCHECK NONE") == i.Health(
        first("HEALTHCHECK NONE").at, Healthcheck(("NONE",))
    )


def test_the_rest() -> None:
    kinds = body(
        "ARG A B=c\nLABEL a=b\nWORKDIR /x y\nUSER u:g\nEXPOSE 80 81/udp\nVOLUME /a /b\n"
        'VOLUME ["/c d"]\nSHELL ["/bin/bash", "-c"]\nSTOPSIGNAL SIGINT\nMAINTAINER me\n'
        "ONBUILD RUN echo hi\nENTRYPOINT x y\nCMD []"
    )
    values = [tuple(kind)[1:] for kind in kinds]
    assert values == [
        ((("A", None), ("B", "c")),),
        ((("a", "b"),), False),
        ("WORKDIR", "/x y"),
        ("USER", "u:g"),
        ("EXPOSE", ("80", "81/udp")),
        ("VOLUME", ("/a", "/b")),
        ("VOLUME", ("/c d",)),
        ("SHELL", ("/bin/bash", "-c"), False),
        ("STOPSIGNAL", "SIGINT"),
        ("MAINTAINER", "me"),
        ("ONBUILD", "RUN echo hi"),
        ("ENTRYPOINT", ("x y",), True),
        ("CMD", (), False),
    ]


def test_a_trigger() -> None:
    run = trigger("RUN echo hi", 7)
    assert isinstance(run, i.Run)
    assert run.at.line == 7


def test_an_unknown_instruction_shows_line_caret_and_suggestion() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(b"# c\nFORM python:3.11\n")
    assert caught.value.message == (
        "dockerfile parse error on line 2: unknown instruction: FORM (did you mean FROM?)\n"
        "  2 | FORM python:3.11\n"
        "      ^^^^"
    )
    assert caught.value.hint == "did you mean FROM python:3.11"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY ../app/", "COPY requires at least two arguments, but only one was provided"),
        ("COPY", "COPY requires at least two arguments"),
        ("COPY --form=x a b", "unknown flag: --form"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --link=maybe a b", "expecting boolean value"),
        ("COPY --chown=a --chown=b a b", "duplicate flag"),
        ("COPY a <<EOF\nx\nEOF", "cannot accept a heredoc as a destination"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", 'can\'t find = in "B"'),
        ("ENV =x", "names can not be blank"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ('RUN ["a", 1]', "comprised of strings only"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("SHELL notjson", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [""]', "can not be an empty string"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK --interval=x CMD y", "time: "),
        ("HEALTHCHECK --interval=1us CMD y", "cannot be less than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD y", "not negative"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK FOO", "Unknown type"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
        ("ONBUILD FORM x", "unknown instruction: FORM"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", "invalid name for build stage"),
    ],
)
def test_refusals_name_the_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match="on line 2: ") as caught:
        first(text)
    assert message in caught.value.message


def test_lower_case_keywords_work() -> None:
    assert isinstance(read(b"from a\nrun x\n").stages[0].instructions[0], i.Run)


def test_an_instruction_before_from() -> None:
    with pytest.raises(InvalidInput, match="the first instruction must be FROM"):
        read(b"RUN x\nFROM a\n")


def test_no_from_at_all() -> None:
    with pytest.raises(InvalidInput, match="no stages to build"):
        read(b"ARG A\n")


@pytest.mark.sec("D11")
def test_too_many_stages() -> None:
    with pytest.raises(InvalidInput, match="more than 500 build stages"):
        read(b"FROM a\n" * 501)
