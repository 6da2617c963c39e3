"""The store killed at any moment, on a full disk, and mounted by a real kernel."""

import fcntl
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onggi.errors import CorruptData, Unavailable
from onggi.linux.mount import mount_overlay
from onggi.spec.digest import Digest
from onggi.spec.image import Image
from onggi.spec.mount import RootFilesystem
from onggi.store.backend import KINDS, Kind
from onggi.store.store import Store
from rawtar import archive, member, record
from sample import add_image, container, layer_tar

TAR = layer_tar({"etc/": b"", "etc/passwd": b"root:x:0:0::/:/bin/sh\n", "big": os.urandom(300_000)})


def files(store: Store) -> list[str]:
    try:
        return sorted(os.listdir(f"{store.root}/layers"))
    except FileNotFoundError:
        return []


CALLS = ("write", "pwrite", "ftruncate", "fdatasync", "fsync", "link", "unlink", "close")


def die_at(tick: int, store: Store) -> None:
    """Kill this process before its `tick`-th system call or SQL statement that could matter."""
    left = [tick]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            count()
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    store.db.rows("SELECT 1")
    assert store.db._connection is not None
    store.db._connection.set_trace_callback(count)


def killed(tick: int, store: Store, work: Callable[[Store], object]) -> bool:
    """Run `work` in a process that dies at `tick`; False when it got through."""
    store.close()
    pid = os.fork()
    if pid == 0:
        die_at(tick, store)
        work(store)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


def check(store: Store) -> None:
    """Every row is true, and what has no row goes."""
    assert store.db.check() == []
    store.db.execute("UPDATE layer SET verified_boot = ''")
    for (diff_id,) in store.db.rows("SELECT diff_id FROM layer"):
        assert store.layers.mounts([Digest(diff_id)])
    for image in store.images.list():
        assert store.layers.mounts(image.config.diff_ids)
    store.collect()
    rows = store.db.rows("SELECT count(*) FROM layer_file")[0][0]
    assert len(files(store)) == rows
    assert os.listdir(f"{store.root}/tmp") == [] if os.path.isdir(f"{store.root}/tmp") else True


@pytest.mark.sec("S1")
def test_killed_at_any_moment_of_storing_an_image(tmp_path: Path) -> None:
    top = layer_tar({"top": b"t"})
    tick = 0
    while True:
        store = Store(str(tmp_path / f"root{tick}"), str(tmp_path / "run"), backend="erofs")
        store.db.rows("SELECT 1")
        died = killed(tick, store, lambda s: add_image(s, TAR, top, tags=["app"]))
        check(store)
        image = add_image(store, TAR, top, tags=["app"])
        assert store.images.get("app") == image
        check(store)
        store.images.remove("app")
        assert files(store) == []
        store.close()
        if not died:
            break
        tick += 1
    assert tick > 30


@pytest.mark.sec("S1")
def test_killed_at_any_moment_of_removing_an_image(tmp_path: Path) -> None:
    top = layer_tar({"top": b"t"})
    tick = 0
    while True:
        store = Store(str(tmp_path / f"root{tick}"), str(tmp_path / "run"), backend="erofs")
        add_image(store, TAR, tags=["base"])
        add_image(store, TAR, top, tags=["app"])
        store.layers.unpin()
        died = killed(tick, store, lambda s: s.images.remove("app"))
        check(store)
        assert store.images.exists("base")
        assert len(files(store)) == (2 if store.images.exists("app") else 1)
        store.close()
        if not died:
            break
        tick += 1
    assert tick > 8


# -- full disks --------------------------------------------------------------------------------


@contextmanager
def small_disk(tmp_path: Path, kind: str, size_mib: int) -> Iterator[Path]:
    """A file system of its own at tmp_path/disk."""
    target = tmp_path / "disk"
    target.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(target)]
    else:
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        command = ["mount", "-o", "loop", str(image), str(target)]
    subprocess.run(command, check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)  # also when a test failed


def fill(directory: Path) -> None:
    """Until not one byte more fits."""
    with (directory / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("backend", ["erofs", "directory"])
def test_a_layer_that_does_not_fit_leaves_nothing(tmp_path: Path, kind: str, backend: Kind) -> None:
    with small_disk(tmp_path, kind, 64) as disk:
        store = Store(str(disk / "root"), str(tmp_path / "run"), backend=backend)
        add_image(store, layer_tar({"small": b"1"}), tags=["small"])
        before = files(store)
        free = os.statvfs(disk).f_bavail
        with pytest.raises(Unavailable, match="no space left on device"):
            store.layers.ingest(iter([layer_tar({"big": os.urandom(1 << 20) * 80})]))
        store.layers.unpin()
        store.collect()
        assert files(store) == before
        assert abs(os.statvfs(disk).f_bavail - free) * 4096 < 1 << 20
        assert store.images.get("small")
        store.close()


@pytest.mark.root
@pytest.mark.sec("S8")
def test_deleting_works_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, "ext4", 64) as disk:
        store = Store(str(disk / "root"), str(tmp_path / "run"), backend="erofs")
        image = add_image(store, layer_tar({"big": os.urandom(20 << 20)}), tags=["big"])
        user = container(1, image, status="running")
        store.containers.insert(user)
        store.close()
        fill(disk)
        assert [c.name for c in store.containers.list()] == ["name1"]
        store.containers.change_state(user.id, lambda s: s._replace(status="exited"))
        store.containers.remove(user.id)
        assert ("Deleted", image.id) in store.images.remove("big")
        assert files(store) == []
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > 19 << 20
        add_image(store, TAR, tags=["next"])
        assert store.db.check() == []
        store.close()


# -- power cuts --------------------------------------------------------------------------------

_GOING_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # what is not on disk yet is lost, as when the power goes


def work_until_dark(store: Store, number: int, acknowledge: int) -> None:
    """Add and remove images until the disk is gone; tell what has been done."""
    for count in range(1000):
        name = f"cut{number}-{count}"
        add_image(store, TAR, layer_tar({name: os.urandom(30_000)}), tags=[name])
        os.write(acknowledge, f"+{name}\n".encode())
        if count % 3 == 2:
            store.images.remove(name)
            os.write(acknowledge, f"-{name}\n".encode())


def acknowledged(told: bytes) -> tuple[set[str], set[str]]:
    lines = told.decode().splitlines()
    gone = {line[1:] for line in lines if line[0] == "-"}
    return {line[1:] for line in lines if line[0] == "+"} - gone, gone


def cut_power(disk: Path, image: Path, store: Store, number: int) -> bytes:
    """What the worker said before the power went."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work_until_dark(store, number, write)
        finally:
            os._exit(0)
    os.close(write)
    told = b""
    while told.count(b"\n") < number % 7 + 1:
        piece = os.read(read, 4096)
        assert piece, "the worker has ended"
        told += piece
    fd = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(fd, _GOING_DOWN, struct.pack("I", _NO_LOG_FLUSH))
    os.kill(pid, signal.SIGKILL)
    os.close(fd)
    os.waitpid(pid, 0)
    while piece := os.read(read, 4096):
        told += piece
    os.close(read)
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    return told


@pytest.mark.root
@pytest.mark.sec("S1")
def test_what_was_acknowledged_survives_power_cuts(tmp_path: Path) -> None:
    kept: set[str] = set()
    with small_disk(tmp_path, "ext4", 96) as disk:
        store = Store(str(disk / "root"), str(tmp_path / "run"), backend="erofs")
        store.db.rows("SELECT 1")
        for number in range(12):
            store.close()
            fresh, gone = acknowledged(cut_power(disk, tmp_path / "disk.img", store, number))
            kept |= fresh
            assert store.db.check() == []
            there = {tag.rpartition("/")[2][:-7] for i in store.images.list() for tag in i.tags}
            # The last operation may have been done without being told.
            assert len(kept - there) <= 1
            assert not there & gone
            assert len(there - kept) <= 1
            kept = there
            check(store)
        store.close()


# -- mounted -----------------------------------------------------------------------------------


@contextmanager
def rootfs(store: Store, image: Image) -> Iterator[int]:
    fd = mount_overlay(RootFilesystem(store.layers.mounts(image.config.diff_ids), "", ""))
    try:
        yield fd
    finally:
        os.close(fd)


def content(root: int, path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    with open(fd, "rb") as file:
        return file.read()


def hard_link(name: bytes, target: bytes) -> bytes:
    return record(name=name, kind=b"1", link=target)


LINKING = archive(hard_link(b"again", b"etc/name"), member(b".wh.gone"))


@pytest.mark.root
@pytest.mark.parametrize("backend", KINDS)
def test_hard_links_into_lower_layers_take_the_file_of_their_own_stack(
    tmp_path: Path, backend: Kind
) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend=backend)
    made = {}
    for name in (b"good", b"evil"):
        base = layer_tar({"etc/": b"", "etc/name": name, "gone": b"1"})
        made[name] = add_image(store, base, LINKING, tags=[name.decode()])
    for name, image in made.items():
        with rootfs(store, image) as root:
            assert content(root, "again") == name == content(root, "etc/name")
            with pytest.raises(FileNotFoundError):
                content(root, "gone")
        with store.layers.open_tar(image.config.diff_ids[1]) as tar:
            assert tar.read() == LINKING
    for name in made:
        store.images.remove(name.decode())
    assert files(store) == []
    store.close()


@pytest.mark.root
@pytest.mark.sec("62")
def test_a_hard_link_to_nowhere_makes_no_image(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    with pytest.raises(CorruptData, match=r"hard link target .* does not exist"):
        add_image(store, TAR, archive(hard_link(b"x", b"nix")), tags=["bad"])
    with pytest.raises(CorruptData, match=r"hard link target .* does not exist"):
        add_image(store, archive(hard_link(b"x", b"nix")), tags=["bad"])
    assert store.images.list() == []
    store.close()


@pytest.mark.root
@pytest.mark.parametrize(("first", "second"), [("erofs", "directory"), ("directory", "erofs")])
def test_a_layer_moves_to_another_way_of_mounting(
    tmp_path: Path, first: Kind, second: Kind
) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend=first)
    image = add_image(store, TAR, archive(member(b".wh.big"), member(b"new")), tags=["app"])
    store.close()
    store = Store(str(tmp_path / "root"), str(tmp_path / "run2"), backend=second)
    with rootfs(store, image) as root:
        assert content(root, "etc/passwd") == b"root:x:0:0::/:/bin/sh\n"
        assert content(root, "new") == b""
        with pytest.raises(FileNotFoundError):
            content(root, "big")
    with store.layers.open_tar(image.config.diff_ids[0]) as tar:
        assert tar.read() == TAR
    store.close()


@pytest.mark.root
def test_a_directory_is_extracted_anew_after_a_reboot(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="directory")
    image = add_image(store, TAR, tags=["app"])
    name = next(name for name in files(store) if name.endswith(".d"))
    Path(store.root, "layers", name, "etc/passwd").write_bytes(b"")
    store.db.execute("UPDATE layer SET verified_boot = 'earlier'")
    with rootfs(store, image) as root:
        assert content(root, "etc/passwd") == b"root:x:0:0::/:/bin/sh\n"
    assert os.listdir(f"{store.root}/tmp") == []
    store.close()


@pytest.mark.root
def test_the_way_of_mounting_is_tried_once_a_boot(tmp_path: Path) -> None:
    root, run = str(tmp_path / "root"), str(tmp_path / "run")
    kind = Store(root, run).backend.kind
    assert kind in KINDS
    assert Path(run, "backend").read_text() == f"{kind}\n"
    Path(run, "backend").write_text("directory\n")
    assert Store(root, run).backend.kind == "directory"
    Path(run, "backend").write_text("nonsense\n")
    assert Store(root, run).backend.kind == kind


@pytest.mark.root
@pytest.mark.parametrize("backend", ["erofs", "directory"])
def test_a_commit_of_an_upper_directory(tmp_path: Path, backend: Kind) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend=backend)
    base = store.layers.ingest([TAR])
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/hosts").write_text("here")
    os.mknod(upper / "big", 0o020000, os.makedev(0, 0))
    info = store.layers.commit(str(upper))
    again = store.layers.commit(str(upper))
    assert again == info
    fd = mount_overlay(RootFilesystem(store.layers.mounts([base.diff_id, info.diff_id]), "", ""))
    try:
        assert content(fd, "etc/hosts") == b"here"
        assert content(fd, "etc/passwd").startswith(b"root")
        with pytest.raises(FileNotFoundError):
            content(fd, "big")
    finally:
        os.close(fd)
    store.close()


@pytest.mark.parametrize("backend", ["erofs", "directory"])
def test_processes_that_store_one_layer_do_not_disturb_each_other(
    tmp_path: Path, backend: Kind
) -> None:
    """Each may mount it as soon as it has stored it, whatever the others do."""
    layer = layer_tar({"a": b"1" * 3000})

    def work(store: Store) -> None:
        status = 1
        try:
            status = 0 if store.layers.mounts([store.layers.ingest([layer]).diff_id]) else 1
        finally:
            os._exit(status)

    for number in range(15):
        store = Store(str(tmp_path / f"{number}"), str(tmp_path / "run"), backend=backend)
        store.layers.mounts(())
        store.close()
        children = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0:
                work(store)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
