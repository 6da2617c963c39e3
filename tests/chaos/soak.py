"""A worker of the soak: lifecycles one after another on a shared store, many with failing starts.

    python soak.py ROOT RUN FIRST END STEP IMAGE     (lifecycles FIRST, FIRST + STEP, ... < END)

Failures are injected in a forked child, the "command": it changes the engine in its own memory, so
that the monitor it forks fails or is killed at one step. After each the container must start after
all, or go. The last line on standard output is a report as JSON.
"""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from onggi.engine import detach, logdriver, points, sandbox
from onggi.engine import run as engine_run
from onggi.engine.engine import Engine
from onggi.engine.execs import ExecOptions
from onggi.engine.paths import Paths
from onggi.errors import NotModified, OnggiError
from onggi.linux import mount
from onggi.linux.cgroup import Cgroup
from onggi.network import bridge
from onggi.runtime import become, cloning, init, rootfs
from onggi.spec.container import Container, ContainerOptions, HostOptions
from onggi.spec.digest import Digest
from onggi.spec.mount import MountRequest
from onggi.spec.network import PortBinding

COMMAND = Path(sys.executable).parent / "onggi"
SERVES = ("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 60 & wait $!; done")
ANCHOR = "anchor"

Act = Callable[[], None]


class Stage(NamedTuple):
    """A step of a start: the function that does it, and whether the blow comes after it."""

    name: str
    owner: Any
    function: str
    after: bool = False


IN_MONITOR = (
    Stage("run directory", Paths, "make_running"),
    Stage("log", logdriver, "open_log"),
    Stage("address", engine_run.Wiring, "connect"),
    Stage("bridge", bridge, "ensure_bridge"),
    Stage("rules", bridge, "apply"),
    Stage("network made", engine_run.Wiring, "connect", after=True),
    Stage("host files", engine_run.Run, "_write_host_files"),
    Stage("control group", Cgroup, "create"),
    Stage("control group made", Cgroup, "create", after=True),
    Stage("mounts", points, "detached"),
    Stage("filter", sandbox, "seccomp_program"),
    Stage("clone", cloning, "clone"),
    Stage("row", engine_run.Run, "_prepare"),
    Stage("interface", bridge, "attach"),
    Stage("interface made", bridge, "attach", after=True),
    Stage("socket", engine_run.Run, "_listen"),
    Stage("command", init.Created, "start"),
    Stage("told", engine_run.Run, "_tell_start", after=True),
)
IN_CONTAINER = (
    Stage("root file system", rootfs, "build"),
    Stage("pivot", mount, "pivot_root_here"),
    Stage("process", become, "prepare"),
)


def refuse() -> None:
    raise OSError(28, "No space left on device (injected)")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def vanish() -> None:
    """Process 1 of a namespace cannot kill itself."""
    os._exit(0)


def die_with_command() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    die()


def lose_command() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


class Blow(NamedTuple):
    stage: Stage
    act: Act

    def __str__(self) -> str:
        return f"{self.act.__name__} at {self.stage.name!r}"

    def prepare(self) -> None:
        """Once, and not in this process, but in those that it forks."""
        stage, act, me = self.stage, self.act, os.getpid()
        original = getattr(stage.owner, stage.function)
        struck = False

        def blown(*arguments: Any, **named: Any) -> Any:
            nonlocal struck
            first, struck = not struck, True
            if first and not stage.after and os.getpid() != me:
                act()
            result = original(*arguments, **named)
            if first and stage.after and os.getpid() != me:
                act()
            return result

        setattr(stage.owner, stage.function, blown)


BLOWS = [
    *(
        Blow(stage, act)
        for stage in IN_MONITOR
        for act in (refuse, die, die_with_command, lose_command)
        if act is not refuse or stage.name != "network made"  # nothing can fail just there
    ),
    *(Blow(stage, act) for stage in IN_CONTAINER for act in (refuse, vanish)),
]


class Worker:
    def __init__(self, root: str, run: str, image: str) -> None:
        self.engine = Engine(root, run)
        self.image = image
        self.home = Path(root).parent
        self.ids: list[str] = []
        self.lifecycle_s: dict[int, float] = {}
        self.start_s: dict[int, float] = {}
        self.failed: dict[str, int] = {}
        self.causes: list[Callable[[int], None]] = [
            self.no_such_command,
            self.not_a_program,
            self.no_such_user,
            self.port_is_taken,
            self.source_is_gone,
            self.target_is_a_file,
            self.layer_is_gone,
            self.no_such_control_group,
            self.interface_is_taken,
        ]

    def go(self, number: int) -> None:
        """Lifecycle `number`: two of five are plain, the others fail at their next stage."""
        began = time.monotonic()
        if number % 10 == 0:
            self.typed(number)
        elif number % 5 in (0, 3):
            self.live(self.create(number), number)
            self.lifecycle_s[number] = time.monotonic() - began
        else:
            place = number // 5 * 3 + (1, 2, 4).index(number % 5)
            every = len(BLOWS) + len(self.causes)
            blow = place % every
            if blow < len(BLOWS):
                self.struck(number, BLOWS[blow], again=place // every % 2 == 0)
            else:
                cause = self.causes[blow - len(BLOWS)]
                cause(number)
                self.count(cause.__name__)

    # -- a plain life

    def create(
        self, number: int, *mounts: MountRequest, ports: tuple[PortBinding, ...] = (), **more: Any
    ) -> Container:
        if number % 3 == 0:
            ports = (*ports, PortBinding("", 0, 80), PortBinding("127.0.0.1", 0, 53, "udp"))
        if number % 3 == 1:
            source = self.home / f"source{number}"
            source.mkdir(exist_ok=True)
            mounts = (
                *mounts,
                MountRequest("volume", f"named{number}", "/named"),
                MountRequest("volume", "", "/etc"),  # copies what the image has there
                MountRequest("bind", str(source), "/bound"),
                MountRequest("tmpfs", "", "/scratch"),
            )
        host = HostOptions(mounts=mounts, ports=ports, cgroup_parent=more.pop("cgroup_parent", ""))
        command = more.pop("command", SERVES)
        options = ContainerOptions(self.image, command=command, host=host, **more)
        container = self.engine.containers.create(options)
        self.ids.append(container.id)
        return container

    def live(self, container: Container, number: int) -> None:
        began = time.monotonic()
        self.engine.containers.start(container.id)
        self.start_s[number] = time.monotonic() - began
        self.use(container, number)
        self.remove(container, number)

    def use(self, container: Container, number: int) -> None:
        """From a container that runs to one that has ended."""
        self.wait_until_up(container)
        task = self.engine.execs.start(container.id, ExecOptions(("echo", "inside")))
        output = b"".join(data for _, data in task.frames())
        task.close()
        assert (output, task.exit_code) == (b"inside\n", 0), (output, task.exit_code)
        self.engine.containers.attach(ANCHOR, stdin=False).close()
        if number % 2:
            self.engine.containers.kill(container.id, "TERM")
            code = self.engine.containers.wait(container.id, timeout_s=60).exit_code
        else:
            self.engine.containers.stop(container.id, timeout_s=60)
            code = self.engine.containers.get(container.id).state.exit_code
        assert code == 7, code

    def wait_until_up(self, container: Container) -> None:
        """Its command has set its trap."""
        for entry in self.engine.logs.read(container.id, follow=True):
            assert entry.data == b"up\n", entry
            return
        raise AssertionError("ended at once")

    def remove(self, container: Container, number: int, *, force: bool = False) -> None:
        self.engine.containers.remove(container.id, force=force, volumes=True)
        if number % 3 == 1:
            self.engine.volumes.remove(f"named{number}")
            (self.home / f"source{number}").rmdir()

    def typed(self, number: int) -> None:
        """The same by the installed command."""

        def onggi(*arguments: str) -> str:
            done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            return done.stdout.strip()

        flags = (["-p", "80"], ["-v", "/data"], [])[number % 3]
        self.engine.close()
        container = onggi("create", *flags, self.image, *SERVES)
        self.ids.append(container)
        onggi("start", container)
        self.wait_until_up(self.engine.containers.get(container))
        assert onggi("exec", container, "echo", "inside") == "inside"
        assert onggi("logs", container) == "up"
        onggi("stop", container)
        onggi("rm", "-v", container)

    # -- failures of our making

    def struck(self, number: int, blow: Blow, *, again: bool) -> None:
        container = self.create(number)
        said = self.start_in_child(container, blow)
        if blow.act is not lose_command:
            assert said != "started", f"{blow}: it has started"
            status = self.engine.containers.get(container.id).state.status
            assert status == "created" or blow.act is die_with_command, f"{blow}: {status}"
        self.count(str(blow))
        unwatched = blow.act is die_with_command and blow.stage.name == "told"  # it runs
        if unwatched or not again:
            self.remove(container, number, force=True)
        elif blow.act in (lose_command, die_with_command):
            self.recover(container, number, lives=blow.act is lose_command)
        else:
            self.live(container, number)

    def start_in_child(self, container: Container, blow: Blow) -> str:
        """What came of a start under `blow`: "started", "killed", or the message."""
        self.engine.close()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self.command(container, blow, writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as answer:
            said = answer.read()
        os.waitpid(pid, 0)
        return said or "killed"

    def command(self, container: Container, blow: Blow, writer: int) -> NoReturn:
        said = ""
        try:
            detach.forget_all()
            blow.prepare()
            try:
                self.engine.containers.start(container.id)
                said = "started"
            except OnggiError as error:
                said = error.message
            os.write(writer, said.encode())
        finally:
            os._exit(0)

    def recover(self, container: Container, number: int, *, lives: bool) -> None:
        """After the command that started it was killed: it runs, or it starts now. Without its
        monitor the process that waits for its command lives for another moment."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.engine.containers.start(container.id)
                break
            except NotModified:
                if lives:
                    break
            assert time.monotonic() < deadline, "the unfinished process does not go"
            time.sleep(0.005)
        self.use(container, number)
        self.remove(container, number)

    def count(self, what: str) -> None:
        self.failed[what] = self.failed.get(what, 0) + 1

    # -- failures that happen

    def refused(self, container: Container, number: int, wanted: str) -> None:
        """Its start fails, with `wanted` in the reason; it goes."""
        try:
            self.engine.containers.start(container.id)
        except OnggiError as error:
            assert wanted in error.message, f"{wanted!r} is not in {error.message!r}"
        else:
            raise AssertionError(f"started, though {wanted}")
        self.remove(container, number)

    def no_such_command(self, number: int) -> None:
        self.refused(self.create(number, command=("absent",)), number, "not found")

    def not_a_program(self, number: int) -> None:
        self.refused(self.create(number, command=("/etc",)), number, "is a directory")

    def no_such_user(self, number: int) -> None:
        self.refused(self.create(number, user="nobody-knows"), number, "nobody-knows")

    def port_is_taken(self, number: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = PortBinding("127.0.0.1", server.getsockname()[1], 81)
            container = self.create(number, ports=(port,))
            self.refused(container, number, "address already in use")

    def source_is_gone(self, number: int) -> None:
        source = self.home / f"gone{number}"
        source.mkdir()
        container = self.create(number, MountRequest("bind", str(source), "/gone"))
        source.rmdir()
        self.refused(container, number, str(source))

    def target_is_a_file(self, number: int) -> None:
        source = self.home / f"onto{number}"
        source.mkdir()
        container = self.create(number, MountRequest("bind", str(source), "/bin/busybox"))
        self.refused(container, number, "a directory")
        source.rmdir()

    def no_such_control_group(self, number: int) -> None:
        container = self.create(number, cgroup_parent="cgroup.procs")
        self.refused(container, number, "Not a directory")

    def interface_is_taken(self, number: int) -> None:
        container = self.create(number)
        name = f"veth{container.id[:10]}"
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
        self.refused(container, number, "File exists")

    def layer_is_gone(self, number: int) -> None:
        """Of an image of its own: what is damaged is forgotten."""
        containers, store = self.engine.containers, self.engine.store
        source = self.create(number)
        upper = Path(self.engine.paths.upper(source.id), "only")
        upper.write_text(f"{number}")
        image = containers.commit(source.id)
        self.remove(source, number)
        base, self.image = self.image, image
        try:
            container = self.create(number)
        finally:
            self.image = base
        top = store.layers.mounts([Digest(layer) for layer in container.config.layers])[-1].path
        shutil.rmtree(top) if os.path.isdir(top) else os.unlink(top)
        self.refused(container, number, "damaged")
        self.engine.images.remove(image, force=True)


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            pass  # the listing's own
    return found


def report(worker: Worker, before: dict[str, str], after: dict[str, str]) -> dict[str, Any]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "ids": worker.ids,
        "lifecycle_s": worker.lifecycle_s,
        "start_s": worker.start_s,
        "failed": worker.failed,
        "descriptors": sorted(set(after.items()) - set(before.items())),
        "children": children,
        "max_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def main(root: str, run: str, first: str, end: str, step: str, image: str) -> None:
    worker = Worker(root, run, image)
    before = descriptors()
    for number in range(int(first), int(end), int(step)):
        try:
            worker.go(number)
        except (AssertionError, OnggiError, OSError) as error:
            error.add_note(f"in lifecycle {number}")
            raise
    worker.engine.close()
    for child in tuple(detach._children):
        os.waitpid(child, 0)
    print(json.dumps(report(worker, before, descriptors())))


if __name__ == "__main__":
    main(*sys.argv[1:])
