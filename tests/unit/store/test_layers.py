"""Layers on their way in and out: every byte checked, nothing kept of what is wrong."""

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from onggi.errors import CorruptData, NotFound, Unavailable
from onggi.spec.digest import Digest
from onggi.spec.image import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor
from onggi.spec.mount import LayerMount
from onggi.store import durable, sink
from onggi.store.store import Store
from rawtar import END, archive, member
from sample import add_image, layer_tar

TAR = layer_tar({"etc/": b"", "etc/passwd": b"root:x:0:0::/:/bin/sh\n", "big": os.urandom(300_000)})
DIFF_ID = Digest.of(TAR)
GZIP = gzip.compress(TAR, mtime=0)
ZSTD = zstandard.ZstdCompressor().compress(TAR)
BLOB = Descriptor(OCI_LAYER_GZIP, Digest.of(GZIP), len(GZIP))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def pieces(data: bytes, size: int = 10_000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def files(store: Store) -> list[str]:
    try:
        return sorted(os.listdir(f"{store.root}/layers"))
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    ("blob", "compression"), [(TAR, ""), (GZIP, "gzip"), (ZSTD, "zstd")], ids=["tar", "gz", "zst"]
)
@pytest.mark.parametrize("size", [1000, 70_000, 10_000_000])
def test_a_layer_comes_back_exactly(store: Store, blob: bytes, compression: str, size: int) -> None:
    told: list[int] = []
    info = store.layers.ingest(pieces(blob, size), compression=compression, on_progress=told.append)
    assert info == (DIFF_ID, Digest.of(blob), len(blob), len(TAR))
    assert told == sorted(told)
    assert told[-1] == len(blob)
    assert store.layers.has(DIFF_ID)
    assert store.layers.size(DIFF_ID) == len(TAR)
    with store.layers.open_tar(DIFF_ID) as tar:
        assert tar.read(7) == TAR[:7]
        assert b"".join(iter(lambda: tar.read(65536), b"")) == TAR[7:]
        assert b"".join(tar.pieces()) == TAR
    path = f"{store.root}/layers/{DIFF_ID.hex}.erofs"
    assert store.layers.mounts([DIFF_ID]) == (LayerMount("erofs", path),)


@pytest.mark.parametrize(
    ("blob", "expected", "diff_id", "text"),
    [
        (GZIP, BLOB._replace(digest=Digest.of(b"")), DIFF_ID, "verification failed for digest"),
        (GZIP, BLOB, Digest.of(b""), "has other content: its diff ID is"),
        (GZIP[:-9], BLOB, DIFF_ID, "is cut off at"),
        (GZIP + b"\0", BLOB, DIFF_ID, "is longer than"),
        (GZIP[:-9], None, None, "gzip data is cut short"),
        (GZIP[:500] + b"\xff" * 500 + GZIP[1000:], None, None, "damaged gzip data|garbage|tar"),
        (gzip.compress(TAR[: 512 * 3 + 100]), None, None, "cut short"),
        (gzip.compress(b"no tar at all" * 100), None, None, "checksum"),
        (gzip.compress(archive(member(b"../x"))), None, None, r"'\.\.' in a name"),
        (gzip.compress(archive(member(b"x", b"4"))), None, None, "block device"),
    ],
)
@pytest.mark.sec("C7")
@pytest.mark.sec("70")
def test_nothing_is_kept_of_a_wrong_layer(
    store: Store, blob: bytes, expected: Descriptor | None, diff_id: Digest | None, text: str
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CorruptData, match=text):
        store.layers.ingest(
            pieces(blob), compression="gzip", expected_blob=expected, expected_diff_id=diff_id
        )
    assert files(store) == []
    assert not store.layers.has(DIFF_ID)
    store.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_source_that_breaks_off_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield GZIP[:5000]
        raise ConnectionResetError("peer")

    with pytest.raises(ConnectionResetError):
        store.layers.ingest(broken(), compression="gzip")
    assert files(store) == []


def test_other_hashes_than_sha256(store: Store) -> None:
    import hashlib

    blob = Digest.parse("sha512:" + hashlib.sha512(GZIP).hexdigest())
    diff_id = Digest.parse("sha512:" + hashlib.sha512(TAR).hexdigest())
    info = store.layers.ingest(
        pieces(GZIP),
        compression="gzip",
        expected_blob=BLOB._replace(digest=blob),
        expected_diff_id=diff_id,
    )
    assert info[:2] == (diff_id, blob)
    assert files(store) == [f"{diff_id.hex}.erofs"]


def test_the_empty_layer(store: Store) -> None:
    info = store.layers.ingest([END])
    assert info.tar_size == 1024
    assert store.layers.mounts([info.diff_id])


def test_known_blobs_are_remembered_by_repository(store: Store) -> None:
    store.layers.ingest(
        pieces(GZIP), compression="gzip", expected_blob=BLOB, source="docker.io/library/a"
    )
    store.layers.ingest(
        pieces(GZIP), compression="gzip", expected_blob=BLOB, source="docker.io/library/b"
    )
    zstd = Descriptor(OCI_LAYER_ZSTD, Digest.of(ZSTD), len(ZSTD))
    store.layers.remember_blob(DIFF_ID, zstd)
    assert store.layers.known_blobs(DIFF_ID) == [
        (BLOB, "docker.io/library/a"),
        (BLOB, "docker.io/library/b"),
        (zstd, ""),
    ]
    assert len(files(store)) == 1


@pytest.mark.parametrize("kind", ["gzip", "zstd", ""])
def test_compressing_again_gives_the_same_blob(store: Store, kind: str) -> None:
    store.layers.ingest([TAR])
    with store.shared():
        descriptor, pieces_of = store.layers.compressed(DIFF_ID, kind)
        blob = b"".join(pieces_of())
        assert b"".join(pieces_of()) == blob
        assert descriptor[1:3] == (Digest.of(blob), len(blob))
        assert store.layers.compressed(DIFF_ID, kind)[0] == descriptor
    other = {"gzip": gzip.decompress, "zstd": _unzstd, "": bytes}[kind](blob)
    assert other == TAR
    store.collect()
    assert os.listdir(f"{store.root}/blobs/sha256") == [] if kind else True


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def test_a_layer_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound, match="is not in the store"):
        store.layers.mounts([DIFF_ID])
    with pytest.raises(NotFound):
        store.layers.size(DIFF_ID)
    with pytest.raises(NotFound), store.layers.open_tar(DIFF_ID):
        pass


@pytest.mark.sec("100")
def test_a_layer_file_removed_by_hand_is_pulled_again(store: Store) -> None:
    store.layers.ingest([TAR])
    os.unlink(f"{store.root}/layers/{files(store)[0]}")
    with pytest.raises(CorruptData, match=f"layer {DIFF_ID} is damaged: .* is gone"):
        store.layers.mounts([DIFF_ID])
    assert not store.layers.has(DIFF_ID)
    store.layers.ingest([TAR])
    assert store.layers.mounts([DIFF_ID])


@pytest.mark.parametrize("at", [1100, 4096 + 700, -100])
def test_after_a_reboot_bytes_are_checked_and_damage_is_healed(store: Store, at: int) -> None:
    image = add_image(store, TAR, tags=["app"])
    path = f"{store.root}/layers/{files(store)[0]}"
    store.db.execute("UPDATE layer SET verified_boot = 'the last one'")
    assert store.layers.mounts([DIFF_ID])  # sound
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_SET if at > 0 else os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    assert store.layers.mounts([DIFF_ID])  # not looked at twice in a boot
    store.db.execute("UPDATE layer SET verified_boot = 'the last one'")
    with pytest.raises(CorruptData, match=f"layer {DIFF_ID} is damaged"):
        store.layers.mounts([DIFF_ID])
    assert not store.layers.has(DIFF_ID)
    assert store.layers.pin([DIFF_ID]) == frozenset()
    assert store.images.get("app").id == image.id
    store.layers.ingest([TAR])
    store.db.execute("UPDATE layer SET verified_boot = 'the last one'")
    assert store.layers.mounts([DIFF_ID])
    with store.layers.open_tar(DIFF_ID) as tar:
        assert tar.read() == TAR


def test_a_pull_after_a_reboot_asks_for_damaged_layers_again(store: Store) -> None:
    other = store.layers.ingest([layer_tar({"x": b""})]).diff_id
    store.layers.ingest([TAR])
    path = f"{store.root}/layers/{DIFF_ID.hex}.erofs"
    os.truncate(path, 8192)
    store.db.execute("UPDATE layer SET verified_boot = 'the last one'")
    assert store.layers.pin([DIFF_ID, other]) == {other}
    store.layers.ingest([TAR])
    assert store.layers.pin([DIFF_ID, other]) == {DIFF_ID, other}
    os.unlink(path)
    assert store.layers.pin([DIFF_ID, other]) == {other}


def test_an_opaque_layer_hides_those_below(store: Store) -> None:
    below = store.layers.ingest([TAR]).diff_id
    opaque = store.layers.ingest([archive(member(b".wh..wh..opq"), member(b"x"))]).diff_id
    assert store.layers.mounts([below, opaque]) == store.layers.mounts([opaque])


def test_many_processes_store_the_same_layer(store: Store) -> None:
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            info = store.layers.ingest(pieces(GZIP), compression="gzip")
            os._exit(0 if info.diff_id == DIFF_ID and store.layers.mounts([DIFF_ID]) else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
    assert files(store) == [f"{DIFF_ID.hex}.erofs"]
    assert store.layers.mounts([DIFF_ID])


def test_a_full_disk_is_noticed_before_it_is_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_FLOOR_BYTES", 1 << 60)
    monkeypatch.setattr(os, "fstatvfs", _with_little_space(os.fstatvfs))
    tar = layer_tar({"big": bytes(20 << 20)})
    with pytest.raises(Exception, match="no space left on device"):
        store.layers.ingest(pieces(tar, 1 << 20))
    assert files(store) == []


def _with_little_space(real: Callable[[int], Any]) -> Callable[[int], Any]:
    def fstatvfs(fd: int) -> Any:
        values = list(real(fd))
        values[4] = values[2] // 100
        return os.statvfs_result(values)

    return fstatvfs


def test_what_a_crash_left_under_the_final_name_is_replaced(store: Store) -> None:
    os.makedirs(f"{store.root}/layers")
    Path(store.root, "layers", f"{DIFF_ID.hex}.erofs").write_bytes(b"stale")
    store.layers.ingest([TAR])
    with store.layers.open_tar(DIFF_ID) as tar:
        assert tar.read() == TAR


def test_a_file_is_replaced_without_ever_missing(tmp_path: Path) -> None:
    """Two processes that store one layer: the second must not take the first one's file away."""
    (tmp_path / "x").write_bytes(b"0")
    missing, done = [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            if not os.path.exists(tmp_path / "x"):
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(200):
            fd = durable.open_tmpfile(str(tmp_path))
            durable.write_all(fd, b"%d" % number)
            durable.publish_over(fd, str(tmp_path), "x")
            os.close(fd)
    finally:
        done.set()
        watcher.join()
    assert not missing
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"199"


def test_a_sink_that_cannot_be_made_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(FileNotFoundError):
        sink.LayerSink(str(tmp_path / "nowhere"))
    assert threading.active_count() == before


@pytest.mark.parametrize("good", [0, 2])
def test_what_fails_behind_the_reader_is_raised_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """Also when more comes than waits for the thread that writes, and when it is the last piece."""
    left = good

    def fail(fd: int, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable("no space left on device")
        durable.write_all(fd, data)

    monkeypatch.setattr(sink, "write_all", fail)
    before = threading.active_count()
    for tar in (TAR, layer_tar({"large": bytes(20 << 20)})):
        left = good
        with pytest.raises(Unavailable, match="no space"):
            store.layers.ingest(pieces(tar, 1 << 17))
    assert not files(store)
    assert threading.active_count() == before
