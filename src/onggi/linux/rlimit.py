"""Resource limits of a process, clamped to what we may set.

Without CAP_SYS_RESOURCE a hard limit cannot be raised, only lowered: a larger wish becomes the
present hard limit and a warning, so that a container starts on such a host too.
"""

import resource
from collections.abc import Iterable

from ..errors import InvalidInput
from .capability import NUMBERS, held

_RESOURCES = {  # docker's spelling -> number
    "as": resource.RLIMIT_AS, "core": resource.RLIMIT_CORE, "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA, "fsize": resource.RLIMIT_FSIZE, "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK, "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE, "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC, "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO, "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING, "stack": resource.RLIMIT_STACK,
}  # fmt: skip
NAMES = frozenset(_RESOURCES)
UNLIMITED = resource.RLIM_INFINITY
Limit = tuple[str, int, int]  # name, soft, hard; -1 is unlimited


def check(limit: Limit) -> None:
    """Raises InvalidInput for an unknown name or a soft limit over the hard one."""
    name, soft, hard = limit
    if name not in NAMES:
        raise InvalidInput(f"invalid ulimit type: {name[:64]!r}")
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise InvalidInput(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )


def clamp(limits: Iterable[Limit]) -> tuple[tuple[Limit, ...], tuple[str, ...]]:
    """The limits this process may really set, and a warning for each that had to shrink."""
    clamped, warnings = [], []
    for name, soft, hard in limits:
        ceiling = resource.getrlimit(_RESOURCES[name])[1]
        if _may_raise() or _at_most(hard, ceiling):
            clamped.append((name, soft, hard))
            continue
        clamped.append((name, soft if _at_most(soft, ceiling) else ceiling, ceiling))
        warnings.append(f"ulimit {name}={soft}:{hard} is over this host's limit: set to {ceiling}")
    return tuple(clamped), tuple(warnings)


def apply(limits: Iterable[Limit]) -> None:
    """Set our own limits."""
    for name, soft, hard in limits:
        resource.setrlimit(_RESOURCES[name], (soft, hard))


def allow_files(count: int) -> None:
    """So many open files, or as many as may be."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = count if most == UNLIMITED else min(count, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def _at_most(value: int, ceiling: int) -> bool:
    return ceiling == UNLIMITED or (value != UNLIMITED and value <= ceiling)


def _may_raise() -> bool:
    return bool(held() >> NUMBERS["SYS_RESOURCE"] & 1)
