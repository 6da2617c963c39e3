"""Limits that only an OCI configuration can ask for: huge pages, network classes, RDMA, `unified`.

Such a limit is set or refused, never left out.
"""

from ..errors import Unsupported
from ..typed import NamedTuple
from .cgroup import Cgroup, write


class Wish(NamedTuple):
    """A value and where it goes: a file of a v1 controller, or of the v2 group ("": v1 only)."""

    controller: str
    v1_file: str
    v2_file: str
    value: str


class Extra(NamedTuple):
    """`unified` are files of the v2 group with what is to be written to them."""

    wishes: tuple[Wish, ...] = ()
    unified: tuple[tuple[str, str], ...] = ()


def apply(cgroup: Cgroup, extra: Extra) -> None:
    """Raises Unsupported naming what the host cannot limit, OSError what it refuses."""
    if extra.unified and cgroup.version != 2:
        raise Unsupported("linux.resources.unified needs cgroup v2, this host has v1")
    for wish in extra.wishes:
        write(_file(cgroup, wish), wish.value)
    for name, value in extra.unified:
        write(f"{cgroup.paths()[0]}/{name}", value)


def _file(cgroup: Cgroup, wish: Wish) -> str:
    if cgroup.version == 2 and wish.v2_file:
        return f"{cgroup.paths()[0]}/{wish.v2_file}"
    point = dict(cgroup.layout.v1).get(wish.controller)
    if point is None:
        raise Unsupported(
            f"{wish.v1_file} cannot be set: this host has no {wish.controller} controller"
        )
    return f"{point}/{cgroup.path}/{wish.v1_file}"
