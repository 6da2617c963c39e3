"""The code of the modules that commands import, in one file: a start reads it at once and finds
each module there with one `stat`, where the import system lists directories, opens and reads three
hundred files. `run`, 150 modules: 15 ms instead of 20 (Python 3.11, 2 cores).

The file lies beside the compiled modules, in __pycache__, and is trusted as they are: it counts
only when the package's owner owns it and nobody else may write it, and a module of it only while
its source has the size and the time, to the nanosecond, that it had. Commands put there what they
had to import without it (docs/decisions/0004-shelf.md).
"""

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _imp import source_hash

TYPE_CHECKING = False  # as `typed` has it, which is on the shelf
if TYPE_CHECKING:
    from types import CodeType, ModuleType

# Code is of one interpreter, and so is the standard library that is among it.
_INTERPRETER = source_hash(0, f"{sys.version} {os.__file__}".encode())
_HEAD = b"onggi shelf 2\n" + _INTERPRETER
FILE = f"shelf.{sys.implementation.cache_tag}-{_INTERPRETER.hex()}"
_MAX_TABLE = 1 << 20

# offset, size, path of the source, its time in ns, its size, whether it is a package
Entry = tuple[int, int, str, int, int, bool]


class Shelf:
    """A finder and loader for sys.meta_path. Opens its file when it is first asked; is empty when
    there is none that counts."""

    def __init__(self, path: str, owner: int) -> None:
        self._path = path
        self._owner = owner
        self._is_open = False
        self._index: dict[str, Entry] = {}
        self.fd = -1
        self._base = 0  # where code begins
        self._is_forked = True
        self._identity: tuple[int, int] = (0, 0)

    def _open(self) -> None:
        self._is_open = True
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        status = os.fstat(fd)
        if status.st_uid == self._owner and not status.st_mode & 0o022:
            self._read_table(fd, status.st_size)
        if self._index:
            self.fd, self._identity = fd, (status.st_dev, status.st_ino)
            self._is_forked = False
            os.register_at_fork(after_in_child=self._forked)
        else:
            os.close(fd)

    def _read_table(self, fd: int, file_size: int) -> None:
        """The rest is read module by module: a file of megabytes takes longer to read than a start
        may last, most of it for fresh pages of memory."""
        start = len(_HEAD) + 16
        head = os.pread(fd, start, 0)
        table_size = int.from_bytes(head[-16:-8], "little")
        size = int.from_bytes(head[-8:], "little")
        if len(head) != start or not head.startswith(_HEAD) or size != file_size:
            return
        table = os.pread(fd, min(table_size, _MAX_TABLE), start)
        self._index = marshal.loads(table)  # noqa: S302 - as a compiled module is
        self._base = start + table_size

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not self._is_open:
            self._open()
        entry = self._index.get(name)
        if entry is None or _state(entry[2]) != entry[3:5] or not self._is_ours():
            return None
        origin = entry[2]
        spec = ModuleSpec(name, self, origin=origin, is_package=entry[5])  # type: ignore[arg-type]
        if entry[5]:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        spec.has_location = True
        spec.cached = ""  # else its getter looks for the compiled module
        return spec

    def _forked(self) -> None:
        self._is_forked = True

    def _is_ours(self) -> bool:
        """Whether the descriptor is still the file: a child may have closed all it inherited. Who
        opened it need not ask, for each of 200 modules."""
        if not self._is_forked:
            return True
        try:
            status = os.fstat(self.fd)
        except OSError:
            status = None
        if status is not None and (status.st_dev, status.st_ino) == self._identity:
            return True
        self._index, self.fd = {}, -1
        return False

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        return None

    def exec_module(self, module: "ModuleType") -> None:
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - as importing is

    def get_code(self, name: str) -> "CodeType":
        code: CodeType = marshal.loads(self._bytes_of(self._index[name]))  # noqa: S302
        return code

    def _bytes_of(self, entry: Entry) -> bytes:
        return os.pread(self.fd, entry[1], self._base + entry[0])

    def close(self) -> None:
        """From now on modules come from their own files."""
        if self._index and self._is_ours():
            os.close(self.fd)
        self._index, self.fd, self._is_forked = {}, -1, True

    def stock(self, directories: tuple[str, ...]) -> None:
        """Put there what this process had to find elsewhere, of the sources below these
        directories. Takes some 100 ms, once for each kind of command."""
        loaded = {
            name: spec
            for name, module in tuple(sys.modules.items())
            if (spec := getattr(module, "__spec__", None)) is not None
            and spec.loader is not None
            and spec.loader is not self  # what came from here needs no second look: 1 ms
            and isinstance(spec.origin, str)
            and spec.origin.startswith(directories)
            and spec.origin.endswith(".py")
            and not self._has(name)
        }
        if not loaded:
            return
        found: dict[str, tuple[bytes, Entry]] = {}
        for name, entry in self._index.items():
            if name not in loaded and self._has(name):
                found[name] = (self._bytes_of(entry), entry)
        for name, spec in loaded.items():
            state = _state(spec.origin)
            if state is not None:
                code = marshal.dumps(spec.loader.get_code(name))
                package = spec.submodule_search_locations is not None
                found[name] = (code, (0, 0, spec.origin, *state, package))
        self._write(found)

    def _has(self, name: str) -> bool:
        entry = self._index.get(name)
        return entry is not None and _state(entry[2]) == entry[3:5]

    def _write(self, found: dict[str, tuple[bytes, Entry]]) -> None:
        index, pieces, offset = {}, [], 0
        for name, (code, entry) in found.items():
            index[name] = (offset, len(code), *entry[2:])
            pieces.append(code)
            offset += len(code)
        table = marshal.dumps(index)
        whole = len(_HEAD) + 16 + len(table) + offset
        sizes = len(table).to_bytes(8, "little") + whole.to_bytes(8, "little")
        data = b"".join((_HEAD, sizes, table, *pieces))
        temporary = f"{self._path}.{os.getpid()}"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError:
            return  # a read-only file system: all works without
        try:
            written = os.write(fd, data)
            os.fsync(fd)
            if written == whole:
                os.replace(temporary, self._path)
                return
        except OSError:
            pass  # a full disk
        finally:
            os.close(fd)
        os.unlink(temporary)


def descriptors() -> tuple[int, ...]:
    """What a child keeps that imports more."""
    return tuple(f.fd for f in sys.meta_path if isinstance(f, Shelf) and f.fd >= 0)


def close() -> None:
    """The shelf of this process, which goes on for long and imports no more."""
    for finder in sys.meta_path:
        if isinstance(finder, Shelf):
            finder.close()


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
