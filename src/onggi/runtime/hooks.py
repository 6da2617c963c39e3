"""Hooks: programs that the bundle wants run at points of a container's life.

On the host (`run`) with everything we have; inside (`run_inside`) in the container's namespaces,
after guard.seal too: nothing is imported, and the program's path is the container's by then. Each
reads the state on its standard input. The first that fails is the last that runs.
"""

import os
from collections.abc import Iterable

from .. import jsons
from .. import signals as signal
from ..errors import OnggiError
from ..linux import process, tools
from ..typed import Any
from .plan import Hook

_AS_LONG_AS_IT_TAKES_S = 2_000_000.0
_MAX_MESSAGE = 4096


def run(kind: str, hooks: Iterable[Hook], state: dict[str, Any]) -> None:
    """One after the other. Raises OnggiError naming the hook that failed and what it said."""
    text = jsons.dumps(state, compact=False).encode()
    for number, hook in enumerate(hooks):
        try:
            done = tools.run(
                (hook.path, *hook.args[1:]),
                input=text,
                timeout_s=hook.timeout_s or _AS_LONG_AS_IT_TAKES_S,
                env=environment(hook),
                check=False,
            )
        except OnggiError as error:
            raise failed(kind, number, hook, error.message) from error
        if done.status:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise failed(kind, number, hook, _status(done.status, said))


def run_inside(kind: str, hooks: Iterable[Hook], state: str) -> None:
    """The same in a child on its way into the container; `state` lacks the pid, which is ours as
    the container sees it."""
    text = f'{{"pid": {os.getpid()}, {state.removeprefix("{")}'
    for number, hook in enumerate(hooks):
        status, said = _fork(hook, text.encode())
        if status is None:
            words = f"did not finish within {hook.timeout_s:g} s"
            raise failed(kind, number, hook, f"{hook.path} {words}")
        if status:
            raise failed(kind, number, hook, _status(status, said))


def failed(kind: str, number: int, hook: Hook, said: str) -> OnggiError:
    return OnggiError(f"error running {kind} hook #{number} {hook.path}: {said}")


def environment(hook: Hook) -> dict[str, str]:
    entries = (entry.partition("=") for entry in hook.env)
    return {name: value for name, equals, value in entries if equals and name}


def _status(status: int, said: str) -> str:
    return f"exit status {status}" + (f": {said}" if said else "")


def _fork(hook: Hook, text: bytes) -> tuple[int | None, str]:
    """(status as a shell says it, what it said); None when it had to be killed."""
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)
    os.write(stdin, text)
    os.lseek(stdin, 0, os.SEEK_SET)
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _execute(hook, stdin, output)
    os.close(stdin)
    pidfd = process.pidfd_open(pid)
    try:
        finished = process.pidfd_wait(pidfd, hook.timeout_s or None)
        if not finished:
            process.pidfd_send_signal(pidfd, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        said = os.pread(output, _MAX_MESSAGE, 0).decode(errors="replace").strip()
    finally:
        os.close(pidfd)
        os.close(output)
    code = os.waitstatus_to_exitcode(status)
    return (code if code >= 0 else 128 - code) if finished else None, said


def _execute(hook: Hook, stdin: int, output: int) -> None:
    """Never returns."""
    try:
        os.setsid()
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        process.close_range_cloexec(3)
        os.execve(hook.path, hook.args or (hook.path,), environment(hook))  # noqa: S606
    except OSError as error:
        os.write(2, (error.strerror or "failed").encode())
    finally:
        os._exit(127)
