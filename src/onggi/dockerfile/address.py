"""Addresses where a path could stand: http(s) URLs and git repositories. Pure; BuildKit's rules."""

import re

from ..errors import InvalidInput
from ..typed import NamedTuple

_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!/)[^\s]+", re.ASCII)
_SCHEMES = ("git", "ssh", "http", "https")
_REF = re.compile(r"[A-Za-z0-9][\w./@+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_QUERY = ("ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules")


class Repository(NamedTuple):
    """A git repository: `remote` for git, "" for the default `ref`, the whole tree for `subdir`."""

    remote: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""  # what the ref must be
    submodules: bool = True


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def is_commit(text: str) -> bool:
    return _COMMIT.fullmatch(text) is not None


def repository(text: str, *, context: bool = False) -> Repository | None:
    """The repository that `text` names, None when it is no git address. With `context`
    `github.com/…` is one. Raises InvalidInput for a ref or folder that cannot be (SECURITY D5)."""
    if context and text.startswith("github.com/"):
        text = f"https://{text}"
        return _named(text, *_fragment(text))
    if _SCP.fullmatch(text.partition("#")[0]):
        return _named(text, *_fragment(text))
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        return None
    path = _path(text)
    if scheme in ("http", "https") and not path.endswith(".git"):
        return None
    return _named(text, *_fragment(text))


def _path(url: str) -> str:
    from urllib.parse import urlsplit  # 2 ms that only addresses need

    try:
        return urlsplit(url).path
    except ValueError as error:
        raise InvalidInput(f"{url[:200]!r} is not a URL: {error}") from error


def _fragment(text: str) -> tuple[str, str]:
    ref, _, subdir = text.partition("#")[2].partition(":")
    return ref, subdir


def _named(text: str, ref: str, subdir: str) -> Repository:
    from urllib.parse import parse_qsl, unquote

    remote, _, query = text.partition("#")[0].partition("?")
    commit, submodules = "", True
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _QUERY:
            raise InvalidInput(f"unexpected query {key[:40]!r} in the address of a git repository")
        if key in ("ref", "tag", "branch"):
            ref = value
        elif key == "subdir":
            subdir = value
        elif key in ("checksum", "commit"):
            commit = value
        elif key == "submodules":
            submodules = value not in ("0", "false")
    checked = Repository(remote, unquote(ref), unquote(subdir).strip("/"), commit, submodules)
    _check(checked)
    return checked


def _check(wanted: Repository) -> None:
    if wanted.ref and (not _REF.fullmatch(wanted.ref) or ".." in wanted.ref):
        raise InvalidInput(f"invalid git ref {wanted.ref[:80]!r}")
    if ".." in wanted.subdir.split("/") or "\0" in wanted.subdir:
        raise InvalidInput(f"git folder {wanted.subdir[:80]!r} leads out of the repository")
    if any(c <= " " or c == "\x7f" for c in wanted.remote) or wanted.remote.startswith("-"):
        raise InvalidInput(f"invalid git address {wanted.remote[:80]!r}")
    if wanted.commit and not re.fullmatch(r"[0-9a-f]{7,64}", wanted.commit):
        raise InvalidInput(f"invalid commit {wanted.commit[:80]!r}")


def file_name(url: str) -> str:
    """The last part of a URL's path. Raises InvalidInput when there is none."""
    from urllib.parse import unquote

    name = unquote(_path(url).rpartition("/")[2])
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidInput(f"cannot determine filename for source {url[:200]}",
                           hint="name the file: ADD URL /path/file")  # fmt: skip
    return name
