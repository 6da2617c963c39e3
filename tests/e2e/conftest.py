"""The installed command as a user types it, on a store of its own; and nothing may stay behind."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from api_server import ApiServer, api_server
from registry_server import PROGRAM, RegistryServer, registry_server

COMMAND = Path(sys.executable).parent / "onggi"
DEADLINE_S = 60  # of what happens at once on a quiet machine
_SHARED: "list[Onggi]" = []  # the one of the session, when there is one
_LOADED: set[str] = set()  # names of base images in its store


class Onggi:
    """`onggi("run", "--rm", "busybox", "true")` runs it and checks the exit code."""

    def __init__(self, home: Path, command: Path = COMMAND) -> None:
        self.command = command
        self.root = home / "root"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ONGGI_ROOT": str(self.root),
            "ONGGI_RUN": str(home / "run"),
        }

    def __call__(
        self,
        *arguments: str,
        code: int | None = 0,
        stdin: str | None = None,
        timeout_s: float = 300,
        cwd: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.command, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=cwd,
            env={**self.environment, **environment},
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"onggi {' '.join(arguments)}: exit {done.returncode}, expected {code}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def out(self, *arguments: str, **environment: str) -> str:
        """Its standard output without the last line break."""
        done = self(*arguments, code=0, stdin=None, timeout_s=300, cwd=None, **environment)
        return done.stdout.removesuffix("\n")

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    @contextmanager
    def terminal(self, *arguments: str, rows: int = 24, columns: int = 80) -> Iterator["Terminal"]:
        """The command on a real terminal of that size; killed if the block ends before it."""
        terminal = Terminal([str(self.command), *arguments], self.environment, rows, columns)
        try:
            yield terminal
        finally:
            terminal.close()

    def until(self, wanted: str, *arguments: str) -> str:
        """Asks again and again until `wanted` is in the output."""
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in (text := self(*arguments, code=None).stdout):
            assert time.monotonic() < deadline, f"{arguments}: no {wanted!r} in {text!r}"
            time.sleep(0.05)
        return text

    def remove_containers(self) -> None:
        ids = self.out("ps", "-aq").split()
        if ids:
            self("rm", "-f", "-v", *ids)


class Terminal:
    """A program whose standard streams and controlling terminal are a pty that we hold."""

    def __init__(self, argv: list[str], environment: dict[str, str], rows: int, columns: int):
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.initial = termios.tcgetattr(slave)

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self.text = ""
        self.read = 0  # how far `expect` has come

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, wanted: str, timeout_s: float = DEADLINE_S) -> str:
        """What came up to and with `wanted`, after what was expected before."""
        deadline = time.monotonic() + timeout_s
        while (at := self.text.find(wanted, self.read)) < 0:
            assert self._more(deadline), f"no {wanted!r} in {self.text[self.read :]!r}"
        found = self.text[self.read : at + len(wanted)]
        self.read = at + len(wanted)
        return found

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Its exit code, after everything it wrote."""
        deadline = time.monotonic() + timeout_s
        while self._more(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _more(self, deadline: float) -> bool:
        """False at the end or the deadline."""
        ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:  # EIO: nobody holds the other side
            data = b""
        self.text += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


class HostState(NamedTuple):
    """What an engine could leave behind on a host, outside its own directories."""

    mounts: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    tables: frozenset[str]
    loops: frozenset[str]
    processes: frozenset[str]
    temporary: frozenset[str]


def command_line(pid: str) -> str:
    try:
        return (
            Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def backing_files() -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            yield path.read_text().strip()
        except OSError:
            continue  # detached meanwhile


def host_state() -> HostState:
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    lines = {pid: command_line(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    return HostState(
        mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        links=frozenset(os.listdir("/sys/class/net")),
        cgroups=frozenset(
            f"{directory}/{name}"
            for directory, names, _ in os.walk("/sys/fs/cgroup")  # where others come and go
            for name in names
            if "onggi" in name
        ),
        tables=frozenset(line for line in tables.splitlines() if "onggi" in line),
        loops=frozenset(backing_files()),
        processes=frozenset(
            f"{pid} {line}"
            for pid, line in lines.items()
            if "/onggi/__main__.py" in line and str(COMMAND.parent) in line
        ),
        temporary=frozenset(name for name in os.listdir("/tmp") if "onggi" in name),
    )


def left_behind(before: HostState) -> list[str]:
    now = host_state()
    return [
        f"{kind}: {item}"
        for kind, old, new in zip(HostState._fields, before, now, strict=True)
        for item in sorted(new - old)
    ]


@pytest.fixture(scope="session")
def clean_host() -> Iterator[None]:
    """Compares the host before and after; what goes away by itself gets a moment to do so."""
    before = host_state()
    yield
    deadline = time.monotonic() + DEADLINE_S
    while (left := left_behind(before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, "left behind on the host:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def shared_onggi(clean_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onggi]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    onggi = Onggi(tmp_path_factory.mktemp("home"))
    _SHARED.append(onggi)
    yield onggi
    _SHARED.clear()
    onggi.remove_containers()


@pytest.fixture(scope="module", autouse=True)
def tidy_images() -> Iterator[None]:
    """No module finds names that another one left on the shared store, or misses what it took."""
    yield
    for onggi in _SHARED:
        names = set(onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())
        left = sorted(name for name in names - _LOADED if "<none>" not in name)
        if left:
            onggi("rmi", "-f", *left, code=None)
        _LOADED.intersection_update(names)


@pytest.fixture
def onggi(shared_onggi: Onggi) -> Iterator[Onggi]:
    """One store for the whole session, so that images load once; containers go after each test."""
    yield shared_onggi
    shared_onggi.remove_containers()


@pytest.fixture(scope="session")
def shared_api(
    shared_onggi: Onggi, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    directory = tmp_path_factory.mktemp("api")
    with api_server(COMMAND, shared_onggi.environment, directory) as server:
        yield server


@pytest.fixture
def api(onggi: Onggi, shared_api: ApiServer) -> ApiServer:
    """The Docker Engine API over the store of `onggi`."""
    return shared_api


@pytest.fixture
def lone_onggi(clean_host: None, tmp_path: Path) -> Iterator[Onggi]:
    """A store that no other test has touched."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    onggi = Onggi(tmp_path)
    yield onggi
    onggi.remove_containers()


@pytest.fixture(scope="session")
def loaded(shared_onggi: Onggi, base_image: Callable[[str], Path]) -> Callable[[str], str]:
    """`loaded("debian:bookworm")`: that image is in the shared store; its name again."""

    def load(name: str) -> str:
        if name not in _LOADED:
            shared_onggi("load", "-q", "-i", str(base_image(name)))
            _LOADED.add(name)
        return name

    return load


@pytest.fixture
def busybox(onggi: Onggi, loaded: Callable[[str], str]) -> str:
    return loaded("busybox:latest").removesuffix(":latest")


@pytest.fixture
def debian(onggi: Onggi, loaded: Callable[[str], str]) -> str:
    return loaded("debian:bookworm")


@pytest.fixture
def python(onggi: Onggi, loaded: Callable[[str], str]) -> str:
    return loaded("python:3.11")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that anybody may push to."""
    if PROGRAM is None:
        pytest.skip("no docker-registry")
    with registry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server
