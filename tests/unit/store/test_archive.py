"""`save` and `load`: exact, deterministic, and deaf to hostile archives (SECURITY C14)."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zstandard

from onggi.errors import CorruptData, InvalidInput, NotFound, OnggiError, Unsupported
from onggi.progress import Event, Layer, Message
from onggi.spec.digest import Digest
from onggi.spec.image import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
)
from onggi.spec.jsontext import canonical
from onggi.spec.platform import host_platform
from onggi.store.store import Store
from rawtar import END, archive, member, record
from sample import add_image, config_bytes, layer_tar

BASE = layer_tar({"etc/": b"", "etc/base": b"1"})
TOP = layer_tar({"top": b"2" * 5000})
BIG = layer_tar({"big": os.urandom(200_000)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "other"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def save(store: Store, *references: str) -> bytes:
    pieces: list[bytes] = []
    store.archive.save(references, pieces.append)
    return b"".join(pieces)


def load(store: Store, data: bytes, events: list[Event] | None = None) -> list[str]:
    """Through a pipe-like reader that gives at most 7000 bytes at once."""
    stream = BytesIO(data)
    report = events.append if events is not None else lambda _: None
    return store.archive.load(lambda size: stream.read(min(size, 7000)), report)


def members(data: bytes) -> dict[str, bytes]:
    import tarfile

    with tarfile.open(fileobj=BytesIO(data)) as tar:
        return {
            item.name: file.read()
            for item in tar
            if item.isfile() and (file := tar.extractfile(item)) is not None
        }


def test_a_saved_image_is_docker_archive_and_oci_layout(store: Store) -> None:
    image = add_image(store, BASE, TOP, tags=["app:1", "localhost:5000/x"])
    found = members(save(store, "app:1", "localhost:5000/x"))
    (entry,) = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == ["app:1", "localhost:5000/x:latest"]
    assert found[entry["Config"]] == store.images.config_bytes(image.id)
    assert [found[path] for path in entry["Layers"]] == [BASE, TOP]
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(found["index.json"])
    names = [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]]
    assert names == ["docker.io/library/app:1", "localhost:5000/x:latest"]
    manifest = found[f"blobs/sha256/{index['manifests'][0]['digest'][7:]}"]
    assert [layer["digest"] for layer in json.loads(manifest)["layers"]] == [
        Digest.of(BASE),
        Digest.of(TOP),
    ]
    for path, data in found.items():
        if path.startswith("blobs/"):
            assert Digest.of(data).hex == path.rpartition("/")[2]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["app:1"], ["app:1"]),
        (["app"], ["app:1", "app:2"]),
        (["ID"], None),
        (["ID", "app:2"], ["app:2"]),
        (["app:1", "app:1"], ["app:1"]),
    ],
)
def test_names_that_are_saved(store: Store, asked: list[str], names: list[str] | None) -> None:
    image = add_image(store, BASE, tags=["app:1", "app:2", "else"])
    data = save(store, *(image.id.short if name == "ID" else name for name in asked))
    (entry,) = json.loads(members(data)["manifest.json"])
    assert entry["RepoTags"] == names


def test_saving_what_is_not_there_writes_nothing(store: Store) -> None:
    add_image(store, BASE, tags=["app"])
    pieces: list[bytes] = []
    with pytest.raises(NotFound, match="No such image: nix:latest"):
        store.archive.save(["app", "nix"], pieces.append)
    assert pieces == []


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_load_gives_back_what_was_saved(store: Store, other: Store, packer: str) -> None:
    one = add_image(store, BASE, BIG, tags=["one", "uno:1"])
    two = add_image(store, BASE, TOP)
    data = save(store, "one", "uno:1", two.id)
    events: list[Event] = []
    lines = load(other, PACKERS[packer](data), events)
    assert lines == [
        "Loaded image: one:latest",
        "Loaded image: uno:1",
        f"Loaded image ID: {two.id}",
    ]
    assert other.images.get("uno:1") == one
    assert other.images.get(two.id) == two
    assert {e.action for e in events if isinstance(e, Layer)} == {"Loading layer"}
    assert save(other, "one", "uno:1", two.id) == data
    assert os.listdir(f"{other.root}/layers")
    assert load(other, data) == lines


def test_a_tag_taken_over_is_told(store: Store, other: Store) -> None:
    add_image(store, BASE, tags=["app"])
    old = add_image(other, TOP, tags=["app"])
    events: list[Event] = []
    load(other, save(store, "app"), events)
    text = f"The image app:latest already exists, renaming the old one with ID {old.id} to empty"
    assert Message(f"{text} string") in events
    assert other.images.get(old.id).tags == ()


# -- archives of others ------------------------------------------------------------------------


def blob(data: bytes) -> bytes:
    return member(f"blobs/sha256/{Digest.of(data).hex}".encode(), data=data)


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data), **more}


def oci_manifest(
    config: bytes, layers: list[bytes], media_type: str = OCI_LAYER_GZIP, **more: Any
) -> bytes:
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG),
            "layers": [descriptor(layer, media_type) for layer in layers],
            **more,
        }
    )


def index(*manifests: dict[str, Any]) -> bytes:
    return canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)})


def oci(*parts: bytes, top: bytes, layout: bytes = b'{"imageLayoutVersion":"1.0.0"}') -> bytes:
    return archive(
        member(b"oci-layout", data=layout), *map(blob, parts), member(b"index.json", data=top)
    )


CONFIG = config_bytes([Digest.of(BASE), Digest.of(TOP)])


def test_an_oci_layout_with_compressed_layers(store: Store) -> None:
    layers = [gzip.compress(BASE), zstandard.ZstdCompressor().compress(TOP)]
    manifest = canonical(
        {
            "schemaVersion": 2,
            "config": descriptor(CONFIG, OCI_CONFIG),
            "layers": [
                descriptor(layers[0], OCI_LAYER_GZIP),
                descriptor(layers[1], OCI_LAYER_ZSTD),
            ],
        }
    )
    annotations = {"org.opencontainers.image.ref.name": "me/app:2"}
    top = index(descriptor(manifest, OCI_MANIFEST, annotations=annotations))
    assert load(store, oci(*layers, CONFIG, manifest, top=top)) == ["Loaded image: me/app:2"]
    image = store.images.get("me/app:2")
    assert store.images.manifest_bytes(image.id) == manifest
    with store.layers.open_tar(Digest.of(TOP)) as tar:
        assert tar.read() == TOP


def test_the_platform_is_chosen_in_a_nested_index(store: Store) -> None:
    layers = [gzip.compress(BASE), gzip.compress(TOP)]
    mine = oci_manifest(CONFIG, layers)
    here = host_platform()
    wanted = {"os": here.os, "architecture": here.architecture}
    missing = b"{}"
    nested = index(
        descriptor(missing, OCI_MANIFEST, platform={"os": "plan9", "architecture": "mips"}),
        descriptor(missing, OCI_MANIFEST, platform={"os": "unknown", "architecture": "unknown"}),
        descriptor(mine, OCI_MANIFEST, platform=wanted),
    )
    data = oci(*layers, CONFIG, mine, nested, top=index(descriptor(nested, OCI_INDEX)))
    assert load(store, data) == [f"Loaded image ID: {Digest.of(CONFIG)}"]
    only = index(descriptor(missing, OCI_MANIFEST, platform={"os": "plan9", "architecture": "m"}))
    with pytest.raises(NotFound, match="only for: plan9/m"):
        load(store, oci(only, top=index(descriptor(only, OCI_INDEX))))


def docker_archive(entries: Any, *more: bytes) -> bytes:
    return archive(*more, member(b"manifest.json", data=canonical(entries)))


def old_style(*extra: bytes, **changes: Any) -> bytes:
    """As docker saved before 2024: ID/layer.tar, and equal layers as symbolic links."""
    config = config_bytes([Digest.of(BASE), Digest.of(TOP), Digest.of(BASE)])
    entry = {
        "Config": "config.json",
        "RepoTags": ["app:old"],
        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"],
        **changes,
    }
    return docker_archive(
        [entry],
        member(b"c", b"5"),
        record(name=b"c/layer.tar", kind=b"2", link=b"../a/layer.tar"),
        member(b"a/layer.tar", data=BASE),
        member(b"a/VERSION", data=b"1.0"),
        member(b"a/json", data=b"{}"),
        member(b"b/layer.tar", data=TOP),
        member(b"config.json", data=config),
        *extra,
    )


def test_an_archive_of_an_old_docker(store: Store) -> None:
    assert load(store, old_style()) == ["Loaded image: app:old"]
    assert len(store.images.get("app:old").config.diff_ids) == 3


def link(name: bytes, target: bytes) -> bytes:
    return record(name=name, kind=b"2", link=target)


SIMPLE = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}
PARTS = (member(b"l.tar", data=BASE), member(b"config.json", data=config_bytes([Digest.of(BASE)])))
GOOD = docker_archive([SIMPLE], *PARTS)
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"x",
    "noise": os.urandom(10_000),
    "zeros": bytes(10_240),
    "an empty tar": END,
    "cut in a layer": GOOD[:1500],
    "cut in the manifest": GOOD[:-1300],
    "cut gzip": gzip.compress(GOOD)[:-20],
    "no manifest": archive(*PARTS),
    "manifest is no JSON": archive(*PARTS, member(b"manifest.json", data=b"{")),
    "manifest is an object": docker_archive({}, *PARTS),
    "manifest is null": docker_archive(None, *PARTS),
    "manifest of nulls": docker_archive([None], *PARTS),
    "manifest is empty": docker_archive([], *PARTS),
    "manifest is huge": docker_archive([SIMPLE, " " * (5 << 20)], *PARTS),
    "manifest is deep": archive(*PARTS, member(b"manifest.json", data=b"[" * 4000)),
    "manifest repeats a key": archive(
        *PARTS, member(b"manifest.json", data=b'[{"Config":"a","Config":"config.json"}]')
    ),
    "manifest twice": docker_archive([SIMPLE], *PARTS, member(b"manifest.json", data=b"[]")),
    "layer twice": docker_archive([SIMPLE], *PARTS, member(b"l.tar", data=TOP)),
    "manifest is a link out": archive(*PARTS, link(b"manifest.json", b"/etc/passwd")),
    "config missing": docker_archive([SIMPLE], PARTS[0]),
    "config is no config": docker_archive([SIMPLE], PARTS[0], member(b"config.json", data=b"[]")),
    "config is a link out": docker_archive([SIMPLE], PARTS[0], link(b"config.json", b"/etc/x")),
    "config climbs out": docker_archive(
        [SIMPLE], PARTS[0], link(b"config.json", b"../../etc/passwd")
    ),
    "config is a loop": docker_archive(
        [SIMPLE], PARTS[0], link(b"config.json", b"x"), link(b"x", b"config.json")
    ),
    "layer missing": docker_archive([SIMPLE], PARTS[1]),
    "layer is text": docker_archive([SIMPLE], PARTS[1], member(b"l.tar", data=b"hello")),
    "layer is a directory": docker_archive([SIMPLE], PARTS[1], member(b"l.tar", b"5")),
    "layer is a link out": docker_archive([SIMPLE], PARTS[1], link(b"l.tar", b"/etc/passwd")),
    "layer is xz": docker_archive([SIMPLE], PARTS[1], member(b"l.tar", data=lzma.compress(BASE))),
    "layer climbs": docker_archive(
        [SIMPLE], PARTS[1], member(b"l.tar", data=archive(member(b"../x")))
    ),
    "layer is another": docker_archive([SIMPLE], PARTS[1], member(b"l.tar", data=TOP)),
    "layers outside": docker_archive([{**SIMPLE, "Layers": ["../../etc/passwd"]}], *PARTS),
    "layers absolute": docker_archive([{**SIMPLE, "Layers": ["/l.tar"]}], *PARTS),
    "layers too many": docker_archive([{**SIMPLE, "Layers": ["l.tar", "l.tar"]}], *PARTS),
    "layers too few": docker_archive([{**SIMPLE, "Layers": []}], *PARTS),
    "layers null": docker_archive([{**SIMPLE, "Layers": None}], *PARTS),
    "layers of numbers": docker_archive([{**SIMPLE, "Layers": [1]}], *PARTS),
    "layers a text": docker_archive([{**SIMPLE, "Layers": "l.tar"}], *PARTS),
    "config a number": docker_archive([{**SIMPLE, "Config": 7}], *PARTS),
    "tags of numbers": docker_archive([{**SIMPLE, "RepoTags": [1]}], *PARTS),
    "tags a text": docker_archive([{**SIMPLE, "RepoTags": "x"}], *PARTS),
    "tag is upper case": docker_archive([{**SIMPLE, "RepoTags": ["APP"]}], *PARTS),
    "tag with a digest": docker_archive([{**SIMPLE, "RepoTags": [f"a@{Digest.of(b'')}"]}], *PARTS),
    "second is broken": docker_archive([SIMPLE, {**SIMPLE, "Layers": ["nix"]}], *PARTS),
    "blob has another name": docker_archive(
        [{**SIMPLE, "Config": "blobs/sha256/" + "0" * 64}],
        PARTS[0],
        member(b"blobs/sha256/" + b"0" * 64, data=config_bytes([Digest.of(BASE)])),
    ),
    "a member outside": docker_archive([SIMPLE], *PARTS, member(b"../../etc/cron.d/x")),
    "a device": docker_archive([SIMPLE], *PARTS, record(name=b"x", kind=b"3", minor=b"0000001\0")),
    "an index with itself": oci(top=index(descriptor(b"{}", OCI_INDEX))),
    "an index of nothing": oci(top=index()),
    "an index that is none": oci(CONFIG, top=oci_manifest(CONFIG, [])),
    "an index too old": oci(top=b'{"schemaVersion":1,"manifests":[]}'),
    "another layout": oci(top=index(), layout=b'{"imageLayoutVersion":"9"}'),
    "a manifest of both": oci(
        both := oci_manifest(CONFIG, [], manifests=[]),
        CONFIG,
        top=index(descriptor(both, OCI_MANIFEST)),
    ),
    "a blob of another size": oci(
        CONFIG, top=index({**descriptor(CONFIG, OCI_MANIFEST), "size": 5})
    ),
    "no image": oci(
        art := oci_manifest(CONFIG, [b"hello"], "application/x-wasm"),
        CONFIG,
        b"hello",
        top=index(descriptor(art, OCI_MANIFEST)),
    ),
    "before 2016": archive(*PARTS, member(b"repositories", data=b"{}")),
}


@pytest.mark.sec("C14")
@pytest.mark.sec("53")
@pytest.mark.sec("55")
@pytest.mark.sec("56")
@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_is_loaded_of_a_bad_archive(store: Store, what: str) -> None:
    with pytest.raises((CorruptData, InvalidInput, Unsupported)) as caught:
        load(store, HOSTILE[what])
    assert caught.value.message
    assert store.images.list() == []
    for directory in ("layers", "tmp", "blobs/sha256"):
        path = Path(store.root, directory)
        assert not path.exists() or list(path.iterdir()) == []


def test_nested_indexes_end(store: Store) -> None:
    parts = [oci_manifest(CONFIG, [])]
    for _ in range(6):
        parts.append(index(descriptor(parts[-1], OCI_INDEX if len(parts) > 1 else OCI_MANIFEST)))
    with pytest.raises(CorruptData, match="nested deeper than 4"):
        load(store, oci(CONFIG, *parts, top=index(descriptor(parts[-1], OCI_INDEX))))


@pytest.mark.sec("53")
def test_an_archive_cut_anywhere_is_refused(store: Store) -> None:
    assert load(store, GOOD)
    store.images.remove("app:1")
    for end in range(0, len(GOOD) - 1536, 1024):
        with pytest.raises(OnggiError):
            load(store, GOOD[:end])
    assert store.images.list() == []


@pytest.mark.sec("58")
def test_odd_but_legal_archives(store: Store) -> None:
    many = [f"app:{number}" for number in range(500)]
    assert len(load(store, docker_archive([{**SIMPLE, "RepoTags": many}], *PARTS))) == 500
    image = docker_archive([{**SIMPLE, "RepoTags": None}], *PARTS, member(b"odd\n\xff"))
    assert load(store, image) == [f"Loaded image ID: {Digest.of(config_bytes([Digest.of(BASE)]))}"]
    empty = docker_archive(
        [{"Config": "c.json", "RepoTags": ["scratch-like"], "Layers": []}],
        member(b"c.json", data=config_bytes([])),
    )
    assert load(store, empty) == ["Loaded image: scratch-like:latest"]
