"""Finding the command of a process inside its container, and docker's words for not finding it."""

import errno
import os
import stat
from collections.abc import Callable

from ..errors import CommandNotExecutable, CommandNotFound
from ..linux import safefs

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_INTERPRETERS = 4  # the kernel's own limit of scripts that interpret scripts


def find_below(name: str, env: dict[str, str], root_fd: int, cwd: str) -> str:
    """`find` for a root that is not the process's own."""

    def check(path: str) -> None:
        fd = safefs.open_in_root(root_fd, f"{cwd}/{path}" if path[0] != "/" else path, os.O_PATH)
        try:
            _check_mode(path, os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    if "/" not in name:
        return _search(name, env.get("PATH", DEFAULT_PATH), check)
    try:
        check(name)
    except OSError as error:
        raise _refusal(name, name, error) from error
    return name


def find(name: str, env: dict[str, str], root_fd: int) -> str:
    """The path to execute. Call it as the user who will: its rights decide.

    Raises CommandNotFound (127) and CommandNotExecutable (126) as docker words them.
    """
    if "/" in name:
        path = name
        try:
            _check(path)
        except OSError as error:
            raise _refusal(name, path, error) from error
    else:
        path = _search(name, env.get("PATH", DEFAULT_PATH), _check)
    _check_links(name, path, root_fd)
    return path


def _search(name: str, directories: str, check: Callable[[str], None]) -> str:
    denied: OSError | None = None
    for directory in directories.split(":") if name else ():
        path = f"{directory or '.'}/{name}"
        try:
            check(path)
            return path
        except PermissionError as error:
            denied = error
        except OSError:
            continue
    if denied is not None:
        raise _refusal(name, name, denied)
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH')


def _check(path: str) -> None:
    """Raises OSError unless `path` is a file that we may execute."""
    _check_mode(path, os.stat(path).st_mode)
    if not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _check_mode(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not mode & 0o111:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _refusal(name: str, path: str, error: OSError) -> CommandNotFound | CommandNotExecutable:
    words = (error.strerror or "").lower()
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound(f'exec: "{name}": stat {path}: {words}')
    return CommandNotExecutable(f'exec: "{name}": {words}')


def _check_links(name: str, path: str, root_fd: int) -> None:
    """Refuse /proc/self/exe and its kin, as command or as a script's interpreter: at that moment
    they mean the program of the host that is about to execute it (CVE-2019-5736)."""
    for _ in range(_MAX_INTERPRETERS):
        absolute = path if path.startswith("/") else f"{os.getcwd()}/{path}"
        try:
            fd = safefs.open_in_root(root_fd, absolute, os.O_PATH)
        except OSError as error:
            if error.errno != errno.ELOOP:
                return  # execve will say
            raise CommandNotExecutable(
                f'exec: "{name}": permission denied: {path} is a magic link'
            ) from error
        os.close(fd)
        interpreter = _interpreter(root_fd, absolute)
        if not interpreter:
            return
        path = interpreter


def _interpreter(root_fd: int, path: str) -> str:
    """The program of a script's first line, "" for anything else."""
    try:
        fd = safefs.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        head = os.read(fd, 256)
    except OSError:
        return ""
    finally:
        os.close(fd)
    if not head.startswith(b"#!"):
        return ""
    words = head[2:].split(b"\n")[0].split()
    return os.fsdecode(words[0]) if words else ""


def exec_refusal(path: str, error: OSError) -> CommandNotFound | CommandNotExecutable:
    """What execve's own error means."""
    words = (error.strerror or "").lower()
    if error.errno == errno.ENOENT:  # the file is there: its interpreter or loader is not
        return CommandNotFound(f"exec {path}: {words}")
    return CommandNotExecutable(f"exec {path}: {words}")
