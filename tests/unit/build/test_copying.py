"""COPY and ADD without a container: docker's destinations, ownership, digests, archives."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from onggi.build.copying import Owner
from onggi.build.graph import CopyOp
from onggi.dockerfile.lexer import Heredoc
from onggi.errors import InvalidInput
from onggi.store.tarwrite import END_OF_ARCHIVE

from .trees import Files, content, key, layer, make, opened, pieces, read

FILES: Files = {"f": "file", "g": "other", "d/x": "x", "d/sub/y": "y", "d/l": "-> x"}
ROOT: Files = {
    "etc/hosts": "", "app/sub/old": "", "var/real/x": "", "var/link": "-> real", "file": "",
    "abs": "-> /var/real", "dangling": "-> /made/later",
}  # fmt: skip


def names(tmp_path: Path, *words: str, root: Files | None = None) -> list[str]:
    *sources, destination = words
    make(tmp_path / "ctx", FILES)
    make(tmp_path / "root", ROOT if root is None else root)
    with opened(tmp_path / "ctx") as tree, opened(tmp_path / "root", rooted=True) as below:
        operation = CopyOp(tuple(sources), destination)
        return [member.name for member in layer(operation, tree, below)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("f", "/f"), ["f"]),
        (("f", "/new"), ["new"]),
        (("f", "/"), ["f"]),
        (("f", "/app"), ["app", "app/f"]),
        (("f", "/app/"), ["app", "app/f"]),
        (("f", "/new/"), ["new", "new/f"]),
        (("f", "/a/b/c"), ["a", "a/b", "a/b/c"]),
        (("f", "g", "/new/"), ["new", "new/f", "new/g"]),
        (("f", "g", "/app"), ["app", "app/f", "app/g"]),
        (("f", "/file"), ["file"]),
        (("f", "/var/link"), ["var", "var/real", "var/real/f"]),
        (("f", "/abs/z"), ["var", "var/real", "var/real/z"]),
        (("f", "/dangling/z"), ["made", "made/later", "made/later/z"]),
        (("f", "/app/../etc/"), ["etc", "etc/f"]),
        (("d", "/app"), ["app", "app/l", "app/sub", "app/sub/y", "app/x"]),
        (("d", "/new"), ["new", "new/l", "new/sub", "new/sub/y", "new/x"]),
        (("d/", "/new/"), ["new", "new/l", "new/sub", "new/sub/y", "new/x"]),
        (("d/sub", "f", "/app/"), ["app", "app/y", "app/f"]),
        (("d", "/var/link"), ["var", "var/real", "var/real/l", "var/real/sub",
                              "var/real/sub/y", "var/real/x"]),
        (("?", "/new/"), ["new", "new/l", "new/sub", "new/sub/y", "new/x", "new/f", "new/g"]),
        (("nope*", "/new/"), []),
        (("d/l", "/new"), ["new"]),
    ],
)  # fmt: skip
def test_destinations(tmp_path: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert names(tmp_path, *words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("f", "/file/"), "cannot copy to non-directory: /file"),
        (("f", "/file/x"), "cannot copy to non-directory: /file"),
        (("d", "/file"), "cannot copy to non-directory: /file"),
        (("f", "g", "/new"), "must be a directory and end with a /"),
    ],
)
def test_impossible_destinations(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        names(tmp_path, *words)


def test_files_do_not_replace_directories_inside_a_copied_tree(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot replace to directory /app/sub with file"):
        make(tmp_path / "ctx", {"d2/sub": "a file"})
        names(tmp_path, "d2", "/app")
    with pytest.raises(InvalidInput, match="cannot copy to non-directory: /etc/hosts"):
        make(tmp_path / "ctx", {"d3/hosts/x": ""})
        names(tmp_path, "d3", "/etc")


def test_existing_directories_are_written_again_as_they_are(tmp_path: Path) -> None:
    make(tmp_path / "root", {"tmp": None, "data/x": ""})
    (tmp_path / "root/tmp").chmod(0o1777)
    make(tmp_path / "ctx", FILES)
    with opened(tmp_path / "ctx") as tree, opened(tmp_path / "root", rooted=True) as root:
        members = {m.name: m for m in layer(CopyOp(("f",), "/tmp/new/"), tree, root)}
    assert members["tmp"].mode == 0o1777
    assert members["tmp/new"].mode == 0o755


def test_owner_and_mode(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    (tmp_path / "f").chmod(0o600)
    with opened(tmp_path) as tree:
        (plain,) = layer(CopyOp(("f",), "/f"), tree)
        owned = layer(CopyOp(("d",), "/n/", chown="x", chmod="0711"), tree, None, Owner(7, 8))
    assert (plain.mode, plain.uid, plain.gid) == (0o600, 0, 0)
    assert {(m.uid, m.gid) for m in owned} == {(7, 8)}
    assert {m.mode for m in owned if not m.issym()} == {0o711}


def test_contents_links_and_whole_second_times(tmp_path: Path) -> None:
    make(tmp_path, {"big": b"z" * 700_000, "empty": "", "l": "-> big"})
    os.utime(tmp_path / "big", ns=(0, 1_700_000_000_987_654_321))
    with opened(tmp_path) as tree:
        data = pieces(CopyOp((".",), "/d/"), tree)
    members = {m.name: m for m in read(data)}
    assert content(data, "d/big") == b"z" * 700_000
    assert members["d/big"].mtime == 1_700_000_000
    assert members["d/l"].linkname == "big"


def test_source_date_epoch_clamps(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    with opened(tmp_path) as tree:
        members = layer(CopyOp(("d",), "/d/", epoch=1_000_000_000), tree)
    assert {m.mtime for m in members} == {1_000_000_000}


def test_inline_files(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    documents = (Heredoc("a", "one\n", True, False), Heredoc("b", "\ttwo\n", True, True))
    with opened(tmp_path) as tree:
        data = pieces(CopyOp(("f",), "/n/", inline=documents), tree)
    assert [m.name for m in read(data)] == ["n", "n/f", "n/a", "n/b"]
    assert (content(data, "n/a"), content(data, "n/b")) == (b"one\n", b"two\n")


def test_hard_links_of_a_stage_stay_links(tmp_path: Path) -> None:
    make(tmp_path, {"bin/perl": "x"})
    os.link(tmp_path / "bin/perl", tmp_path / "bin/perl5")
    with opened(tmp_path, rooted=True) as tree:
        members = {m.name: m for m in layer(CopyOp(("bin",), "/b/", origin=""), tree)}
    assert members["b/perl5"].islnk()
    assert members["b/perl5"].linkname == "b/perl"
    with opened(tmp_path) as tree:
        assert not any(m.islnk() for m in layer(CopyOp(("bin",), "/b/"), tree))


def test_excludes(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    with opened(tmp_path) as tree:
        members = layer(CopyOp(("d",), "/d/", excludes=("**/y", "l")), tree)
    assert [m.name for m in members] == ["d", "d/sub", "d/x"]


def test_names_that_mean_deletion_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {".wh.f": ""})
    with opened(tmp_path) as tree, pytest.raises(InvalidInput, match=r"\.wh\. marks deletions"):
        layer(CopyOp((".",), "/d/"), tree)


# -- digests


def test_a_digest_is_of_content_names_and_modes_but_not_times(tmp_path: Path) -> None:
    top = make(tmp_path, FILES)
    operation = CopyOp((".",), "/d/")
    with opened(top) as tree:
        first = key(operation, tree)
        os.utime(top / "f", (1, 1))
        assert key(operation, tree) == first
        (top / "f").chmod(0o711)
        second = key(operation, tree)
        make(top, {"f": "changed"})
        third = key(operation, tree)
        (top / "f").rename(top / "h")
        fourth = key(operation, tree)
        (top / "new").mkdir()
        fifth = key(operation, tree)
        (top / "d/l").unlink()
        make(top, {"d/l": "-> sub"})
        sixth = key(operation, tree)
    assert len({first, second, third, fourth, fifth, sixth}) == 6


def test_a_digest_does_not_see_what_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    operation = CopyOp((".",), "/d/")
    with opened(tmp_path, ignore="noise") as tree:
        before = key(operation, tree)
        make(tmp_path, {"noise": "x"})
        assert key(operation, tree) == before


def test_the_same_tree_gives_the_same_layer(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        top = make(tmp_path / name, FILES)
        for path in sorted(top.rglob("*")):
            os.utime(path, (5, 5), follow_symlinks=False)
        os.utime(top, (5, 5))
        with opened(top) as tree:
            made.append(pieces(CopyOp((".",), "/d/"), tree))
    assert made[0] == made[1]


def test_a_file_that_changes_between_key_and_layer_is_an_error(tmp_path: Path) -> None:
    from onggi.build.copying import layer_pieces
    from onggi.build.sources import gather
    from onggi.build.target import Target

    make(tmp_path, FILES)
    operation = CopyOp(("f",), "/f")
    with opened(tmp_path) as tree:
        sources = gather(operation, tree)
        make(tmp_path, {"f": "FILE"})
        with pytest.raises(InvalidInput, match="changed while it was copied"):
            list(layer_pieces(operation, sources, Target(None, (0, 0), 0o755, None), None))


# -- archives


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: int
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for key_, value in more.items():
        setattr(info, key_, value)
    return info


SAMPLE = archive(
    (member("a", mode=0o640, uid=5, gid=6, mtime=9), b"A" * 3000),
    (member("sub", tarfile.DIRTYPE, mode=0o700), b""),
    (member("sub/b"), b"B"),
    (member("sub/hard", tarfile.LNKTYPE, "a"), b""),
    (member("sub/soft", tarfile.SYMTYPE, "../a"), b""),
)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_add_unpacks_archives(tmp_path: Path, compress: type[bytes]) -> None:
    make(tmp_path, {"x.tar": compress(SAMPLE)})
    with opened(tmp_path) as tree:
        data = pieces(CopyOp(("x.tar",), "/n", unpack=True), tree)
        (kept,) = layer(CopyOp(("x.tar",), "/n"), tree)
    members = {m.name: m for m in read(data)}
    assert list(members) == ["n", "n/a", "n/sub", "n/sub/b", "n/sub/hard", "n/sub/soft"]
    assert (members["n/a"].mode, members["n/a"].uid, members["n/a"].mtime) == (0o640, 5, 9)
    assert members["n/sub/hard"].linkname == "n/a"
    assert content(data, "n/a") == b"A" * 3000
    assert content(data, "n/sub/b") == b"B"
    assert kept.name == "n"


@pytest.mark.parametrize("data", [b"", b"text", gzip.compress(b"no tar"), b"\x1f\x8bbroken"])
def test_what_is_no_archive_is_copied(tmp_path: Path, data: bytes) -> None:
    make(tmp_path, {"x": data})
    with opened(tmp_path) as tree:
        made = pieces(CopyOp(("x",), "/n", unpack=True), tree)
    assert content(made, "n") == data


@pytest.mark.sec("D5")
def test_links_of_an_archive_stay_inside_the_image(tmp_path: Path) -> None:
    hostile = archive(
        (member("l", tarfile.SYMTYPE, "/etc"), b""),
        (member("l/passwd"), b"x"),
    )
    make(tmp_path / "ctx", {"x.tar": hostile})
    make(tmp_path / "root", {"etc/passwd": "old"})
    with opened(tmp_path / "ctx") as tree, opened(tmp_path / "root", rooted=True) as root:
        found = [m.name for m in layer(CopyOp(("x.tar",), "/d/", unpack=True), tree, root)]
    assert found == ["d", "d/l", "etc", "etc/passwd"]


@pytest.mark.sec("D5")
@pytest.mark.parametrize(
    "bad",
    [member("../x"), member("n", tarfile.CHRTYPE, devmajor=1, devminor=3),
     member("h", tarfile.LNKTYPE, "nope"), member(".wh.x")],
)  # fmt: skip
def test_hostile_members_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    make(tmp_path, {"x.tar": archive((member("ok"), b""), (bad, b""))})
    with opened(tmp_path) as tree, pytest.raises(InvalidInput):
        layer(CopyOp(("x.tar",), "/d/", unpack=True), tree)


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, {"x.tar": SAMPLE[:2048]})
    with opened(tmp_path) as tree, pytest.raises(InvalidInput, match=r"x\.tar: "):
        layer(CopyOp(("x.tar",), "/d/", unpack=True), tree)


def test_an_empty_copy_is_an_empty_layer(tmp_path: Path) -> None:
    make(tmp_path, {})
    with opened(tmp_path) as tree:
        assert pieces(CopyOp(("no*",), "/d/"), tree) == END_OF_ARCHIVE
