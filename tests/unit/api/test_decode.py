"""Query strings, filters and JSON fields, by docker's rules."""

import pytest

from onggi.api.decode import Fields, parse_filters, parse_json, parse_query, unescaped
from onggi.errors import InvalidInput


@pytest.mark.parametrize("text", ["", "0", "no", "false", "none", "NO", " False "])
def test_what_is_false(text: str) -> None:
    assert not parse_query(f"a={text.replace(' ', '+')}").flag("a", default=True)


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "2", "t", "anything"])
def test_what_is_true(text: str) -> None:
    assert parse_query(f"a={text}").flag("a")


def test_query() -> None:
    query = parse_query("a=1&b=x%20y+z&a=2&c&&d=%E2%82%AC")
    assert query.text("a") == "1"
    assert query.many("a") == ["1", "2"]
    assert query.text("b") == "x y z"
    assert query.has("c")
    assert query.text("d") == "€"
    assert query.integer("a") == 1
    assert query.integer("missing", 7) == 7


@pytest.mark.parametrize("text", ["a=%", "a=%zz", "a=%00", "%ff=1", "a;b=1"])
def test_bad_queries(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_query(text)


@pytest.mark.parametrize("text", ["x", "1.5", "0x10", "9223372036854775808", "१", "1_0"])
def test_bad_integers(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^strconv\.ParseInt"):
        parse_query(f"n={text}").integer("n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("{}", {}),
        ("null", {}),
        ('{"label":["a","b=c"]}', {"label": ("a", "b=c")}),
        ('{"label":{"a":true,"b=c":true}}', {"label": ("a", "b=c")}),
        ('{"status":{"running":false}}', {"status": ("running",)}),
    ],
)
def test_filters_of_every_age(text: str, found: dict[str, tuple[str, ...]]) -> None:
    assert parse_filters(text) == found


@pytest.mark.parametrize(
    "text", ["[]", '"a"', "{", '{"label":"a"}', '{"label":[1]}', '{"label":{"a":1}}', "\ud800"]
)
def test_bad_filters(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_filters(text)


def test_fields() -> None:
    fields = Fields({"image": "a", "TTY": True, "HostConfig": {"Memory": 5.0, "Binds": None}})
    assert fields.text("Image") == "a"
    assert fields.flag("Tty")
    assert fields.object("HostConfig").integer("Memory") == 5
    assert fields.object("HostConfig").strings("Binds") == ()
    assert fields.object("Nothing").text("At") == ""
    assert fields.optional_strings("Cmd") is None
    assert Fields({"Cmd": "one word"}).words("Cmd") == ("one word",)
    assert Fields({"Labels": {"a": None}}).string_map("Labels") == {"a": ""}


@pytest.mark.parametrize(
    ("value", "read", "path"),
    [
        ({"Image": 1}, lambda f: f.text("Image"), "Image"),
        ({"a": {"b": "x"}}, lambda f: f.object("a").integer("b"), "a.b"),
        ({"a": {"b": True}}, lambda f: f.object("a").integer("b"), "a.b"),
        ({"a": {"b": 1.5}}, lambda f: f.object("a").integer("b"), "a.b"),
        ({"a": {"b": 1 << 63}}, lambda f: f.object("a").integer("b"), "a.b"),
        ({"a": {"b": "x"}}, lambda f: f.object("a").flag("b"), "a.b"),
        ({"a": ["x", 1]}, lambda f: f.strings("a"), "a[1]"),
        ({"a": "x"}, lambda f: f.strings("a"), "a"),
        ({"a": {"b": 1}}, lambda f: f.string_map("a"), "a.b"),
        ({"a": []}, lambda f: f.object("a"), "a"),
        ({"a": [1]}, lambda f: f.objects("a"), "a[0]"),
        ({"a": {"b": 1}}, lambda f: list(f.members("a")), "a.b"),
        ({"a": "x\0y"}, lambda f: f.text("a"), "a"),
    ],
)
def test_a_wrong_type_names_the_field(value: object, read: object, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(Fields(value))  # type: ignore[operator]
    assert f" {path} " in f"{caught.value.message.replace(':', ' ')} "


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_a_body_is_an_object(value: object) -> None:
    with pytest.raises(InvalidInput, match="the request's body"):
        Fields(value)


@pytest.mark.sec("E10")
@pytest.mark.parametrize(
    "data",
    [
        b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff",
        b'"\\ud800"', b"1" * 5000, b"{} {}", b"nul",
    ],
)  # fmt: skip
def test_bad_json(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="invalid JSON"):
        parse_json(data)


@pytest.mark.parametrize("text", ["%", "%0", "%g0", "%00", "%ff"])
def test_bad_escapes(text: str) -> None:
    with pytest.raises(InvalidInput):
        unescaped(text)
