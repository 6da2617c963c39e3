"""The code of the modules that commands import, in one file: a start reads it at once and finds
each module there with one `stat`, where the import system lists directories, opens and reads three
hundred files. `run`, 150 modules: 20 ms instead of 25 (Python 3.11, 2 cores).

The file lies beside the compiled modules, in __pycache__, and is trusted as they are: it counts
only when the package's owner owns it and nobody else may write it, and a module of it only while
its source has the size and the time, to the nanosecond, that it had. Commands put there what they
had to import without it (docs/decisions/0004-shelf.md).
"""

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False  # as `typed` has it, which is on the shelf
if TYPE_CHECKING:
    from types import CodeType, ModuleType

_HEAD = b"onggi shelf 1\n" + MAGIC_NUMBER
_MAX_BYTES = 16 << 20

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
        self._code = memoryview(b"")

    def _open(self) -> None:
        self._is_open = True
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            status = os.fstat(fd)
            if status.st_uid == self._owner and not status.st_mode & 0o022:
                self._read(os.read(fd, min(status.st_size, _MAX_BYTES)), status.st_size)
        finally:
            os.close(fd)

    def _read(self, data: bytes, size: int) -> None:
        if len(data) != size or len(data) < len(_HEAD) + 8 or not data.startswith(_HEAD):
            return
        start = len(_HEAD) + 8
        end = start + int.from_bytes(data[start - 8 : start], "little")
        self._index = marshal.loads(data[start:end])  # noqa: S302 - as a compiled module is
        self._code = memoryview(data)[end:]

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not self._is_open:
            self._open()
        entry = self._index.get(name)
        if entry is None or _state(entry[2]) != entry[3:5]:
            return None
        origin = entry[2]
        spec = ModuleSpec(name, self, origin=origin, is_package=entry[5])  # type: ignore[arg-type]
        if entry[5]:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        spec.has_location = True
        spec.cached = ""  # else its getter looks for the compiled module
        return spec

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        return None

    def exec_module(self, module: "ModuleType") -> None:
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - as importing is

    def get_code(self, name: str) -> "CodeType":
        offset, size, *_ = self._index[name]
        code: CodeType = marshal.loads(self._code[offset : offset + size])  # noqa: S302
        return code

    def close(self) -> None:
        """Give the memory back, half of what an idle monitor would hold for itself."""
        self._index, self._code = {}, memoryview(b"")

    def stock(self, directories: tuple[str, ...]) -> None:
        """Put there what this process had to find elsewhere, of the sources below these
        directories. Takes some 100 ms, once for each kind of command."""
        loaded = {
            name: spec
            for name, module in tuple(sys.modules.items())
            if (spec := getattr(module, "__spec__", None)) is not None
            and spec.loader is not None
            and spec.loader is not self
            and isinstance(spec.origin, str)
            and spec.origin.startswith(directories)
            and spec.origin.endswith(".py")
        }
        if not loaded:
            return
        found: dict[str, tuple[bytes, Entry]] = {}
        for name, entry in self._index.items():
            if name not in loaded and _state(entry[2]) == entry[3:5]:
                found[name] = (bytes(self._code[entry[0] : entry[0] + entry[1]]), entry)
        for name, spec in loaded.items():
            state = _state(spec.origin)
            if state is not None:
                code = marshal.dumps(spec.loader.get_code(name))
                package = spec.submodule_search_locations is not None
                found[name] = (code, (0, 0, spec.origin, *state, package))
        self._write(found)

    def _write(self, found: dict[str, tuple[bytes, Entry]]) -> None:
        index, pieces, offset = {}, [], 0
        for name, (code, entry) in found.items():
            index[name] = (offset, len(code), *entry[2:])
            pieces.append(code)
            offset += len(code)
        table = marshal.dumps(index)
        data = b"".join((_HEAD, len(table).to_bytes(8, "little"), table, *pieces))
        temporary = f"{self._path}.{os.getpid()}"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError:
            return  # a read-only file system: all works without
        try:
            whole = os.write(fd, data) == len(data)
            os.fsync(fd)
            if whole:
                os.replace(temporary, self._path)
                return
        except OSError:
            pass  # a full disk
        finally:
            os.close(fd)
        os.unlink(temporary)


def close() -> None:
    """Of this process: what is imported later comes from its own file."""
    for finder in sys.meta_path:
        if isinstance(finder, Shelf):
            finder.close()


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
