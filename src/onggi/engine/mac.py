"""Mandatory access control: the labels of a container where the kernel has AppArmor or SELinux.

AppArmor: the profile that is asked for, else our own where `apparmor_parser` can load it, as docker
does with docker-default. SELinux: only for containers that ask for it with `label=`, as with a
docker daemon without --selinux-enabled.
"""

import os
from collections.abc import Mapping

from ..errors import InvalidInput, OnggiError, Unavailable
from ..linux import lsm, tools
from ..runtime.plan import Labels
from ..spec.container import Container, HostOptions
from . import security, specgen
from .mountpoints import is_system_directory

PROFILE = "onggi-default"
CONTEXT_FILES = (
    "/etc/selinux/targeted/contexts/lxc_contexts", "/etc/selinux/default/contexts/lxc_contexts",
)  # fmt: skip
_FALLBACK = 'process = "system_u:system_r:container_t:s0"\n' + (
    'file = "system_u:object_r:container_file_t:s0"\n'
)
_PARTS = ("user", "role", "type", "level")
CATEGORIES = 1024


def labels(container: Container) -> Labels:
    """Of its processes and its file systems; nothing where the kernel has neither module."""
    host = container.config.options.host
    asked = security.options(host)
    found = Labels(apparmor=profile(host, asked.apparmor))
    if asked.label and lsm.is_on("selinux"):
        process, files = selinux(asked.label, contexts(), container.id)
        found = found._replace(selinux=process, mount=files)
    return found


def profile(host: HostOptions, wanted: str) -> str:
    """The name of the AppArmor profile, "" for none."""
    if wanted == "unconfined" or not lsm.is_on("apparmor"):
        return ""
    if wanted != "default":
        return wanted
    return PROFILE if not host.privileged and can_load() else ""


def can_load() -> bool:
    """Docker's rule: without the parser there is no profile, with it there must be one."""
    if PROFILE in lsm.loaded_profiles():
        return True
    try:
        tools.find("apparmor_parser")
    except OnggiError:
        return False
    return True


def load() -> None:
    """Our profile into the kernel, unless it is there. Raises Unavailable."""
    if PROFILE in lsm.loaded_profiles():
        return
    try:
        tools.run(["apparmor_parser", "-Kr"], input=profile_text().encode())
    except OnggiError as error:
        raise Unavailable(
            f"AppArmor is enabled but the profile {PROFILE} could not be loaded: {error.message}",
            hint="--security-opt apparmor=unconfined does without",
        ) from error


def profile_text() -> str:
    """What our profile lets a container do: all but to write where the kernel is configured, to
    mount, and to trace or signal what is not its own. The other layers say the same; this one is
    there for when one of them has a hole."""
    closed = [
        "@{PROC}/sys/[^kn]*/** wklx", "@{PROC}/sys/kernel/[^smn]*/** wklx",
        "@{PROC}/sysrq-trigger rwklx", "@{PROC}/kcore rwklx", "@{PROC}/kmem rwklx",
        "@{PROC}/mem rwklx", "/sys/[^f]*/** wklx", "/sys/f[^s]*/** wklx", "/sys/fs/[^c]*/** wklx",
        "/sys/fs/c[^g]*/** wklx", "/sys/firmware/** rwklx",
        "/sys/devices/virtual/powercap/** rwklx", "/sys/kernel/security/** rwklx",
    ]  # fmt: skip
    allowed = [
        "network", "capability", "file", "umount", "signal (receive) peer=unconfined",
        f"signal (send, receive) peer={PROFILE}", f"ptrace (trace, read, tracedby, readby) "
        f"peer={PROFILE}", "unix",
    ]  # fmt: skip
    lines = [f"  {rule}," for rule in allowed]
    lines += [f"  deny {rule}," for rule in ("mount", *closed)]
    flags = "flags=(attach_disconnected,mediate_deleted)"
    return (
        "@{PROC}=/proc/\n\n"
        f"profile {PROFILE} {flags} {{\n" + "\n".join(lines) + "\n}\n"
    )  # fmt: skip


def contexts(files: tuple[str, ...] = CONTEXT_FILES) -> str:
    """What the host's policy says about containers."""
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read(1 << 16)
        except (OSError, UnicodeDecodeError):
            continue
    return _FALLBACK


def selinux(words: tuple[str, ...], text: str, container_id: str) -> tuple[str, str]:
    """(process label, label of its file systems). Each container gets two categories of its own,
    unless a level is asked for: then others of that type cannot touch its files. Raises
    InvalidInput in docker's words."""
    base = dict(_assignments(text))
    process = _split(base.get("process", ""), "process")
    files = _split(base.get("file", ""), "file")
    process[3] = files[3] = f"{process[3]}:{_categories(container_id)}"
    for word in words:
        key, colon, value = word.partition(":")
        if key == "filetype" and value:
            files[2] = value
        elif key in _PARTS and colon and value:
            process[_PARTS.index(key)] = value
            if key in ("user", "level"):
                files[_PARTS.index(key)] = value
        else:
            raise InvalidInput(
                f'bad label option "{word}", valid options "disable" or \n'
                "\"user, role, level, type, filetype\" followed by ':' and a value"
            )
    return ":".join(process), ":".join(files)


def relabel(container: Container, directory: str, detached: Mapping[str, int]) -> None:
    """Give what is mounted with `z` or `Z`, and the host files in `directory`, the label of the
    container's files; `detached` are mounts that are made already, by target. With `z` every
    container may use it, with `Z` this one alone. Raises InvalidInput, OnggiError as docker."""
    label = labels(container).mount
    if not label:
        return
    for point in container.config.mounts:
        words = point.mode.split(",")
        if point.kind not in ("bind", "volume") or not {"z", "Z"} & {*words}:
            continue
        fd = detached.get(point.target)
        _relabel(point.source, label if "Z" in words else shared(label), fd)
    host = container.config.options.host
    for name in specgen.HOST_FILES:
        joins = host.network_mode.startswith("container:")
        _relabel(f"{directory}/{name}", shared(label) if joins else label)


def shared(label: str) -> str:
    """The same without categories, which every container dominates."""
    return ":".join((*label.split(":", 3)[:3], "s0"))


def _relabel(path: str, label: str, opened: int | None = None) -> None:
    """`opened` is what is mounted, where that is not simply what lies at `path`."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC) if opened is None else os.dup(opened)
    try:
        real = os.readlink(f"/proc/self/fd/{fd}") if opened is None else ""
        if is_system_directory(real) or real == os.path.expanduser("~"):
            raise InvalidInput(
                f"error setting label on mount source '{path}': SELinux relabeling of {path} is not"
                " allowed"
            )
        lsm.set_file_label(fd, label)
    except OSError as error:
        text = f"error setting label on mount source '{path}': {error.strerror}"
        raise OnggiError(text) from error
    finally:
        os.close(fd)


def _assignments(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            found.append((key.strip(), value.strip().strip('"')))
    return found


def _split(label: str, what: str) -> list[str]:
    parts = label.split(":", 3)
    if len(parts) != len(_PARTS):
        raise InvalidInput(f"the host's SELinux policy has no label for a container's {what}")
    return parts


def _categories(container_id: str) -> str:
    """Two different ones, the same for every process of the container."""
    first, second = int(container_id[:8], 16), int(container_id[8:16], 16)
    low = first % CATEGORIES
    high = (low + 1 + second % (CATEGORIES - 1)) % CATEGORIES
    return ",".join(f"c{number}" for number in sorted((low, high)))
