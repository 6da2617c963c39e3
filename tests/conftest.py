"""What every suite shares: real base images, and root-only tests that say so instead of failing."""

import os
import resource
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
FEWEST_FILES = 1024


def pytest_configure() -> None:
    """The tests begin as from a login shell, whoever started them: a job in the background ignores
    interrupts, a service may have another umask or few descriptors, and children inherit it all."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # ignored still, but not by who we start
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEWEST_FILES:
        most = FEWEST_FILES if hard == resource.RLIM_INFINITY else min(FEWEST_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def base_image() -> Callable[[str], Path]:
    """`base_image("busybox:latest")`: a docker-archive of that image, assembled on this machine.

    Also "debian:bookworm" and "python:3.11" (mmdebstrap, half a minute the first time).
    """

    def archive(name: str) -> Path:
        tool = [str(CHECKOUT / "tools/base_image"), name]
        done = subprocess.run(tool, capture_output=True, text=True, timeout=1800)
        if done.returncode:
            pytest.fail(done.stderr)
        return Path(done.stdout.strip())

    return archive


@pytest.fixture(scope="session")
def busybox_layer(
    base_image: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The one layer of busybox:latest, an uncompressed tar."""
    target = tmp_path_factory.mktemp("busybox") / "layer.tar"
    with tarfile.open(base_image("busybox:latest")) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/layer.tar"))
        content = archive.extractfile(name)
        assert content is not None
        target.write_bytes(content.read())
    return target


@pytest.fixture(scope="session")
def busybox_rootfs(busybox_layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """busybox:latest as a directory, for tests below the store; do not write into it."""
    target = tmp_path_factory.mktemp("rootfs")
    with tarfile.open(busybox_layer) as tar:
        tar.extractall(target, filter="fully_trusted")
    target.chmod(0o755)
    return target
