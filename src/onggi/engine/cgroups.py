"""Where a container's control groups are: below our own parent, or below --cgroup-parent."""

from ..errors import InvalidInput
from ..linux.cgroup import Cgroup
from ..spec.container import Container


def cgroup_of(container: Container) -> Cgroup:
    parent = container.config.options.host.cgroup_parent.strip("/")
    if not parent:
        return Cgroup(container.id)
    return Cgroup(container.id, parent, keep_parent=True)


def check_parent(parent: str) -> None:
    """Raises InvalidInput for a path that leaves the hierarchy or is none."""
    parts = parent.strip("/").split("/")
    if parent and (not all(parts) or {".", ".."} & set(parts) or not parent.isprintable()):
        raise InvalidInput(f"invalid cgroup parent {parent[:128]!r}")
