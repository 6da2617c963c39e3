"""Operations made real: a container for RUN, a tar stream for COPY, ADD and WORKDIR.

Owns nothing but the doing; whether to do it is for `solve`. A RUN is a container of the engine
under the sandbox of every other container, and is gone when the operation ends.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..dockerfile import modes
from ..dockerfile.ignore import IgnoreRules
from ..engine.engine import Engine
from ..engine.lending import Lent
from ..engine.steps import Step
from ..errors import CommandFailed, InvalidInput
from ..linux.mount import mount_overlay
from ..linux.safefs import read_file_in_root
from ..runtime import identity
from ..spec.container import ContainerOptions, HostOptions
from ..spec.digest import Digest
from ..spec.mount import RootFilesystem
from ..store.tarwrite import END_OF_ARCHIVE
from . import mountpoints
from .context import Tree
from .copying import Owner, layer_pieces
from .graph import CopyOp, RunOp, WorkdirOp
from .hints import failed_command_hint
from .sources import SourceTree
from .target import EARLIEST_NS, Target

Layers = tuple[Digest, ...]
NO_RULES = IgnoreRules(())
_KEPT_OUTPUT = 64 << 10  # of a failing command, to look for a hint


@contextmanager
def merged(engine: Engine, layers: Layers, label: str) -> Iterator[Tree | None]:
    """The root filesystem of these layers, mounted for this process alone; None for no layers."""
    if not layers:
        yield None
        return
    root = RootFilesystem(engine.store.layers.mounts(layers), "", "")
    fd = mount_overlay(root, read_only=True)
    try:
        yield Tree(fd, label, NO_RULES, rooted=True)
    finally:
        os.close(fd)


def owner_of(chown: str, root: Tree | None) -> Owner | None:
    """Who --chown (or USER, for WORKDIR) means, by the stage's own passwd and group files."""
    if not chown:
        return None
    files: list[bytes | None] = [None, None]
    if root is not None:
        for index, path in enumerate(("/etc/passwd", "/etc/group")):
            try:
                files[index] = read_file_in_root(root.fd, path, identity.MAX_FILE_BYTES)
            except OSError as error:
                raise InvalidInput(f"cannot read {path} of the stage: {error.strerror}") from error
    found = identity.resolve(chown, (), *files)
    if chown.isdigit():  # docker: a bare number is the group as well
        return Owner(found.uid, found.uid)
    return Owner(found.uid, found.gid)


def copy(engine: Engine, operation: CopyOp, parent: Layers, sources: list[SourceTree]) -> Digest:
    """The layer that COPY or ADD makes on `parent`."""
    with merged(engine, parent, "the stage") as root:
        owner = owner_of(operation.chown, root)
        mode = 0o755
        if operation.chmod:
            mode = modes.changed(modes.parse(operation.chmod), mode, directory=True)
        target = Target(root, owner or Owner(0, 0), mode, operation.epoch)
        pieces = layer_pieces(operation, sources, target, owner)
        return engine.store.layers.ingest(pieces).diff_id


def workdir(engine: Engine, operation: WorkdirOp, parent: Layers) -> Digest | None:
    """The layer that makes the directory; None when it is there."""
    with merged(engine, parent, "the stage") as root:
        owner = owner_of(operation.user, root) or Owner(0, 0)
        target = Target(root, owner, 0o755, operation.epoch)
        path = target.real(operation.path)
        if target.kind(path) == "directory":
            return None
        target.directory(path, EARLIEST_NS)
        return engine.store.layers.ingest([target.drain(), END_OF_ARCHIVE]).diff_id


def run(
    engine: Engine,
    operation: RunOp,
    parent: Layers,
    lent: Lent,
    limits: HostOptions,
    output: Callable[[int, bytes], None],
    failed: Callable[[str], None] | None = None,
) -> Digest:
    """The layer that the command leaves. Raises InvalidInput with docker's words when it fails,
    after `failed` was given the directory with what it wrote."""
    if not parent:
        raise InvalidInput(
            f"RUN {' '.join(operation.args)[:200]}: the stage is empty, there is no program in it",
            hint="start the stage FROM an image that has a shell, or COPY one into it",
        )
    kept = bytearray()

    def seen(stream: int, data: bytes) -> None:
        kept.extend(data)
        del kept[:-_KEPT_OUTPUT]
        output(stream, data)

    stubs = _stubs(engine, operation, parent)
    with engine.steps.step(container_options(operation, limits), parent, lent) as step:
        return _finish(engine, operation, step, stubs, seen, kept, failed)


def container_options(operation: RunOp, limits: HostOptions) -> ContainerOptions:
    """The container of a RUN."""
    return ContainerOptions(
        image="",
        command=operation.args,
        entrypoint=(),
        env=operation.env,
        working_dir=operation.working_dir,
        user=operation.user,
        hostname=operation.hostname,
        host=limits._replace(
            mounts=operation.mounts,
            network_mode=operation.network_mode,
            extra_hosts=operation.extra_hosts,
            shm_bytes=operation.shm_bytes,
            log_driver="none",
            privileged=operation.insecure,
        ),
    )


def _stubs(engine: Engine, operation: RunOp, parent: Layers) -> list[str]:
    targets = [mount.target for mount in operation.mounts]
    targets += [mount.target for mount in operation.lent if mount.target]
    if not targets:
        return []
    with merged(engine, parent, "the stage") as root:
        assert root is not None
        return mountpoints.missing(root, targets)


def _finish(
    engine: Engine,
    operation: RunOp,
    step: Step,
    stubs: list[str],
    output: Callable[[int, bytes], None],
    kept: bytearray,
    failed: Callable[[str], None] | None,
) -> Digest:
    result = step.run(output)
    if result.exit_code == 0:
        mountpoints.remove(result.upper_path, stubs)
        made = engine.store.layers.commit(result.upper_path, mtime_clamp_s=operation.epoch)
        return made.diff_id
    if failed is not None:
        failed(result.upper_path)
    why = " (it was OOM-killed: out of memory)" if result.oom_killed else ""
    error = CommandFailed(
        f"The command '{' '.join(operation.args)}' returned a non-zero code: "
        f"{result.exit_code}{why}",
        hint=failed_command_hint(kept.decode("utf-8", "replace")),
    )
    error.status = result.exit_code
    raise error
