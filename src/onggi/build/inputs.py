"""The files a build starts from: the Dockerfile, the ignore file, the contexts.

Owns the look-up rules and docker's texts when something is missing. Reads no more than these.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..dockerfile.ignore import MAX_FILE_BYTES as MAX_IGNORE_BYTES
from ..dockerfile.ignore import IgnoreRules, parse
from ..dockerfile.lexer import MAX_FILE_BYTES
from ..dockerfile.spelling import nearest
from ..errors import InvalidInput, NotFound
from .context import Tree

NO_RULES = IgnoreRules(())
DEFAULT_NAME = "Dockerfile"
IGNORE_NAME = ".dockerignore"


class NoContext(Tree):
    """The context of a build that was given none: nothing can be copied."""

    def __init__(self) -> None:
        super().__init__(-1, "no build context", NO_RULES, rooted=False)

    def find(self, pattern: str, *, double_star: bool = False) -> list[str]:
        raise NotFound(
            f'failed to compute cache key: "{pattern}": not found: the build has no context',
            hint="give the folder to copy from: onggi build -f - .",
        )


def open_context(path: str) -> Tree:
    """The directory to build from, without its ignore rules. Raises InvalidInput, NotFound."""
    if not path:
        return NoContext()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f'unable to prepare context: path "{path}" not found') from None
    except NotADirectoryError:
        raise InvalidInput(
            f"unable to prepare context: context must be a directory: {path}",
            hint="the context is a folder; give a Dockerfile with -f",
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"unable to prepare context: {path!r}: {error}") from error
    return Tree(fd, os.path.abspath(path), NO_RULES, rooted=False)


@contextmanager
def context(path: str, rules: IgnoreRules) -> Iterator[Tree]:
    """An open context with its rules."""
    tree = open_context(path)
    tree.rules = rules
    try:
        yield tree
    finally:
        if tree.fd >= 0:
            os.close(tree.fd)


def read_dockerfile(tree: Tree, path: str, *, local: bool) -> bytes:
    """The file in the context (`path` ""), or the one at a path: of the host when `local`, else of
    the context. Raises NotFound in docker's words."""
    try:
        if path and local:
            data = _read_host(path)
        else:
            data = _read_in(tree, path or DEFAULT_NAME, MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidInput(f"failed to read dockerfile: {path}: {error.strerror}") from error
    if data is None:
        name = path or DEFAULT_NAME
        names = [entry for entry, _ in tree.listing("")] if not path and tree.fd >= 0 else []
        guess = nearest(name, (n for n in names if n != name)) or next(
            (n for n in names if n.lower().startswith("dockerfile.") or n == "Containerfile"), ""
        )
        raise NotFound(
            f"failed to read dockerfile: open {name}: no such file or directory",
            hint=f"did you mean: onggi build -f {guess} ." if guess
            else f"there is no {name} in {tree.label}" if not path else None,
        )  # fmt: skip
    if not data.strip():
        raise InvalidInput("the Dockerfile cannot be empty")
    return data


def read_rules(tree: Tree, dockerfile: str, *, local: bool) -> IgnoreRules:
    """`<Dockerfile>.dockerignore` beside the Dockerfile, else .dockerignore in the context."""
    own = f"{dockerfile or DEFAULT_NAME}{IGNORE_NAME}"
    try:
        data = _read_host(own) if dockerfile and local else _read_in(tree, own, MAX_IGNORE_BYTES)
        if data is None:
            data = _read_in(tree, IGNORE_NAME, MAX_IGNORE_BYTES)
    except OSError as error:
        raise InvalidInput(f"failed to read {IGNORE_NAME}: {error.strerror}") from error
    return parse(data) if data is not None else NO_RULES


def _read_in(tree: Tree, name: str, limit: int) -> bytes | None:
    """A file of the context; a link may not lead out of it."""
    if tree.fd < 0:
        return None
    real = tree.resolve(name)
    return None if real is None else _read(tree.open(real), limit)


def _read_host(path: str) -> bytes | None:
    """A file the user named; never waits for a FIFO."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file", path)
    return _read(fd, MAX_FILE_BYTES)


def _read(fd: int, limit: int) -> bytes:
    with open(fd, "rb", buffering=0) as file:
        data = bytearray()
        while chunk := file.read(min(1 << 20, limit + 1 - len(data))):
            data += chunk
            if len(data) > limit:
                raise OSError(errno.EFBIG, f"is larger than {limit >> 20} MiB")
    return bytes(data)
