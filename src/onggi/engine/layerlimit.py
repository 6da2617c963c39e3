"""`--storage-opt size=`: what a container may write, as a project quota on its writable layer."""

from collections.abc import Mapping

from ..errors import InvalidInput, Unsupported
from ..linux import quota
from ..units import parse_size
from .paths import Paths


def size_of(options: Mapping[str, str]) -> int:
    """Bytes. Raises InvalidInput."""
    text = options.get("size", "")
    try:
        size = parse_size(text)
    except ValueError as error:
        raise InvalidInput(f"invalid size: '{text}'") from error
    if size <= 0:
        raise InvalidInput(f"invalid size: '{text}'")
    return size


def limit(paths: Paths, container_id: str, options: Mapping[str, str]) -> None:
    """Overlay moves files from its work directory into the upper one: both are of one project.
    Raises Unsupported, in docker's words, where the store's file system has no project quotas."""
    directories = (paths.upper(container_id), f"{paths.container(container_id)}/work")
    try:
        quota.limit(directories, int(container_id[:8], 16), size_of(options))
    except OSError as error:
        if error.errno not in quota.MISSING:
            raise
        raise Unsupported(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint=f"or over ext4 with 'prjquota': {paths.root} is on neither",
        ) from error
