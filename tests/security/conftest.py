"""Attacks on the sandbox, on the real engine, by its command line. See docs/security-tests.md."""

import copy
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attackers import COMPILER, GRAB, LOADER, PROBE, SWAP, Canary, compiled
from rawtar import archive, member

COMMAND = Path(__file__).parents[2] / "bin/onggi"


class Onggi:
    """`onggi("run", …)` runs it. Each has a token in its environment that no container may see."""

    def __init__(self, home: Path) -> None:
        self.command, self.home = COMMAND, home
        self.prefix = [str(COMMAND)]
        self.root, self.run = home / "root", home / "run"
        self.token = f"token-{os.urandom(12).hex()}"
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ONGGI_ROOT": str(self.root),
            "ONGGI_RUN": str(self.run),
            "ONGGI_TEST_TOKEN": self.token,
        }

    def __call__(
        self, *arguments: str, code: int | None = 0, stdin: str = "", timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.prefix, *arguments], input=stdin, capture_output=True, text=True,
            errors="replace", timeout=timeout_s, env=self.environment,
        )  # fmt: skip
        if code is not None and done.returncode != code:
            pytest.fail(
                f"onggi {' '.join(arguments)}: exit {done.returncode}, expected {code}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def weakened(self, patch: str) -> "Onggi":
        """The same engine with a hole torn by Python statements, for control runs: these must show
        the attack at work. Nothing of this is in the product."""
        torn = copy.copy(self)
        code = (
            "import os, sys; sys.path[:0] = sys.argv.pop(1).split(':')\n"
            f"{patch}\n"
            "from onggi.cli.main import main\n"
            "sys.stdout.flush(); sys.exit(main(sys.argv[1:], dict(os.environ)))"
        )
        source = COMMAND.parent.parent / "src"
        site = sysconfig.get_path("purelib")
        torn.prefix = [sys.executable, "-I", "-c", code, f"{source}:{site}"]
        return torn

    def out(self, *arguments: str) -> str:
        return self(*arguments).stdout.removesuffix("\n")

    def sh(self, script: str, *flags: str) -> str:
        """Everything a shell says in a new container, whatever its exit code."""
        done = self("run", "--rm", *flags, "busybox", "sh", "-c", script + " 2>&1", code=None)
        return done.stdout + done.stderr

    def interpreter(self) -> str:
        """The program that the engine's own processes run."""
        name = self.out("run", "-d", "busybox", "sleep", "100")
        pid = self.out("inspect", "--format", "{{.State.Pid}}", name)
        monitor = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]
        found = os.path.realpath(f"/proc/{monitor}/exe")
        self("rm", "-f", name)
        return found

    def until(self, wanted: str, *arguments: str) -> str:
        deadline = time.monotonic() + 60
        while wanted not in (text := self(*arguments, code=None).stdout):
            assert time.monotonic() < deadline, f"{arguments}: no {wanted!r} in {text[-500:]!r}"
            time.sleep(0.05)
        return text


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, base_image: Callable[[str], Path]
) -> Iterator[Onggi]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    onggi = Onggi(tmp_path_factory.mktemp("sec"))
    onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    yield onggi


@pytest.fixture
def onggi(shared: Onggi) -> Iterator[Onggi]:
    yield shared
    ids = shared.out("ps", "-aq").split()
    if ids:
        shared("rm", "-f", "-v", *ids)


@pytest.fixture(scope="session")
def interpreter(shared: Onggi) -> str:
    return shared.interpreter()


@pytest.fixture
def canary(tmp_path: Path, interpreter: str) -> Iterator[Canary]:
    """Checked at the end of every test that uses it."""
    watched = Canary(tmp_path / "canary", interpreter)
    yield watched
    watched.check()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the attackers, to mount into containers."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    directory = tmp_path_factory.mktemp("programs")
    directory.chmod(0o755)  # users of containers execute them
    compiled(SWAP, directory / "swap")
    compiled(PROBE, directory / "probe")
    compiled(GRAB, directory / "grab")
    compiled(LOADER, directory / "loader", "-nostdlib", "-static-pie", "-fPIE")
    return directory


@pytest.fixture
def image(onggi: Onggi, tmp_path: Path, busybox_layer: Path) -> Iterator[Callable[..., str]]:
    """`image("name", entries…, config={…})` loads busybox with one more layer of raw tar entries,
    legal or not."""
    made: list[str] = []

    def make(name: str, *entries: bytes, config: dict[str, object] | None = None) -> str:
        layers = [busybox_layer.read_bytes(), archive(*entries)]
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        settings = {"Env": ["PATH=/bin:/sbin"], "Cmd": ["sh"], **(config or {})}
        about = json.dumps({
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux", "config": settings, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }).encode()  # fmt: skip
        manifest = [{"Config": "c.json", "RepoTags": [f"{name}:latest"], "Layers": ["0", "1"]}]
        target = tmp_path / f"{name}.tar"
        target.write_bytes(
            archive(
                member(b"manifest.json", data=json.dumps(manifest).encode()),
                member(b"c.json", data=about),
                *(member(b"%d" % n, data=layer) for n, layer in enumerate(layers)),
            )
        )
        onggi("load", "-q", "-i", str(target))
        target.unlink()
        made.append(name)
        return name

    yield make
    for name in made:
        ids = onggi.out("ps", "-aq", "--filter", f"ancestor={name}").split()
        if ids:
            onggi("rm", "-f", *ids)
        onggi("rmi", "-f", name, code=None)
