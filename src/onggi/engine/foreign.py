"""Containers run by another OCI runtime: `--runtime crun`, `runc` or a path.

The same plan becomes a bundle. This process, a monitor, gets a mount namespace of its own where the
root filesystem is mounted (nothing of it shows on the host) and from which the cgroup2 mount of a
hybrid host is taken away, which those runtimes refuse. It is the reaper of what they leave running,
so streams, terminal and exit code are handled as ever.
"""

import json
import os
import socket
from collections.abc import Callable

from .. import signals as signal
from ..errors import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    InvalidInput,
    OnggiError,
    Unsupported,
)
from ..linux import capability, cgroup, mount, namespace, process, pty, seccomp, tools
from ..linux.cgroup import DeviceRule
from ..runtime import become, child, handshake, identity, ocifile
from ..runtime.child import Started
from ..runtime.plan import BindRoot, InitPlan, PlanMount, ProcessPlan
from ..runtime.stdio import Streams
from ..spec.container import Container, ContainerConfig
from ..typed import Any
from . import sandbox, specgen
from .paths import Paths, write_file

_TIMEOUT_S = 60.0
_LOG_BYTES = 1 << 16
_PREFIXES = (  # runc says them itself
    "runc create failed: ", "unable to start container process: ", "error during container init: ",
    "exec failed: ", "unable to start container process: ",
)  # fmt: skip


def program(name: str) -> str:
    """Raises InvalidInput, in docker's words, for a runtime that is not there."""
    if "/" in name and not name.startswith("/"):
        raise InvalidInput(f"unknown or invalid runtime name: {name[:64]}")
    try:
        return tools.find(name)
    except OnggiError as error:
        raise InvalidInput(
            f"unknown or invalid runtime name: {name[:64]}", hint=error.hint
        ) from error


def check(config: ContainerConfig) -> None:
    """At create. Raises InvalidInput, and Unsupported for what only our own runtime does."""
    host = config.options.host
    program(host.runtime)
    if host.init:
        raise Unsupported(f"--init needs onggi's own runtime, not {host.runtime}")


class Runtime:
    """The program, as one container's monitor calls it."""

    def __init__(self, paths: Paths, container: Container) -> None:
        self.container = container
        self.bundle = f"{paths.running(container.id)}/bundle"
        self.program = program(container.config.options.host.runtime)
        self._log = f"{self.bundle}/log"
        self._state = f"{self.bundle}/state"

    def call(self, *words: str, streams: tuple[int, int, int] | None = None) -> None:
        """Raises what the runtime said."""
        log = ("--log", self._log, "--log-format", "json")
        argv = (self.program, "--root", self._state, *log, *words)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.close(os.open(self._log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
            status = tools.run_on(argv, streams or (null, null, null), timeout_s=_TIMEOUT_S)
        finally:
            os.close(null)
        if status:
            raise _refusal(self._said() or f"{self.program} failed with status {status}")

    def _said(self) -> str:
        """The last error of its log."""
        with open(self._log, encoding="utf-8", errors="replace") as file:
            lines = file.read(_LOG_BYTES).splitlines()
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                return line
            if isinstance(entry, dict) and entry.get("level", "error") in ("error", "fatal"):
                return str(entry.get("msg", ""))
        return ""

    def launch(self, streams: Streams, *words: str) -> Started:
        """A process of the container, by `create` or `exec --detach`; the words are the command's
        but for where to put its pid and its terminal."""
        name, *rest = words
        pid_file = f"{self.bundle}/{name}-{os.getpid()}.pid"
        if streams.ends.is_terminal:
            raise AssertionError("the runtime makes the terminal")
        listener = _Console(self.bundle) if self._wants_terminal(streams) else None
        try:
            options = ("--pid-file", pid_file, *(listener.option() if listener else ()))
            ends = None
            if listener is None:
                ends = (streams.ends.stdin, streams.ends.stdout, streams.ends.stderr)
            self.call(name, *options, *rest, streams=ends)
            if listener is not None:
                streams.pty_fd = listener.take()
        finally:
            if listener is not None:
                listener.close()
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        os.unlink(pid_file)
        pidfd = process.pidfd_open(pid)
        return child.started(pid, process.start_time(pid) or 0, pidfd, streams)

    @staticmethod
    def _wants_terminal(streams: Streams) -> bool:
        return streams.ends.stdin < 0


class Created:
    """Like runtime.init.Created: a container whose command has not been executed yet."""

    def __init__(self, runtime: Runtime, started: Started, streams: Streams) -> None:
        self._runtime = runtime
        self._started = started
        self._streams = streams

    def start(self) -> Started:
        self._runtime.call("start", self._runtime.container.id)
        return self._started

    def abort(self) -> None:
        try:
            process.pidfd_send_signal(self._started.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.waitpid(self._started.pid, 0)
        except ChildProcessError:
            pass
        delete(self._runtime)
        os.close(self._started.pidfd)
        self._streams.close()


def spawn(
    paths: Paths,
    container: Container,
    plan: InitPlan,
    devices: tuple[DeviceRule, ...],
    cgroup_path: str,
    prepare: Callable[[int], None],
) -> Created:
    """As runtime.init.spawn does, by the container's runtime."""
    runtime = Runtime(paths, container)
    _enter_own_mounts()
    os.makedirs(f"{runtime.bundle}/rootfs", 0o700, exist_ok=True)
    try:
        return _create(runtime, plan, devices, cgroup_path, prepare)
    except BaseException:
        delete(runtime)
        raise


def _create(
    runtime: Runtime,
    plan: InitPlan,
    devices: tuple[DeviceRule, ...],
    cgroup_path: str,
    prepare: Callable[[int], None],
) -> Created:
    container = runtime.container
    plan, root = _mount_root(runtime, plan)
    try:
        document = _document(container, plan, root, runtime, devices, cgroup_path)
    finally:
        os.close(root)
    write_file(f"{runtime.bundle}/config.json", json.dumps(document))
    streams = _open_streams(plan.process)
    try:
        started = runtime.launch(streams, "create", "--bundle", runtime.bundle, container.id)
    except BaseException:
        streams.close()
        raise
    streams.close_child_side()
    created = Created(runtime, started, streams)
    try:
        if plan.process.tty and plan.process.rows and plan.process.columns:
            pty.set_size(streams.pty_fd, plan.process.rows, plan.process.columns)
        prepare(started.pid)
    except BaseException:
        created.abort()
        raise
    return created


def join(paths: Paths, container: Container, plan: ProcessPlan) -> Started:
    """As runtime.join.join does, by the container's runtime."""
    runtime = Runtime(paths, container)
    _enter_own_mounts()
    path = f"{runtime.bundle}/process-{os.getpid()}.json"
    root = process.open_root(container.state.pid, container.state.pid_start)
    if root is None:
        raise Conflict(f"container {container.id} is not running")
    try:
        write_file(path, json.dumps(_process_document(plan, root)))
    finally:
        os.close(root)
    streams = _open_streams(plan)
    try:
        words = ("exec", "--detach", "--process", path, container.id)
        started = runtime.launch(streams, *words)
    except OnggiError as error:
        streams.close()
        said = error.message.removeprefix(handshake.CREATE_PREFIX)
        raise type(error)(handshake.EXEC_PREFIX + said, hint=error.hint) from error
    finally:
        os.unlink(path)
        streams.close_child_side()
    return started


def end(paths: Paths, container: Container) -> None:
    """Take down what the runtime keeps of an ended container."""
    delete(Runtime(paths, container))


def delete(runtime: Runtime) -> None:
    try:
        runtime.call("delete", "--force", runtime.container.id)
    except OnggiError:
        pass  # it had not come so far
    for name in os.listdir(runtime.bundle):
        if name == "rootfs" or name.startswith("mount-"):
            try:
                mount.umount_detach(f"{runtime.bundle}/{name}")
            except OSError:  # nothing is mounted there
                continue


# -- its parts


class _Console:
    """A socket on which the runtime hands the terminal over. Its path goes through a descriptor of
    ours: the run directory's own may be too long for a socket."""

    def __init__(self, directory: str) -> None:
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = f"console-{os.getpid()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"/proc/self/fd/{self._directory}/{self._name}")
        self._socket.listen(1)
        self._socket.settimeout(_TIMEOUT_S)

    def option(self) -> tuple[str, str]:
        return "--console-socket", f"/proc/{os.getpid()}/fd/{self._directory}/{self._name}"

    def take(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        if not fds:
            raise OnggiError("the runtime sent no terminal")
        return fds[0]

    def close(self) -> None:
        self._socket.close()
        os.unlink(self._name, dir_fd=self._directory)
        os.close(self._directory)


def _enter_own_mounts() -> None:
    """Once per process: a mount namespace that nobody else sees, and the children's reaper."""
    process.set_subreaper()
    namespace.unshare(namespace.CLONE_NEWNS)
    mount.mount_setattr("/", propagation=mount.MS_SLAVE, recursive=True)
    layout = cgroup.host_layout()
    if layout.v2 and any(not kind.startswith("name=") for kind, _ in layout.v1):
        mount.umount_detach(layout.v2)


def _mount_root(runtime: Runtime, plan: InitPlan) -> tuple[InitPlan, int]:
    """The root, and what the plan has as descriptors, at places below the bundle."""
    root = f"{runtime.bundle}/rootfs"
    if isinstance(plan.root, BindRoot):
        fd = mount.open_tree(plan.root.path, recursive=True)
    else:
        fd = mount.mount_overlay(plan.root, volatile=plan.volatile)
    mount.mount_setattr(fd, propagation=mount.MS_PRIVATE, recursive=True)
    mount.move_mount(fd, root)
    mounts: list[PlanMount] = []
    for index, wanted in enumerate(plan.mounts):
        if wanted.kind == "detached":
            place = f"{runtime.bundle}/mount-{index}"
            os.makedirs(place, 0o700, exist_ok=True)
            mount.move_mount(int(wanted.source), place)
            wanted = wanted._replace(kind="bind", source=place)
        mounts.append(wanted)
    return plan._replace(mounts=tuple(mounts)), fd


def _open_streams(plan: ProcessPlan) -> Streams:
    streams = Streams(plan)
    if not plan.tty:
        streams.open_pipes()
    return streams


def _document(
    container: Container,
    plan: InitPlan,
    root: int,
    runtime: Runtime,
    devices: tuple[DeviceRule, ...],
    cgroup_path: str,
) -> dict[str, Any]:
    return ocifile.document(
        plan,
        _process_document(plan.process, root),
        rootfs=f"{runtime.bundle}/rootfs",
        cgroup_path=cgroup_path,
        resources=container.config.options.host.resources,
        devices=devices or (DeviceRule(True, "a"),),
        seccomp=_seccomp(container),
    )


def _process_document(plan: ProcessPlan, root: int) -> dict[str, Any]:
    who: identity.Identity = become.look_up(plan, root)
    env = become.environment(plan, who.home)
    return ocifile.process_document(plan, who.uid, who.gid, who.groups, env)


def _seccomp(container: Container) -> dict[str, Any] | None:
    """The profile that the container's own filter is compiled from."""
    from ..linux import seccomp_compiler

    config = container.config
    held = capability.held() & capability.bounding()
    profile = sandbox.seccomp_profile(config)
    if profile is None:
        return None
    names = capability.names_of(specgen.capabilities(config.options.host, held))
    host = os.uname()
    version = seccomp.kernel_version(host.release)
    rules = seccomp_compiler.applicable(profile, names, host.machine, version)
    return ocifile.seccomp_document(
        profile, rules, seccomp_compiler.architectures(profile, host.machine)
    )


def _refusal(text: str) -> OnggiError:
    """docker's exit codes by what runc and crun say."""
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    message = handshake.CREATE_PREFIX + text
    lowered = text.lower()
    if "executable file" in lowered and "not found" in lowered:
        return CommandNotFound(message)
    if "exec:" in lowered or "executable" in lowered or "open executable" in lowered:
        if "no such file" in lowered:
            return CommandNotFound(message)
        refusals = ("permission denied", "not permitted", "is a directory", "exec format error")
        if any(words in lowered for words in refusals):
            return CommandNotExecutable(message)
    return OnggiError(message)
