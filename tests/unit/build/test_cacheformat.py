"""BuildKit's cache manifest: what we write we read, what is hostile is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.build.cacheformat import DIFF_ID, Entry, document, inline, parse, parse_inline
from onggi.errors import CorruptData
from onggi.spec.digest import Digest
from onggi.spec.image import OCI_LAYER_GZIP, Descriptor


def digest(number: int) -> Digest:
    return Digest.of(b"%d" % number)


def blob(diff_id: Digest) -> Descriptor:
    return Descriptor(OCI_LAYER_GZIP, Digest.of(diff_id.encode()), 7)


def entry(name: int, *layers: int, empty: bool = False) -> Entry:
    stack = tuple(map(digest, layers))
    own = "" if empty or not stack else str(stack[-1])
    return Entry(digest(name).hex, stack, own, 1_000_000_000)


STACKS = st.lists(
    st.tuples(st.lists(st.integers(0, 5), max_size=4), st.booleans()), min_size=1, max_size=6
)


@given(STACKS)
def test_round_trip(stacks: list[tuple[list[int], bool]]) -> None:
    entries = [entry(100 + n, *layers, empty=e) for n, (layers, e) in enumerate(stacks)]
    layers = {layer for item in entries for layer in item.layers}
    blobs = {layer: blob(layer) for layer in layers}
    data = document(entries, blobs)
    found = parse(data, {item.digest: item for item in blobs.values()})
    assert found.ours and found.entries == {item.key: item for item in entries}
    assert found.blobs == blobs


def test_inline_has_what_is_a_part_of_the_image() -> None:
    entries = [entry(100, 1), entry(101, 1, 2), entry(102, 1, 3), entry(103, 1, empty=True)]
    stack = (digest(1), digest(2))
    data = inline(entries, stack)
    found = parse_inline(data, [blob(layer) for layer in stack], stack)
    assert found.ours and set(found.entries.values()) == {entries[0], entries[1], entries[3]}
    assert not parse_inline(b"[]", [], []).ours


def layer(number: int, parent: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"blob": blob(digest(number)).digest}
    return found if parent is None else found | {"parent": parent}


def config(layers: list[dict[str, Any]], end: Any = 0) -> bytes:
    record = {"digest": digest(9), "layers": [{"layer": end}]}
    return json.dumps({"layers": layers, "records": [record]}).encode()


def known(*numbers: int) -> dict[Digest, Descriptor]:
    found = [blob(digest(n))._replace(annotations={DIFF_ID: digest(n)}) for n in numbers]
    return {item.digest: item for item in found}


def test_buildkit_leaves_a_parent_of_zero_out() -> None:
    found = parse(config([layer(1, -1), layer(2, None)], 1), known(1, 2))
    assert found.entries[digest(9).hex].layers == (digest(1), digest(2)) and not found.ours


@pytest.mark.sec("D7")
@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        config([layer(1, 0)]),  # its own parent
        config([layer(1, 1), layer(2, 0)]),
        config([layer(1, -2)]),
        config([layer(1, 7)]),
        config([layer(1, -1)], 7),
        config([layer(1, -1)], "0"),
        config([layer(1, -1)], True),
        config([layer(3, -1)]),  # not in the manifest
        config([{"blob": "../../etc/passwd"}]),
        config([{**layer(1, -1), "annotations": {"diffID": "sha256:x"}}]),
        b'{"layers": {}, "records": []}',
        b'{"records": [1]}',
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse(data, known(1, 2))


def test_a_foreign_media_type_is_refused() -> None:
    other = {digest(1): Descriptor("text/html", digest(1), 1, None, {DIFF_ID: digest(1)})}
    with pytest.raises(CorruptData, match="media type"):
        parse(json.dumps({"layers": [{"blob": digest(1), "parent": -1}]}).encode(), other)
    with pytest.raises(CorruptData, match="layers and"):
        parse_inline(b"[]", [blob(digest(1))], [])
