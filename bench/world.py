"""The world that rows are measured in: namespaces of our own, every engine on directories of its
own, the same images in all of them. When the first process of the namespaces ends, all that was
started ends with it; what lies on disk is below one directory.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .measure import run

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "bench"
INSTALLED = (
    "podman", "crun", "runc", "buildah", "skopeo", "bubblewrap", "iptables", "busybox-static",
    "docker-registry", "libdevmapper1.02.1", "e2fsprogs", "util-linux", "gcc", "libc6-dev",
)  # fmt: skip
UNPACKED = ("docker.io", "containerd")  # installed, they would start a daemon on this host
DEADLINE_S = 60
SECOND_BRIDGE = "bench0"
ADDRESS = "198.18.0.1"  # of the host in our network namespace (RFC 2544: for benchmarks)

PODMAN_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman"]
runtime = "crun"
[network]
network_backend = "netavark"
"""


@dataclass
class Engine:
    """`argv("run", "busybox")` is its command line; `call` runs one."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    version: str = ""
    directories: dict[str, Path] = field(default_factory=dict)

    def argv(self, *words: str) -> list[str]:
        return [*self.command, *words]

    def call(self, *words: str, check: bool = True, input: str = "") -> str:
        return run(self.argv(*words), self.environment, check=check, input=input)


# -- before: what needs the outside


def install() -> None:
    """Debian's packages; the docker daemon's are only unpacked, below .cache."""
    subprocess.run([REPOSITORY / "tools" / "setup", "packages", *INSTALLED], check=True)
    root = CACHE / "docker"
    if (root / "usr/sbin/dockerd").exists():
        return
    downloads = CACHE / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *UNPACKED],
        cwd=downloads,
        check=True,
    )
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, root], check=True)


def wheels() -> Path:
    """Of what the example project requires."""
    directory = CACHE / "wheels"
    if not directory.exists():
        requirements = REPOSITORY / "examples/django/requirements.txt"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--dest", CACHE / "wheels.new",
             "-r", requirements],
            check=True,
        )  # fmt: skip
        (CACHE / "wheels.new").rename(directory)
    return directory


def enter(arguments: list[str]) -> int:
    """Run this program again in namespaces of its own; its exit code."""
    home = CACHE / f"run-{os.getpid()}"
    home.mkdir(parents=True)
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    inner = [sys.executable, "-m", "bench", "--inside", str(home), *arguments]
    try:
        return subprocess.run([*namespaces, *inner], cwd=REPOSITORY).returncode
    finally:
        sweep(home)


def sweep(home: Path) -> None:
    """What a killed engine leaves: control groups and files. Other engines of this host keep their
    groups beside ours, and one is empty for a moment before its container joins: of those below
    the shared parent only the containers of this run are ours."""
    groups = Path("/sys/fs/cgroup")
    tops = [top for name in ("docker-bench", "libpod_parent") for top in groups.glob(f"**/{name}")]
    for container in home.glob("**/containers/*"):
        tops += groups.glob(f"**/onggi/{container.name}")
    for top in tops:
        for group in sorted(top.glob("**/"), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
    shutil.rmtree(home, ignore_errors=True)


# -- inside


def furnish() -> None:
    """The mounts and the loopback interface of our namespaces."""
    for argv in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"],
        ["ip", "link", "add", SECOND_BRIDGE, "type", "bridge"],
        ["ip", "address", "add", "198.18.1.1/24", "dev", SECOND_BRIDGE],
    ):
        subprocess.run(argv, check=True)
    if Path("/sys/fs/cgroup/unified").is_mount():  # Debian's crun and runc refuse the hybrid layout
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)


def wait_for_port(port: int, host: str = "127.0.0.1", say: bytes = b"") -> None:
    """Until something listens there, and answers when it is asked."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            with socket.create_connection((host, port), 1) as connection:
                connection.settimeout(1)
                connection.sendall(say)
                if not say or connection.recv(1):
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: nothing listens on {host}:{port}")
        time.sleep(0.05)


@contextlib.contextmanager
def file_system(path: Path) -> Iterator[Path]:
    """A fresh ext4 in a file, mounted until the block ends."""
    image = path.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(4 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard", image], check=True)
    path.mkdir()
    subprocess.run(["mount", "-o", "loop", image, path], check=True)
    try:
        (path / "engine").mkdir()
        yield path / "engine"
    finally:
        subprocess.run(["umount", "-R", "-l", path], check=True)
        path.rmdir()
        image.unlink()


def environment() -> dict[str, str]:
    docker = CACHE / "docker"
    kept = {name: os.environ[name] for name in ("LANG", "HOME", "TERM") if name in os.environ}
    path = f"{docker}/usr/sbin:{docker}/usr/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": path}


@contextlib.contextmanager
def docker(home: Path, *, second: bool = False) -> Iterator[Engine]:
    """A `second` daemon beside another one has a bridge of its own, without rules: with `--bridge
    none` it would delete docker0, which the first one still publishes ports of."""
    home.mkdir(parents=True, exist_ok=True)
    name = f"{home.parent.name}-{home.name}"
    address = f"unix:///run/docker-bench/{name}.sock"
    Path("/run/docker-bench").mkdir(exist_ok=True)
    argv = [
        "dockerd", "--data-root", f"{home}/data", "--exec-root", f"/run/docker-bench/{name}",
        "--host", address, "--pidfile", f"/run/docker-bench/{name}.pid",
        "--oom-score-adjust", "0", "--cgroup-parent", "/docker-bench",
        "--storage-driver", "overlay2", "--insecure-registry", "127.0.0.1:5000",
    ]  # fmt: skip
    if second:
        argv += ["--bridge", SECOND_BRIDGE, "--iptables=false", "--ip6tables=false"]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(
            argv, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    engine = Engine(
        "docker",
        (str(CACHE / "docker/usr/bin/docker"), "--host", address),
        {**environment(), "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": f"{home}/config"},
        directories={"data": home / "data"},
    )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while subprocess.run(engine.argv("version"), capture_output=True).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    "bench: dockerd does not run\n" + (home / "log").read_text()[-3000:]
                )
            time.sleep(0.1)
        engine.version = engine.call("version", "--format", "{{.Server.Version}}")
        yield engine
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextlib.contextmanager
def podman(home: Path, *, second: bool = False) -> Iterator[Engine]:
    home.mkdir(parents=True, exist_ok=True)
    conf = home / "containers.conf"
    conf.write_text(PODMAN_CONF)
    (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (home / "registries.conf").write_text(
        'unqualified-search-registries = ["docker.io"]\n'
        '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n'
    )
    engine = Engine(
        "podman",
        (
            "/usr/bin/podman", "--root", f"{home}/root",
            "--runroot", f"/run/podman-{home.parent.name}",
            "--network-config-dir", f"{home}/networks", "--storage-driver", "overlay",
        ),
        {
            **environment(),
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_REGISTRIES_CONF": f"{home}/registries.conf",
        },
        directories={"root": home / "root"},
    )  # fmt: skip
    engine.version = engine.call("--version").split()[-1]
    yield engine


@contextlib.contextmanager
def onggi(home: Path, *, second: bool = False) -> Iterator[Engine]:
    home.mkdir(parents=True, exist_ok=True)
    command = Path(sys.executable).parent / "onggi"
    engine = Engine(
        "onggi",
        (str(command),),
        {
            **environment(),
            "ONGGI_ROOT": f"{home}/root",
            "ONGGI_RUN": f"/run/onggi-{home.parent.name}",
        },
        directories={"root": home / "root"},
    )
    engine.version = engine.call("--version").split()[-1]
    yield engine


ENGINES = {"onggi": onggi, "docker": docker, "podman": podman}


@contextlib.contextmanager
def engines(home: Path, names: tuple[str, ...] = tuple(ENGINES)) -> Iterator[dict[str, Engine]]:
    """These engines, each below `home`, until the block ends."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(ENGINES[name](home / name)) for name in names}
