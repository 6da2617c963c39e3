"""What of the cache goes: the longest unused first, as much as the limits say. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.build.pruning import GIB, Item, Kept, budget, choose, keep_bytes
from onggi.cli.cachefilters import until_ns, wanted
from onggi.cli.session import CommandError
from onggi.engine.configuration import CacheBudget
from onggi.errors import InvalidInput


def item(name: str, size: int, used: int, **more: object) -> Item:
    return Item(name, "regular", f"layer-{name}", size, used)._replace(**more)


def names(items: list[Item], kept: Kept, free: int = 1000) -> list[str]:
    return [chosen.id for chosen in choose(items, kept, free)]


THREE = [item("new", 10, 3), item("old", 20, 1), item("middle", 30, 2)]


def test_everything_and_limits() -> None:
    assert names(THREE, Kept()) == ["old", "middle", "new"]
    assert names(THREE, Kept(until_ns=2)) == ["old"]
    assert names(THREE, Kept(max_used_bytes=40)) == ["old"]
    assert names(THREE, Kept(max_used_bytes=39)) == ["old", "middle"]
    assert names(THREE, Kept(max_used_bytes=60)) == []
    assert names(THREE, Kept(reserved_bytes=10)) == ["old", "middle"]
    assert names(THREE, Kept(wanted=lambda item: item.id != "old")) == ["middle", "new"]
    assert names(THREE, Kept(wanted=lambda entry: entry.size_bytes > 10)) == ["old", "middle"]


def test_room_for_others() -> None:
    assert names(THREE, Kept(min_free_bytes=100), free=90) == ["old"]
    assert names(THREE, Kept(min_free_bytes=100), free=100) == []
    assert names(THREE, Kept(min_free_bytes=100, reserved_bytes=50), free=0) == ["old"]
    assert keep_bytes(Kept(max_used_bytes=50, min_free_bytes=100), 60, 95) == 50
    assert keep_bytes(Kept(max_used_bytes=50, min_free_bytes=100), 60, 80) == 40


def test_in_use_and_shared_entries_stay() -> None:
    held = [item("a", 5, 1, shared=True), item("b", 5, 2, in_use=True), item("c", 5, 3)]
    assert names(held, Kept(everything=False)) == ["c"]
    assert names(held, Kept()) == ["a", "c"]
    assert names(held, Kept(max_used_bytes=5)) == ["c"]  # a frees nothing: an image has it


def test_two_names_of_one_layer_free_it_together() -> None:
    twins = [item("a", 10, 1, layer="x"), item("b", 10, 2, layer="x"), item("c", 10, 3)]
    assert names(twins, Kept(max_used_bytes=10)) == ["a", "b"]
    assert names(twins, Kept(max_used_bytes=20)) == []


def test_of_those_used_together_the_last_step_goes_first() -> None:
    steps = [item("first", 10, 1, depth=1), item("second", 10, 1, depth=2)]
    assert names(steps, Kept(max_used_bytes=10)) == ["second"]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.booleans()), max_size=12),
    st.integers(1, 200),
)
def test_a_budget_is_kept_and_not_overdone(facts: list[tuple[int, int, bool]], limit: int) -> None:
    items = [
        item(str(n), size, used, shared=shared) for n, (size, used, shared) in enumerate(facts)
    ]
    going = choose(items, Kept(max_used_bytes=limit), 0)
    left = [entry for entry in items if entry not in going]
    own = sum(entry.size_bytes for entry in left if not entry.shared)
    assert own <= limit
    if going:
        assert own + going[-1].size_bytes > limit


def test_the_default_budget() -> None:
    assert budget(CacheBudget(), 1000 * GIB).max_used_bytes == 100 * GIB
    assert budget(CacheBudget(), 100 * GIB).max_used_bytes == 20 * GIB
    assert budget(CacheBudget(), 10 * GIB).max_used_bytes == 5 * GIB
    said = CacheBudget(True, {"max_used_space": "25%", "reserved_space": "1GB"})
    kept = budget(said, 100 * GIB)
    assert (kept.max_used_bytes, kept.reserved_bytes, kept.min_free_bytes) == (25 * GIB, GIB, 0)
    for wrong in ("much", "120%", "-1%", "%"):
        with pytest.raises(InvalidInput, match=r"build\.max_used_space"):
            budget(CacheBudget(True, {"max_used_space": wrong}), GIB)


def test_filters() -> None:
    entry = item("abcd", 1, 1, description="pip", kind="exec.cachemount")
    for text in ("id=ab", "type=exec.cachemount", "description=pi", "inuse=false", "private=1"):
        name, _, value = text.partition("=")
        assert wanted({name: [value]})(entry), text
    for text in ("id=b", "type=regular", "description=x", "inuse=true", "shared=1"):
        name, _, value = text.partition("=")
        assert not wanted({name: [value]})(entry), text
    assert until_ns({"unused-for": ["1s"]}, 5 * 10**9) == 4 * 10**9
    for filters in ({"colour": ["x"]}, {"inuse": ["maybe"]}):
        with pytest.raises(CommandError, match="invalid filter"):
            wanted(filters)
    with pytest.raises(CommandError, match="more than one until"):
        until_ns({"until": ["1s"], "unused-for": ["1s"]}, 0)
