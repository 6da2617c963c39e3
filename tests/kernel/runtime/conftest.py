"""A busybox container for each question, made by the runtime and taken down whatever happens."""

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from onggi.linux import capability, process
from onggi.linux.cgroup import DEFAULT_DEVICES, Cgroup, DeviceRule
from onggi.runtime import init, plan
from onggi.runtime.join import join
from onggi.spec.container import Resources
from onggi.spec.mount import LayerMount, RootFilesystem

TIMEOUT_S = 60
UNLIMITED = Resources()
PARENT = f"onggi-test-{os.getpid()}"


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Running:
    """A started process and its streams."""

    def __init__(self, started: init.Started) -> None:
        self.started = started
        self.pid = started.pid

    def read_until(self, text: str) -> str:
        """Output up to `text`, of the terminal or of stdout."""
        fd = self.started.pty_fd if self.started.pty_fd >= 0 else self.started.stdout_fd
        found = b""
        deadline = time.monotonic() + TIMEOUT_S
        while text.encode() not in found:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                pytest.fail(f"{text!r} did not come, only {found!r}")
            chunk = os.read(fd, 65536)
            if not chunk:
                pytest.fail(f"{text!r} did not come, only {found!r} and the end")
            found += chunk
        return found.decode(errors="replace")

    def finish(self, stdin: bytes = b"") -> Result:
        """Feed stdin, collect the output, reap."""
        if self.started.stdin_fd >= 0:
            with suppress(BrokenPipeError):
                os.write(self.started.stdin_fd, stdin)
            os.close(self.started.stdin_fd)
            self.started = self.started._replace(stdin_fd=-1)
        texts: dict[int, bytes] = {}
        fds = [self.started.stdout_fd, self.started.stderr_fd, self.started.pty_fd]
        waiting = {fd for fd in fds if fd >= 0}
        deadline = time.monotonic() + TIMEOUT_S
        while waiting:
            ready = select.select(list(waiting), [], [], max(0, deadline - time.monotonic()))[0]
            if not ready:
                pytest.fail(f"the process does not end; it said {texts}")
            for fd in ready:
                try:
                    chunk = os.read(fd, 65536)
                except OSError:  # EIO: a terminal without its other end
                    chunk = b""
                texts[fd] = texts.get(fd, b"") + chunk
                if not chunk:
                    waiting.discard(fd)
        assert process.pidfd_wait(self.started.pidfd, TIMEOUT_S)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        out = texts.get(self.started.stdout_fd, texts.get(self.started.pty_fd, b""))
        err = texts.get(self.started.stderr_fd, b"")
        return Result(code, out.decode(errors="replace"), err.decode(errors="replace"))

    def end(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                process.pidfd_send_signal(self.started.pidfd, 9)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0
        for fd in self.started[2:]:
            if fd >= 0:
                os.close(fd)


def children() -> set[str]:
    """Our own, those included that have ended and wait to be reaped."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


class Box:
    """Makes containers on one image directory, each with an upper directory of its own."""

    children = staticmethod(children)

    def __init__(self, image: Path, work: Path, undo: ExitStack) -> None:
        self.image = image
        self.layers: tuple[Path, ...] = ()  # more layers, bottom first
        self._work = work
        self._undo = undo
        self._count = 0
        self.cgroup: Cgroup | None = None
        self.upper = Path()

    def ask(self, *args: str, **options: Any) -> plan.InitPlan:
        """A container as the engine would ask for it; options are fields of either plan."""
        mask = capability.mask_of(options.pop("caps", capability.DOCKER_DEFAULT))
        fields = {key: options.pop(key) for key in plan.ProcessPlan._fields if key in options}
        fields.setdefault("capabilities", plan.Capabilities.same(mask & capability.held()))
        fields.setdefault("env", ("PATH=/bin:/sbin:/usr/bin:/usr/sbin",))
        self._count += 1
        self.upper, inner = self._work / f"upper{self._count}", self._work / f"work{self._count}"
        self.upper.mkdir()
        inner.mkdir()
        layers = (LayerMount("directory", str(path)) for path in (self.image, *self.layers))
        mounts = plan.default_mounts() + tuple(options.pop("mounts", ()))
        settings: dict[str, Any] = {
            "namespaces": plan.NEW_NAMESPACES,
            "masked_paths": plan.masked_paths(os.cpu_count() or 1),
            "read_only_paths": plan.READ_ONLY_PATHS,
            "hostname": "box",
            **options,
        }
        return plan.InitPlan(
            RootFilesystem(tuple(layers), str(self.upper), str(inner)),
            plan.ProcessPlan(args=args, **fields),
            mounts=mounts,
            **settings,
        )

    def create(
        self,
        wanted: plan.InitPlan,
        resources: Resources = UNLIMITED,
        devices: tuple[DeviceRule, ...] = DEFAULT_DEVICES,
    ) -> init.Created:
        self.cgroup = Cgroup(os.urandom(4).hex(), PARENT)
        self._undo.callback(self.cgroup.remove)
        self._undo.callback(self.cgroup.kill_all)
        self.cgroup.create(resources, devices)
        created = init.spawn(wanted, cgroup=self.cgroup)
        self._undo.callback(created.abort)
        return created

    def start(self, *args: str, resources: Resources = UNLIMITED, **options: Any) -> Running:
        created = self.create(self.ask(*args, **options), resources)
        running = Running(created.start())
        created.pidfd = -1  # it is `running` that ends it
        self._undo.callback(running.end)
        return running

    def run(self, *args: str, stdin: bytes | None = None, **options: Any) -> Result:
        """To the end; with `stdin` through a pipe, else /dev/null."""
        if stdin is not None:
            options["stdin"] = "pipe"
        return self.start(*args, **options).finish(stdin or b"")

    def sh(self, script: str, **options: Any) -> Result:
        return self.run("sh", "-c", script, **options)

    def enter(self, target: Running, *args: str, **options: Any) -> Running:
        """An exec."""
        mask = capability.mask_of(capability.DOCKER_DEFAULT) & capability.held()
        fields: dict[str, Any] = {
            "env": ("PATH=/bin:/sbin:/usr/bin:/usr/sbin",),
            "capabilities": plan.Capabilities.same(mask),
            **options,
        }
        wanted = plan.JoinPlan(
            target.started.pid, target.started.pid_start, plan.ProcessPlan(args=args, **fields)
        )
        running = Running(join(wanted, self.cgroup))
        self._undo.callback(running.end)
        return running


@pytest.fixture
def box(busybox_rootfs: Path, tmp_path: Path) -> Iterator[Box]:
    with ExitStack() as undo:
        yield Box(busybox_rootfs, tmp_path, undo)


@pytest.fixture
def layer(tmp_path: Path) -> Callable[[str], Path]:
    """An empty directory to fill and add to `box.layers`."""

    def make(name: str = "layer") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        return directory

    return make


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    """No process, descriptor, mount or control group survives a test."""
    descriptors = set(os.listdir("/proc/self/fd"))
    others = children()  # servers of other tests' sessions
    yield
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{PARENT}*"))
    assert children() == others
