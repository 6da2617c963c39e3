"""Docker's flag rules, table-driven."""

import pytest

from onggi.cli.flags import (
    FlagError,
    FlagNotSupported,
    HelpWanted,
    Values,
    flag_table,
    parse,
    parse_boolean,
    parse_integer,
)

FLAGS = flag_table(
    """
  -i, --interactive        Keep STDIN open even if not attached
  -t, --tty                Allocate a pseudo-TTY
      --rm                 Remove it
      --sig-proxy          Proxy signals (default true)
  -p, --publish list       Publish a container's port(s) to
                           the host
  -m, --memory bytes       Memory limit
      --name string        Assign a name
      --tail string        Lines (default "all")
      --count int          A number (default -1)
      --security strings   Options
      --format string      Format output:
                           |'json': as JSON
                           lines
""",
    "x/annotation:map gpus:gpu-request bare",
)


def read(*words: str, interspersed: bool = False) -> tuple[Values, list[str]]:
    return parse(FLAGS, words, interspersed=interspersed)


def test_the_table_is_the_help() -> None:
    assert FLAGS["publish"].text == "Publish a container's port(s) to the host"
    assert FLAGS["format"].text == "Format output:\n'json': as JSON lines"
    assert FLAGS["publish"].shown == "-p, --publish"
    assert (FLAGS["sig-proxy"].default, FLAGS["tail"].default) == ("true", "all")
    assert FLAGS["annotation"].short == "x" and not FLAGS["annotation"].supported
    assert FLAGS["bare"].kind == ""


def test_clusters_and_values() -> None:
    values, rest = read("-it", "-p80:80", "-p=81:81", "-p", "82:82", "--publish=83:83", "img", "-t")
    assert values.on("interactive") and values.on("tty") and not values.on("rm")
    assert values.many("publish") == ["80:80", "81:81", "82:82", "83:83"]
    assert rest == ["img", "-t"]


def test_flags_stop_or_go_on_at_the_first_argument() -> None:
    assert read("img", "--rm")[1] == ["img", "--rm"]
    values, rest = read("img", "--rm", "x", interspersed=True)
    assert values.on("rm") and rest == ["img", "x"]
    assert read("--", "--rm", interspersed=True)[1] == ["--rm"]
    assert read("-", "-t")[1] == ["-", "-t"]


def test_booleans() -> None:
    assert not read("--rm=false")[0].on("rm")
    assert read("--rm=T")[0].on("rm")
    assert read("--sig-proxy")[0].on("sig-proxy") and read()[0].on("sig-proxy")
    assert not read("--sig-proxy=0")[0].on("sig-proxy")
    values, rest = read("--rm", "false")
    assert values.on("rm") and rest == ["false"]


def test_defaults() -> None:
    values, _ = read()
    assert values.text("tail") == "all" and values.number("count") == -1
    assert values.text("name") == "" and values.many("publish") == [] and not values.given("name")


def test_the_last_one_wins_and_commas_split() -> None:
    values, _ = read("--name", "a", "--name", "b", "--security", "x,y", "--security", "z")
    assert values.text("name") == "b" and values.many("security") == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-tz"], "unknown shorthand flag: 'z' in -z"),
        (["-="], "unknown shorthand flag: '=' in -="),
        (["--name"], "flag needs an argument: --name"),
        (["-p"], "flag needs an argument: 'p' in -p"),
        (["-tp"], "flag needs an argument: 'p' in -p"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--rm=maybe"], 'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: '
                         'parsing "maybe": invalid syntax'),
        (["--count", "x"], 'invalid argument "x" for "--count" flag: strconv.ParseInt: '
                           'parsing "x": invalid syntax'),
        (["-m", "abc"], 'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''),
    ],
)  # fmt: skip
def test_refusals_in_dockers_words(words: list[str], text: str) -> None:
    with pytest.raises(FlagError) as error:
        read(*words)
    assert str(error.value) == text


def test_known_but_not_there_yet_is_never_ignored() -> None:
    for words in (["--gpus", "all"], ["-x", "a=b"], ["--bare"], ["--annotation=a=b"]):
        with pytest.raises(FlagNotSupported, match="is not supported yet"):
            read(*words)


def test_help() -> None:
    for word in ("--help", "-h", "-th"):
        with pytest.raises(HelpWanted):
            read(word)
    assert read("img", "--help")[1] == ["img", "--help"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-5", -5), ("+5", 5), ("0x10", 16), ("010", 8), ("0o17", 15), ("1_000", 1000),
     ("0b11", 3)],
)  # fmt: skip
def test_integers(text: str, number: int) -> None:
    assert parse_integer(text) == number


@pytest.mark.parametrize("text", ["", "x", "0x", "1.5", " 1", "1 ", "--1", "٣", "1__0", "08"])
def test_bad_integers(text: str) -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        parse_integer(text)


def test_integers_out_of_range() -> None:
    for text in ("9223372036854775808", "-9223372036854775809", "9" * 200):
        with pytest.raises(ValueError, match="value out of range"):
            parse_integer(text)
    assert parse_integer("-9223372036854775808") == -(1 << 63)


def test_boolean_words() -> None:
    assert parse_boolean("TRUE") and not parse_boolean("f")
    for text in ("yes", "", "tRUE"):
        with pytest.raises(ValueError, match=r"strconv\.ParseBool"):
            parse_boolean(text)
