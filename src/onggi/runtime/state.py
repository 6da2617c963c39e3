"""What onggi-runtime remembers of a container between two commands: one directory each.

Whether a container is created, running or stopped is observed, never stored: its process by pid and
start time, and "created" by the reader that waits at the other end of the start fifo.
"""

import errno
import os

from .. import jsons
from ..errors import Conflict, InvalidInput, NotFound
from ..linux import process, safefs
from ..linux.cgroup import Cgroup
from ..typed import Any, Literal, NamedTuple

Status = Literal["creating", "created", "running", "paused", "stopped"]
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
_RECORD, _GO, _REPORT = "state.json", "start", "outcome"


class Record(NamedTuple):
    """`config` is the bundle's config.json as it was at create."""

    id: str
    bundle: str
    rootfs: str
    pid: int
    pid_start: int
    boot_id: str
    created: str
    cgroup_path: str
    config: dict[str, Any]

    @property
    def cgroup(self) -> Cgroup:
        return cgroup_at(self.cgroup_path)

    @property
    def alive(self) -> bool:
        same_boot = self.boot_id == process.boot_id()
        return same_boot and process.same_process(self.pid, self.pid_start)


def cgroup_at(path: str) -> Cgroup:
    """The groups at a path below each hierarchy's root. Raises InvalidInput when it leaves that."""
    parent, _, name = path.strip("/").rpartition("/")
    if not name or ".." in path.split("/") or ":" in path:
        raise InvalidInput(f"invalid cgroupsPath {path[:128]!r}: want /parent/name")
    return Cgroup(name, parent)


class States:
    """The state directory of all containers."""

    def __init__(self, root: str) -> None:
        self.root = root

    def reserve(self, container_id: str) -> None:
        """Take the name. Raises Conflict when it is taken."""
        os.makedirs(self.root, 0o700, exist_ok=True)
        try:
            os.mkdir(self.directory(container_id), 0o700)
        except FileExistsError as error:
            raise Conflict(f"container with given ID already exists: {container_id}") from error

    def directory(self, container_id: str) -> str:
        length = len(container_id)
        if not 0 < length < 256 or not _ID.issuperset(container_id) or container_id in (".", ".."):
            raise InvalidInput(f"invalid id format: {container_id[:128]!r}")
        return os.path.join(self.root, container_id)

    def open_fifos(self, container_id: str) -> tuple[int, int]:
        """Make the two fifos of a created container; its process keeps both ends of both open, so
        that "no reader" means exactly: it executes its command, or it is gone."""
        found = []
        for name in (_GO, _REPORT):
            path = os.path.join(self.directory(container_id), name)
            os.mkfifo(path, 0o600)
            found.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return found[0], found[1]

    def save(self, record: Record) -> None:
        directory = self.directory(record.id)
        temporary = os.path.join(directory, _RECORD + ".new")
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(jsons.dumps(record._asdict(), compact=False))
        os.replace(temporary, os.path.join(directory, _RECORD))

    def load(self, container_id: str) -> Record:
        path = os.path.join(self.directory(container_id), _RECORD)
        try:
            with open(path, encoding="utf-8") as file:
                return Record(**jsons.loads(file.read()))
        except FileNotFoundError as error:
            raise NotFound(f"container {container_id!r} does not exist") from error

    def exists(self, container_id: str) -> bool:
        return os.path.isdir(self.directory(container_id))

    def all(self) -> list[Record]:
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            try:
                found.append(self.load(name))
            except NotFound:  # being created or deleted right now
                continue
        return found

    def remove(self, container_id: str) -> None:
        try:
            root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            safefs.remove_tree(root, container_id)
        finally:
            os.close(root)

    def status(self, record: Record) -> Status:
        if not record.alive:
            return "stopped"
        go = self.open_go(record.id)
        if go is not None:
            os.close(go)
            return "created"
        return "paused" if record.cgroup.frozen() else "running"

    def open_go(self, container_id: str) -> int | None:
        """The fifo that a created container waits at; None when nothing waits."""
        path = os.path.join(self.directory(container_id), _GO)
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise

    def open_report(self, container_id: str) -> int:
        path = os.path.join(self.directory(container_id), _REPORT)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def as_oci(record: Record, status: Status) -> dict[str, Any]:
    """The specification's state object, as `state`, `list` and hooks get it."""
    annotations = record.config.get("annotations") or {}
    return {
        "ociVersion": record.config.get("ociVersion", "1.0.2"),
        "id": record.id,
        "pid": record.pid if status != "stopped" else 0,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        **({"annotations": annotations} if annotations else {}),
        "owner": "",
    }


def as_inner(record: Record, status: Status) -> str:
    """The same for a hook that runs inside, which adds the pid that it sees."""
    state = as_oci(record, status)
    del state["pid"]
    return jsons.dumps(state, compact=False)
