"""The parts of a sandbox that need the host: the compiled seccomp filter, the device nodes."""

import os
import stat
from collections.abc import Mapping

from .. import jsons
from ..errors import InvalidInput, Unsupported
from ..linux import capability, lsm, seccomp
from ..runtime.plan import Device, JoinPlan, Labels, Listener, ProcessPlan
from ..spec.container import Container, ContainerConfig
from ..typed import TYPE_CHECKING
from . import security, specgen
from .paths import Paths

if TYPE_CHECKING:
    from ..linux import seccomp_profile as seccomp_profiles

_NOT_GIVEN = frozenset(("pts", "shm", "mqueue", "fd", "console", "ptmx"))
MAX_PROFILE_BYTES = 1 << 20


def seccomp_program(config: ContainerConfig, held: int, paths: Paths) -> bytes:
    """The filter of a container, b"" for none; compiled once per profile and capability set and
    kept under RUN/seccomp."""
    host = config.options.host
    profile = security.options(host).seccomp
    if profile == "unconfined" or (host.privileged and profile == "default"):
        return b""
    names = frozenset(capability.names_of(specgen.capabilities(host, held)))
    text = "" if profile == "default" else read_profile(profile)
    return seccomp.cached_program(f"{paths.run}/seccomp", text, names)


def seccomp_profile(config: ContainerConfig) -> "seccomp_profiles.Profile | None":
    """What that filter is compiled from: for a runtime that compiles by itself."""
    from ..linux import seccomp_profile as profiles

    host = config.options.host
    wanted = security.options(host).seccomp
    if wanted == "unconfined" or (host.privileged and wanted == "default"):
        return None
    if wanted == "default":
        return profiles.default_profile()
    return profiles.parse_profile(read_profile(wanted))


def read_profile(path: str) -> str:
    """A docker seccomp profile: a file, or the JSON itself. Raises InvalidInput."""
    if path.lstrip().startswith("{"):
        return path
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_PROFILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"opening seccomp profile ({path}) failed: {error}") from error


def labels(container: Container) -> Labels:
    """What AppArmor and SELinux call it; nothing is loaded where the kernel has neither."""
    wanted = security.options(container.config.options.host).label
    if not wanted and not lsm.is_on("apparmor"):
        return Labels()
    from . import mac

    return mac.labels(container)


def loaded_labels(container: Container) -> Labels:
    """The same, with a profile of ours in the kernel. Raises Unavailable."""
    found = labels(container)
    if found.apparmor:
        from . import mac

        if found.apparmor == mac.PROFILE:
            mac.load()
    return found


def relabel(container: Container, directory: str, detached: Mapping[str, int]) -> None:
    """SELinux's labels of what is mounted; nothing is loaded for a container without."""
    if security.options(container.config.options.host).label:
        from . import mac

        mac.relabel(container, directory, detached)


def labelled(plan: JoinPlan, container: Container) -> JoinPlan:
    """A process that joins, with its container's labels."""
    return plan._replace(process=plan.process._replace(labels=labels(container)))


def overseen(process: ProcessPlan, container: Container, paths: Paths) -> ProcessPlan:
    """With the flags of a seccomp profile of the user's, and the agent that it names."""
    host = container.config.options.host
    if security.options(host).seccomp in ("default", "unconfined"):
        return process
    profile = seccomp_profile(container.config)
    if profile is None or not (profile.flags or profile.listener_path):
        return process
    process = process._replace(seccomp_flags=profile.flags)
    if not profile.listener_path:
        return process
    if host.init:
        raise Unsupported("a seccomp profile with a listenerPath cannot be used with --init")
    state = {
        "ociVersion": "1.2.0", "id": container.id, "status": "creating",
        "bundle": paths.container(container.id),
    }  # fmt: skip
    listener = Listener(profile.listener_path, profile.listener_metadata, jsons.dumps(state))
    return process._replace(listener=listener)


def host_devices(directory: str = "/dev") -> tuple[Device, ...]:
    """Every device node of the host, for --privileged."""
    from .devices import is_node, node

    found: list[Device] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in _NOT_GIVEN or entry.is_symlink():
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                found.extend(host_devices(entry.path))
            elif is_node(status):
                found.append(node(entry.path, status))
    return tuple(found)
