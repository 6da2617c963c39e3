"""Docker's shell words. The first table follows the cases BuildKit documents and tests."""

import time

import pytest

from onggi.dockerfile.expand import ExpansionError, expand, expand_words

ENV = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": "", "A": "a b", "P": "1.2.3/x"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ('he"ll"o', "hello"),
        ("he\\'llo", "he'llo"),
        ('"he\\"llo"', 'he"llo'),
        ('"he\\llo"', "he\\llo"),
        ("'he\\llo'", "he\\llo"),
        ("a\\b", "ab"),
        ("hello\\", "hello"),
        ("$", "$"),
        ("$.", "$."),
        ("he\\$PWD", "he$PWD"),
        ("'$PWD'", "$PWD"),
        ('"$PWD"', "/home"),
        ("he$PWD.", "he/home."),
        ("he${PWD}", "he/home"),
        ("he${X}xx", "hexx"),
        ("he$1x", "hex"),
        ("he$12x", "hex"),
        ("he$pwd.", "he."),
        ("${KOREAN}", "한국어"),
        ("he${XX:-$PWD}xx", "he/homexx"),
        ("he${XX:-${PWD}:}xx", "he/home:xx"),
        ("he${PWD:-x}", "he/home"),
        ("${NULL:-x}", "x"),
        ("${NULL-x}", ""),
        ("${X-x}", "x"),
        ("${NULL:+x}", ""),
        ("${NULL+x}", "x"),
        ("${PWD:+x$SHELL}", "xbash"),
        ("${PWD:?}", "/home"),
        ("${P#*.}", "2.3/x"),
        ("${P##*.}", "3/x"),
        ("${P%.*}", "1.2"),
        ("${P%%.*}", "1"),
        ("${P%/x}", "1.2.3"),
        ("${P#nope}", "1.2.3/x"),
        ("${P/./-}", "1-2.3/x"),
        ("${P//./-}", "1-2-3/x"),
        ("${P//[/-}", "1.2.3/x"),
        ("${P/?.?/-}", "-.3/x"),
        ("${P//\\//-}", "1.2.3-x"),
        ("${P/2*3/-}", "1.-/x"),
        ("'a'\"b\"c", "abc"),
        ("\\\\", "\\"),
    ],
)
def test_expand(word: str, expected: str) -> None:
    assert expand(word, ENV) == expected


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("'x", "single-quote"),
        ('"x', "double-quote"),
        ("${x", "missing '}'|unsupported modifier"),
        ("${", "missing '}'"),
        ("${}", "bad substitution"),
        ("${{x}}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${x:-y", "missing '}'"),
        ("${x:^y}", "unsupported modifier"),
        ("${x!y}", "unsupported modifier"),
        ("${x:?}", "x: is not allowed to be unset"),
        ("${NULL:?}", "NULL: is not allowed to be empty"),
        ("${x?why not}", "x: why not"),
    ],
)
def test_errors(word: str, text: str) -> None:
    with pytest.raises(ExpansionError, match=text):
        expand(word, ENV)


def test_words_are_split_after_expansion_but_not_inside_quotes() -> None:
    assert expand_words('$A "$A" x\\ y', ENV) == ["a", "b", "a b", "x y"]


def test_another_escape_character() -> None:
    assert expand("a\\b`$PWD", ENV, "`") == "a\\b$PWD"


def test_quotes_can_be_plain_text() -> None:
    assert expand("'$PWD\" \\$x", ENV, quotes=False) == "'/home\" $x"


@pytest.mark.sec("D11")
@pytest.mark.parametrize(
    "word",
    ["$B" * 2000, "${x:-" * 500 + "}" * 500, "${B//a/" + "b" * 2000 + "}", "${B//a*/b}"],
)
def test_bombs_are_refused_quickly(word: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpansionError):
        expand(word, {"B": "a" * 5000})
    assert time.process_time() - started < 20


@pytest.mark.sec("D11")
def test_many_wildcards_are_linear() -> None:
    started = time.process_time()
    assert expand("${B%%" + "*a" * 50 + "b}", {"B": "a" * 5000}) == "a" * 5000
    assert time.process_time() - started < 20
