"""What a container changed: differences, sizes, and the image a commit makes of it.

The file system of a stopped container is mounted detached, in this process alone; nothing appears
in the host's mount table and nothing stays when the process dies.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..dockerfile import changes as dockerfile_changes
from ..linux import copied, mount
from ..spec.container import Container
from ..spec.digest import Digest
from ..spec.image import History, ImageConfig, config_document, parse_config
from ..spec.jsontext import canonical
from ..spec.mount import RootFilesystem
from ..spec.reference import Reference
from ..store import diff as layer_diff
from ..store.store import Store
from ..typed import NamedTuple
from ..units import format_rfc3339
from . import initlayer, inspection
from .cgroups import cgroup_of
from .paths import Paths, file_bytes


class CommitRequest(NamedTuple):
    target: Reference | None
    author: str
    message: str
    changes: tuple[str, ...]  # Dockerfile instructions: "CMD [...]"
    pause: bool


@contextmanager
def rootfs_below(store: Store, paths: Paths, layers: tuple[Digest, ...]) -> Iterator[int]:
    """What lies below a container's own changes, read-only, as a directory fd."""
    below = initlayer.lowers(store, paths, layers)
    fd = mount.mount_overlay(RootFilesystem(below, "", ""), read_only=True)
    try:
        yield fd
    finally:
        os.close(fd)


def layers_of(container: Container) -> tuple[Digest, ...]:
    return tuple(Digest(layer) for layer in container.config.layers)


def diff(store: Store, paths: Paths, container: Container) -> list[tuple[str, str]]:
    upper = _open_upper(paths, container)
    try:
        pristine = copied.pristine(paths.upper(container.id))
        if pristine is not None:
            return [(kind, path) for kind, path in layer_diff.changes_of_copy(upper, pristine)]
        with rootfs_below(store, paths, layers_of(container)) as lower:
            return [(kind, path) for kind, path in layer_diff.changes(upper, lower)]
    finally:
        os.close(upper)


def sizes(store: Store, paths: Paths, container: Container) -> tuple[int, int]:
    """(writable layer, all) in bytes; apparent sizes, as docker counts."""
    upper = _open_upper(paths, container)
    try:
        writable = sum(
            file_bytes(name, directory)
            for _, _, files, directory in os.fwalk(".", dir_fd=upper, follow_symlinks=False)
            for name in files
        )
    finally:
        os.close(upper)
    return writable, writable + sum(store.layers.size(layer) for layer in layers_of(container))


def commit(store: Store, paths: Paths, container: Container, request: CommitRequest) -> Digest:
    with _still(container, request.pause):
        layer = store.layers.commit(paths.upper(container.id))
    base = parse_config(store.images.config_bytes(Digest(container.config.image_id)))
    config = dockerfile_changes.apply(_as_run(base, container), request.changes)
    stamp = format_rfc3339(time.time_ns())
    entry = History(
        created=stamp,
        created_by=" ".join(container.config.process.args),
        comment=request.message,
        author=request.author,
    )
    config = config._replace(
        created=stamp,
        author=request.author or config.author,
        diff_ids=(*base.diff_ids, layer.diff_id),
        history=(*base.history, entry),
    )
    image = store.images.add(
        canonical(config_document(config)),
        None,
        tags=(request.target,) if request.target else (),
        parent=container.config.image_id,
    )
    return image.id


def _as_run(base: ImageConfig, container: Container) -> ImageConfig:
    """The image's configuration with what the container was run with laid over it."""
    options, process = container.config.options, container.config.process
    volumes = {point.target for point in container.config.mounts if point.kind == "volume"} & set(
        base.volumes
    )
    return base._replace(
        env=tuple(inspection.environment(container)),
        entrypoint=process.entrypoint,
        cmd=process.command,
        working_dir=options.working_dir or base.working_dir,
        user=process.user,
        exposed_ports=container.config.exposed_ports,
        labels=container.config.labels,
        stop_signal=options.stop_signal or base.stop_signal,
        volumes=tuple(sorted(volumes | set(base.volumes))),
    )


@contextmanager
def _still(container: Container, pause: bool) -> Iterator[None]:
    """Keep a running container from writing meanwhile."""
    cgroup = cgroup_of(container) if pause and container.state.status == "running" else None
    if cgroup is not None:
        cgroup.freeze()
    try:
        yield
    finally:
        if cgroup is not None:
            cgroup.thaw()


def _open_upper(paths: Paths, container: Container) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(paths.upper(container.id), flags)
