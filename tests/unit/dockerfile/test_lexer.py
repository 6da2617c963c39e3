"""Lines: directives, comments, continuations, heredocs, limits."""

import pytest

from onggi.dockerfile.lexer import MAX_FILE_BYTES, MAX_LINE_BYTES, Heredoc, lex
from onggi.errors import InvalidInput


def texts(data: str) -> list[tuple[int, int, str]]:
    return [(line.first, line.last, line.text) for line in lex(data.encode()).lines]


def test_continuations_are_joined_and_keep_their_line_numbers() -> None:
    data = "FROM a\n\nENV A=1 \\\n    B=2\nRUN x\n"
    assert texts(data) == [(1, 1, "FROM a"), (3, 4, "ENV A=1     B=2"), (5, 5, "RUN x")]


def test_comments_inside_a_continuation_vanish() -> None:
    assert texts("RUN a \\\n  # why\n  && b\n") == [(1, 3, "RUN a   && b")]


def test_a_hash_later_in_a_line_is_text() -> None:
    assert texts("RUN echo # x\n") == [(1, 1, "RUN echo # x")]


def test_an_empty_continuation_line_is_a_warning() -> None:
    lexed = lex(b"RUN a \\\n\n b\n")
    assert lexed.lines[0].text == "RUN a  b"
    assert lexed.empty_continuations == (1,)


def test_a_doubled_escape_does_not_continue() -> None:
    assert [line[2] for line in texts("RUN a \\\\\nRUN b\n")] == ["RUN a \\\\", "RUN b"]


def test_a_heredoc_keeps_its_line_ends() -> None:
    """As docker does: the image gets what stands in the file."""
    (line,) = lex(b"COPY <<EOF /x\r\na\r\nb\nEOF\r\n").lines
    assert line.text == "COPY <<EOF /x" and line.heredocs[0].content == "a\r\nb\n"


def test_crlf_bom_and_missing_last_newline() -> None:
    lexed = lex(b"\xef\xbb\xbfFROM a\r\nRUN x \\\r\n y")
    assert [line.text for line in lexed.lines] == ["FROM a", "RUN x  y"]


def test_escape_directive() -> None:
    lexed = lex(b"# escape=`\nRUN a `\n b\\\n")
    assert lexed.escape == "`"
    assert [line.text for line in lexed.lines] == ["RUN a  b\\"]


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert lex(b"# hello\n# escape=`\nRUN a\n").escape == "\\"


@pytest.mark.parametrize(
    "syntax",
    ["docker/dockerfile:1", "docker/dockerfile", "docker.io/docker/dockerfile:1.7-labs"],
)
def test_dockers_own_syntax_is_accepted(syntax: str) -> None:
    assert lex(f"# syntax={syntax}\nFROM a\n".encode()).lines


@pytest.mark.sec("D3")
@pytest.mark.parametrize("syntax", ["evil/frontend", "docker/dockerfilex", "docker/dockerfile/x"])
def test_custom_frontends_are_refused(syntax: str) -> None:
    with pytest.raises(InvalidInput, match="custom frontends are not run"):
        lex(f"# syntax={syntax}\nFROM a\n".encode())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"# escape=x\nFROM a\n", "invalid escape token"),
        (b"# escape=`\n# escape=`\nFROM a\n", "only one escape parser directive"),
        (b"", "no instructions"),
        (b"# only a comment\n", "no instructions"),
        (b"FROM a\0\n", "NUL byte"),
        (b"RUN <<EOF\nx\n", "line 1: unterminated heredoc"),
    ],
)
def test_refusals(data: bytes, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        lex(data)


@pytest.mark.sec("D11")
@pytest.mark.parametrize(
    "data",
    [
        b"RUN " + b"x" * (MAX_LINE_BYTES + 1),
        b"RUN " + b"xxxxxxxxxxxxxxx \\\n" * (MAX_LINE_BYTES // 16 + 1),
        b"#" * (MAX_FILE_BYTES + 1),
    ],
)
def test_limits(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"larger than|greater than"):
        lex(data)


def test_a_bad_check_directive_is_a_warning() -> None:
    assert lex(b"# check=bad\nFROM a\n").warnings == ("line 1: unknown check option 'bad'",)


def test_heredocs() -> None:
    data = b"RUN <<A cat <<-'B'\none\nA\n\ttwo\n\tB\nRUN x\n"
    line, after = lex(data).lines
    assert line.heredocs == (
        Heredoc("A", "one\n", expand=True, strip_tabs=False),
        Heredoc("B", "\ttwo\n", expand=False, strip_tabs=True),
    )
    assert (line.first, line.last, after.text) == (1, 5, "RUN x")


@pytest.mark.parametrize(
    "text", ["RUN cat <<<x", "RUN echo '<<A'", "ENV A=<<B", "RUN echo $((1<<2))"]
)
def test_what_is_no_heredoc(text: str) -> None:
    assert lex(text.encode()).lines[0].heredocs == ()
