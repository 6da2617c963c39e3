"""With how much privilege the engine runs. Found by trial, decided once, passed in.

1  root of the host
2  root of a user namespace with subordinate ids: an unprivileged user's, or a container's
3  root of a user namespace with one id
4  nothing of that: proot, which isolates nothing

What follows from a tier is asked of the record, never of the process.
"""

import os
from functools import cache

from ..errors import Forbidden
from ..typed import NamedTuple

EVERY_ID = 0xFFFFFFFF


class Tier(NamedTuple):
    """`ids` are what containers can have: 0 to ids-1. `why` is what kept it from a better one."""

    number: int
    name: str
    ids: int
    why: str = ""

    @property
    def is_root(self) -> bool:
        """Whether we are the host's own root."""
        return self.number == 1


ROOT = Tier(1, "root", EVERY_ID)
NO_ISOLATION = (
    "NO ISOLATION: proot only shows the command another root directory, it can do all that you "
    "can (onggi doctor says why, and how to get more)"
)
NOTHING = Tier(4, "no isolation", 1)


def check_owner(path: str) -> None:
    """Raises Forbidden for another user's directory: what root and others keep does not mix."""
    try:
        owner = os.stat(path).st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise Forbidden(
            f"{path} belongs to the user {owner}: stores of different users do not mix",
            hint="name directories of your own with --root and --run-root",
        )


@cache
def is_limited() -> bool:
    """Whether we are no root of anything: an unprivileged user, or root in a container that was
    left without CAP_SYS_ADMIN."""
    if os.geteuid() != 0:
        return True
    from ..linux import capability

    return not capability.held() & capability.SYS_ADMIN


@cache
def current() -> Tier:
    """The tier of this process, which has entered its namespace if it could."""
    if is_limited():
        return NOTHING
    from ..linux import userns

    if userns.is_initial():
        return ROOT
    ids = userns.ids_from_zero(userns.own_map())
    return Tier(2, "subordinate ids", ids) if ids > 1 else Tier(3, "single id", 1)


def warnings(user: str) -> list[str]:
    """What a container's user should be told of what there is not."""
    if current().number == 4:
        return [NO_ISOLATION]
    name = user.partition(":")[0]
    if current().ids > 1 or name in ("", "0", "root"):
        return []
    return [f"there is one id only: the command runs as root of the container, not as {name[:64]}"]
