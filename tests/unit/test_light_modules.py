"""What stands in for heavier modules of the standard library behaves as they do."""

import json
import math
import re
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi import jsons, signals
from onggi.patterns import Pattern, is_name
from onggi.spec.digest import Digest
from onggi.spec.reference import _is_component

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, st.booleans(), st.booleans())
def test_json_is_written_as_the_standard_module_does(
    value: Any, ascii: bool, compact: bool
) -> None:
    separators = (",", ":") if compact else None
    expected = json.dumps(value, ensure_ascii=ascii, separators=separators)
    assert jsons.dumps(value, ascii=ascii, compact=compact) == expected
    assert jsons.loads(expected) == value


@given(VALUES)
def test_json_is_indented_as_the_standard_module_does(value: Any) -> None:
    assert jsons.indented(value) == json.dumps(value, ensure_ascii=False, indent=4)


def outcome(read: Any, text: str) -> tuple[Any, str]:
    try:
        return repr(read(text)), ""
    except (ValueError, RecursionError) as error:
        return None, f"{type(error).__name__}: {error}"


@given(
    st.text(alphabet='{}[]",:0123456789.eE+-truefalsnN \n\\u') | VALUES.map(json.dumps) | st.text()
)
def test_json_is_read_as_the_standard_module_does(text: str) -> None:
    assert outcome(jsons.loads, text) == outcome(json.loads, text)


def test_json_of_bytes_and_constants() -> None:
    assert jsons.loads(b' {"a": [1, 2.5]}\n') == {"a": [1, 2.5]}
    assert math.isnan(jsons.loads("NaN")) and jsons.loads("-Infinity") == -math.inf
    assert jsons.loads('{"a": 1, "a": 2}', pairs=list) == [("a", 1), ("a", 2)]
    with pytest.raises(ValueError, match="no"):
        jsons.loads("NaN", constant=lambda text: int("no"))
    with pytest.raises(TypeError):
        jsons.dumps(object())


def test_signals_have_the_names_and_numbers_of_the_standard_module() -> None:
    assert {int(number): number.name for number in signal.Signals} == signals.NAMES
    for name, number in signals.NUMBERS.items():
        assert getattr(signal, name) == number
    assert {name for name in vars(signal) if re.fullmatch("SIG[A-Z0-9]+", name)} == {
        *signals.NUMBERS
    }


def test_a_pattern_is_of_ascii() -> None:
    digits = Pattern(r"\d+")
    assert digits.fullmatch("12") and not digits.fullmatch("\u0661")
    assert digits.match("a12", 1) and not digits.match("a12")
    assert digits.sub("x", "a12b3") == "axbx"
    assert [match[0] for match in digits.finditer("1 22")] == ["1", "22"]


@given(st.text(alphabet="ab0._-A\u0661 \n", max_size=4))
def test_a_name_is_what_dockers_rule_says(text: str) -> None:
    assert is_name(text) == (re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_.-]*", text) is not None)


@given(st.text(alphabet="ab0._-A", max_size=8))
def test_a_component_of_a_name_is_what_dockers_grammar_says(text: str) -> None:
    grammar = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
    assert _is_component(text) == (grammar.fullmatch(text) is not None)


def test_the_digest_of_a_document() -> None:
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Digest.of(b"abc") == f"sha256:{known}"
