"""Forking a monitor, and the one answer it sends back: started, or a typed error.

    command                          monitor (setsid, own process)
      pipe, fork ------------------>   closes all it inherited but its own ends
      reads until EOF <-------------   "ok", or error class, message, hint
                                       goes on to supervise; the command may end

A monitor that dies without an answer is an EOF: the command reports it and nothing waits forever.
"""

import os
from collections.abc import Callable, Container

from .. import errors, jsons, shelf, trace
from .. import signals as signal
from ..errors import OnggiError, Unavailable

Work = Callable[[Callable[..., None]], None]  # given `ready`, which takes one text or none


def fork_monitor(work: Work, *, keep: tuple[int, ...] = (), crash_log: str) -> tuple[int, str]:
    """Run `work(ready)` in a detached child; its pid and what it told `ready`, once it did. What
    `work` raises before that is raised here; a fault of ours afterwards goes to the file
    `crash_log`. `keep` are the descriptors the child needs.

    The caller has closed its database connection and runs no other thread.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise Unavailable(f"cannot start a monitor: {error.strerror}") from error
    if pid == 0:
        _child(work, writer, keep, crash_log)
    os.close(writer)
    trace.mark("monitor forked")
    try:
        answer = _read_all(reader)
    finally:
        os.close(reader)
    trace.mark("monitor answered")
    if not answer.startswith(b"ok"):
        os.waitpid(pid, 0)
        raise _error(answer)
    return pid, answer[2:].decode()


def _child(work: Work, writer: int, keep: tuple[int, ...], crash_log: str) -> None:
    """Never returns."""
    trace.born("monitor")
    answered = False

    def ready(told: str = "") -> None:
        nonlocal answered
        answered = True
        try:
            os.write(writer, b"ok" + told.encode())
        except BrokenPipeError:
            pass  # the command was killed; its container runs all the same
        os.close(writer)

    status = 1
    try:
        os.setsid()
        close_inherited({writer, *keep, *trace.descriptors(), *shelf.descriptors()})
        work(ready)
        status = 0
    except OnggiError as error:
        if not answered:
            os.write(writer, encoded(error))
    except Exception as error:  # an entry loop: whatever it is, the command must hear of it
        if not answered:
            os.write(writer, encoded(OnggiError(f"internal error: {described(error)}")))
        else:
            _write_crash(crash_log, error)
    finally:
        os._exit(status)


def fork_helper(work: Callable[[], None], crash_log: str, *, keep: Container[int] = ()) -> int:
    """A child that does `work` and holds nothing of ours open but `keep`; its pid. The caller has
    closed its database connection."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        close_inherited(keep)
        work()
        status = 0
    except Exception as error:  # an entry loop
        _write_crash(crash_log, error)
    finally:
        os._exit(status)


def described(error: BaseException) -> str:
    """The error with the place it came from."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {error}{where}"


def _write_crash(path: str, error: BaseException) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError:
        return  # the container's directory is gone, and with it whoever would read this
    os.write(fd, f"{described(error)}\n".encode())
    os.close(fd)


def close_inherited(keep: Container[int] = ()) -> None:
    """Standard streams go to /dev/null; the command's locks, sockets and files are not ours."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # the listing's own descriptor


_children: set[int] = set()


def forget(pid: int) -> None:
    """Note a monitor as ours, and reap those that have ended: a builder or a server that starts
    many must not keep them as zombies. Only pids we forked are waited for."""
    _children.add(pid)
    for child in tuple(_children):
        if os.waitpid(child, os.WNOHANG)[0]:
            _children.discard(child)


def forget_all() -> None:
    """In a fresh child: the monitors of our parent are not our children."""
    _children.clear()


def ignore_terminal_signals() -> None:
    """A monitor outlives its terminal and a polite shutdown: it has an exit code to record. Call
    after the container's process is made, which would inherit it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def _read_all(fd: int) -> bytes:
    data = b""
    while chunk := os.read(fd, 1 << 16):
        data += chunk
    return data


def encoded(error: OnggiError) -> bytes:
    """For `error_of` in another process: its arguments as JSON."""
    notes: list[str] = getattr(error, "__notes__", [])
    return jsons.dumps([type(error).__name__, error.message, error.hint, *notes]).encode()


def _error(answer: bytes) -> OnggiError:
    if not answer:
        return OnggiError("the container's monitor died before the container started")
    return error_of(*jsons.loads(answer))


def error_of(name: str, message: str, hint: str | None, *notes: str) -> OnggiError:
    """The error of that class, as another process of ours raised it."""
    kind = getattr(errors, name, OnggiError)
    error: OnggiError = kind(message, hint=hint)
    for note in notes:
        error.add_note(note)
    return error
