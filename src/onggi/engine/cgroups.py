"""Where a container's control groups are: below our own parent, or below --cgroup-parent; without
root below the group that was delegated to us, if one was.
"""

from ..errors import InvalidInput
from ..linux import cgroup
from ..linux.cgroup import Cgroup, Layout, host_layout
from ..spec.container import Container
from .tier import current


def usable_layout() -> Layout | None:
    """The hierarchies that we may make groups in; None is all that the host has."""
    if current().is_root:
        return None
    from ..linux import delegation

    return delegation.layout()


_layouts: list[Layout] = []  # this host's, once it was looked up: a start asks six times


def cgroup_of(container: Container) -> Cgroup:
    if not current().is_root:
        return _delegated(container)
    if not _layouts:
        _layouts.append(host_layout())
    parent = container.config.options.host.cgroup_parent.strip("/")
    if not parent:
        return Cgroup(container.id, layout=_layouts[0])
    return Cgroup(container.id, parent, _layouts[0], keep_parent=True)


def leave_unit() -> None:
    """A monitor outlives whatever started it: a systemd service or session that ends kills all that
    is in its group. Without root there is no other group to go to."""
    if current().is_root:
        cgroup.leave_unit(host_layout())


def _delegated(container: Container) -> Cgroup:
    """A running one's is where it runs: other commands may have been given another group."""
    from ..linux import delegation

    if container.state.pid:
        above, _, name = delegation.own_group(container.state.pid).rpartition("/")
        if name == container.id:
            found = delegation.layout(group=above.removesuffix("/onggi"))
            return Cgroup(container.id, layout=found)
    found = delegation.layout()
    if found.v2:
        delegation.make_room(found.v2)
    return Cgroup(container.id, layout=found)


def check_parent(parent: str) -> None:
    """Raises InvalidInput for a path that leaves the hierarchy or is none."""
    parts = parent.strip("/").split("/")
    if parent and (not all(parts) or {".", ".."} & set(parts) or not parent.isprintable()):
        raise InvalidInput(f"invalid cgroup parent {parent[:128]!r}")
