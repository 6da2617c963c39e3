"""What is written of an exec whose id somebody knows (the API's): it outlives the server.

    RUN/<container>/execs/<id>          what was asked; written by who made the id
    RUN/<container>/execs/<id>.started  "pid, monitor's pid, monitor's start"; by the monitor
    RUN/<container>/execs/<id>.end      the exit code; by the monitor

They go with the container's run.
"""

import os
import re
import time

from .. import jsons
from ..linux import process
from ..spec import codec
from ..typed import NamedTuple
from .execs import ExecOptions
from .paths import Paths, write_file

KILLED = 137  # of one whose monitor ended without a word
_ID = re.compile(r"[0-9a-f]{64}")


class Note(NamedTuple):
    """`streams` are stdin, stdout and stderr: which of them the client is to be attached to."""

    id: str
    container_id: str
    options: ExecOptions
    detach_keys: str
    streams: tuple[bool, bool, bool]


class Course(NamedTuple):
    """What has become of it. The exit code is None until it ends."""

    started: bool = False
    pid: int = 0
    exit_code: int | None = None


class ExecNotes:
    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def make(self, note: Note) -> None:
        try:
            os.makedirs(self._directory(note.container_id), 0o700, exist_ok=True)
            _put(self._path(note.container_id, note.id), jsons.dumps(codec.encode(note)))
        except FileNotFoundError:
            pass  # the container ended this moment

    def find(self, exec_id: str) -> Note | None:
        """None for an id that there is no note of."""
        if not _ID.fullmatch(exec_id):
            return None
        for container_id in self._containers():
            if (text := _get(self._path(container_id, exec_id))) is not None:
                note: Note = codec.decode(Note, jsons.loads(text))
                return note
        return None

    def of_container(self, container_id: str) -> list[str]:
        return [name for name in _names(self._directory(container_id)) if _ID.fullmatch(name)]

    def began(self, container_id: str, exec_id: str, pid: int) -> None:
        """Said by the monitor, of itself and its command; nothing of one without a note."""
        path = self._path(container_id, exec_id)
        if os.path.exists(path):
            mine = os.getpid()
            _put(f"{path}.started", f"{pid} {mine} {process.start_time(mine)}")

    def ended(self, container_id: str, exec_id: str, code: int) -> None:
        path = self._path(container_id, exec_id)
        if os.path.exists(path):
            _put(f"{path}.end", str(code))

    def course(self, container_id: str, exec_id: str) -> Course:
        path = self._path(container_id, exec_id)
        told = _get(f"{path}.started")
        if told is None:
            return Course() if os.path.exists(path) else Course(True, 0, KILLED)
        pid, monitor, start = map(int, told.split())
        watched = process.same_process(monitor, start)  # before the end, which it writes last
        end = _get(f"{path}.end")
        if end is not None:
            return Course(True, pid, int(end))
        return Course(True, pid, None if watched else KILLED)

    def forget(self, container_id: str, exec_id: str) -> None:
        path = self._path(container_id, exec_id)
        for name in (f"{path}.end", f"{path}.started", path):
            try:
                os.unlink(name)
            except (FileNotFoundError, NotADirectoryError):
                pass

    def sweep(self, kept_s: float) -> None:
        """Forget those that ended longer ago than that."""
        limit = time.time() - kept_s
        for container_id in self._containers():
            for name in _names(self._directory(container_id)):
                exec_id = name.removesuffix(".end")
                if exec_id != name and _modified(self._path(container_id, name)) < limit:
                    self.forget(container_id, exec_id)

    def _containers(self) -> list[str]:
        return [name for name in _names(self._paths.run) if _ID.fullmatch(name)]

    def _directory(self, container_id: str) -> str:
        return f"{self._paths.running(container_id)}/execs"

    def _path(self, container_id: str, name: str) -> str:
        return f"{self._directory(container_id)}/{name}"


def _put(path: str, text: str) -> None:
    """Whole or not at all."""
    try:
        write_file(f"{path}.new", text, 0o600)
        os.replace(f"{path}.new", path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # the container ended this moment, and its notes are gone


def _get(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return time.time()
