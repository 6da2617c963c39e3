"""runc's command line."""

import pytest

from onggi.errors import InvalidInput
from onggi.runtime import commands, lifecycle, main
from onggi.runtime.arguments import COMMANDS, GLOBAL, parse, usage


def test_flags_end_at_the_first_word() -> None:
    parsed = parse(["-e", "A=b", "--env=C=d", "-t", "c1", "ls", "-l"], COMMANDS["exec"][0])
    assert parsed.values == {"env": ["A=b", "C=d"], "tty": [""]}
    assert parsed.rest == ["c1", "ls", "-l"]
    assert parse(["--", "-x"], COMMANDS["exec"][0]).rest == ["-x"]


def test_short_forms() -> None:
    assert parse(["-f", "c"], COMMANDS["delete"][0]).has("force")
    assert parse(["-f", "json"], COMMANDS["list"][0]).last("format") == "json"
    assert parse(["-b", "/x", "c"], COMMANDS["create"][0]).last("bundle") == "/x"
    assert parse(["--root", "/r", "state", "c"], GLOBAL).rest == ["state", "c"]
    assert parse([], GLOBAL).last("root", "default") == "default"


@pytest.mark.parametrize("words", [["--nope"], ["-z"], ["--bundle"], ["--force"]])
def test_unknown_flags(words: list[str]) -> None:
    with pytest.raises(InvalidInput):
        parse(words, COMMANDS["create"][0])


def test_every_command_exists_and_is_explained() -> None:
    for name in COMMANDS:
        assert callable(main.command(name))
        assert f"  {name}" in usage()


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGUSR1", 10), ("64", 64)]
)
def test_signals(text: str, number: int) -> None:
    assert commands.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "NOPE", "SIG_DFL", "²", "9 "])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidInput):
        commands.parse_signal(text)


def test_numbers_have_an_end() -> None:
    """More digits than Python turns into a number are an error in words too."""
    digits = "1" * 5000
    with pytest.raises(InvalidInput, match="unknown signal"):
        commands.parse_signal(digits)
    with pytest.raises(InvalidInput, match=r"invalid value .* for --memory"):
        lifecycle.number(parse(["--memory", digits, "c"], COMMANDS["update"][0]), "memory")
