"""Where COPY reads: the build context or another stage's root, by directory descriptors.

Owns the walk, the ignore rules' effect on it and the resolution of links. Never follows a symbolic
link out of the tree, never opens anything but regular files and directories, so that a FIFO or a
device cannot make it wait (SECURITY D5). Decides nothing about where files go.
"""

import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from ..dockerfile import glob
from ..dockerfile.ignore import IgnoreRules
from ..errors import InvalidInput, NotFound
from ..linux.safefs import open_beneath
from ..typed import Literal, NamedTuple

MAX_LINKS = 40
MAX_DEPTH = 255
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_LOOK = os.O_PATH | os.O_NOFOLLOW
Kind = Literal["file", "directory", "link", "fifo"]
Xattrs = tuple[tuple[bytes, bytes], ...]


class Entry(NamedTuple):
    """Something to copy. `path` is relative to the tree and holds no link; `inode` is (0, 0) for a
    file with one name."""

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    target: str = ""
    inode: tuple[int, int] = (0, 0)


def follow(
    path: str,
    look: Callable[[str], str | None],
    leads_out: Callable[[str, str], Exception] | None,
) -> tuple[str, bool]:
    """(`path` without links, whether it exists). `look` answers as `Tree.look`; what leads above
    the root stays in it, or is refused by `leads_out`. Parts that do not exist are kept."""
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links, exists = 0, True
    while pending:
        part = pending.pop()
        if part == "..":
            if not done and leads_out is not None:
                raise leads_out(path, "..")
            done[-1:] = []
            continue
        target = look("/".join((*done, part)))
        exists = target is not None
        if not target:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise InvalidInput(f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            if leads_out is not None:
                raise leads_out(path, target)
            done = []
        pending += [p for p in reversed(target.split("/")) if p not in ("", ".")]
    return "/".join(done), exists


class Tree:
    """A tree to copy from. `rooted`: it is a root filesystem, whose absolute links and `..` stay
    inside as in a chroot; else a link that leads out is an error. The caller owns `fd`."""

    def __init__(self, fd: int, label: str, rules: IgnoreRules, *, rooted: bool) -> None:
        self.fd = fd
        self.label = label  # for messages: the context's path, a stage's name
        self.rules = rules
        self.rooted = rooted

    # -- look-ups

    def status(self, path: str) -> os.stat_result | None:
        """lstat of a path whose parents are no links; None when there is no such file."""
        try:
            fd = open_beneath(self.fd, path or ".", _LOOK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self.failed(path, error) from error
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def link(self, path: str) -> str:
        fd = open_beneath(self.fd, path, _LOOK)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def resolve(self, path: str) -> str | None:
        """`path` with every link followed, the last too; None when there is no such file."""
        real, exists = follow(path, self.look, None if self.rooted else self.leads_out)
        return real if exists else None

    def look(self, path: str) -> str | None:
        """A link's target, "" for anything else that exists, None for nothing."""
        status = self.status(path)
        if status is None:
            return None
        return self.link(path) if stat.S_ISLNK(status.st_mode) else ""

    def leads_out(self, path: str, target: str) -> InvalidInput:
        return InvalidInput(
            f"{path} is a symbolic link that leads out of the build context {self.label}: {target}",
            hint="copy the file into the context, or build from a folder that holds both",
        )

    def failed(self, path: str, error: OSError) -> InvalidInput:
        return InvalidInput(f"cannot read {path or '.'} in {self.label}: {error.strerror}")

    # -- sources

    def find(self, pattern: str, *, double_star: bool = False) -> list[str]:
        """The paths that a COPY source names, links not yet followed. Without wildcards there is
        exactly one or NotFound; with wildcards there may be none. With `double_star` (--parents)
        `**` is any number of folders."""
        normal = posixpath.normpath("/" + pattern).strip("/")
        if not glob.has_wildcards(normal):
            if not self.exists(normal):
                raise self.missing(pattern, normal)
            return [normal]
        parts = normal.split("/")
        fixed = 0
        while not glob.has_wildcards(parts[fixed]):
            fixed += 1
        top = self.resolve("/".join(parts[:fixed]))
        try:
            matches = glob.matcher(glob.tokens("/".join(parts[fixed:]), double_star=double_star))
        except glob.BadPattern as error:
            raise InvalidInput(f"{pattern}: {error}") from error
        if top is None:
            return []
        depth = MAX_DEPTH if double_star and "**" in parts else len(parts)
        found = self._matching(top, "", matches, depth)
        return [f"{top}/{rest}".lstrip("/") for rest in found]

    def _matching(self, top: str, below: str, matches: "glob.Matches", depth: int) -> Iterator[str]:
        """Names under `top` that match; what is below a match is not looked at. Only patterns hold
        the slashes of a path, so nothing deeper than the pattern can match but by a class."""
        here = f"{top}/{below}".strip("/")
        for name, status in self.listing(here):
            rest = f"{below}/{name}".lstrip("/")
            path = f"{here}/{name}".lstrip("/")
            if matches(rest):
                if self.visible(path):
                    yield rest
            elif stat.S_ISDIR(status.st_mode) and depth > 0 and not self.pruned(path):
                yield from self._matching(top, rest, matches, depth - 1)

    def exists(self, path: str) -> bool:
        """Whether the path, links followed, is there and not ignored."""
        real = self.resolve(path)
        return real is not None and (self.visible(real) or self._has_visible(real))

    def visible(self, path: str) -> bool:
        return path == "" or not self.rules.excludes(self.rules.path_verdict(path))

    def pruned(self, path: str) -> bool:
        return self.rules.prunes(self.rules.path_verdict(path))

    def _has_visible(self, path: str) -> bool:
        """Whether an ignored directory has entries that a `!` line brings back."""
        return not self.pruned(path) and any(True for _ in self.walk(path))

    def missing(self, pattern: str, path: str) -> NotFound:
        """Names the near miss, or the ignore line that took the file away."""
        real = self.resolve(path)
        why = self.rules.why(real) if real else None
        shown = f'"/{path}": not found'
        if why is not None:
            return NotFound(
                f"failed to compute cache key: {shown}: .dockerignore line {why.line} "
                f"({why.text}) excludes it",
                hint=f"add a line !{path} below it, or take the line out",
            )
        from .hints import near_paths

        parent = posixpath.dirname(path)
        top = self.resolve(parent)
        names: list[str] = []
        if top is not None:
            names = [n for n, _ in self.listing(top) if self.visible(f"{top}/{n}".lstrip("/"))]
        guess = near_paths(path, names)
        return NotFound(
            f"failed to compute cache key: {shown}",
            hint=f"did you mean {posixpath.join(parent, guess)}" if guess
            else f"there is no {pattern} in {self.label}",
        )  # fmt: skip

    # -- the walk

    def listing(self, path: str) -> list[tuple[str, os.stat_result]]:
        """The entries of a directory, sorted by bytes; [] when it is none."""
        try:
            fd = open_beneath(self.fd, path or ".", _DIRECTORY)
        except (NotADirectoryError, FileNotFoundError):
            return []
        except OSError as error:
            raise self.failed(path, error) from error
        try:
            found = []
            for name in sorted(os.listdir(fd), key=os.fsencode):
                try:
                    found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
                except FileNotFoundError:
                    continue  # gone since the listing
            return found
        finally:
            os.close(fd)

    def walk(self, path: str) -> Iterator[Entry]:
        """`path` and all below it, parents first, sorted, without what is ignored. An ignored
        directory appears when something in it does not."""
        status = self.status(path)
        if status is None:
            raise InvalidInput(f"{path} in {self.label} vanished while it was read")
        above = self.rules.path_verdict(path) if path else -1
        yield from self._walk(path, status, above, [], 0)

    def _walk(
        self, path: str, status: os.stat_result, verdict: int, owed: list[Entry], depth: int
    ) -> Iterator[Entry]:
        """`owed` are the ignored directories above that have not been told yet."""
        if depth > MAX_DEPTH:
            raise InvalidInput(f"directories are nested deeper than {MAX_DEPTH} at {path[:200]}")
        hidden = self.rules.excludes(verdict)
        entry = None if hidden and not stat.S_ISDIR(status.st_mode) else self._entry(path, status)
        if entry is None or (hidden and self.rules.prunes(verdict)):
            return
        owed = [*owed, entry]
        if not hidden:
            yield from owed
            owed = []
        if entry.kind != "directory":
            return
        for name, child in self.listing(path):
            below = f"{path}/{name}".lstrip("/")
            inner = self.rules.verdict(below, verdict)
            for found in self._walk(below, child, inner, owed, depth + 1):
                owed = []
                yield found

    def _entry(self, path: str, status: os.stat_result) -> Entry | None:
        mode = status.st_mode
        kinds: dict[int, Kind] = {
            stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link",
            stat.S_IFIFO: "fifo",
        }  # fmt: skip
        kind = kinds.get(stat.S_IFMT(mode))
        if kind is None:
            if stat.S_ISSOCK(mode):
                return None  # docker leaves sockets out
            raise InvalidInput(
                f"{path} in {self.label} is a device node, which layers may not have",
                hint=f"exclude it: add a line {path} to .dockerignore",
            )
        shared = kind == "file" and status.st_nlink > 1
        return Entry(
            path, kind, stat.S_IMODE(mode), status.st_uid, status.st_gid,
            status.st_size if kind == "file" else 0, status.st_mtime_ns,
            self.link(path) if kind == "link" else "",
            (status.st_dev, status.st_ino) if shared else (0, 0),
        )  # fmt: skip

    # -- contents

    def open(self, path: str) -> int:
        """A descriptor of a regular file."""
        try:
            fd = open_beneath(self.fd, path, _FILE)
        except OSError as error:
            raise self.failed(path, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidInput(f"{path} in {self.label} changed its type while it was read")
        return fd


def xattrs_of(fd: int) -> Xattrs:
    """The extended attributes a layer keeps: file capabilities and the user's own."""
    try:
        names = os.listxattr(fd)
    except OSError:
        return ()  # the file system has none
    kept = [n for n in sorted(names) if n == "security.capability" or n.startswith("user.")]
    kept = [name for name in kept if not name.startswith("user.overlay.")]
    return tuple((os.fsencode(name), os.getxattr(fd, name)) for name in kept)
