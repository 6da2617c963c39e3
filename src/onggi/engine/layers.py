"""The layers of a sandbox as this host has them: what can be had, what is refused, what is active.

Nobody is told of a layer that is not there.
"""

from ..errors import Unsupported
from ..linux import capability, landlock, lsm
from ..spec.container import HostOptions, Resources
from ..typed import NamedTuple
from . import security, specgen
from .paths import read_file


class Layer(NamedTuple):
    name: str
    active: bool
    about: str


def resources(host: HostOptions) -> Resources:
    """The limits of a container, with ours on the number of its processes."""
    return host.resources._replace(pids_limit=security.pids_limit(host, _free_pids()))


def _free_pids() -> int:
    threads = int(read_file("/proc/loadavg").split()[3].partition("/")[2])
    return int(read_file("/proc/sys/kernel/pid_max")) - threads


def refuse_missing(host: HostOptions) -> None:
    """A layer that was asked for and is not there is an error, never a silence."""
    wanted = security.options(host)
    apparmor = "" if wanted.apparmor in ("default", "unconfined") else wanted.apparmor
    for name, key, value in (
        ("AppArmor", "apparmor", apparmor),
        ("SELinux", "label", ",".join(wanted.label)),
    ):
        if value and not lsm.is_on(name.lower()):
            raise Unsupported(
                f"--security-opt {key}={value[:80]}: {name} is not enabled on this host"
            )
    if wanted.landlock and landlock.version() < landlock.SCOPES_VERSION:
        raise Unsupported("--security-opt landlock=on: this kernel has no Landlock scopes")
    if security.uses_landlock(host) and host.runtime not in specgen.OWN_RUNTIMES:
        raise Unsupported(f"{host.runtime} does not know Landlock, which onggi's own runtime does",
                          hint="--security-opt landlock=off does without")  # fmt: skip
    if security.uses_landlock(host) and landlock.version() < landlock.SCOPES_VERSION:
        raise Unsupported(
            "--security strict needs Landlock of Linux 6.12, which this kernel lacks",
            hint="--security-opt landlock=off does without",
        )


def active(host: HostOptions) -> list[Layer]:
    """What a container with these options gets here."""
    wanted = security.options(host)
    held = capability.held() & capability.bounding()
    capabilities = capability.names_of(specgen.capabilities(host, held))
    masked = not (host.privileged or wanted.system_paths or "ALL" in wanted.unmask)
    filtered = wanted.seccomp != "unconfined" and not (
        host.privileged and wanted.seccomp == "default"
    )
    mapped = host.userns_mode not in ("", "host")
    have = landlock.version()
    limit = resources(host).pids_limit
    shared = [
        kind for kind in ("network", *specgen.SHARED) if specgen.mode_of(host, kind) == "host"
    ]
    filter_about = "built-in profile" if wanted.seccomp == "default" else "own profile"
    return [
        Layer("namespaces", True, f"all but {', '.join(shared)}" if shared else "all"),
        Layer("user namespace", mapped, "65,536 ids of its own" if mapped
              else "root of the container is root of the host"),
        Layer("capabilities", True, f"{len(capabilities)}: {', '.join(capabilities) or 'none'}"),
        Layer("seccomp", filtered, filter_about if filtered else "no filter"),
        Layer("no new privileges", wanted.no_new_privileges, "setuid programs gain nothing"),
        Layer("masked paths", masked, "/proc and /sys" if masked else "all open"),
        Layer("read-only root", host.read_only, "writes go to volumes and tmpfs only"),
        Layer("landlock", security.uses_landlock(host), f"the kernel has version {have}"
              if have else "the kernel has none"),
        Layer("process limit", limit > 0, str(limit) if limit > 0 else "none"),
        _apparmor(host, wanted.apparmor),
        _selinux(wanted.label),
    ]  # fmt: skip


def _apparmor(host: HostOptions, wanted: str) -> Layer:
    from . import mac

    if not lsm.is_on("apparmor"):
        return Layer("apparmor", False, "the kernel has none")
    if wanted not in ("default", "unconfined"):
        return Layer("apparmor", True, wanted)
    ours = wanted == "default" and not host.privileged and mac.can_load()
    about = mac.PROFILE if ours else "unconfined"
    return Layer("apparmor", ours, about)


def _selinux(words: tuple[str, ...]) -> Layer:
    if not lsm.is_on("selinux"):
        return Layer("selinux", False, "the kernel has none")
    return Layer(
        "selinux", bool(words), ", ".join(words) or "--security-opt label=type:… asks for it"
    )
