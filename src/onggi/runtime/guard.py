"""Keeps the interpreter from reaching into a container's files (SECURITY 4.1).

After pivot_root or setns every path is the container's: a lazy import, a codec, NSS or a source
line for a traceback would run or read its files as host root. `seal` is called before that; from
then on the process makes plain system calls until execve.
"""

import sys
from collections.abc import Sequence

from ..typed import Any, NoReturn, compile_no_more

_FORBIDDEN = frozenset(
    (
        "import", "compile", "exec", "ctypes.dlopen", "subprocess.Popen", "os.system",
        "os.posix_spawn", "os.spawn", "socket.getaddrinfo", "socket.gethostbyname",
    )
)  # fmt: skip


class _Refuse:
    """A finder that finds nothing and says why."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> NoReturn:
        raise ImportError(f"import of {name} inside a container")


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _FORBIDDEN or (event == "open" and not isinstance(arguments[0], int)):
        raise RuntimeError(f"{event} inside a container: {arguments[:1]!r}")


def seal() -> None:
    """There is no way back: only for a process that ends in execve or _exit."""
    compile_no_more()
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [_Refuse()]
    sys.addaudithook(_hook)
