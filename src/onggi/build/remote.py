"""Files from the web and git repositories as layers on nothing, for ADD.

Owns what of them is cached: a URL is asked again with its ETag unless a checksum says what it is,
a repository by the commit that its ref is now. What was fetched is stored before it is looked at.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz

from ..engine.engine import Engine
from ..errors import InvalidInput
from ..linux import safefs
from ..spec.digest import Digest
from ..store.tarindex import REGULAR
from ..store.tarwrite import END_OF_ARCHIVE, header, padding
from ..typed import Any
from . import ops
from .cache import Cache, Hit
from .context import Tree
from .gitsource import Git
from .graph import CopyOp, GitOp, UrlOp, operation_digest
from .loans import Loans
from .sources import gather
from .target import EARLIEST_NS, SECOND_NS

_PIECE = 256 << 10
_FILE_MODE = 0o600  # docker's for what comes from a URL


class Remote:
    def __init__(self, engine: Engine, cache: Cache, loans: Loans) -> None:
        self._engine = engine
        self._cache = cache
        self._loans = loans

    # -- URLs

    def url(self, operation: UrlOp) -> tuple[Hit, bool]:
        """The result, and whether it was there."""
        key = operation_digest(operation, ())
        hit = self._cache.lookup(key)
        if hit is not None and operation.checksum:
            return hit, True
        etag = str(self._cache.told(key).get("etag", "")) if hit is not None else ""
        with self._engine.store.scratch.directory() as directory:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(f"{directory}/file", flags, 0o600)
            try:
                return self._downloaded(operation, key, hit, etag, fd)
            finally:
                os.close(fd)

    def _downloaded(
        self, operation: UrlOp, key: str, hit: Hit | None, etag: str, fd: int
    ) -> tuple[Hit, bool]:
        from ..registry import fetch

        digest = hashlib.sha256()

        def write(data: bytes) -> None:
            digest.update(data)
            while data:
                data = data[os.write(fd, data) :]

        settings = self._engine.images.web_settings()
        fetched = fetch.fetch(settings, operation.url, write, etag=etag)
        if fetched.unchanged and hit is not None:
            return hit, True
        found = f"sha256:{digest.hexdigest()}"
        if operation.checksum and found != operation.checksum:
            raise InvalidInput(
                f"digest mismatch {found}: {operation.checksum}",
                hint=f"{operation.url} is not what the checksum names: look before you change it",
            )
        modified_ns = _modified(fetched.modified)
        if operation.epoch is not None:
            modified_ns = min(modified_ns, operation.epoch * SECOND_NS)
        pieces = _file_layer(operation.name, fd, fetched.size, modified_ns)
        diff_id = self._engine.store.layers.ingest(pieces).diff_id
        same = hit is not None and hit.diff_id == diff_id
        return self._record(key, diff_id, operation, {"etag": fetched.etag, "file": found}), same

    # -- git

    def git(self, operation: GitOp) -> tuple[Hit, bool]:
        from ..dockerfile.address import Repository

        settings = self._engine.images.web_settings().proxies
        proxies = {"http": settings.http, "https": settings.https, "no": settings.no_proxy}
        git = Git(self._loans, proxies)
        wanted = Repository(*operation[:5])
        commit = git.resolve(wanted)
        key = operation_digest(operation._replace(ref=commit), ())
        hit = self._cache.lookup(key)
        if hit is not None:
            return hit, True
        with self._engine.store.scratch.directory() as directory:
            made = git.checkout(wanted, commit, directory)
            diff_id = self._tree_layer(operation, directory, made.time)
        return self._record(key, diff_id, operation, {"commit": commit}), False

    def _tree_layer(self, operation: GitOp, directory: str, seconds: int) -> Digest:
        """The folder's files; no file is newer than its commit, so that layers repeat."""
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not operation.keep_git_dir:
                safefs.remove_tree(top, ".git")
            tree = Tree(top, operation.remote, ops.NO_RULES, rooted=False)
            source = operation.subdir or "."
            copied = CopyOp((source,), "/", epoch=seconds)
            return ops.copy(self._engine, copied, (), gather(copied, tree))
        finally:
            os.close(top)

    def _record(
        self, key: str, diff_id: Digest, operation: UrlOp | GitOp, told: dict[str, Any]
    ) -> Hit:
        return self._cache.record(key, (), diff_id, operation, told, time.time_ns())


def _modified(text: str) -> int:
    parsed = parsedate_tz(text) if text else None
    if parsed is None:
        return EARLIEST_NS
    try:
        return max(mktime_tz(parsed), 0) * SECOND_NS
    except (ValueError, OverflowError):
        return EARLIEST_NS


def _file_layer(name: str, fd: int, size: int, mtime_ns: int) -> Iterator[bytes]:
    yield header(os.fsencode(name), REGULAR, mode=_FILE_MODE, size=size, mtime_ns=mtime_ns)
    os.lseek(fd, 0, os.SEEK_SET)
    while data := os.read(fd, _PIECE):
        yield data
    yield padding(size) + END_OF_ARCHIVE
