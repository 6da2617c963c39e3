"""`RUN --mount` made real: each mount is a descriptor that one run gets lent.

Owns the cache directories and their locks, the secrets' memory file systems and the agents'
sockets. Nothing is looked up by a path of the host that a command could bend: sources are opened
inside their tree, and what is mounted is what was opened (SECURITY D1, D4).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..engine.engine import Engine
from ..engine.lending import Lent, LentMount
from ..errors import InvalidInput, NotFound
from ..linux import mount as kernel
from ..linux import safefs, staging
from ..spec.digest import Digest
from ..spec.mount import RootFilesystem
from .cache import content
from .graph import RunMount
from .loans import Loans
from .mountcache import CacheMounts

Layers = tuple[Digest, ...]
_GUARDED = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
_ROOM = 64 << 10  # of a secret's file system, beside the secret


class RunMounts:
    """The mounts of a build's RUN steps."""

    def __init__(self, engine: Engine, loans: Loans, waits: Callable[[str], None]) -> None:
        self._engine = engine
        self._loans = loans
        self._caches = CacheMounts(engine.store, waits)

    @contextmanager
    def lent(
        self, mounts: tuple[RunMount, ...], origins: tuple[Layers, ...], proxies: tuple[str, ...]
    ) -> Iterator[Lent]:
        """Everything for one run; `origins` are the vertex's inputs after the parent. What is
        written to a bind mount goes away at the end, what is in a cache stays."""
        found: list[LentMount] = []
        env = list(proxies)
        with ExitStack() as held:
            for wanted in sorted(mounts, key=lambda m: (m.kind, m.id)):  # locks in one order
                origin = origins[wanted.origin - 1] if wanted.origin else ()
                wanted = wanted._replace(seed=content(origin) if wanted.origin else "")
                fd = self._open(wanted, origin, held, env)
                if fd is not None:
                    held.callback(os.close, fd)
                    found.append(LentMount(wanted.target, fd, wanted.read_only))
            yield Lent(tuple(found), tuple(env))

    def _open(
        self, wanted: RunMount, origin: Layers, held: ExitStack, env: list[str]
    ) -> int | None:
        """A detached mount; None for a secret or agent that was not given and need not be."""
        if wanted.kind == "bind":
            return self._bind(wanted, origin, held)
        if wanted.kind == "cache":
            return held.enter_context(self._caches.opened(wanted, self._seed(wanted, origin)))
        if wanted.kind == "tmpfs":
            size = [("size", str(wanted.size_bytes))] if wanted.size_bytes else []
            return kernel.fsmount("tmpfs", (("source", "tmpfs"), *size), kernel.NOSUID)
        if wanted.kind == "secret":
            return self._secret(wanted, env)
        return self._agent(wanted, held, env)

    # -- bind

    def _bind(self, wanted: RunMount, origin: Layers, held: ExitStack) -> int:
        with self._merged(origin, held, writable=not wanted.read_only) as root:
            return _part(root, wanted)

    @contextmanager
    def _merged(self, layers: Layers, held: ExitStack, *, writable: bool) -> Iterator[int]:
        """The origin's root; what is written to it lives until `held` ends."""
        if not layers:
            raise InvalidInput("RUN --mount: the stage it is mounted from is empty")
        upper = work = ""
        if writable:
            place = held.enter_context(self._engine.store.scratch.directory())
            upper, work = f"{place}/upper", f"{place}/work"
            os.mkdir(upper, 0o755)
            os.mkdir(work, 0o755)
        lowers = self._engine.store.layers.mounts(layers)
        root = RootFilesystem(lowers, upper, work)
        fd = kernel.mount_overlay(root, read_only=not writable, volatile=writable)
        try:
            yield fd
        finally:
            os.close(fd)

    def _seed(self, wanted: RunMount, origin: Layers) -> Callable[[int], None] | None:
        """Fills a new cache directory from the origin."""
        if not wanted.origin:
            return None

        def fill(directory_fd: int) -> None:
            from ..store import tree

            with ExitStack() as held, self._merged(origin, held, writable=False) as root:
                content = _look(root, wanted, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    tree.copy_tree(content, directory_fd)
                finally:
                    os.close(content)

        return fill

    # -- secret

    def _secret(self, wanted: RunMount, env: list[str]) -> int | None:
        secret = self._loans.secrets.get(wanted.id)
        if secret is None:
            if wanted.required:
                raise NotFound(
                    f"secret {wanted.id}: not found",
                    hint=f"give it: --secret id={wanted.id},src=FILE",
                )
            return None
        value = secret.read(wanted.id)
        if wanted.env:
            text = os.fsdecode(value)
            if "\0" in text:
                raise InvalidInput(f"secret {wanted.id} holds a NUL byte: no variable can")
            env.append(f"{wanted.env}={text}")
        return _memory_file(wanted, value) if wanted.target else None

    # -- ssh

    def _agent(self, wanted: RunMount, held: ExitStack, env: list[str]) -> int | None:
        path = self._loans.agents.get(wanted.id)
        if path is None:
            if wanted.required:
                raise NotFound(
                    f"unset ssh forward key {wanted.id}",
                    hint=f"lend an agent to the build: --ssh {wanted.id}",
                )
            return None
        from . import sshforward

        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in env):
            env.append(f"SSH_AUTH_SOCK={wanted.target}")
        self._engine.store.close()  # before a fork
        owner = (wanted.uid, wanted.gid)
        log = f"{self._engine.paths.run}/ssh-forward.log"
        return held.enter_context(sshforward.forwarded(path, wanted.mode, owner, log))


def _look(root: int, wanted: RunMount, flags: int = os.O_PATH) -> int:
    """The source, looked up as a process chrooted to the origin would."""
    try:
        return safefs.open_in_root(root, wanted.source or "/", flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f'failed to compute cache key: "{wanted.source}": not found in the mount of '
            f"{wanted.target}"
        ) from error


def _part(root: int, wanted: RunMount) -> int:
    if not wanted.source.strip("/"):
        return os.dup(root)
    part = _look(root, wanted)
    try:
        return staging.part_of(root, part)
    finally:
        os.close(part)


def _memory_file(wanted: RunMount, value: bytes) -> int:
    """A file on a file system of its own in memory, gone with its last user."""
    size = ("size", str(len(value) + _ROOM))
    root = kernel.fsmount("tmpfs", (("source", "tmpfs"), size, ("mode", "0700")), _GUARDED)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open("secret", flags, 0o600, dir_fd=root)
        try:
            os.write(fd, value)
            os.fchown(fd, wanted.uid, wanted.gid)
            os.fchmod(fd, wanted.mode)
        finally:
            os.close(fd)
        part = safefs.open_beneath(root, "secret", os.O_PATH)
        try:
            return staging.part_of(root, part)
        finally:
            os.close(part)
    finally:
        os.close(root)
