"""What a layer's entries add up to: replacement, whiteouts, hard links, missing parents."""

import itertools

import pytest

from onggi.errors import CorruptData
from onggi.store import layertree
from onggi.store.layertree import WHITEOUT, LayerTree, LowerFile, Node
from onggi.store.tarindex import (
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    TarEntry,
)


def entry(path: str, kind: bytes = REGULAR, **fields: object) -> TarEntry:
    return TarEntry(path.encode(), kind)._replace(**fields)  # type: ignore[arg-type]


def tree(*entries: TarEntry) -> LayerTree:
    made = LayerTree()
    for each in entries:
        made.add(each)
    return made


def at(made: LayerTree, path: str) -> Node | None:
    node: Node | None = made.root
    for part in path.encode().split(b"/"):
        node = node.children.get(part) if node is not None else None
    return node


def kind_at(made: LayerTree, path: str) -> bytes:
    node = at(made, path)
    return node.kind if node is not None else b""


LOWER = LowerFile(REGULAR, 0o640, 1, 2, 3, 4, ((b"user.a", b"b"),), b"", lambda o, n: b"data"[o:n])
MAKERS = {
    "file": entry("n", REGULAR, size=3),
    "directory": entry("n", DIRECTORY, mode=0o700),
    "symlink": entry("n", SYMLINK, link=b"/etc"),
    "hardlink": entry("n", HARDLINK, link=b"other"),
    "whiteout": entry(".wh.n"),
}


@pytest.mark.sec("C2")
@pytest.mark.parametrize(("first", "second"), [*itertools.product(MAKERS, repeat=2)])
def test_all_ordered_pairs_of_one_name(first: str, second: str) -> None:
    made = tree(entry("other", size=9), MAKERS[first], MAKERS[second])
    node = at(made, "n")
    assert node is not None
    last = first if second == "whiteout" and first != "whiteout" else second
    expected = {
        "file": REGULAR, "directory": DIRECTORY, "symlink": SYMLINK, "hardlink": REGULAR,
        "whiteout": WHITEOUT,
    }  # fmt: skip
    assert node.kind == expected[last]
    assert (node is at(made, "other")) == (last == "hardlink")
    assert node.opaque == ({first, second} == {"directory", "whiteout"})
    assert at(made, "other") is not None
    assert at(made, "other").size == 9  # type: ignore[union-attr] # nothing wrote through a link


@pytest.mark.sec("C2")
@pytest.mark.parametrize("through", ["symlink", "file", "hardlink"])
def test_nothing_goes_through_what_is_no_directory(through: str) -> None:
    made = tree(entry("other"), MAKERS[through])
    for kind in (REGULAR, DIRECTORY, FIFO):
        with pytest.raises(CorruptData, match="not a directory"):
            made.add(entry("n/passwd", kind))
    with pytest.raises(CorruptData, match="not a directory"):
        made.add(entry("n/.wh.passwd"))


@pytest.mark.sec("C2")
def test_bad_hard_links() -> None:
    made = tree(entry("d/x"), entry(".wh.gone"), entry("l", SYMLINK, link=b"d"))
    for target in ("later", "self", "gone", "d/missing", "l/x", "d/x/y"):
        with pytest.raises(CorruptData):
            made.add(entry("self", HARDLINK, link=target.encode()))
    with pytest.raises(CorruptData, match="directory"):
        made.add(entry("self", HARDLINK, link=b"d"))


def test_a_hard_link_to_a_symlink_is_the_symlink() -> None:
    made = tree(entry("l", SYMLINK, link=b"/etc/passwd"), entry("h", HARDLINK, link=b"l"))
    assert at(made, "h") is at(made, "l")
    assert kind_at(made, "h") == SYMLINK


def test_a_replaced_name_leaves_its_other_names_alone() -> None:
    made = tree(entry("a", size=5), entry("b", HARDLINK, link=b"a"), entry("a", size=7))
    assert (at(made, "a").size, at(made, "b").size) == (7, 5)  # type: ignore[union-attr]


def test_directories_merge_and_files_replace_them() -> None:
    made = tree(entry("d/e/f"), entry("d", DIRECTORY, mode=0o711), entry("d/e", DIRECTORY))
    assert kind_at(made, "d/e/f") == REGULAR
    assert at(made, "d").mode == 0o711  # type: ignore[union-attr]
    made.add(entry("d/e"))
    assert kind_at(made, "d/e") == REGULAR
    made.add(entry("d", SYMLINK, link=b"x"))
    made.add(entry("d", DIRECTORY))
    made.add(entry("d/new"))
    assert at(made, "d").children.keys() == {b"new"}  # type: ignore[union-attr]
    assert not at(made, "d").opaque  # type: ignore[union-attr]


def test_missing_parents_are_roots_0755() -> None:
    made = tree(entry("a/b/c"))
    parent = at(made, "a/b")
    assert parent is not None
    assert (parent.kind, parent.mode, parent.uid, parent.mtime_ns) == (DIRECTORY, 0o755, 0, 0)


def test_links_have_the_only_mode_there_is() -> None:
    assert at(tree(entry("l", SYMLINK, link=b"x", mode=0o755)), "l").mode == 0o777  # type: ignore[union-attr]


def test_the_root_can_be_described() -> None:
    made = tree(entry("", DIRECTORY, mode=0o700, uid=5))
    assert (made.root.mode, made.root.uid) == (0o700, 5)


# -- whiteouts (C3) ----------------------------------------------------------------------------


@pytest.mark.sec("C3")
@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."])
def test_whiteouts_of_no_name(name: str) -> None:
    with pytest.raises(CorruptData, match="whiteout of no name"):
        tree(entry(name))


@pytest.mark.sec("C3")
@pytest.mark.parametrize("name", [".wh./x", ".wh.a/x", "d/.wh.a/b/c", ".wh../x"])
def test_nothing_lies_below_a_whiteout(name: str) -> None:
    with pytest.raises(CorruptData, match="below a whiteout"):
        tree(entry(name))


@pytest.mark.sec("C3")
@pytest.mark.parametrize("name", [".wh..wh.x", ".wh..wh.plnk", ".wh..wh.plnk/1.2", ".wh..wh..wh.x"])
def test_private_names_of_aufs_are_ignored(name: str) -> None:
    for kind in (REGULAR, DIRECTORY):
        assert tree(entry(name, kind)).root.children == {}


@pytest.mark.sec("C3")
def test_opaque_before_after_and_twice() -> None:
    for order in itertools.permutations(
        [entry("d", DIRECTORY), entry("d/x"), entry("d/.wh..wh..opq"), entry("d/.wh..wh..opq")]
    ):
        made = tree(*order)
        assert at(made, "d").opaque  # type: ignore[union-attr]
        assert kind_at(made, "d/x") == REGULAR
    assert tree(entry(".wh..wh..opq")).root.opaque


@pytest.mark.sec("C3")
def test_a_device_0_0_is_the_whiteout_it_would_be() -> None:
    assert kind_at(tree(entry("n", CHARACTER)), "n") == WHITEOUT
    made = tree(entry("n", DIRECTORY), entry("n", CHARACTER))
    assert at(made, "n").opaque  # type: ignore[union-attr]


@pytest.mark.sec("C3")
def test_a_whiteout_hides_only_what_is_below() -> None:
    made = tree(entry("n/x"), entry(".wh.n"), entry("n/y"))
    assert at(made, "n").opaque  # type: ignore[union-attr]
    assert at(made, "n").children.keys() == {b"x", b"y"}  # type: ignore[union-attr]
    made = tree(entry(".wh.n"), entry("n/x"))  # the parent is made on the way
    assert at(made, "n").opaque  # type: ignore[union-attr]


# -- links to lower layers ---------------------------------------------------------------------


def test_links_to_lower_files_share_one_copy() -> None:
    asked: list[bytes] = []

    def resolve(path: bytes) -> LowerFile | None:
        asked.append(path)
        return LOWER if path == b"bin/tool" else None

    made = LayerTree(resolve)
    made.add(entry("usr/a", HARDLINK, link=b"bin/tool"))
    made.add(entry("usr/b", HARDLINK, link=b"bin/tool"))
    assert asked == [b"bin/tool"]
    assert made.needs_lower
    node = at(made, "usr/a")
    assert node is at(made, "usr/b")
    assert node is not None
    assert (node.mode, node.uid, node.gid, node.size) == (0o640, 1, 2, 4)
    assert node.lower is LOWER
    with pytest.raises(CorruptData, match="does not exist"):
        made.add(entry("c", HARDLINK, link=b"bin/other"))


@pytest.mark.parametrize("hide", [".wh.bin", "bin/.wh.tool", "bin/.wh..wh..opq", ".wh..wh..opq"])
def test_what_this_layer_hides_cannot_be_linked(hide: str) -> None:
    made = LayerTree(lambda path: LOWER)
    made.add(entry(hide))
    with pytest.raises(CorruptData, match="does not exist"):
        made.add(entry("a", HARDLINK, link=b"bin/tool"))
    assert not made.needs_lower


def test_without_a_resolver_links_stay_inside() -> None:
    with pytest.raises(CorruptData, match="does not exist"):
        tree(entry("a", HARDLINK, link=b"bin/tool"))


@pytest.mark.sec("C4")
def test_missing_parents_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layertree, "MAX_NODES", 20)
    made = LayerTree()
    made.add(entry("a/" * 15 + "x"))
    with pytest.raises(CorruptData, match="more than 20"):
        made.add(entry("b/" * 15 + "x"))
