"""The floor above the kernel: mounts by descriptor, safe paths, processes, helper programs."""

import errno
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import OnggiError, Unavailable
from onggi.linux import capability, mount, namespace, process, safefs, staging, tools
from onggi.spec.mount import LayerMount, RootFilesystem
from onggi.store.erofs import TAR_OFFSET, ErofsImage
from onggi.store.layerfile import append_image, write_all_at
from onggi.store.layertree import LayerTree
from onggi.store.tarindex import TarIndex

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def write_erofs(target: Path, source: Path) -> None:
    """A directory as a layer file of ours."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(source.iterdir()):
            archive.add(path, path.name)
    tar, tree, index = stream.getvalue(), LayerTree(None), TarIndex()
    for entry in index.feed(tar):
        tree.add(entry)
    index.finish()
    with target.open("w+b") as file:
        write_all_at(file.fileno(), tar, TAR_OFFSET)
        append_image(file.fileno(), ErofsImage(tree, len(tar)), bytes(16))


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Two layers as directories and as EROFS files, and an empty upper."""
    for name, file in (("one", "a"), ("two", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(name)
        (tmp_path / name / "both").write_text(name)
        write_erofs(tmp_path / f"{name}.erofs", tmp_path / name)
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    return tmp_path


def read(root: int, name: str) -> str:
    content = safefs.read_file_in_root(root, name, 1000)
    assert content is not None
    return content.decode()


def root_of(directory: Path, kind: str, *, upper: bool) -> RootFilesystem:
    suffix = "" if kind == "directory" else ".erofs"
    lowers = tuple(LayerMount(kind, f"{directory}/{name}{suffix}") for name in ("one", "two"))  # type: ignore[arg-type]
    top = (f"{directory}/upper", f"{directory}/work") if upper else ("", "")
    return RootFilesystem(lowers, *top)


@pytest.mark.parametrize("kind", ["directory", "erofs", "erofs-loop"])
@pytest.mark.parametrize("upper", [True, False])
def test_overlay(layers: Path, kind: str, upper: bool) -> None:
    fd = mount.mount_overlay(root_of(layers, kind, upper=upper), volatile=upper)
    try:
        assert (read(fd, "a"), read(fd, "b"), read(fd, "both")) == ("one", "two", "two")
        if upper:
            os.close(safefs.make_file_in_root(fd, "/new/deep/file"))
            assert (layers / "upper/new/deep/file").exists()
        else:
            with pytest.raises(OSError) as caught:
                safefs.make_file_in_root(fd, "/new")
            assert caught.value.errno == errno.EROFS
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", ["directory", "erofs", "erofs-loop"])
def test_overlay_of_older_kernels(layers: Path, kind: str) -> None:
    wanted = root_of(layers, kind, upper=True)
    opened = [mount.mount_layer(layer) for layer in wanted.lowers]
    try:
        fd = staging.overlay(opened, [("upperdir", wanted.upper), ("workdir", wanted.work)])
        assert (read(fd, "a"), read(fd, "both")) == ("one", "two")
        os.close(safefs.make_file_in_root(fd, "/new"))
        os.close(fd)
    finally:
        for layer in opened:
            os.close(layer)
    assert (layers / "upper/new").exists()


def test_the_helper_of_older_kernels_tells_its_error(layers: Path) -> None:
    layer = mount.mount_layer(LayerMount("directory", f"{layers}/one"))
    try:
        with pytest.raises(OSError):
            staging.overlay([layer], [("nonsense", None)])
    finally:
        os.close(layer)


@pytest.mark.parametrize("kind", ["directory", "erofs", "erofs-loop"])
def test_a_single_layer_is_read_only(layers: Path, kind: str) -> None:
    only = root_of(layers, kind, upper=False).lowers[:1]
    fd = mount.mount_overlay(RootFilesystem(only, "", ""))
    try:
        assert read(fd, "a") == "one"
        with pytest.raises(OSError, match="Read-only"):
            safefs.make_file_in_root(fd, "/new")
    finally:
        os.close(fd)


def test_many_layers_and_long_paths(tmp_path: Path) -> None:
    base = tmp_path / ("d" * 200)
    base.mkdir()
    for index in range(140):
        (base / str(index)).mkdir()
        (base / str(index) / str(index)).touch()
    (base / "upper").mkdir()
    (base / "work").mkdir()
    lowers = tuple(LayerMount("directory", f"{base}/{index}") for index in range(140))
    fd = mount.mount_overlay(RootFilesystem(lowers, f"{base}/upper", f"{base}/work"))
    try:
        assert read(fd, "139") == read(fd, "0") == ""
    finally:
        os.close(fd)


def test_the_kernels_reason_is_in_the_error() -> None:
    with pytest.raises(OSError, match=r"mount tmpfs: .*nonsense"):
        mount.fsmount("tmpfs", (("nonsense", "1"),))
    with pytest.raises(OSError):
        mount.fsmount("no-such-file-system")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    root = tmp_path / "root"
    root.mkdir()
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd, root
    os.close(fd)


@pytest.mark.sec("A10")
def test_links_cannot_leave_a_root(tree: tuple[int, Path], tmp_path: Path) -> None:
    fd, root = tree
    (tmp_path / "secret").write_text("secret")
    (root / "secret").write_text("inner")
    (root / "up").symlink_to("../../../../../../secret")
    (root / "absolute").symlink_to("/secret")
    (root / "magic").symlink_to("/proc/self/root/secret")
    assert read(fd, "up") == read(fd, "absolute") == read(fd, "../../secret") == "inner"
    assert safefs.read_file_in_root(fd, "magic", 10) is None
    for name in ("up", "absolute"):
        with pytest.raises(OSError) as caught:
            safefs.open_beneath(fd, name, os.O_RDONLY)
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError) as caught:
        safefs.open_beneath(fd, "../secret", os.O_RDONLY)
    assert caught.value.errno == errno.EXDEV


def test_magic_links_are_refused() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("/proc/self/exe", "/proc/self/fd/0", "/proc/self/cwd/x"):
            with pytest.raises(OSError) as caught:
                safefs.open_in_root(root, path, os.O_PATH)
            assert caught.value.errno == errno.ELOOP
    finally:
        os.close(root)


def test_missing_targets_of_links_are_made_inside(tree: tuple[int, Path], tmp_path: Path) -> None:
    fd, root = tree
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").symlink_to("../../run/deep/stub")
    (root / "out").symlink_to(str(tmp_path / "outside"))
    (root / "loop").symlink_to("loop2")
    (root / "loop2").symlink_to("loop")
    os.close(safefs.make_file_in_root(fd, "/etc/resolv.conf"))
    assert (root / "run/deep/stub").is_file()
    os.close(safefs.mkdirs_in_root(fd, "/out/a/../b"))
    assert not (tmp_path / "outside").exists()
    assert (root / str(tmp_path).lstrip("/") / "outside/b").is_dir()
    with pytest.raises(OSError):
        safefs.mkdirs_in_root(fd, "/loop/x")
    (root / "file").touch()
    with pytest.raises(NotADirectoryError):
        safefs.mkdirs_in_root(fd, "/file/x")


@pytest.mark.sec("A16")
def test_reading_never_blocks(tree: tuple[int, Path]) -> None:
    fd, root = tree
    os.mkfifo(root / "fifo")
    os.mknod(root / "zero", 0o20666, os.makedev(1, 5))
    (root / "directory").mkdir()
    (root / "big").write_bytes(b"x" * 101)
    before = time.monotonic()
    for name, code in (("fifo", errno.EINVAL), ("zero", errno.EINVAL), ("directory", errno.EINVAL),
                       ("big", errno.EFBIG)):  # fmt: skip
        with pytest.raises(OSError) as caught:
            safefs.read_file_in_root(fd, name, 100)
        assert caught.value.errno == code
    assert safefs.read_file_in_root(fd, "missing", 100) is None
    assert safefs.read_file_in_root(fd, "big/x", 100) is None
    assert time.monotonic() - before < 20


def test_remove_tree(tree: tuple[int, Path], tmp_path: Path) -> None:
    _, root = tree
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/x").touch()
    (root / "link").symlink_to(tmp_path / "canary")
    os.mkfifo(root / "fifo")
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):  # deeper than PATH_MAX, the recursion limit and our descriptors
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    safefs.remove_tree(parent, "root")
    safefs.remove_tree(parent, "root")
    assert not root.exists()
    assert (tmp_path / "canary/x").exists()
    safefs.remove_tree(parent, "canary")
    os.close(parent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sec("D2")
def test_remove_tree_does_not_enter_a_mount(tmp_path: Path) -> None:
    """In a mount namespace of our own: what is mounted inside survives the removal."""
    (tmp_path / "tree/point").mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/x").touch()
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWNS)
    if pid == 0:
        code = 1
        try:
            mount.mount_setattr("/", propagation=mount.MS_PRIVATE, recursive=True)
            fd = mount.fsmount("tmpfs")
            mount.move_mount(fd, str(tmp_path / "tree/point"))
            (tmp_path / "tree/point/x").touch()
            parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                safefs.remove_tree(parent, "tree")
            except OSError as error:
                inside = (tmp_path / "tree/point/x").exists()
                code = 0 if inside and error.errno in (errno.EXDEV, errno.EBUSY) else 2
        finally:
            os._exit(code)
    os.close(pidfd)
    assert os.waitpid(pid, 0)[1] == 0


def test_processes_by_identity() -> None:
    child = subprocess.Popen(["sleep", "60"])
    start = process.start_time(child.pid)
    assert start is not None
    assert process.same_process(child.pid, start)
    assert not process.same_process(child.pid, start + 1)
    assert process.open_process(child.pid, start + 1) is None
    pidfd = process.open_process(child.pid, start)
    assert pidfd is not None and process.pidfd_alive(pidfd)
    process.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert process.pidfd_wait(pidfd, 60)
    assert not process.pidfd_alive(pidfd)
    assert not process.same_process(child.pid, start)  # a zombie does not run
    child.wait()
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)
    assert process.start_time(child.pid) is None
    assert process.open_process(child.pid, start) is None
    assert process.open_process(0, start) is None
    assert len(process.boot_id()) == 36


def test_clone3_is_a_fork_into_namespaces() -> None:
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWPID | namespace.CLONE_NEWUTS)
    if pid == 0:
        namespace.sethostname("inside")
        os._exit(3 if os.getpid() == 1 and os.uname().nodename == "inside" else 4)
    assert process.pidfd_wait(pidfd, 60)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert os.uname().nodename != "inside"
    with pytest.raises(OSError, match="clone3"):
        namespace.clone3(cgroup_fd=0)


def test_capability_sets_of_a_child() -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        mask = capability.mask_of(("CHOWN", "KILL", "SETPCAP"))
        capability.drop_bounding(mask)
        capability.capset(mask, mask, mask)
        capability.set_ambient(mask)
        status = Path("/proc/self/status").read_text()
        os.write(write_end, "\n".join(x for x in status.splitlines() if x[:3] == "Cap").encode())
        os._exit(0)
    os.close(write_end)
    text = os.read(read_end, 4096).decode()
    os.close(read_end)
    os.waitpid(pid, 0)
    assert {line.split()[1] for line in text.splitlines()} == {f"{0x121:016x}"}
    assert capability.held().bit_length() <= len(capability.NAMES)


def test_tools() -> None:
    assert tools.run(["cat"], input=b"x" * 300_000).stdout == b"x" * 300_000
    assert tools.run(["sh", "-c", "echo $A"], env={"A": "b"}).stdout == b"b\n"
    assert tools.run(["sh", "-c", "exit 3"], check=False).status == 3
    assert tools.run(["sh", "-c", "kill -9 $$"], check=False).status == 137
    assert tools.run(["true"], input=b"x" * 300_000).status == 0  # it never reads
    with pytest.raises(OnggiError, match=r"ls failed with status 2: .*No such file"):
        tools.run(["ls", "/nowhere"])
    with pytest.raises(Unavailable, match="nope is not installed"):
        tools.run(["nope"])
    before = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not finish within 0\.2 s"):
        tools.run(["sleep", "60"], timeout_s=0.2)
    assert time.monotonic() - before < 50


def test_tools_inherit_nothing() -> None:
    result = tools.run(["sh", "-c", "env; ls /proc/self/fd; grep SigIgn /proc/self/status"])
    words = result.stdout.decode().split()
    assert {word.partition("=")[0] for word in words if "=" in word} <= {
        "PATH", "LC_ALL", "HOME", "PWD", "SHLVL", "OLDPWD", "_",
    }  # fmt: skip
    assert words[-1].endswith("0" * 4)
    assert sys.executable not in result.stdout.decode()
