"""The only place that starts another program: nft, git, credential helpers, an OCI runtime.

Argument lists, absolute paths from a fixed search path, an environment given whole, a time limit,
and the program's last words in the error. Uses posix_spawn: `subprocess` takes 11 ms to import.
Never a shell, never a file found in a directory that a container or the caller's PATH chooses.
"""

import errno
import fcntl
import os
import select
import time
from collections.abc import Mapping, Sequence

from .. import signals as signal
from ..errors import OnggiError, Unavailable
from ..typed import NamedTuple, NoReturn

SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ENVIRONMENT = {"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C.UTF-8", "HOME": "/"}
PACKAGES = {  # Debian's name of the package that has the tool
    "nft": "nftables", "git": "git", "newuidmap": "uidmap", "newgidmap": "uidmap",
    "pasta": "passt", "slirp4netns": "slirp4netns", "proot": "proot",
    "ssh": "openssh-client", "runc": "runc", "crun": "crun", "ps": "procps",
    "ssh-agent": "openssh-client", "ssh-add": "openssh-client",
}  # fmt: skip
MAX_OUTPUT = 64 << 20
_RESET = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM]


class Output(NamedTuple):
    """`status` as the shell says it: 0..255, or 128+n for signal n."""

    status: int
    stdout: bytes
    stderr: bytes


def find(name: str) -> str:
    """Absolute path of a tool. Raises Unavailable naming the package to install."""
    candidates = [name] if name.startswith("/") else [f"{path}/{name}" for path in SEARCH_PATH]
    for path in candidates:
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    package = PACKAGES.get(name)
    hint = f"install it: apt-get install {package}" if package else None
    raise Unavailable(f"{name} is not installed", hint=hint)


def run(
    argv: Sequence[str],
    *,
    input: bytes = b"",
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Output:
    """Run a program to its end. With `check` a status other than 0 raises OnggiError with what the
    program said; a program that takes longer than `timeout_s` is killed and raises Unavailable."""
    path = find(argv[0])
    child = _Child(path, argv, ENVIRONMENT if env is None else env)
    try:
        stdout, stderr, finished = child.talk(input, time.monotonic() + timeout_s)
    finally:
        status = child.reap()
    if not finished:
        raise Unavailable(f"{argv[0]} did not finish within {timeout_s:g} s")
    if check and status:
        said = (stderr or stdout).decode(errors="replace").strip()
        raise OnggiError(f"{argv[0]} failed with status {status}: {said or 'no message'}")
    return Output(status, stdout, stderr)


def run_on(
    argv: Sequence[str],
    streams: tuple[int, int, int],
    *,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program on descriptors of the caller's, which whatever it leaves behind may keep; its
    status as the shell says it. Raises Unavailable when it takes longer than `timeout_s`."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
    pid = os.posix_spawn(
        find(argv[0]), list(argv), dict(ENVIRONMENT if env is None else env),
        file_actions=actions, setsigmask=[], setsigdef=_RESET,
    )  # fmt: skip
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        finished = bool(poll.poll(timeout_s * 1000))
        if not finished:
            os.kill(pid, signal.SIGKILL)  # our own child, not yet reaped: the pid is ours
    finally:
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
    if not finished:
        raise Unavailable(f"{argv[0]} did not finish within {timeout_s:g} s")
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def start(
    argv: Sequence[str], descriptors: Mapping[int, int], *, env: Mapping[str, str] | None = None
) -> int:
    """A program that runs on, in a session of its own, with {its number: ours} of our descriptors;
    its pid, to be waited for. Raises OSError."""
    above = max(descriptors, default=0) + 1  # none of ours is to be overwritten by another
    apart: dict[int, int] = {}
    try:
        for number, fd in descriptors.items():
            apart[number] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)
        return os.posix_spawn(
            argv[0], list(argv), dict(ENVIRONMENT if env is None else env),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in apart.items()],
            setsid=True, setsigmask=[], setsigdef=[*_RESET, signal.SIGCHLD],
        )  # fmt: skip
    finally:
        for fd in apart.values():
            os.close(fd)


def attached(argv: Sequence[str], stdin: int, stdout: int, env: Mapping[str, str]) -> int:
    """A program with these two streams and everything else the caller's: its terminal, to ask for a
    password on, and its error output. The pid, for `wait`."""
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    return os.posix_spawn(
        find(argv[0]), list(argv), dict(env), file_actions=actions, setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )  # fmt: skip


def wait(pid: int) -> int:
    """The status of a child of ours, as the shell says it."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def replace(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program, argv[0]. Raises OSError."""
    os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - no shell is wanted


def run_while(argv: Sequence[str], life: int) -> None:
    """Run a program until the other end of the pipe `life` is closed, or it ends by itself."""
    pid = os.posix_spawn(
        find(argv[0]), list(argv), ENVIRONMENT, setpgroup=0, setsigmask=[], setsigdef=_RESET
    )
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (life, pidfd):
        poll.register(fd, select.POLLIN)
    try:
        poll.poll()
        os.kill(pid, signal.SIGTERM)  # our own child, not yet reaped: the pid is ours
    finally:
        os.close(pidfd)
        os.waitpid(pid, 0)


class _Child:
    """A spawned program with its three pipes."""

    def __init__(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        (child_in, self.stdin), (self.stdout, child_out), (self.stderr, child_err) = pipes
        actions = [
            (os.POSIX_SPAWN_DUP2, child_in, 0),
            (os.POSIX_SPAWN_DUP2, child_out, 1),
            (os.POSIX_SPAWN_DUP2, child_err, 2),
        ]
        try:
            self.pid = os.posix_spawn(
                path,
                list(argv),
                dict(env),
                file_actions=actions,
                setsigmask=[],
                setsigdef=_RESET,
            )
        except BaseException:
            for fd in (self.stdin, self.stdout, self.stderr):
                os.close(fd)
            raise
        finally:
            for fd in (child_in, child_out, child_err):
                os.close(fd)
        self.open_fds = {self.stdin, self.stdout, self.stderr}

    def talk(self, data: bytes, deadline: float) -> tuple[bytes, bytes, bool]:
        """Feed stdin and collect both outputs; the last value is False when time ran out."""
        out = {self.stdout: bytearray(), self.stderr: bytearray()}
        poll = select.poll()
        for fd in self.open_fds:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLOUT if fd == self.stdin else select.POLLIN)
        rest = memoryview(data)
        while out.keys() & self.open_fds:
            left = deadline - time.monotonic()
            if left <= 0:
                return b"", b"", False
            for fd, _event in poll.poll(left * 1000):
                if fd == self.stdin:
                    rest = self._feed(rest)
                    done = not rest
                else:
                    done = self._collect(fd, out[fd])
                if done:
                    poll.unregister(fd)
                    self._close(fd)
        return bytes(out[self.stdout]), bytes(out[self.stderr]), True

    def _feed(self, rest: memoryview) -> memoryview:
        if not rest:
            return rest
        try:
            return rest[os.write(self.stdin, rest) :]
        except BlockingIOError:
            return rest
        except OSError as error:
            if error.errno != errno.EPIPE:  # it stopped reading: its status tells why
                raise
            return rest[:0]

    def _collect(self, fd: int, into: bytearray) -> bool:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return False
        into += chunk
        if len(into) > MAX_OUTPUT:
            raise OnggiError("a helper program printed more than 64 MiB")
        return not chunk

    def _close(self, fd: int) -> None:
        self.open_fds.discard(fd)
        os.close(fd)

    def reap(self) -> int:
        """Close the pipes; kill when output is still open; the exit status as a shell says it."""
        killed = bool(self.open_fds - {self.stdin})
        for fd in tuple(self.open_fds):
            self._close(fd)
        if killed:
            os.kill(self.pid, signal.SIGKILL)  # our own child, not yet reaped: the pid is ours
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code
