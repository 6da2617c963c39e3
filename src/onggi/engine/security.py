"""What --security and --security-opt mean. Pure: words in, decisions out.

    docker   exactly docker's sandbox
    default  docker's, and what nobody misses (docs/security.md has the table)
    strict   for what is not trusted: nearly nothing is left

A profile is decided at create and stored, so that a container keeps it for life.
"""

from ..errors import InvalidInput
from ..linux import capability, landlock
from ..spec.container import HostOptions
from ..typed import NamedTuple
from .merge import clean_target

PROFILES = ("docker", "default", "strict")
STRICT_CAPABILITIES = ("NET_BIND_SERVICE",)
PIDS_LIMIT = 4096
# Docker 29's masks; ours are plan.MASKED_PATHS, which has more.
DOCKER_MASKS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
NO_ROUTER_ADVERTISEMENTS = ("net.ipv6.conf.all.accept_ra", "net.ipv6.conf.default.accept_ra")


class SecurityOptions(NamedTuple):
    """The words, parsed. `seccomp` is "default", "unconfined" or a profile's text; `apparmor` is
    "default", "unconfined" or a profile's name."""

    no_new_privileges: bool = False
    seccomp: str = "default"
    system_paths: bool = False  # unconfined: nothing masked or read-only
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()  # "ALL" too
    landlock: bool | None = None
    apparmor: str = "default"
    label: tuple[str, ...] = ()


def options(host: HostOptions) -> SecurityOptions:
    """Raises InvalidInput for an unknown option. The profile says what the words leave open."""
    check_profile(host.security or "default")
    found = SecurityOptions(no_new_privileges=host.security == "strict")
    for word in host.security_opt:
        found = _with_word(found, word)
    return found


def check_profile(name: str) -> str:
    if name not in PROFILES:
        wanted = ", ".join(PROFILES)
        raise InvalidInput(f"invalid security profile {name[:40]!r}: want one of {wanted}")
    return name


def _with_word(found: SecurityOptions, word: str) -> SecurityOptions:
    key, separator, value = word.partition("=" if "=" in word else ":")
    match key:
        case "no-new-privileges" if value in ("", "true", "false"):
            return found._replace(no_new_privileges=value != "false")
        case "seccomp" if value:
            return found._replace(seccomp="default" if value == "builtin" else value)
        case "systempaths" if value == "unconfined":
            return found._replace(system_paths=True)
        case "mask" if value:
            return found._replace(mask=found.mask + _paths(value))
        case "unmask" if value:
            wanted = ("ALL",) if value.upper() == "ALL" else _paths(value)
            return found._replace(unmask=found.unmask + wanted)
        case "landlock" if value in ("on", "off"):
            return found._replace(landlock=value == "on")
        case "apparmor" if value:
            return found._replace(apparmor=value)
        case "label" if separator:
            return found._replace(label=() if value == "disable" else (*found.label, value))
    raise InvalidInput(f"invalid --security-opt 2: {word!r}")


def _paths(text: str) -> tuple[str, ...]:
    """podman's list of absolute paths, separated by colons."""
    return tuple(clean_target(path) for path in text.split(":"))


def default_capabilities(host: HostOptions) -> tuple[str, ...]:
    return STRICT_CAPABILITIES if host.security == "strict" else capability.DOCKER_DEFAULT


def masks(host: HostOptions, ours: tuple[str, ...], thermal: tuple[str, ...]) -> tuple[str, ...]:
    """The paths to cover, `ours` being the whole list and `thermal` what docker masks by cpu."""
    found = options(host)
    base = (*DOCKER_MASKS, *thermal) if host.security == "docker" else ours
    if host.masked_paths is not None:
        base = host.masked_paths
    if host.privileged or found.system_paths or "ALL" in found.unmask:
        base = ()
    return tuple(path for path in base if path not in found.unmask) + found.mask


def read_only(host: HostOptions, paths: tuple[str, ...]) -> tuple[str, ...]:
    found = options(host)
    if host.privileged or found.system_paths or "ALL" in found.unmask:
        return ()
    chosen = paths if host.read_only_paths is None else host.read_only_paths
    return tuple(path for path in chosen if path not in found.unmask)


def scopes(host: HostOptions) -> int:
    """Landlock's, where a namespace is the host's: abstract sockets and signals. With docker they
    reach the host, and some mean that (X11 without a mount, a killer in --pid host), so only strict
    and `landlock=on` close it. The latter always makes a domain: nothing inside can then trace what
    is outside, a process on its way in for one."""
    if not uses_landlock(host):
        return 0
    asked = options(host).landlock
    found = landlock.ABSTRACT_SOCKETS if host.network_mode == "host" or asked else 0
    return found | (landlock.SIGNALS if host.pid_mode == "host" else 0)


def uses_landlock(host: HostOptions) -> bool:
    wanted = options(host).landlock
    return not host.privileged and (host.security == "strict" if wanted is None else wanted)


def hardened(host: HostOptions) -> HostOptions:
    """What strict changes of the request itself, so that inspect shows it."""
    return host._replace(read_only=True) if host.security == "strict" else host


def pids_limit(host: HostOptions, free: int) -> int:
    """The limit to set: the user's, or ours where docker has none."""
    if host.resources.pids_limit or host.security == "docker":
        return host.resources.pids_limit
    return max(64, min(PIDS_LIMIT, free // 2))
