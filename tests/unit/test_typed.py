"""Records of `typed` behave as typing's do, however often they are made."""

import copy
import pickle
import typing

import pytest

from onggi import typed


class Ours(typed.NamedTuple):
    """A record."""

    name: str
    size: int = 3
    tags: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        return self.size * 2


class Theirs(typing.NamedTuple):
    name: str
    size: int = 3
    tags: tuple[str, ...] = ()


CALLS: list[tuple[tuple[typing.Any, ...], dict[str, typing.Any]]] = [
    (("a",), {}),
    (("a", 1, ("x",)), {}),
    (("a",), {"tags": ("x",)}),
    ((), {"size": 5, "name": "b"}),
]
WRONG: list[tuple[tuple[typing.Any, ...], dict[str, typing.Any]]] = [
    ((), {}),
    (("a", 1, (), 4), {}),
    (("a",), {"name": "b"}),
    (("a",), {"other": 1}),
    ((), {"size": 1}),
]


def test_it_is_what_typing_makes() -> None:
    for often in range(150):  # on the way it gets a constructor of its own
        for args, named in CALLS:
            ours, theirs = Ours(*args, **named), Theirs(*args, **named)
            assert tuple(ours) == theirs and type(ours) is Ours, often
            assert repr(ours).removeprefix("Ours") == repr(theirs).removeprefix("Theirs")
            assert ours._asdict() == theirs._asdict()
            assert ours.twice == 2 * theirs.size
            assert ours._replace(size=9) == theirs._replace(size=9)
        for args, named in WRONG:
            with pytest.raises(TypeError):
                Ours(*args, **named)
    assert (Ours._fields, Ours._field_defaults) == (Theirs._fields, Theirs._field_defaults)
    assert Ours.__doc__ == "A record."


def test_it_has_no_room_for_more() -> None:
    record = Ours("a")
    with pytest.raises(AttributeError):
        record.size = 4  # type: ignore[misc]
    with pytest.raises(AttributeError):
        record.other = 4  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="other"):
        record._replace(other=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Ours._make(("a",))
    assert Ours._make(("a", 1, ())) == Ours("a", 1)


def test_it_can_be_copied_and_matched() -> None:
    record = Ours("a", tags=("x",))
    assert copy.deepcopy(record) == record == pickle.loads(pickle.dumps(record))
    match record:
        case Ours(name, size):
            assert (name, size) == ("a", 3)
        case _:
            pytest.fail("no match")


def test_names_that_only_a_type_checker_needs() -> None:
    Kind = typed.Literal["a", "b"]
    assert typed.get_args(Kind) == ("a", "b")
    assert typed.get_args(typed.Literal["a"]) == ("a",)
    assert typed.get_args(tuple[int, str]) == (int, str)
    assert typed.get_args(int) == ()
    T = typed.TypeVar("T")

    class Named(typed.Protocol):
        name: str

    class Holder(typed.NamedTuple):
        kind: "typed.Literal['a'] | None"
        any: typed.Any | None = None
        named: Named | None = None

    def same(value: T) -> T | None:
        return value

    assert same(Holder(None)) == (None, None, None)
