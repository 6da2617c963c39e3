"""Docker's rules of `cp`: where a copied thing lands and what it is called there. Pure.

They are cp(1)'s with one difference: the destination's parent must exist, and `SRC/.` means the
contents of the directory.
"""

import posixpath

from ..typed import NamedTuple
from .session import refusal


class Place(NamedTuple):
    """One side of the copy as it was found."""

    path: str  # absolute, as typed: trailing "/" or "/." kept
    exists: bool
    is_directory: bool = False


class Landing(NamedTuple):
    """Unpack below `directory`; the copied thing is called `name` there. "" keeps its contents at
    the top."""

    directory: str
    name: str


def split_argument(text: str) -> tuple[str, str]:
    """(container, path), or ("", path) for a local one."""
    if text.startswith("/"):
        return "", text
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return "", text
    return container, path


def absolute(path: str, directory: str) -> str:
    """Cleaned, with the trailing "/" or "/." kept that says "a directory" and "its contents"."""
    joined = posixpath.join(directory, path)
    clean = posixpath.normpath("/" + joined.lstrip("/"))
    if joined.endswith("/.") or joined == ".":
        return clean.rstrip("/") + "/."
    if joined.endswith("/") and clean != "/":
        return clean + "/"
    return clean


def is_contents(path: str) -> bool:
    return path.endswith("/.")


def says_directory(path: str) -> bool:
    return path.endswith(("/", "/."))


def base_name(path: str) -> str:
    """The name that the source has in its archive; "" for its contents only."""
    return "" if is_contents(path) else posixpath.basename(path.rstrip("/"))


def landing(source: Place, target: Place) -> Landing:
    """Raises CommandError in docker's words."""
    if target.exists and target.is_directory:
        return Landing(target.path.removesuffix("/.") or "/", base_name(source.path))
    clean = target.path.removesuffix("/.").rstrip("/") or "/"
    parent, name = posixpath.split(clean)
    if target.exists:
        if source.is_directory:
            raise refusal("cannot copy directory")
        if says_directory(target.path):
            raise refusal("not a directory")
        return Landing(parent, name)
    if source.is_directory or not says_directory(target.path):
        return Landing(parent, name)
    raise refusal("destination directory must exist")


def renamed(old: str, new: str) -> tuple[bytes, bytes]:
    """The pair of prefixes for archive members."""
    return old.encode("utf-8", "surrogateescape"), new.encode("utf-8", "surrogateescape")


def rename_member(path: bytes, old: bytes, new: bytes) -> bytes:
    """A member's path with its first component `old` replaced; with `old` empty, put under `new`.
    b"" leaves out what is not below `old`: an archive may hold anything."""
    clean = path.removeprefix(b"./")
    if not old:
        if not new:
            return clean
        return new + b"/" + clean if clean not in (b"", b".") else new
    first, slash, rest = clean.partition(b"/")
    if first != old:
        return b""
    return (new + slash + rest if new else rest) or b"."
